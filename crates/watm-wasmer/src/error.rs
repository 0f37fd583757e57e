//! The errors of the public interface: one small enum per operation. Each message says what was
//! expected, what was found and who is at fault: the module, the peer, the configuration or the
//! host.

mod configure;
pub(crate) use configure::missing_role;
pub use configure::{ConfigError, ListenError};

mod load;
pub use load::LoadError;

#[cfg(feature = "manifest")]
mod manifest;
#[cfg(feature = "manifest")]
pub(crate) use manifest::Place;
#[cfg(feature = "manifest")]
pub use manifest::{ManifestError, ManifestProblem};

mod setup;
pub(crate) use setup::SetupError;
pub use setup::{AcceptError, DialError};

#[cfg(feature = "signatures")]
mod signature;
#[cfg(feature = "signatures")]
pub use signature::{KeyError, SignatureError};

mod transport;
pub use transport::{End, TransportError};

use std::io;

/// Copies an error for another caller that must receive it as well.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
