//! Why a manifest, or what it names, is refused.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use watm_abi::{Excerpt, Roles};

use crate::error::{LoadError, SignatureError};
use crate::module::hash::ModuleHash;

/// Why a manifest, or what it names, is refused. The message names the file, the line and the key.
///
/// ```
/// use watm_wasmer::Manifest;
///
/// // Neither a hash nor trusted keys.
/// let file = "[[module]]\nname = \"plain\"\nfile = \"plain.wasm\"\n";
/// let error = Manifest::parse(file, "modules.toml").expect_err("anything could be that module");
/// assert_eq!(error.line(), Some(1));
/// println!("{error}");
/// ```
#[derive(Debug)]
pub struct ManifestError {
    path: PathBuf,
    place: Option<Place>,
    // Errors are rare, and results are moved often.
    problem: Box<ManifestProblem>,
}

/// A line of a manifest, and the key that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) key: Option<String>,
}

/// What is wrong with a manifest, or with what it names.
///
/// ```
/// use watm_wasmer::{Manifest, ManifestProblem, ModuleHash};
///
/// let sha256 = ModuleHash::of(b"(module)");
/// let file = format!(
///     "[[module]]\nname = \"plain\"\nfile = \"plain.wasm\"\nsha256 = \"{sha256}\"\n"
/// );
/// let manifest = Manifest::parse(file, "modules.toml")?;
/// let error = manifest.load("plan").expect_err("there is no such module");
/// match error.problem() {
///     ManifestProblem::UnknownModule { nearest, .. } => {
///         assert_eq!(nearest.as_deref(), Some("plain"));
///     }
///     problem => panic!("{problem}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ManifestProblem {
    /// The manifest could not be read.
    Read(io::Error),
    /// The manifest is larger than any should be.
    TooLarge {
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The signature of the manifest does not hold. The manifest was not parsed.
    Signature(SignatureError),
    /// The manifest says something that makes no sense. The text says what.
    Invalid(String),
    /// The manifest names no such module.
    UnknownModule {
        /// The name that was asked for.
        name: String,
        /// The name in the manifest that is most like it.
        nearest: Option<String>,
    },
    /// A module could not be loaded, or is not the one that the manifest names.
    Load(LoadError),
    /// A module does not offer each role that the manifest says it has.
    Roles {
        /// The roles that it lacks.
        missing: Roles,
        /// The roles that it offers.
        offered: Roles,
    },
    /// A configuration could not be read.
    Config {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The SHA-256 of a configuration is not the one in the manifest.
    ConfigHash {
        /// The hash in the manifest.
        expected: ModuleHash,
        /// The hash of the file.
        found: ModuleHash,
    },
}

impl ManifestError {
    pub(crate) fn new(path: &Path, place: Option<Place>, problem: ManifestProblem) -> Self {
        Self {
            path: path.to_owned(),
            place,
            problem: Box::new(problem),
        }
    }

    /// The manifest.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line of the manifest, from 1 on, unless the problem is the manifest as a whole.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The key in that line, if the problem is about one. It may hold any characters.
    pub fn key(&self) -> Option<&str> {
        self.place.as_ref()?.key.as_deref()
    }

    /// What is wrong.
    pub fn problem(&self) -> &ManifestProblem {
        &self.problem
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line() {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = self.key() {
            write!(f, ", `{}`", Excerpt(key))?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("the manifest could not be read"),
            Self::TooLarge { limit } => {
                write!(f, "the manifest has more than {limit} bytes")
            }
            Self::Signature(_) => f.write_str("the manifest was not accepted"),
            Self::Invalid(message) => f.write_str(message),
            Self::UnknownModule { name, nearest } => {
                write!(f, "there is no module `{}`", Excerpt(name))?;
                match nearest {
                    Some(nearest) => write!(f, "; the nearest is `{nearest}`"),
                    None => Ok(()),
                }
            }
            Self::Load(error) => error.fmt(f),
            Self::Roles { missing, offered } => write!(
                f,
                "the module does not offer: {missing}; it offers: {offered}"
            ),
            Self::Config { path, .. } => {
                write!(f, "the configuration {} could not be read", path.display())
            }
            Self::ConfigHash { expected, found } => write!(
                f,
                "the configuration's SHA-256 is {found}, but {expected} was expected"
            ),
        }
    }
}

impl Error for ManifestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.problem {
            ManifestProblem::Read(source) | ManifestProblem::Config { source, .. } => Some(source),
            ManifestProblem::Signature(source) => Some(source),
            ManifestProblem::Load(error) => error.source(),
            _ => None,
        }
    }
}
