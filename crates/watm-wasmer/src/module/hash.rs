//! The hash that identifies a module file.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The SHA-256 of a module file.
///
/// It is written as 64 hexadecimal digits: lower-case when it is displayed, of either case when it
/// is parsed.
///
/// ```no_run
/// use watm_wasmer::{ModuleHash, ModuleLoader};
///
/// let expected: ModuleHash =
///     "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse()?;
/// let module = ModuleLoader::new().sha256(expected).load_file("plain.wasm")?;
/// assert_eq!(module.sha256(), expected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleHash([u8; 32]);

impl ModuleHash {
    /// Hashes the bytes of a module file.
    pub fn of(file: &[u8]) -> Self {
        Self(Sha256::digest(file).into())
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ModuleHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleHash({self})")
    }
}

/// Why a text is not a [`ModuleHash`].
///
/// ```
/// use watm_wasmer::ModuleHash;
///
/// let error = "9f86d081".parse::<ModuleHash>().expect_err("it is a part of one");
/// assert_eq!(
///     error.to_string(),
///     "a SHA-256 has 64 hexadecimal digits, but this has 8 characters",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ModuleHashError(#[from] Problem);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("a SHA-256 has 64 hexadecimal digits, but this has {0} characters")]
    Length(usize),
    #[error("a SHA-256 consists of the digits 0 to 9 and a to f")]
    Digit,
}

impl FromStr for ModuleHash {
    type Err = ModuleHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if length != 64 {
            return Err(Problem::Length(length).into());
        }
        let mut hash = [0; 32];
        for (i, c) in text.chars().enumerate() {
            let digit = c.to_digit(16).ok_or(Problem::Digit)?;
            hash[i / 2] = hash[i / 2] << 4 | digit as u8;
        }
        Ok(Self(hash))
    }
}

/// Bytes, displayed as lower-case hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_in_either_case_and_written_in_lower_case() {
        let text = "00ff10a5".repeat(8);
        let expected = ModuleHash(std::array::from_fn(|i| [0x00, 0xff, 0x10, 0xa5][i % 4]));
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!(text.to_uppercase().parse(), Ok(expected));
        assert_eq!(expected.to_string(), text);
    }

    #[test]
    fn a_hash_of_another_length_or_with_other_characters_is_refused() {
        for bad in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"ä".repeat(64),
        ] {
            bad.parse::<ModuleHash>().expect_err(bad);
        }
    }

    #[test]
    fn a_hash_is_that_of_the_file() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ModuleHash::of(b"").to_string(), expected);
    }
}
