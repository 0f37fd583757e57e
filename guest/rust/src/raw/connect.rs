//! The imports of the interface: how a module gets its network connections.

use super::descriptor::Descriptor;
use super::sys;
use crate::error::Result;
use crate::transport::Address;

/// Dials an address that the module chooses: the import `water_dial`.
///
/// # Errors
///
/// [`Error::NOTCAPABLE`](crate::Error::NOTCAPABLE) or [`Error::PERM`](crate::Error::PERM) if the
/// host's policy denies it, or that of the failed connect.
///
/// ```
/// use watm_guest::raw::{self, Descriptor};
/// use watm_guest::{Address, Error, Result};
///
/// /// Dials the first address that answers.
/// fn dial(addresses: &[&str]) -> Result<Descriptor> {
///     let mut failure = Error::DESTADDRREQ;
///     for address in addresses {
///         match raw::dial(Address::tcp(address)) {
///             Ok(network) => return Ok(network),
///             Err(error) => failure = error,
///         }
///     }
///     Err(failure)
/// }
/// # assert_eq!(dial(&["a.example:443"]), Err(Error::NOSYS));
/// ```
pub fn dial(address: Address<'_>) -> Result<Descriptor> {
    sys::water_dial(address.network().as_bytes(), address.address().as_bytes())
        .map(Descriptor::from_raw)
}

/// Dials the address that the host has: the import `water_dial_fixed`.
///
/// # Errors
///
/// [`Error::NODEV`](crate::Error::NODEV) if the host has none in this role, or that of the failed
/// connect.
///
/// ```
/// use watm_guest::raw;
///
/// /// The export of a dialer that has no handshake.
/// extern "C" fn watm_dial_v1(_internal: i32) -> i32 {
///     match raw::dial_fixed() {
///         Ok(network) => network.as_raw(),
///         Err(error) => error.negated(),
///     }
/// }
/// # assert_eq!(watm_dial_v1(3), watm_guest::Error::NOSYS.negated());
/// ```
pub fn dial_fixed() -> Result<Descriptor> {
    sys::water_dial_fixed().map(Descriptor::from_raw)
}

/// Accepts a connection from the listener that the host has: the import `water_accept`.
///
/// # Errors
///
/// [`Error::NODEV`](crate::Error::NODEV) if the host has none in this role, or that of the failed
/// accept.
///
/// ```
/// use watm_guest::raw;
///
/// /// The export of a relay that forwards a connection as it is.
/// extern "C" fn watm_associate_v1() -> i32 {
///     match raw::accept().and_then(|client| Ok((client, raw::dial_fixed()?))) {
///         Ok((_client, _network)) => 0, // `watm_start_v1` will need both
///         Err(error) => error.negated(),
///     }
/// }
/// # assert_eq!(watm_associate_v1(), watm_guest::Error::NOSYS.negated());
/// ```
pub fn accept() -> Result<Descriptor> {
    sys::water_accept().map(Descriptor::from_raw)
}
