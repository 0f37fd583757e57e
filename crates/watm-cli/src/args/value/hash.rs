//! A SHA-256: 64 hexadecimal digits.

use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        if length != 64 {
            return Err(format!(
                "a SHA-256 has 64 hexadecimal digits, but this has {length} characters"
            ));
        }
        let mut hash = [0; 32];
        let digits: Vec<u8> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or("a SHA-256 consists of the digits 0 to 9 and a to f")?;
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_in_either_case() {
        let text = "00ff10a5".repeat(8);
        let expected = Hash(std::array::from_fn(|i| [0x00, 0xff, 0x10, 0xa5][i % 4]));
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!(text.to_uppercase().parse(), Ok(expected));
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
            bad.parse::<Hash>().expect_err(bad);
        }
    }
}
