//! The AEAD of one stream: a key, and a nonce that counts.

use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use watm_guest::{Error, Output, Result};

use crate::method::Algorithm;

/// Bytes that a sealed message has more than its content.
pub(crate) const TAG: usize = 16;

/// A cipher with the key of a stream and the nonce of its next message.
pub(crate) struct Cipher {
    aead: Aead,
    /// The nonce is this number, as a little-endian integer of 12 bytes. No stream has 2^64
    /// messages.
    counter: u64,
}

/// In boxes, since their sizes differ much.
enum Aead {
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Cipher {
    /// `key` has the length that the algorithm needs.
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        const LENGTH: &str = "the method gives the length";
        let aead = match algorithm {
            Algorithm::Aes128Gcm => {
                Aead::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(key).expect(LENGTH)))
            }
            Algorithm::Aes256Gcm => {
                Aead::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).expect(LENGTH)))
            }
            Algorithm::ChaCha20Poly1305 => Aead::ChaCha20Poly1305(Box::new(
                ChaCha20Poly1305::new_from_slice(key).expect(LENGTH),
            )),
        };
        Cipher { aead, counter: 0 }
    }

    /// The same, as if it had sealed or opened `messages`.
    pub(crate) fn after(mut self, messages: u64) -> Self {
        self.counter = messages;
        self
    }

    /// Seals `plain`, and appends the message to the output.
    pub(crate) fn seal(&mut self, plain: &[u8], output: &mut Output) {
        let nonce = self.next_nonce();
        let bytes = output.push(plain);
        // It fails only for messages of gigabytes.
        let tag = match &self.aead {
            Aead::Aes128Gcm(aead) => aead.encrypt_inout_detached(&nonce, &[], bytes.into()),
            Aead::Aes256Gcm(aead) => aead.encrypt_inout_detached(&nonce, &[], bytes.into()),
            Aead::ChaCha20Poly1305(aead) => aead.encrypt_inout_detached(&nonce, &[], bytes.into()),
        }
        .expect("a chunk is short");
        output.push(&tag);
    }

    /// Opens a message, and appends its content to the output.
    ///
    /// # Errors
    ///
    /// `PROTO` if it was sealed with another key, at another place of the stream, or was altered.
    /// The output then has bytes without a meaning at its end.
    pub(crate) fn open(&mut self, sealed: &[u8], output: &mut Output) -> Result<()> {
        let (content, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::PROTO)?;
        self.open_in_place(output.push(content), tag)
    }

    /// Opens a message of `N` bytes of content, such as a length.
    ///
    /// # Errors
    ///
    /// As `open`, also for a message of another length.
    pub(crate) fn open_array<const N: usize>(&mut self, sealed: &[u8]) -> Result<[u8; N]> {
        let (content, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::PROTO)?;
        let mut bytes = <[u8; N]>::try_from(content).map_err(|_| Error::PROTO)?;
        self.open_in_place(&mut bytes, tag)?;
        Ok(bytes)
    }

    /// As `open`, to a vector.
    pub(crate) fn open_vec(&mut self, sealed: &[u8]) -> Result<Vec<u8>> {
        let (content, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::PROTO)?;
        let mut bytes = content.to_vec();
        self.open_in_place(&mut bytes, tag)?;
        Ok(bytes)
    }

    fn open_in_place(&mut self, bytes: &mut [u8], tag: &[u8; TAG]) -> Result<()> {
        let nonce = self.next_nonce();
        let tag = Tag::from(*tag);
        match &self.aead {
            Aead::Aes128Gcm(aead) => aead.decrypt_inout_detached(&nonce, &[], bytes.into(), &tag),
            Aead::Aes256Gcm(aead) => aead.decrypt_inout_detached(&nonce, &[], bytes.into(), &tag),
            Aead::ChaCha20Poly1305(aead) => {
                aead.decrypt_inout_detached(&nonce, &[], bytes.into(), &tag)
            }
        }
        .map_err(|_| Error::PROTO)
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[..8].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHMS: [(Algorithm, usize); 3] = [
        (Algorithm::Aes128Gcm, 16),
        (Algorithm::Aes256Gcm, 32),
        (Algorithm::ChaCha20Poly1305, 32),
    ];

    fn cipher((algorithm, length): (Algorithm, usize)) -> Cipher {
        Cipher::new(algorithm, &vec![7; length])
    }

    /// The first message has the nonce 0: test case 1 and 13 of the paper on GCM, without and with
    /// 16 zero bytes (2 and 14).
    #[test]
    fn the_first_message_is_sealed_with_nonce_zero() {
        let cases = [
            (
                Algorithm::Aes128Gcm,
                16,
                "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
            ),
            (
                Algorithm::Aes256Gcm,
                32,
                "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
            ),
        ];
        for (algorithm, length, expected) in cases {
            let mut output = Output::new();
            Cipher::new(algorithm, &vec![0; length]).seal(&[0; 16], &mut output);
            let hex: String = output
                .as_slice()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hex, expected);
        }
    }

    #[test]
    fn messages_open_in_their_order_only() {
        for algorithm in ALGORITHMS {
            let mut sealer = cipher(algorithm);
            let mut messages = [Output::new(), Output::new(), Output::new()];
            for (number, message) in messages.iter_mut().enumerate() {
                sealer.seal(&[number as u8; 3], message);
            }
            let mut opener = cipher(algorithm);
            assert_eq!(opener.open_array(messages[0].as_slice()), Ok([0; 3]));
            assert_eq!(opener.open_vec(messages[1].as_slice()), Ok(vec![1; 3]));
            assert_eq!(opener.open_vec(messages[1].as_slice()), Err(Error::PROTO));
            let mut opener = cipher(algorithm);
            assert_eq!(
                opener.open_array::<3>(messages[2].as_slice()),
                Err(Error::PROTO)
            );
        }
    }

    #[test]
    fn the_counter_is_little_endian_beyond_a_byte() {
        let mut sealer = cipher(ALGORITHMS[2]);
        let mut opener = cipher(ALGORITHMS[2]);
        for _ in 0..300 {
            let mut message = Output::new();
            sealer.seal(b"x", &mut message);
            assert_eq!(opener.open_array(message.as_slice()), Ok(*b"x"));
        }
        assert_eq!(sealer.next_nonce()[..3], [44, 1, 0]);
    }

    #[test]
    fn a_message_that_is_altered_anywhere_does_not_open() {
        for algorithm in ALGORITHMS {
            let mut message = Output::new();
            cipher(algorithm).seal(b"hello", &mut message);
            for position in 0..message.len() {
                let mut altered = message.as_slice().to_vec();
                altered[position] ^= 1;
                assert_eq!(cipher(algorithm).open_vec(&altered), Err(Error::PROTO));
            }
            for length in 0..message.len() {
                let cut = &message.as_slice()[..length];
                assert_eq!(cipher(algorithm).open_vec(cut), Err(Error::PROTO));
            }
        }
    }
}
