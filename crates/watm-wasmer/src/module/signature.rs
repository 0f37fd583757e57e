//! Signatures of files in the format of minisign: who has signed exactly these bytes.
//!
//! The cryptography is that of the crate `minisign-verify`. Knows neither modules nor what a file
//! means. Everything here comes from outside, so it is bounded, and read before anything else is.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::{Error as Verdict, PublicKey, Signature};
use watm_abi::Excerpt;

use crate::error::{KeyError, LoadError, SignatureError};
use crate::module::file::{self, ReadError};

/// Maximum size of a file with a signature in bytes. Minisign's trusted comments have up to 8 KiB
/// and its other ones up to 1 KiB.
pub(crate) const SIGNATURE_LIMIT: u64 = 10 << 10;
/// Maximum size of a file with a public key in bytes.
const KEY_LIMIT: u64 = 4 << 10;
/// Length of a public key in base64, and of a secret one.
const KEY_LENGTH: usize = 56;
const SECRET_KEY_LENGTH: usize = 212;
/// What the names of signatures end with.
const EXTENSION: &str = ".minisig";
const UNTRUSTED: &str = "untrusted comment:";

/// The number by which a key is known: 16 hexadecimal digits, as minisign displays it.
///
/// Anyone can make a key with any number. It says which key to look for, not who has signed.
///
/// ```
/// use watm_wasmer::TrustedKey;
///
/// let keys = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse::<TrustedKey>()?];
/// let wanted = "E7620F1842B4E81F";
/// let key = keys.iter().find(|key| key.id().to_string() == wanted);
/// assert!(key.is_some());
/// # Ok::<(), watm_wasmer::KeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// The number in the base64 of a key or of a signature, which has been checked.
    fn of(base64: &str) -> Option<Self> {
        let mut head = [0; 12];
        let head_length = head.len() / 3 * 4;
        BASE64_STANDARD
            .decode_slice(base64.get(..head_length)?, &mut head)
            .ok()?;
        // After two bytes with the algorithm.
        let number = head.get(2..10)?.try_into().ok()?;
        Some(Self(u64::from_le_bytes(number)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key of minisign whose signatures count.
///
/// It is parsed from the 56 characters that `minisign -G` prints, or from the text of a `.pub` file.
///
/// ```
/// use watm_wasmer::TrustedKey;
///
/// let key: TrustedKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse()?;
/// assert_eq!(key.id().to_string(), "E7620F1842B4E81F");
/// # Ok::<(), watm_wasmer::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    key: PublicKey,
    id: KeyId,
}

impl TrustedKey {
    /// Reads a key from a file, such as `minisign.pub`, of at most 4 KiB.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the file cannot be read or is not a public key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let bytes = file::read(path, KEY_LIMIT).map_err(|error| match error {
            ReadError::Io(source) => KeyError::Read {
                path: path.to_owned(),
                source,
            },
            ReadError::TooLarge { .. } => KeyError::TooLarge { limit: KEY_LIMIT },
        })?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| KeyError::Malformed("it is not text"))?;
        text.parse()
    }

    /// The number by which the key is known.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl FromStr for TrustedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() as u64 > KEY_LIMIT {
            return Err(KeyError::TooLarge { limit: KEY_LIMIT });
        }
        let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
        let encoded = match *lines {
            [] => return Err(KeyError::Malformed("it is empty")),
            [key] => key,
            [comment, key] if comment.starts_with(UNTRUSTED) => key,
            [_, _, comment, _] if comment.starts_with("trusted comment:") => {
                return Err(KeyError::Malformed("it is a signature"));
            }
            _ => return Err(KeyError::Malformed("it has other lines than a key")),
        };
        match encoded.len() {
            KEY_LENGTH => {}
            SECRET_KEY_LENGTH if encoded.starts_with("RW") => return Err(KeyError::Secret),
            0..KEY_LENGTH => return Err(KeyError::Malformed("it has fewer characters")),
            _ => return Err(KeyError::Malformed("it has more characters")),
        }
        let key = PublicKey::from_base64(encoded).map_err(|error| {
            KeyError::Malformed(match error {
                Verdict::UnsupportedAlgorithm => "it does not begin with RW",
                _ => "it is not base64",
            })
        })?;
        let id = KeyId::of(encoded).ok_or(KeyError::Malformed("it is not base64"))?;
        Ok(Self { key, id })
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKey({})", self.id)
    }
}

/// A signature that holds: which trusted key has signed a file, and what it says about it.
///
/// [`Display`](fmt::Display) writes both in one line, with the comment escaped and cut after 200
/// characters.
///
/// ```
/// use watm_wasmer::{SignatureInfo, TrustedKey};
///
/// # let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/signed");
/// let keys = [TrustedKey::from_file(format!("{directory}/first.pub"))?];
/// let content = std::fs::read(format!("{directory}/module.wat"))?;
/// let signature = std::fs::read(format!("{directory}/module.wat.minisig"))?;
/// let info = SignatureInfo::verify(&content, &signature, &keys)?;
/// assert_eq!(info.key_id(), keys[0].id());
/// println!("{info}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureInfo {
    key_id: KeyId,
    trusted_comment: String,
}

impl SignatureInfo {
    /// Verifies that one of `keys` has signed `content`, whatever it is: a module, a manifest, a
    /// configuration. `signature` is what `minisign -S` writes, of at most 10 KiB.
    ///
    /// The signature names its key, which selects among `keys`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if it is not a signature, if its key is not among `keys`, or if the
    /// content or the trusted comment is not what was signed. Signatures over the file itself,
    /// which minisign made by default before version 0.10, are refused: they sign the same kind of
    /// bytes as those over a hash without saying which, so that one could pass for the other.
    pub fn verify(
        content: &[u8],
        signature: &[u8],
        keys: &[TrustedKey],
    ) -> Result<Self, SignatureError> {
        let (id, signature) = parse(signature)?;
        let mut verdict = Err(SignatureError::UnknownKey {
            id,
            trusted: Vec::new(),
        });
        // Several keys may have the same number, of which one is enough.
        for key in keys.iter().filter(|key| key.id == id) {
            verdict = match key.key.verify(content, &signature, false) {
                Ok(()) => {
                    return Ok(Self {
                        key_id: id,
                        trusted_comment: signature.trusted_comment().to_owned(),
                    });
                }
                Err(Verdict::UnexpectedAlgorithm) => return Err(SignatureError::Legacy { id }),
                Err(_) => Err(SignatureError::Wrong { id }),
            };
        }
        match verdict {
            Err(SignatureError::UnknownKey { id, .. }) => Err(SignatureError::UnknownKey {
                id,
                trusted: keys.iter().map(TrustedKey::id).collect(),
            }),
            other => other,
        }
    }

    /// The key that has signed the file.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The trusted comment, which is signed as well: by default a time, and the name that the file
    /// had. It may hold any characters, so display it as this type does, or escape it.
    pub fn trusted_comment(&self) -> &str {
        &self.trusted_comment
    }
}

impl fmt::Display for SignatureInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comment = Excerpt(&self.trusted_comment);
        write!(f, "signed with the key {}: {comment}", self.key_id)
    }
}

/// A signature and the number of its key. Beyond the format, there must be no more than it.
fn parse(file: &[u8]) -> Result<(KeyId, Signature), SignatureError> {
    let malformed = |what| Err(SignatureError::Malformed(what));
    if file.len() as u64 > SIGNATURE_LIMIT {
        return malformed("it has more than 10 KiB");
    }
    let Ok(text) = std::str::from_utf8(file) else {
        return malformed("it is not text in UTF-8");
    };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let [comment, encoded, trusted, _] = *lines else {
        return malformed(match lines.len() {
            0 => "it is empty",
            1..4 => "it has fewer than four lines; it may have been cut",
            _ => "it has more than four lines",
        });
    };
    if !comment.starts_with(UNTRUSTED) {
        return malformed("its first line does not begin with `untrusted comment:`");
    }
    if !trusted.starts_with("trusted comment: ") {
        return malformed("its third line does not begin with `trusted comment: `");
    }
    let signature = match Signature::decode(text) {
        Ok(signature) => signature,
        Err(Verdict::UnsupportedAlgorithm) => return malformed("its algorithm is unknown"),
        Err(_) => return malformed("its second or fourth line is not whole"),
    };
    match KeyId::of(encoded) {
        Some(id) => Ok((id, signature)),
        None => malformed("its second line is not whole"),
    }
}

/// What a loader demands of signatures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    /// The trusted keys, if only what they have signed is accepted.
    pub(crate) keys: Option<Arc<[TrustedKey]>>,
    pub(crate) source: Source,
}

/// Where a signature comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Source {
    /// The file beside the signed one.
    #[default]
    Beside,
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

impl Demand {
    /// Verifies bytes that were read from `path`, if from a file. Returns nothing if no signature is
    /// demanded.
    pub(crate) fn verify(
        &self,
        content: &[u8],
        path: Option<&Path>,
    ) -> Result<Option<SignatureInfo>, LoadError> {
        let beside;
        let (given, file) = match (&self.source, path) {
            (Source::Bytes(bytes), _) => (Some(bytes), None),
            (Source::File(path), _) => (None, Some(path)),
            // Not even looked for.
            (Source::Beside, _) if self.keys.is_none() => return Ok(None),
            (Source::Beside, Some(path)) => {
                beside = signature_path(path);
                (None, Some(&beside))
            }
            (Source::Beside, None) => (None, None),
        };
        // A signature without keys to trust is one by an unknown key.
        let keys = self.keys.as_deref().unwrap_or_default();
        let verified = match (given, file) {
            (Some(bytes), _) => SignatureInfo::verify(content, bytes, keys),
            (None, Some(path)) => {
                read_signature(path).and_then(|bytes| SignatureInfo::verify(content, &bytes, keys))
            }
            (None, None) => Err(SignatureError::Missing),
        };
        verified.map(Some).map_err(|source| LoadError::Signature {
            path: file.cloned(),
            source,
        })
    }
}

/// The file where the signature of another file is looked for: its name with `.minisig`.
pub(crate) fn signature_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(EXTENSION);
    name.into()
}

fn read_signature(path: &Path) -> Result<Vec<u8>, SignatureError> {
    file::read(path, SIGNATURE_LIMIT).map_err(SignatureError::from)
}

impl From<ReadError> for SignatureError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            ReadError::Io(error) => Self::Read(error),
            ReadError::TooLarge { .. } => Self::Malformed("it has more than 10 KiB"),
        }
    }
}

#[cfg(test)]
mod tests;
