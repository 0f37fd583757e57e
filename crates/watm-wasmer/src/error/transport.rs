//! How a transport ended.
//!
//! `watm-models` compiles this file too, so it must not depend on the engine.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use watm_abi::{Errno, GuestError};

/// How a transport ended when nothing went wrong.
///
/// ```
/// use watm_wasmer::{Dialer, Listener, Outcome, TransportError, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let conn = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// match conn.close() {
///     // All that was written is with the peer.
///     Ok(Outcome::Completed) => {}
///     Ok(outcome) => println!("{outcome}"),
///     Err(TransportError::Undelivered) => println!("the peer did not take it in time"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// `watm_start_v1` returned 0 because one side reached the end of its stream.
    Completed,
    /// The transport returned because the control pipe asked it to.
    Cancelled,
}

impl Outcome {
    /// A word for it that stays the same in all releases: `completed` or `cancelled`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// How a transport failed.
///
/// It is cheap to clone, since a connection reports it to each caller.
///
/// ```
/// use watm_wasmer::{DialError, Dialer, Errno, TransportError, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/xor.wasm");
/// let module = TransportModule::from_file(file)?;
/// // It needs a key, and has no configuration.
/// let dialer = Dialer::builder(&module).build()?;
/// match dialer.dial("192.0.2.1:443") {
///     Err(DialError::Transport(error)) => {
///         assert!(matches!(error, TransportError::Failed { function: "watm_init_v1", .. }));
///         assert_eq!(error.errno(), Errno::Inval);
///         assert_eq!(error.code(), "failed");
///     }
///     result => panic!("{result:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransportError {
    /// A function of the module returned an error number.
    Failed {
        /// The export that returned it.
        function: &'static str,
        /// What it returned.
        error: GuestError,
    },
    /// A function of the module trapped or panicked.
    Trapped {
        /// The export that was running.
        function: &'static str,
        /// The message of the engine.
        message: Arc<str>,
    },
    /// The module called `proc_exit` where that is not allowed, or with a code other than 0.
    Exited {
        /// The export that was running.
        function: &'static str,
        /// The exit code.
        code: i32,
    },
    /// A function of the module returned a number that is not the descriptor of a connection.
    BadDescriptor {
        /// The export that returned it.
        function: &'static str,
        /// What it returned.
        fd: u32,
    },
    /// The module returned 0, as at the end of a stream, although the network connection had been
    /// reset or had failed otherwise. The stream is not complete.
    ConnectionLost {
        /// The error that the module received.
        errno: Errno,
    },
    /// The plain connection that the transport carried was reset or failed otherwise, or did not
    /// take what the transport wrote to it. The stream is not complete. It takes the place of an
    /// error that the module returned: that is only a consequence.
    PlainLost {
        /// The error of the plain connection.
        errno: Errno,
    },
    /// The module was asked to end, did not do so in time, and was interrupted.
    Interrupted,
    /// The transport ended well, but not everything that it wrote was delivered: the peer did not
    /// accept it in time, or the network failed after the last call of the module.
    Undelivered,
    /// The host itself failed.
    Host(Arc<io::Error>),
}

impl TransportError {
    /// The error number that describes the failure best.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Failed {
                error: GuestError::Errno(errno),
                ..
            } => *errno,
            Self::Host(error) => Errno::from_io(error),
            Self::BadDescriptor { .. } => Errno::Badf,
            Self::ConnectionLost { errno } | Self::PlainLost { errno } => *errno,
            Self::Interrupted => Errno::Canceled,
            Self::Undelivered => Errno::Timedout,
            _ => Errno::Io,
        }
    }
}

impl TransportError {
    /// The kind that the error has as an [`io::Error`]. It never asks callers to try again: a
    /// transport that has ended does not come back, so they would try for ever.
    pub fn kind(&self) -> io::ErrorKind {
        match self.errno().io_kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => io::ErrorKind::Other,
            kind => kind,
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `failed`,
    /// `trapped`, `exited`, `bad-descriptor`, `connection-lost`, `plain-lost`, `interrupted`,
    /// `undelivered` or `host`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Trapped { .. } => "trapped",
            Self::Exited { .. } => "exited",
            Self::BadDescriptor { .. } => "bad-descriptor",
            Self::ConnectionLost { .. } => "connection-lost",
            Self::PlainLost { .. } => "plain-lost",
            Self::Interrupted => "interrupted",
            Self::Undelivered => "undelivered",
            Self::Host(_) => "host",
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { function, error } => {
                write!(f, "the module's `{function}` failed: {error}")
            }
            Self::Trapped { function, message } => {
                write!(f, "the module's `{function}` trapped: {message}")
            }
            Self::Exited { function, code } => {
                write!(
                    f,
                    "the module's `{function}` ended the module with exit code {code}"
                )
            }
            Self::BadDescriptor { function, fd } => write!(
                f,
                "the module's `{function}` returned {fd}, which is not a connection that the host gave out"
            ),
            Self::ConnectionLost { errno } => write!(
                f,
                "the network connection was lost: {errno}; the module took that for an end of stream"
            ),
            Self::PlainLost { errno } => write!(f, "the plain connection broke: {errno}"),
            Self::Interrupted => {
                f.write_str("the module did not end when it was asked to and was interrupted")
            }
            Self::Undelivered => f.write_str(
                "the transport ended, but not all that it wrote was delivered: the peer did not take it within the drain timeout, or the network failed",
            ),
            Self::Host(error) => write!(f, "the host failed: {error}"),
        }
    }
}

/// Without a source: the message says all of it.
impl Error for TransportError {}

impl From<TransportError> for io::Error {
    fn from(error: TransportError) -> Self {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_transport_never_asks_to_try_again() {
        for errno in [Errno::Intr, Errno::Again] {
            let error = GuestError::Errno(errno);
            let failed = TransportError::Failed {
                function: "watm_start_v1",
                error,
            };
            assert_eq!(io::Error::from(failed).kind(), io::ErrorKind::Other);
        }
    }
}
