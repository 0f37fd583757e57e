//! Why a connection could not be set up.

use std::io;
use std::time::Duration;

use thiserror::Error;
use watm_abi::Excerpt;

use super::TransportError;

/// Why a connection could not be set up: what [`DialError`] and [`AcceptError`] have in common.
#[derive(Debug, Error)]
pub(crate) enum SetupError {
    /// The outgoing connection failed. The guest was told so and gave up.
    #[error("no connection to {}: {source}", Excerpt(address))]
    Connect { address: String, source: io::Error },
    /// The policy does not allow the address that the module chose.
    #[error("{}", denied(address))]
    Denied { address: String },
    /// The module failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The module could not be instantiated.
    #[error("{}", not_instantiated(_0))]
    Instantiate(String),
    /// The set-up took too long, or the embedder gave up.
    #[error("{}", timed_out(*after))]
    TimedOut { after: Duration },
    /// More than `limit` handshakes were in progress, and this one was the oldest.
    #[error("its handshake was the oldest of more than {limit} in progress")]
    Displaced { limit: usize },
    /// There was no connection left for a client that waited, and this handshake was the oldest.
    #[error("its handshake was not over, and others waited for its place")]
    GaveWay,
    /// The embedder closed it during the set-up.
    #[error("it was closed before the transport was set up")]
    Closed,
    /// The host failed: it had no thread or no descriptor left.
    #[error("the host failed: {0}")]
    Host(#[source] io::Error),
}

/// Why a dial failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The connection to the remote address failed.
    #[error("no connection to {}", Excerpt(address))]
    Connect {
        /// The address that was dialled.
        address: String,
        /// The error of the system or of the dial hook.
        source: io::Error,
    },
    /// The policy does not allow the address that the module chose.
    #[error("{}", denied(address))]
    Denied {
        /// The address.
        address: String,
    },
    /// The module failed during the set-up or its handshake.
    #[error("the transport could not be set up")]
    Transport(#[source] TransportError),
    /// The module could not be instantiated, for example because it needs more memory than the
    /// limit allows.
    #[error("{}", not_instantiated(_0))]
    Instantiate(String),
    /// The set-up took longer than the handshake timeout.
    #[error("{}", timed_out(*after))]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The host failed: it had no thread, no descriptor or no address space left.
    #[error("the host could not set up the transport")]
    Host(#[source] io::Error),
}

/// Why an accepted connection did not become a [`Conn`](crate::Conn), or why a listener returns no
/// more of them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The listener was closed.
    #[error("the listener is closed")]
    Closed,
    /// The outgoing connection that the module asked for failed.
    #[error("no connection to {}", Excerpt(address))]
    Connect {
        /// The address that was dialled.
        address: String,
        /// The error of the system or of the dial hook.
        source: io::Error,
    },
    /// The policy does not allow the address that the module chose.
    #[error("{}", denied(address))]
    Denied {
        /// The address.
        address: String,
    },
    /// The module failed during the set-up or its handshake.
    #[error("the transport could not be set up")]
    Transport(#[source] TransportError),
    /// The module could not be instantiated, for example because it needs more memory than the
    /// limit allows.
    #[error("{}", not_instantiated(_0))]
    Instantiate(String),
    /// The set-up took longer than the handshake timeout.
    #[error("{}", timed_out(*after))]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The host failed: it had no thread, no descriptor or no address space left.
    #[error("the host could not set up the transport")]
    Host(#[source] io::Error),
}

fn denied(address: &str) -> String {
    let address = Excerpt(address);
    format!(
        "the module asked for a connection to {address}, which the address policy does not allow"
    )
}

fn not_instantiated(message: &str) -> String {
    format!("the module could not be instantiated: {}", Excerpt(message))
}

fn timed_out(after: Duration) -> String {
    format!("the transport was not set up within {after:?}")
}

/// Converts a [`SetupError`] into a public error, and that into an [`io::Error`].
macro_rules! conversions {
    ($name:ident, $closed:expr) => {
        impl From<SetupError> for $name {
            fn from(error: SetupError) -> Self {
                match error {
                    SetupError::Connect { address, source } => Self::Connect { address, source },
                    SetupError::Denied { address } => Self::Denied { address },
                    SetupError::Transport(error) => Self::Transport(error),
                    SetupError::Instantiate(message) => Self::Instantiate(message),
                    SetupError::TimedOut { after } => Self::TimedOut { after },
                    SetupError::Displaced { .. } | SetupError::GaveWay | SetupError::Closed => {
                        $closed
                    }
                    SetupError::Host(error) => Self::Host(error),
                }
            }
        }

        impl From<$name> for io::Error {
            fn from(error: $name) -> Self {
                let kind = match &error {
                    $name::Connect { source, .. } => source.kind(),
                    $name::Denied { .. } => io::ErrorKind::PermissionDenied,
                    $name::Transport(error) => error.io_kind(),
                    $name::TimedOut { .. } => io::ErrorKind::TimedOut,
                    $name::Host(source) => source.kind(),
                    _ => io::ErrorKind::Other,
                };
                io::Error::new(kind, error)
            }
        }
    };
}

conversions!(DialError, Self::Transport(TransportError::Interrupted));
conversions!(AcceptError, Self::Closed);
