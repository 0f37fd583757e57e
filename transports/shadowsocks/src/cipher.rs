//! The AEAD of one stream: a key, and a nonce that counts.
//!
//! The host does it, if it offers that; it has the processor's instructions. Otherwise the module
//! does.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use watm_guest::{Error, Output, Result, aead};

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

type Nonce = [u8; 12];

/// The module's own are in boxes, since their sizes differ much.
enum Aead {
    OfHost(aead::Key),
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    /// The fastest one as WebAssembly: see the README.
    ChaCha20Poly1305(Box<[u8; 32]>),
}

impl Cipher {
    /// `key` has the length that the algorithm needs.
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        Self::of_host(algorithm, key).unwrap_or_else(|| Self::own(algorithm, key))
    }

    /// The host's, if it offers one.
    pub(crate) fn of_host(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        let algorithm = match algorithm {
            Algorithm::Aes128Gcm => aead::Algorithm::Aes128Gcm,
            Algorithm::Aes256Gcm => aead::Algorithm::Aes256Gcm,
            Algorithm::ChaCha20Poly1305 => aead::Algorithm::ChaCha20Poly1305,
        };
        let key = aead::Key::new(algorithm, key).ok()?;
        Some(Cipher {
            aead: Aead::OfHost(key),
            counter: 0,
        })
    }

    /// The module's own, on any host.
    pub(crate) fn own(algorithm: Algorithm, key: &[u8]) -> Self {
        const LENGTH: &str = "the method gives the length";
        let aead = match algorithm {
            Algorithm::Aes128Gcm => {
                Aead::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(key).expect(LENGTH)))
            }
            Algorithm::Aes256Gcm => {
                Aead::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).expect(LENGTH)))
            }
            Algorithm::ChaCha20Poly1305 => {
                Aead::ChaCha20Poly1305(Box::new(key.try_into().expect(LENGTH)))
            }
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
        const SHORT: &str = "a message has no gigabytes";
        let nonce = self.next_nonce();
        let sealed = output.grow(plain.len() + TAG);
        let (content, tag) = sealed.split_at_mut(plain.len());
        match &self.aead {
            Aead::OfHost(key) => key.seal(&nonce, &[], plain, sealed).expect(SHORT),
            Aead::Aes128Gcm(aead) => tag.copy_from_slice(&seal(&**aead, &nonce, plain, content)),
            Aead::Aes256Gcm(aead) => tag.copy_from_slice(&seal(&**aead, &nonce, plain, content)),
            Aead::ChaCha20Poly1305(key) => {
                libcrux_chacha20poly1305::encrypt(key, plain, sealed, &[], &nonce).expect(SHORT);
            }
        }
    }

    /// Opens a message, and appends its content to the output.
    ///
    /// # Errors
    ///
    /// `PROTO` if it was sealed with another key, at another place of the stream, or was altered.
    /// The output then has bytes without a meaning at its end.
    pub(crate) fn open(&mut self, sealed: &[u8], output: &mut Output) -> Result<()> {
        let length = sealed.len().checked_sub(TAG).ok_or(Error::PROTO)?;
        self.open_to(sealed, output.grow(length))
    }

    /// Opens a message of `N` bytes of content, such as a length.
    ///
    /// # Errors
    ///
    /// As `open`, also for a message of another length.
    pub(crate) fn open_array<const N: usize>(&mut self, sealed: &[u8]) -> Result<[u8; N]> {
        if sealed.len() != N + TAG {
            return Err(Error::PROTO);
        }
        let mut content = [0; N];
        self.open_to(sealed, &mut content)?;
        Ok(content)
    }

    /// As `open`, to a vector.
    pub(crate) fn open_vec(&mut self, sealed: &[u8]) -> Result<Vec<u8>> {
        let length = sealed.len().checked_sub(TAG).ok_or(Error::PROTO)?;
        let mut content = vec![0; length];
        self.open_to(sealed, &mut content)?;
        Ok(content)
    }

    /// `content` has the length of the message without its tag.
    fn open_to(&mut self, sealed: &[u8], content: &mut [u8]) -> Result<()> {
        let nonce = self.next_nonce();
        match &self.aead {
            Aead::OfHost(key) => key
                .open(&nonce, &[], sealed, content)
                .map_err(|_| Error::PROTO),
            Aead::Aes128Gcm(aead) => open(&**aead, &nonce, sealed, content),
            Aead::Aes256Gcm(aead) => open(&**aead, &nonce, sealed, content),
            Aead::ChaCha20Poly1305(key) => {
                libcrux_chacha20poly1305::decrypt(key, content, sealed, &[], &nonce)
                    .map(drop)
                    .map_err(|_| Error::PROTO)
            }
        }
    }

    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[..8].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        nonce
    }
}

/// Seals `plain` into `content`, which has the same length, and returns the tag.
fn seal<A>(aead: &A, nonce: &Nonce, plain: &[u8], content: &mut [u8]) -> [u8; TAG]
where
    A: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    let buffer = InOutBuf::new(plain, content).expect("both have the same length");
    aead.encrypt_inout_detached(&(*nonce).into(), &[], buffer)
        .expect("a message has no gigabytes")
        .into()
}

/// Opens `sealed` into `content`, which is shorter by the tag.
fn open<A>(aead: &A, nonce: &Nonce, sealed: &[u8], content: &mut [u8]) -> Result<()>
where
    A: AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    let (body, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::PROTO)?;
    let buffer = InOutBuf::new(body, content).map_err(|_| Error::PROTO)?;
    aead.decrypt_inout_detached(&(*nonce).into(), &[], buffer, &(*tag).into())
        .map_err(|_| Error::PROTO)
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
