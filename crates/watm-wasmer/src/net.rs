//! The network: one socket and how it comes to be.
//!
//! Addresses and which of them are allowed, connecting, and a connected socket with what is kept of
//! it. It knows neither guests nor descriptors, and who wants a connection is all one to it.

pub(crate) mod accept_errors;
pub(crate) mod address;
pub(crate) mod attempts;
pub(crate) mod connect;
pub(crate) mod forms;
pub(crate) mod listening;
pub(crate) mod nat64;
pub(crate) mod outbound;
pub mod plain;
pub(crate) mod policy;
#[cfg(feature = "proxy")]
pub(crate) mod proxy;
pub(crate) mod reactor;
pub(crate) mod readiness;
pub(crate) mod socket;
pub(crate) mod socks;
pub(crate) mod stream;
pub(crate) mod target;
