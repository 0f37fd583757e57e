//! Why a public key is none, and why a signature does not hold.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::module::signature::KeyId;

/// How many of the trusted keys a message names.
const NAMED: usize = 8;

/// Why something is not a public key of minisign.
///
/// ```
/// use watm_wasmer::{KeyError, TrustedKey};
///
/// // A part was lost when it was copied.
/// let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1C".parse::<TrustedKey>();
/// match key {
///     Err(KeyError::Malformed(what)) => assert_eq!(what, "it has fewer characters"),
///     result => panic!("{result:?}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file could not be read.
    #[error("the key file {} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It is larger than any key.
    #[error("a public key has at most {limit} bytes with its comment, but this has more")]
    TooLarge {
        /// The maximum size in bytes.
        limit: u64,
    },
    /// It is a secret key. It should not leave the machine where files are signed.
    #[error(
        "this is a secret key, which must stay with whoever signs; give the public key, the file \
         that ends with .pub"
    )]
    Secret,
    /// It is something else. The text says what was found.
    #[error("this is not a public key of minisign, which is 56 characters that begin with RW: {0}")]
    Malformed(&'static str),
}

/// Why a signature does not hold.
///
/// ```
/// use watm_wasmer::{SignatureError, SignatureInfo, TrustedKey};
///
/// # let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/signed");
/// let keys = [TrustedKey::from_file(format!("{directory}/first.pub"))?];
/// let signature = std::fs::read(format!("{directory}/module.wat.minisig"))?;
/// match SignatureInfo::verify(b"(module)", &signature, &keys) {
///     // Somebody has changed the file.
///     Err(SignatureError::Wrong { id }) => assert_eq!(id, keys[0].id()),
///     result => panic!("{result:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signature, but one is required.
    Missing,
    /// The file of the signature could not be read.
    Read(io::Error),
    /// It is not a signature in minisign's format. The text says what was found.
    Malformed(&'static str),
    /// It was made with a key that is not trusted.
    UnknownKey {
        /// The key that it names.
        id: KeyId,
        /// The trusted keys.
        trusted: Vec<KeyId>,
    },
    /// It was made over the file itself rather than over a hash of it, as minisign did before
    /// version 0.10. It was not verified.
    Legacy {
        /// The key that it names.
        id: KeyId,
    },
    /// The file or the trusted comment is not what the key has signed.
    Wrong {
        /// The key that it names, which is trusted.
        id: KeyId,
    },
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "there is no signature, and only what a trusted key has signed is accepted",
            ),
            Self::Read(_) => f.write_str("the signature could not be read"),
            Self::Malformed(what) => {
                write!(f, "it is not a signature in minisign's format: {what}")
            }
            Self::UnknownKey { id, trusted } if trusted.is_empty() => {
                write!(f, "it was signed with the key {id}, but no key is trusted")
            }
            Self::UnknownKey { id, trusted } => {
                let verb = if trusted.len() == 1 {
                    "key is"
                } else {
                    "keys are"
                };
                write!(
                    f,
                    "it was signed with the key {id}, which is not trusted; the trusted {verb}"
                )?;
                for (i, id) in trusted.iter().take(NAMED).enumerate() {
                    let separator = if i == 0 { " " } else { ", " };
                    write!(f, "{separator}{id}")?;
                }
                match trusted.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Legacy { id } => write!(
                f,
                "the signature by the key {id} is of the form that minisign made before version \
                 0.10 (now with -l); sign the file again without -l"
            ),
            Self::Wrong { id } => write!(
                f,
                "the file, or the trusted comment of its signature, is not what the key {id} has \
                 signed"
            ),
        }
    }
}

impl std::error::Error for SignatureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(source) => Some(source),
            _ => None,
        }
    }
}
