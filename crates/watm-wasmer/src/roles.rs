//! What an application holds: dialers, listeners, relays and their connections, and what they are
//! configured with.
//!
//! Nothing of the engine and nothing of a guest's descriptors is named here.

mod accept_loop;
pub(crate) mod binding;
pub(crate) mod book;
pub(crate) mod builder;
pub(crate) mod carried;
pub(crate) mod chain;
pub(crate) mod conn;
pub(crate) mod dialer;
pub(crate) mod dropped;
#[cfg(feature = "front")]
pub(crate) mod front;
#[cfg(feature = "front")]
mod greeter;
pub(crate) mod halves;
mod handshakes;
pub(crate) mod listener;
pub(crate) mod pending;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod settings;
#[cfg(feature = "mio")]
mod sources;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub(crate) mod tasks;
mod warnings;
