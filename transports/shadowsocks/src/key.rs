//! Keys: the one of the configuration, and those of sessions.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hkdf::Hkdf;
use md5::{Digest as _, Md5};
use sha1::Sha1;

use crate::cipher::Cipher;
use crate::method::{Edition, Method};

/// The key that both sides have.
#[derive(Clone)]
pub(crate) struct MasterKey {
    method: Method,
    bytes: Vec<u8>,
}

/// What is wrong with a key in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    NoBase64,
    /// How many bytes it has.
    Length(usize),
}

impl MasterKey {
    /// Derives a key as OpenSSL's `EVP_BytesToKey` does, with MD5, no salt and one round.
    pub(crate) fn from_password(method: Method, password: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let mut last = Vec::new();
        while bytes.len() < method.key_length() {
            let digest = Md5::new().chain_update(&last).chain_update(password);
            last = digest.finalize().to_vec();
            bytes.extend_from_slice(&last);
        }
        bytes.truncate(method.key_length());
        MasterKey { method, bytes }
    }

    /// Reads a key in base64, in the usual or the URL-safe alphabet, with or without padding.
    pub(crate) fn from_base64(method: Method, text: &str) -> Result<Self, KeyError> {
        let config =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let text = text.trim();
        let bytes = [alphabet::STANDARD, alphabet::URL_SAFE]
            .iter()
            .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
            .ok_or(KeyError::NoBase64)?;
        if bytes.len() != method.key_length() {
            return Err(KeyError::Length(bytes.len()));
        }
        Ok(MasterKey { method, bytes })
    }

    pub(crate) fn method(&self) -> Method {
        self.method
    }

    /// The cipher of the stream that begins with this salt.
    pub(crate) fn session(&self, salt: &[u8]) -> Cipher {
        let mut subkey = [0; 32];
        let length = self.method.key_length();
        match self.method.edition {
            Edition::Aead => {
                // It fails only for more than 255 times the 20 bytes of SHA-1.
                Hkdf::<Sha1>::new(Some(salt), &self.bytes)
                    .expand(b"ss-subkey", &mut subkey[..length])
                    .expect("32 bytes are within the limit of HKDF");
            }
            Edition::Aead2022 => {
                blake3::Hasher::new_derive_key("shadowsocks 2022 session subkey")
                    .update(&self.bytes)
                    .update(salt)
                    .finalize_xof()
                    .fill(&mut subkey[..length]);
            }
        }
        Cipher::new(self.method.algorithm, &subkey[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str) -> Method {
        Method::find(name).expect("a known method")
    }

    /// As `openssl enc -aes-256-cbc -k 'barfoo!' -nosalt -md md5 -P` prints it.
    #[test]
    fn passwords_become_keys_as_with_openssl() {
        let key = MasterKey::from_password(method("aes-256-gcm"), b"barfoo!");
        assert_eq!(
            key.bytes,
            [
                0xb3, 0xad, 0xc4, 0x78, 0x39, 0xe0, 0x47, 0xeb, 0x22, 0x88, 0x70, 0x52, 0x6d, 0xc8,
                0xfc, 0x30, 0xb3, 0x47, 0x28, 0x7f, 0xfc, 0xa3, 0x04, 0x5d, 0xce, 0xa0, 0x6b, 0x3f,
                0xdf, 0x09, 0x0a, 0xcb,
            ]
        );
        let short = MasterKey::from_password(method("aes-128-gcm"), b"barfoo!");
        assert_eq!(short.bytes, key.bytes[..16]);
    }

    #[test]
    fn keys_are_read_in_both_alphabets() {
        let method = method("2022-blake3-aes-128-gcm");
        for text in [
            "+/+/AAAAAAAAAAAAAAAAAA==",
            "-_-_AAAAAAAAAAAAAAAAAA",
            " +/+/AAAAAAAAAAAAAAAAAA",
        ] {
            let key = MasterKey::from_base64(method, text).expect("a key");
            assert_eq!(key.bytes[..3], [0xfb, 0xff, 0xbf]);
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let method = method("2022-blake3-aes-256-gcm");
        let text = "AAAAAAAAAAAAAAAAAAAAAA==";
        assert_eq!(
            MasterKey::from_base64(method, text).err(),
            Some(KeyError::Length(16))
        );
        assert_eq!(
            MasterKey::from_base64(method, "a password!").err(),
            Some(KeyError::NoBase64)
        );
    }
}
