//! The methods: names, algorithms, sizes.

use watm_guest::Result;

/// Which edition of the protocol a method belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    /// SIP004 and SIP007: "AEAD ciphers".
    Aead,
    /// SIP022: "Shadowsocks 2022".
    Aead2022,
}

/// The cipher of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// A method, as configurations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) edition: Edition,
    pub(crate) algorithm: Algorithm,
}

const fn method(name: &'static str, edition: Edition, algorithm: Algorithm) -> Method {
    Method {
        name,
        edition,
        algorithm,
    }
}

impl Method {
    pub(crate) const ALL: [Method; 6] = [
        method("aes-128-gcm", Edition::Aead, Algorithm::Aes128Gcm),
        method("aes-256-gcm", Edition::Aead, Algorithm::Aes256Gcm),
        method(
            "chacha20-ietf-poly1305",
            Edition::Aead,
            Algorithm::ChaCha20Poly1305,
        ),
        method(
            "2022-blake3-aes-128-gcm",
            Edition::Aead2022,
            Algorithm::Aes128Gcm,
        ),
        method(
            "2022-blake3-aes-256-gcm",
            Edition::Aead2022,
            Algorithm::Aes256Gcm,
        ),
        method(
            "2022-blake3-chacha20-poly1305",
            Edition::Aead2022,
            Algorithm::ChaCha20Poly1305,
        ),
    ];

    pub(crate) fn find(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name == name)
    }

    /// Bytes of the key. A salt has as many.
    pub(crate) const fn key_length(self) -> usize {
        match self.algorithm {
            Algorithm::Aes128Gcm => 16,
            Algorithm::Aes256Gcm | Algorithm::ChaCha20Poly1305 => 32,
        }
    }

    /// The salt of a new stream.
    ///
    /// # Errors
    ///
    /// That of the host, if it has no random bytes.
    pub(crate) fn new_salt(self) -> Result<Vec<u8>> {
        let mut salt = vec![0; self.key_length()];
        watm_guest::random(&mut salt)?;
        Ok(salt)
    }

    /// The most bytes of payload in a chunk.
    pub(crate) const fn chunk_limit(self) -> usize {
        self.edition.chunk_limit()
    }
}

impl Edition {
    /// The most bytes of payload in a chunk.
    pub(crate) const fn chunk_limit(self) -> usize {
        match self {
            Edition::Aead => 0x3fff,
            Edition::Aead2022 => 0xffff,
        }
    }
}
