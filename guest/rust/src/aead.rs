//! Authenticated encryption by the host, where it offers that: on the processor's instructions,
//! which WebAssembly does not have.
//!
//! AES-GCM as WebAssembly encrypts about 100 MB/s; by the host, more than 2,000. It is the
//! extension `watm_ext_aead_v1` of the runtime [watm](https://docs.rs/watm-wasmer), not a part of
//! WATM v1. Other hosts do not know it, so a module needs a cipher of its own as well. The module
//! is one file for all hosts, since it imports nothing for this: the host puts its functions into
//! the module's table, and tells it where.
//!
//! A module does three things:
//!
//! - It calls [`host_aead!`](crate::host_aead) once, beside [`export!`](crate::export).
//! - It is linked with an exported table that can grow. In `build.rs`:
//!
//!   ```no_run
//!   if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("wasm") {
//!       println!("cargo:rustc-link-arg=--export-table");
//!       println!("cargo:rustc-link-arg=--growable-table");
//!   }
//!   ```
//!
//!   Without cargo, the options of `rustc` are `-C link-arg=--export-table -C
//!   link-arg=--growable-table`. Without them, the module works, with its own cipher; `watm inspect`
//!   tells.
//! - It asks for a [`Key`] where it makes a cipher, and makes its own if there is none:
//!
//! ```
//! use watm_guest::aead::{Algorithm, Key};
//!
//! enum Cipher {
//!     OfHost(Key),
//!     Own([u8; 32]), // in place of a cipher
//! }
//!
//! fn cipher(key: &[u8; 32]) -> Cipher {
//!     match Key::new(Algorithm::Aes256Gcm, key) {
//!         Ok(key) => Cipher::OfHost(key),
//!         Err(_) => Cipher::Own(*key),
//!     }
//! }
//! # assert!(matches!(cipher(&[0; 32]), Cipher::Own(_)));
//! ```
//!
//! A nonce must never seal two messages with one key. The host cannot tell, so that it is up to the
//! module, as with any cipher.
//!
//! Outside of WASI nothing is ever offered, so that tests of a transport run its own cipher. Test a
//! module with both: `watm dial --no-host-aead` makes no offer.

#[cfg_attr(target_os = "wasi", path = "aead/sys.rs")]
#[cfg_attr(not(target_os = "wasi"), path = "aead/no_sys.rs")]
mod sys;

use crate::error::{Error, Result};

#[doc(hidden)]
pub use sys::take;

/// Bytes that a sealed message has more than its content. They follow it.
pub const TAG: usize = 16;

/// Maximum number of bytes of a message, without its tag.
pub const MESSAGE_LIMIT: usize = 1 << 20;

/// Maximum number of bytes of additional data.
pub const AAD_LIMIT: usize = 64 << 10;

/// What goes into sealing a message besides the key, and must differ for each message of a key.
pub type Nonce = [u8; 12];

/// A cipher.
///
/// ```
/// use watm_guest::aead::Algorithm;
///
/// // A configuration names the cipher, and has its key.
/// let (name, key) = ("aes-256-gcm", [7; 32]);
/// let algorithm = match name {
///     "aes-128-gcm" => Algorithm::Aes128Gcm,
///     "aes-256-gcm" => Algorithm::Aes256Gcm,
///     _ => Algorithm::ChaCha20Poly1305,
/// };
/// assert_eq!(algorithm.key_length(), key.len());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// AES-GCM with a key of 16 bytes.
    Aes128Gcm,
    /// AES-GCM with a key of 32 bytes.
    Aes256Gcm,
    /// ChaCha20-Poly1305 of RFC 8439, with a key of 32 bytes.
    ChaCha20Poly1305,
}

impl Algorithm {
    /// The length of a key, in bytes.
    pub const fn key_length(self) -> usize {
        match self {
            Algorithm::Aes128Gcm => 16,
            Algorithm::Aes256Gcm | Algorithm::ChaCha20Poly1305 => 32,
        }
    }

    const fn number(self) -> u32 {
        match self {
            Algorithm::Aes128Gcm => 1,
            Algorithm::Aes256Gcm => 2,
            Algorithm::ChaCha20Poly1305 => 3,
        }
    }
}

/// Whether the host offers to encrypt. It is known before
/// [`Transport::new`](crate::Transport::new), and stays.
///
/// ```
/// use watm_guest::aead;
///
/// if !aead::is_offered() {
///     watm_guest::log!("the host has no AEAD, so this module uses its own");
/// }
/// ```
pub fn is_offered() -> bool {
    sys::is_offered()
}

/// A key that the host holds. It is wiped there when this is dropped.
///
/// An instance may have 64 of them at a time. The bytes that it was made of are still in the
/// module's memory.
///
/// ```
/// use watm_guest::aead::{Algorithm, Key, Nonce, TAG};
/// use watm_guest::{Error, Result};
///
/// /// A message and its tag, with the number of the message as its nonce.
/// fn seal(key: &Key, number: u64, message: &[u8]) -> Result<Vec<u8>> {
///     let mut nonce: Nonce = [0; 12];
///     nonce[4..].copy_from_slice(&number.to_be_bytes());
///     let mut sealed = vec![0; message.len() + TAG];
///     key.seal(&nonce, b"", message, &mut sealed)?;
///     Ok(sealed)
/// }
///
/// /// The message again, in place of what was sealed.
/// fn open<'a>(key: &Key, nonce: &Nonce, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
///     // `BADMSG`: the peer has another key, or somebody has changed the message.
///     key.open_in_place(nonce, b"", sealed)
/// }
///
/// match Key::new(Algorithm::ChaCha20Poly1305, &[7; 32]) {
///     Ok(key) => println!("{:?}", open(&key, &[0; 12], &mut seal(&key, 0, b"hello")?)?),
///     // As here, where there is no host: the module uses a cipher of its own.
///     Err(error) => assert_eq!(error, Error::NOSYS),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Key {
    handle: u32,
}

impl Key {
    /// Gives the host a key.
    ///
    /// # Errors
    ///
    /// [`NOSYS`](Error::NOSYS) if the host offers nothing, [`NOTSUP`](Error::NOTSUP) if it does not
    /// have the algorithm, [`INVAL`](Error::INVAL) for a key of another length, and
    /// [`NFILE`](Error::NFILE) if there are too many. Whatever it is, the module's own cipher can
    /// take over.
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self> {
        let handle = sys::key(algorithm.number(), key)?;
        Ok(Key { handle })
    }

    /// Seals `plain` into `sealed`, which is longer by [`TAG`]. Both sides have to agree on `aad`,
    /// which is authenticated, but not a part of the message.
    ///
    /// # Errors
    ///
    /// [`INVAL`](Error::INVAL) if the lengths do not fit, and [`MSGSIZE`](Error::MSGSIZE) beyond
    /// [`MESSAGE_LIMIT`] or [`AAD_LIMIT`].
    pub fn seal(&self, nonce: &Nonce, aad: &[u8], plain: &[u8], sealed: &mut [u8]) -> Result<()> {
        if sealed.len().checked_sub(TAG) != Some(plain.len()) {
            return Err(Error::INVAL);
        }
        sys::seal(self.handle, nonce, aad, plain, sealed)
    }

    /// Seals all of `buffer` but its last [`TAG`] bytes in place, where the tag goes.
    ///
    /// # Errors
    ///
    /// As [`seal`](Key::seal).
    pub fn seal_in_place(&self, nonce: &Nonce, aad: &[u8], buffer: &mut [u8]) -> Result<()> {
        if buffer.len() < TAG {
            return Err(Error::INVAL);
        }
        sys::seal_in_place(self.handle, nonce, aad, buffer)
    }

    /// Opens `sealed` into `plain`, which is shorter by [`TAG`].
    ///
    /// # Errors
    ///
    /// [`BADMSG`](Error::BADMSG) if the message was not sealed with this key, nonce and additional
    /// data, or was altered: then `plain` has zeros. [`INVAL`](Error::INVAL) if the lengths do not
    /// fit, and [`MSGSIZE`](Error::MSGSIZE) as with [`seal`](Key::seal).
    pub fn open(&self, nonce: &Nonce, aad: &[u8], sealed: &[u8], plain: &mut [u8]) -> Result<()> {
        if sealed.len().checked_sub(TAG) != Some(plain.len()) {
            return Err(Error::INVAL);
        }
        sys::open(self.handle, nonce, aad, sealed, plain)
    }

    /// Opens `buffer` in place, and returns the content: all but the last [`TAG`] bytes.
    ///
    /// # Errors
    ///
    /// As [`open`](Key::open).
    pub fn open_in_place<'a>(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        buffer: &'a mut [u8],
    ) -> Result<&'a mut [u8]> {
        let length = buffer.len().checked_sub(TAG).ok_or(Error::INVAL)?;
        sys::open_in_place(self.handle, nonce, aad, buffer)?;
        Ok(&mut buffer[..length])
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        sys::close(self.handle);
    }
}

/// Lets a module take the host's AEAD: see [`aead`](crate::aead). Use it once in a module, in the
/// crate that is built as `cdylib` or `bin`. It defines a function only for WASI.
///
/// ```
/// watm_guest::host_aead!();
/// ```
#[macro_export]
macro_rules! host_aead {
    () => {
        #[cfg(target_os = "wasi")]
        const _: () = {
            #[no_mangle]
            extern "C" fn watm_ext_aead_v1(first: u32, count: u32) -> i32 {
                $crate::__private::take_aead(first, count)
            }
        };
    };
}

#[cfg(all(test, not(target_os = "wasi")))]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_there_is_no_offer_and_no_key() {
        assert!(!is_offered());
        for algorithm in [
            Algorithm::Aes128Gcm,
            Algorithm::Aes256Gcm,
            Algorithm::ChaCha20Poly1305,
        ] {
            let key = Key::new(algorithm, &[0; 32][..algorithm.key_length()]);
            assert_eq!(key.unwrap_err(), Error::NOSYS);
        }
        assert_ne!(take(7, 4), 0);
        assert!(!is_offered());
    }
}
