//! Why a module could not be loaded.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use watm_abi::{Excerpt, InterfaceError};

#[cfg(feature = "signatures")]
use crate::error::SignatureError;
use crate::module::hash::ModuleHash;

/// Why a module could not be loaded.
///
/// ```
/// use watm_wasmer::{LoadError, TransportModule};
///
/// let error = TransportModule::from_bytes(b"\x1f\x8b\x08\x00").expect_err("it is no module");
/// match &error {
///     LoadError::Interface(problems) => {
///         for problem in problems {
///             println!("{problem}");
///         }
///     }
///     LoadError::NotAModule(what) => {
///         assert_eq!(*what, "it is compressed with gzip; decompress it");
///     }
///     error => println!("{error}"),
/// }
/// assert_eq!(error.code(), "not-a-module");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The module is larger than the loader allows.
    TooLarge {
        /// Its size in bytes, as far as it is known.
        size: u64,
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The SHA-256 of the module is not the expected one. The module was not parsed or compiled.
    Hash {
        /// The expected hash.
        expected: ModuleHash,
        /// The hash of the file.
        found: ModuleHash,
    },
    /// The signature of the module does not hold, or there is none. The module was not parsed or
    /// compiled.
    #[cfg(feature = "signatures")]
    Signature {
        /// The file of the signature, unless that was given as bytes.
        path: Option<PathBuf>,
        /// What is wrong with it.
        source: SignatureError,
    },
    /// The file is not a WebAssembly module. The text says what it is and what to do about it, if
    /// that is known: "it is compressed with gzip; decompress it".
    NotAModule(&'static str),
    /// The bytes are not a valid WebAssembly module. The text may quote them, escaped and
    /// truncated to 200 characters.
    Malformed(String),
    /// The module is valid, but needs a WebAssembly feature that is disabled. The text names the
    /// feature, for example tail calls or exceptions.
    Unsupported(&'static str),
    /// The module does not follow the interface. The list is never empty. It contains at
    /// most 20 of the imports that do not match the interface.
    Interface(Vec<InterfaceError>),
    /// The module is valid, but exceeds a limit of the runtime: it has too many tables, for
    /// example, or a function that is too large to be compiled in bounded time.
    TooComplex(String),
    /// Compiling took longer than the loader allows.
    CompileTimeout {
        /// The maximum time.
        limit: Duration,
    },
    /// The engine could not compile the module. Its message is escaped and truncated to 200
    /// characters.
    Compile(String),
}

impl LoadError {
    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Read { source, .. } => source.kind(),
            Self::CompileTimeout { .. } => io::ErrorKind::TimedOut,
            Self::Unsupported(_) => io::ErrorKind::Unsupported,
            Self::Compile(_) => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `read`,
    /// `too-large`, `hash`, `signature`, `not-a-module`, `malformed`, `unsupported`, `interface`, `too-complex`,
    /// `compile-timeout` or `compile`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::TooLarge { .. } => "too-large",
            Self::Hash { .. } => "hash",
            #[cfg(feature = "signatures")]
            Self::Signature { .. } => "signature",
            Self::NotAModule(_) => "not-a-module",
            Self::Malformed(_) => "malformed",
            Self::Unsupported(_) => "unsupported",
            Self::Interface(_) => "interface",
            Self::TooComplex(_) => "too-complex",
            Self::CompileTimeout { .. } => "compile-timeout",
            Self::Compile(_) => "compile",
        }
    }

    /// An error of the parser or validator, whose message may quote the file.
    pub(crate) fn malformed(error: impl fmt::Display) -> Self {
        let message = error.to_string();
        match feature_needed(&message) {
            Some(feature) => Self::Unsupported(feature),
            None => Self::Malformed(Excerpt(&message).to_string()),
        }
    }
}

/// The name of the feature that is disabled, according to a message of the validator.
fn feature_needed(message: &str) -> Option<&'static str> {
    const FEATURES: [(&str, &str); 14] = [
        ("tail calls", "tail calls"),
        ("exceptions", "exceptions"),
        ("legacy exceptions", "legacy exceptions"),
        ("threads", "threads"),
        ("shared-everything-threads", "threads"),
        ("memory64", "64-bit memories or tables"),
        ("gc", "garbage collection"),
        ("function references", "typed function references"),
        ("stack switching", "stack switching"),
        ("wide arithmetic", "wide arithmetic"),
        ("memory control", "memory control"),
        ("custom descriptors", "custom descriptors"),
        ("the custom page sizes", "custom page sizes"),
        ("custom descriptors operations", "custom descriptors"),
    ];
    FEATURES.iter().find_map(|(name, feature)| {
        let rest = message.strip_prefix(name)?;
        [
            " support is not enabled",
            " proposal not enabled",
            " proposal must be enabled",
            " must be enabled",
        ]
        .iter()
        .any(|end| rest.starts_with(end))
        .then_some(*feature)
    })
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => {
                write!(f, "the module file {} could not be read", path.display())
            }
            Self::TooLarge { size, limit } => write!(
                f,
                "the module has at least {size} bytes, more than the limit of {limit}; \
                 raise the limit if it is meant to be that large"
            ),
            Self::Hash { expected, found } => {
                write!(
                    f,
                    "the module's SHA-256 is {found}, but {expected} was expected; it was not loaded"
                )
            }
            #[cfg(feature = "signatures")]
            Self::Signature { path, .. } => {
                f.write_str("the module was not loaded because of its signature")?;
                match path {
                    Some(path) => write!(f, " ({})", path.display()),
                    None => Ok(()),
                }
            }
            Self::NotAModule(what) => write!(f, "this is not a WebAssembly module: {what}"),
            Self::Malformed(message) => {
                write!(
                    f,
                    "the module is not valid WebAssembly: {}",
                    Excerpt(message)
                )
            }
            Self::Unsupported(feature) => {
                let verb = if feature.ends_with('s') { "are" } else { "is" };
                write!(f, "the module uses {feature}, which {verb} not supported")
            }
            Self::Interface(problems) => {
                for (i, problem) in problems.iter().enumerate() {
                    let separator = if i == 0 { "" } else { "; " };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
            Self::TooComplex(message) => write!(f, "the module is not loaded: {message}"),
            Self::CompileTimeout { limit } => write!(
                f,
                "the module could not be compiled within {limit:?}; allow more time if the module is \
                 trusted and large, or if the machine is slow"
            ),
            Self::Compile(message) => {
                write!(f, "the module could not be compiled: {}", Excerpt(message))
            }
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            #[cfg(feature = "signatures")]
            Self::Signature { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_quotes_a_module_in_part_and_without_what_moves_a_cursor() {
        let long = format!("a\u{1b}[31m\nb{}", "\u{e9}".repeat(5000));
        for error in [
            LoadError::Malformed(long.clone()),
            LoadError::Compile(long.clone()),
        ] {
            let text = error.to_string();
            assert!(text.contains("a\\u{1b}[31m\\nb\u{e9}"), "{text}");
            assert!(text.ends_with("\u{e9}.."), "{text}");
            assert!(text.chars().count() < 300, "{text}");
        }
        let text = LoadError::Malformed("short".into()).to_string();
        assert!(text.ends_with(": short"), "{text}");
    }
}
