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
pub fn dial_fixed() -> Result<Descriptor> {
    sys::water_dial_fixed().map(Descriptor::from_raw)
}

/// Accepts a connection from the listener that the host has: the import `water_accept`.
///
/// # Errors
///
/// [`Error::NODEV`](crate::Error::NODEV) if the host has none in this role, or that of the failed
/// accept.
pub fn accept() -> Result<Descriptor> {
    sys::water_accept().map(Descriptor::from_raw)
}
