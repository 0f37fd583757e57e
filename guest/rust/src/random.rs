//! Random bytes, which almost every transport needs.

use crate::error::Result;
use crate::raw;

/// Fills `buffer` with random bytes that are fit for keys and nonces: `random_get` of WASI.
///
/// Outside of WASI, in tests, they come from `/dev/urandom`.
///
/// ```
/// let mut nonce = [0; 12];
/// watm_guest::random(&mut nonce)?;
/// assert_ne!(nonce, [0; 12]);
/// # Ok::<(), watm_guest::Error>(())
/// ```
///
/// # Errors
///
/// That of the host, if it has no random bytes.
pub fn random(buffer: &mut [u8]) -> Result<()> {
    raw::random(buffer)
}
