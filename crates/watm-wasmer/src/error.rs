//! The errors of the public interface: one small enum per operation. Each message says what was
//! expected, what was found and who is at fault: the module, the peer, the configuration or the
//! host.

mod configure;
pub(crate) use configure::missing_role;
pub use configure::{ConfigError, ListenError, ReplaceError};

#[cfg(feature = "config")]
mod config_file;
#[cfg(feature = "config")]
pub(crate) use config_file::KeyPlace;
#[cfg(feature = "config")]
pub use config_file::{ConfigFileError, ConfigFileProblem};

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
pub use transport::{Outcome, TransportError};

use std::error::Error;
use std::fmt;
use std::io;

/// An error as an [`io::Error`] carries it: its text names all causes, since most programs print
/// nothing else of one.
#[derive(Debug)]
struct Chain<E>(E);

impl<E: Error> fmt::Display for Chain<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Without a source, which is in the text.
impl<E: Error> Error for Chain<E> {}

/// Finds the error that an [`io::Error`] was made from.
fn found_in<E: Error + 'static>(error: &io::Error) -> Option<&E> {
    let chain = error.get_ref()?.downcast_ref::<Chain<E>>();
    chain.map(|Chain(error)| error)
}

/// Converts errors that have a kind into an [`io::Error`], and finds them in one.
macro_rules! io_errors {
    ($($name:ident),*) => {$(
        impl From<$name> for io::Error {
            fn from(error: $name) -> Self {
                Self::new(error.kind(), Chain(error))
            }
        }

        impl $name {
            /// The error that `error` was made from, if it is one of this type.
            pub fn of(error: &io::Error) -> Option<&Self> {
                found_in(error)
            }
        }
    )*};
}

io_errors!(
    DialError,
    AcceptError,
    ConfigError,
    ListenError,
    LoadError,
    ReplaceError
);
#[cfg(feature = "config")]
io_errors!(ConfigFileError);

/// Copies an error for another caller that must receive it as well.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
