//! Why a connection could not be set up.

use std::io;
use std::time::Duration;

use thiserror::Error;
use watm_abi::Excerpt;

use super::{ConfigError, TransportError};
use crate::net::address::AddressError;

/// Why a connection could not be set up: what [`DialError`] and [`AcceptError`] have in common.
#[derive(Debug, Error)]
pub(crate) enum SetupError {
    /// The outgoing connection failed. The guest was told so and gave up.
    #[error("no connection to {}: {source}", Excerpt(address))]
    Connect { address: String, source: io::Error },
    /// What the application dials is no address.
    #[error("`{}` is not an address: {source}", Excerpt(address))]
    Address {
        address: String,
        source: AddressError,
    },
    /// The name could not be resolved, or has no address that can be used.
    #[error("{}: {source}", unresolved(address))]
    Resolve { address: String, source: io::Error },
    /// The policy does not allow the address that the module chose.
    #[error("{}", denied(address))]
    Denied { address: String },
    /// The module failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The module could not be instantiated.
    #[error("{}", not_instantiated(_0))]
    Instantiate(String),
    /// The set-up took too long. `connecting` says that there was no connection by then.
    #[error("{}", timed_out(*after, *connecting))]
    TimedOut { after: Duration, connecting: bool },
    /// The settings of this connection alone cannot be used.
    #[error(transparent)]
    Config(ConfigError),
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

/// The words for the errors of a set-up: those that all three types have, and what one has beside.
macro_rules! code {
    ($error:expr, $($own:pat => $word:expr),*) => {
        match $error {
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Denied { .. } => "denied",
            Self::Transport(error) => error.code(),
            Self::Instantiate(_) => "instantiate",
            Self::TimedOut { .. } => "timed-out",
            Self::Host(_) => "host",
            $($own => $word,)*
        }
    };
}

impl SetupError {
    /// A word for the error that stays the same: see [`DialError::code`].
    pub(crate) fn code(&self) -> &'static str {
        code!(self,
            Self::Address { .. } => "address",
            Self::Config(error) => error.code(),
            Self::Displaced { .. } => "displaced",
            Self::GaveWay => "gave-way",
            Self::Closed => "closed"
        )
    }
}

/// Why a dial failed.
///
/// ```
/// use std::io;
/// use watm_wasmer::{DialError, Dialer, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let dialer = Dialer::builder(&module).build()?;
/// let error = match dialer.dial("server.example") {
///     Ok(conn) => panic!("{conn:?}"),
///     Err(error) => error,
/// };
/// match &error {
///     DialError::Connect { address, source } => println!("{address} does not answer: {source}"),
///     DialError::TimedOut { connecting: true, .. } => println!("nobody answers"),
///     DialError::Transport(error) => println!("the module has failed: {error}"),
///     error => println!("{error}"),
/// }
///
/// // The port is missing. For logs and metrics, each error has a word.
/// assert!(matches!(error, DialError::Address { .. }));
/// assert_eq!(error.code(), "address");
///
/// // Functions that return errors of std pass it on, and it can be found again.
/// let error = io::Error::from(error);
/// assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
/// assert!(DialError::of(&error).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// What was to be dialled is not an address.
    #[error("`{}` is not an address", Excerpt(address))]
    Address {
        /// What was to be dialled.
        address: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// The name of the address could not be resolved, or has no address of the network asked for.
    #[error("{}", unresolved(address))]
    Resolve {
        /// The address that was dialled.
        address: String,
        /// The error of the resolver.
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
    /// The set-up took longer than the set-up timeout, or than
    /// [`DialOptions::timeout`](crate::DialOptions::timeout).
    #[error("{}", timed_out(*after, *connecting))]
    TimedOut {
        /// The timeout.
        after: Duration,
        /// Whether the network had not answered by then. Otherwise, the module was still in its
        /// handshake, or busy.
        connecting: bool,
    },
    /// The settings of this dial alone ([`DialOptions::settings`](crate::DialOptions::settings))
    /// cannot be used.
    #[error(transparent)]
    Config(ConfigError),
    /// A [`CancelToken`](crate::CancelToken) cancelled the dial.
    #[error("the dial was cancelled")]
    Cancelled,
    /// The host failed: it had no thread, no descriptor or no address space left.
    #[error("the host could not set up the transport")]
    Host(#[source] io::Error),
}

/// Why an accepted connection did not become a [`Conn`](crate::Conn), or why a listener returns no
/// more of them.
///
/// ```
/// use watm_wasmer::{AcceptError, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// # listener.close();
/// loop {
///     match listener.accept() {
///         Ok(conn) => println!("{:?}", conn.peer_addr()),
///         Err(AcceptError::Closed) => break,
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// The name of the address could not be resolved, or has no address of the network asked for.
    #[error("{}", unresolved(address))]
    Resolve {
        /// The address that was dialled.
        address: String,
        /// The error of the resolver.
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
    /// The set-up took longer than the set-up timeout.
    #[error("{}", timed_out(*after, *connecting))]
    TimedOut {
        /// The timeout.
        after: Duration,
        /// Whether the network had not answered by then. Otherwise, the module was still in its
        /// handshake, or busy.
        connecting: bool,
    },
    /// The host failed: it had no thread, no descriptor or no address space left.
    #[error("the host could not set up the transport")]
    Host(#[source] io::Error),
}

fn unresolved(address: &str) -> String {
    format!("no address was found for {}", Excerpt(address))
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

fn timed_out(after: Duration, connecting: bool) -> String {
    if connecting {
        format!("no connection was made within {after:?}")
    } else {
        format!("the transport was not set up within {after:?}")
    }
}

/// Converts a [`SetupError`] into a public error.
macro_rules! conversions {
    ($name:ident, $closed:expr, $address:expr, $config:expr) => {
        impl From<SetupError> for $name {
            fn from(error: SetupError) -> Self {
                match error {
                    SetupError::Connect { address, source } => Self::Connect { address, source },
                    SetupError::Address { address, source } => $address(address, source),
                    SetupError::Resolve { address, source } => Self::Resolve { address, source },
                    SetupError::Denied { address } => Self::Denied { address },
                    SetupError::Transport(error) => Self::Transport(error),
                    SetupError::Instantiate(message) => Self::Instantiate(message),
                    SetupError::TimedOut { after, connecting } => {
                        Self::TimedOut { after, connecting }
                    }
                    SetupError::Config(error) => $config(error),
                    SetupError::Displaced { .. } | SetupError::GaveWay | SetupError::Closed => {
                        $closed
                    }
                    SetupError::Host(error) => Self::Host(error),
                }
            }
        }
    };
}

conversions!(
    DialError,
    Self::Cancelled,
    |address, source| Self::Address { address, source },
    Self::Config
);
// A listener dials nothing that an application names, and its connections have no own settings.
conversions!(
    AcceptError,
    Self::Closed,
    |_, source| Self::Host(io::Error::new(io::ErrorKind::InvalidInput, source)),
    |error: ConfigError| Self::Host(error.into())
);

impl DialError {
    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Connect { source, .. } | Self::Resolve { source, .. } | Self::Host(source) => {
                source.kind()
            }
            Self::Address { .. } => io::ErrorKind::InvalidInput,
            Self::Config(error) => error.kind(),
            Self::Denied { .. } => io::ErrorKind::PermissionDenied,
            Self::Transport(error) => error.kind(),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            // Not `Interrupted`, which asks to try again.
            Self::Cancelled => io::ErrorKind::ConnectionAborted,
            Self::Instantiate(_) => io::ErrorKind::Other,
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `address`,
    /// `resolve`, `connect`, `denied`, `instantiate`, `timed-out`, `cancelled`, `host`, or that of
    /// the [`ConfigError`] or the [`TransportError`].
    pub fn code(&self) -> &'static str {
        code!(self,
            Self::Address { .. } => "address",
            Self::Config(error) => error.code(),
            Self::Cancelled => "cancelled"
        )
    }
}

impl AcceptError {
    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Connect { source, .. } | Self::Resolve { source, .. } | Self::Host(source) => {
                source.kind()
            }
            Self::Denied { .. } => io::ErrorKind::PermissionDenied,
            Self::Transport(error) => error.kind(),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::Closed => io::ErrorKind::NotConnected,
            Self::Instantiate(_) => io::ErrorKind::Other,
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `closed`,
    /// or as [`DialError::code`].
    pub fn code(&self) -> &'static str {
        code!(self, Self::Closed => "closed")
    }
}
