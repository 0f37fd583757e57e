//! The errors of the public interface: one small enum per operation. Each message says what was
//! expected, what was found and who is at fault: the module, the peer, the configuration or the
//! host.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::{Errno, Excerpt, GuestError, InterfaceError, Role};

/// Why a module could not be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The module is larger than the loader allows.
    TooLarge {
        /// Its size in bytes, as far as it was read.
        size: u64,
        /// The most that is allowed, in bytes.
        limit: u64,
    },
    /// The SHA-256 of the module is not the expected one. Nothing of it was compiled.
    Hash {
        /// The hash that was expected, in hexadecimal.
        expected: String,
        /// The hash that was found, in hexadecimal.
        found: String,
    },
    /// The file is something else than a WebAssembly module. The text says what, and what to do about
    /// it, as far as that is known: "it is compressed with gzip; decompress it".
    NotAModule(&'static str),
    /// The bytes are not a valid WebAssembly module. The text may quote them, escaped and cut after
    /// 200 characters.
    Malformed(String),
    /// The module is valid, but needs a feature of WebAssembly that is switched off, which the text
    /// names: tail calls, exceptions or the like.
    Unsupported(&'static str),
    /// The module does not follow the interface. The list is never empty; of many imports that do not
    /// fit it names 20.
    Interface(Vec<InterfaceError>),
    /// The module is valid, but has more of something than the runtime takes: a table too many, a
    /// function too large to be compiled in bounded time.
    TooComplex(String),
    /// Compiling took longer than the loader allows, and was given up.
    CompileTimeout {
        /// The most that is allowed.
        limit: Duration,
    },
    /// The engine could not compile the module. What it said is escaped and cut after 200 characters.
    Compile(String),
}

impl LoadError {
    /// What a reader of modules says is wrong, which may quote the file.
    pub(crate) fn malformed(error: impl fmt::Display) -> Self {
        let message = error.to_string();
        match feature_needed(&message) {
            Some(feature) => Self::Unsupported(feature),
            None => Self::Malformed(Excerpt(&message).to_string()),
        }
    }
}

/// The feature that a message of the validator says is off, in the words of those who use it.
fn feature_needed(message: &str) -> Option<&'static str> {
    const FEATURES: [(&str, &str); 14] = [
        ("tail calls", "tail calls"),
        ("exceptions", "exceptions"),
        ("legacy exceptions", "legacy exceptions"),
        ("threads", "threads"),
        ("shared-everything-threads", "threads"),
        ("memory64", "64-bit memories or tables"),
        ("gc", "garbage collection"),
        ("function references", "typed function references"),
        ("stack switching", "stack switching"),
        ("wide arithmetic", "wide arithmetic"),
        ("memory control", "memory control"),
        ("custom descriptors", "custom descriptors"),
        ("the custom page sizes", "custom page sizes"),
        ("custom descriptors operations", "custom descriptors"),
    ];
    FEATURES.iter().find_map(|(name, feature)| {
        let rest = message.strip_prefix(name)?;
        [
            " support is not enabled",
            " proposal not enabled",
            " proposal must be enabled",
            " must be enabled",
        ]
        .iter()
        .any(|end| rest.starts_with(end))
        .then_some(*feature)
    })
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => {
                write!(f, "the module file {} could not be read", path.display())
            }
            Self::TooLarge { size, limit } => write!(
                f,
                "the module has at least {size} bytes, more than the limit of {limit}; \
                 raise the limit if it is meant to be that large"
            ),
            Self::Hash { expected, found } => {
                write!(
                    f,
                    "the module's SHA-256 is {found}, but {expected} was expected; it was not loaded"
                )
            }
            Self::NotAModule(what) => write!(f, "this is not a WebAssembly module: {what}"),
            Self::Malformed(message) => {
                write!(
                    f,
                    "the module is not valid WebAssembly: {}",
                    Excerpt(message)
                )
            }
            Self::Unsupported(feature) => {
                let verb = if feature.ends_with('s') { "are" } else { "is" };
                write!(f, "the module uses {feature}, which {verb} not supported")
            }
            Self::Interface(problems) => {
                for (i, problem) in problems.iter().enumerate() {
                    let separator = if i == 0 { "" } else { "; " };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
            Self::TooComplex(message) => write!(f, "the module is not loaded: {message}"),
            Self::CompileTimeout { limit } => write!(
                f,
                "the module could not be compiled within {limit:?}; allow more time if it is trusted \
                 and large, or the machine slow"
            ),
            Self::Compile(message) => {
                write!(f, "the module could not be compiled: {}", Excerpt(message))
            }
        }
    }
}

/// The same error once more, for another who is to be told of it.
pub(crate) fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Interface(problems) => problems.first().map(|p| p as _),
            _ => None,
        }
    }
}

/// Why a dialer, listener or relay could not be made from its configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The module does not have the role; the message names those that it has.
    Role(InterfaceError),
    /// A directory to preopen cannot be used.
    Directory {
        /// The directory on the host.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A setting has a value that cannot work.
    Invalid {
        /// The setting.
        setting: &'static str,
        /// What is wrong with the value.
        message: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(error) => error.fmt(f),
            Self::Directory { path, .. } => {
                write!(
                    f,
                    "the directory {} cannot be given to the module",
                    path.display()
                )
            }
            Self::Invalid { setting, message } => {
                write!(f, "the setting `{setting}` is not usable: {message}")
            }
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Role(error) => Some(error),
            Self::Directory { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }
}

/// How a transport ended when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// `watm_start_v1` returned 0: a side reached its end of stream.
    Completed,
    /// The transport returned because it was asked to, over the control pipe.
    Cancelled,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// How a transport failed. Cheap to clone: a connection reports it to each caller.
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
        /// What the engine said.
        message: Arc<str>,
    },
    /// The module called `proc_exit` where it must not, or with a code other than 0.
    Exited {
        /// The export that was running.
        function: &'static str,
        /// The exit code.
        code: i32,
    },
    /// A function of the module returned a number that is not a connection the host gave out.
    BadDescriptor {
        /// The export that returned it.
        function: &'static str,
        /// What it returned.
        fd: u32,
    },
    /// The module returned 0, as at the end of a stream, but had met a reset or another failure of
    /// the network connection: the stream is not complete.
    ConnectionLost {
        /// What the module was told.
        errno: Errno,
    },
    /// The module did not end in time after it was asked to, and was interrupted.
    Interrupted,
    /// The transport ended well, but what it wrote did not all leave: the peer did not take it in
    /// time, or the network failed, and the module was gone or has not asked.
    Undelivered,
    /// The host itself failed.
    Host(Arc<io::Error>),
}

impl TransportError {
    /// The errno that describes the failure best.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Failed {
                error: GuestError::Errno(errno),
                ..
            } => *errno,
            Self::Host(error) => Errno::from_io(error),
            Self::BadDescriptor { .. } => Errno::Badf,
            Self::ConnectionLost { errno } => *errno,
            Self::Interrupted => Errno::Canceled,
            Self::Undelivered => Errno::Timedout,
            _ => Errno::Io,
        }
    }
}

impl TransportError {
    /// The kind of an I/O error with this cause. Never one that asks callers to try again, which
    /// they would do for ever: a transport that has ended does not come back.
    fn io_kind(&self) -> io::ErrorKind {
        match self.errno().io_kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => io::ErrorKind::Other,
            kind => kind,
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

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Host(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<TransportError> for io::Error {
    fn from(error: TransportError) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

/// Why a connection could not be set up: what [`DialError`] and [`AcceptError`] have in common.
#[derive(Debug)]
pub(crate) enum SetupError {
    /// The outgoing connection failed; the guest was told and gave up.
    Connect { address: String, source: io::Error },
    /// The policy does not allow the address that the module chose.
    Denied { address: String },
    /// The module failed.
    Transport(TransportError),
    /// The module could not be instantiated.
    Instantiate(String),
    /// The time for it ran out, or the embedder gave up.
    TimedOut { after: Duration },
    /// More than `limit` handshakes were in progress, and it was the oldest.
    Displaced { limit: usize },
    /// The embedder closed while it was under way.
    Closed,
    /// The host failed: no thread, no descriptors.
    Host(io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { address, source } => {
                write!(f, "no connection to {}: {source}", Excerpt(address))
            }
            Self::Denied { address } => write_denied(f, address),
            Self::Transport(error) => error.fmt(f),
            Self::Instantiate(message) => write_instantiate(f, message),
            Self::TimedOut { after } => write_timed_out(f, *after),
            Self::Displaced { limit } => write!(
                f,
                "its handshake was the oldest of more than {limit} in progress"
            ),
            Self::Closed => f.write_str("it was closed before the transport was set up"),
            Self::Host(error) => write!(f, "the host failed: {error}"),
        }
    }
}

fn write_denied(f: &mut fmt::Formatter<'_>, address: &str) -> fmt::Result {
    write!(
        f,
        "the module asked for a connection to {}, which the address policy does not allow",
        Excerpt(address)
    )
}

fn write_instantiate(f: &mut fmt::Formatter<'_>, message: &str) -> fmt::Result {
    let message = Excerpt(message);
    write!(f, "the module could not be instantiated: {message}")
}

fn write_timed_out(f: &mut fmt::Formatter<'_>, after: Duration) -> fmt::Result {
    write!(f, "the transport was not set up within {after:?}")
}

impl From<TransportError> for SetupError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

/// Why a dial failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The connection to the remote address failed.
    Connect {
        /// The address that was dialled.
        address: String,
        /// What the system, or the dial hook, said.
        source: io::Error,
    },
    /// The address that the module chose is not allowed by the policy.
    Denied {
        /// That address.
        address: String,
    },
    /// The module failed during the set-up or its handshake.
    Transport(TransportError),
    /// The module could not be instantiated, for instance since it needs more memory than it may
    /// have.
    Instantiate(String),
    /// The set-up took longer than the handshake timeout.
    TimedOut {
        /// That timeout.
        after: Duration,
    },
    /// The host failed: no thread, no descriptor or no address space was to be had.
    Host(io::Error),
}

/// Why an accepted connection did not become a [`crate::Conn`], or the listener none at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The listener was closed.
    Closed,
    /// The module could not make the outgoing connection that it wanted.
    Connect {
        /// The address that was dialled.
        address: String,
        /// What the system, or the dial hook, said.
        source: io::Error,
    },
    /// The address that the module chose is not allowed by the policy.
    Denied {
        /// That address.
        address: String,
    },
    /// The module failed during the set-up or its handshake.
    Transport(TransportError),
    /// The module could not be instantiated, for instance since it needs more memory than it may
    /// have.
    Instantiate(String),
    /// The set-up took longer than the handshake timeout.
    TimedOut {
        /// That timeout.
        after: Duration,
    },
    /// The host failed: no thread, no descriptor or no address space was to be had.
    Host(io::Error),
}

/// Writes what a public set-up error shares with [`SetupError`]: the variants, the texts, the source.
macro_rules! setup_error {
    ($name:ident, $closed:expr) => {
        impl From<SetupError> for $name {
            fn from(error: SetupError) -> Self {
                match error {
                    SetupError::Connect { address, source } => Self::Connect { address, source },
                    SetupError::Denied { address } => Self::Denied { address },
                    SetupError::Transport(error) => Self::Transport(error),
                    SetupError::Instantiate(message) => Self::Instantiate(message),
                    SetupError::TimedOut { after } => Self::TimedOut { after },
                    SetupError::Displaced { .. } | SetupError::Closed => $closed,
                    SetupError::Host(error) => Self::Host(error),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Connect { address, .. } => {
                        write!(f, "no connection to {}", Excerpt(address))
                    }
                    Self::Denied { address } => write_denied(f, address),
                    Self::Transport(_) => f.write_str("the transport could not be set up"),
                    Self::Instantiate(message) => write_instantiate(f, message),
                    Self::TimedOut { after } => write_timed_out(f, *after),
                    Self::Host(_) => f.write_str("the host could not set up the transport"),
                    #[allow(unreachable_patterns, reason = "only one of the two has it")]
                    _ => f.write_str("the listener is closed"),
                }
            }
        }

        impl Error for $name {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Connect { source, .. } => Some(source),
                    Self::Transport(error) => Some(error),
                    Self::Host(error) => Some(error),
                    _ => None,
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

setup_error!(DialError, Self::Transport(TransportError::Interrupted));
setup_error!(AcceptError, Self::Closed);

/// Why a listener or relay could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// The configuration cannot work.
    Config(ConfigError),
    /// The address could not be listened on.
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The host failed: no thread or no descriptor was to be had.
    Host(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Bind { address, .. } => write!(f, "cannot listen on {address}"),
            Self::Host(_) => f.write_str("the host could not start the listener"),
        }
    }
}

impl Error for ListenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Bind { source, .. } | Self::Host(source) => Some(source),
        }
    }
}

impl From<ConfigError> for ListenError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// The error for a module without a role, which names the roles that it has.
pub(crate) fn missing_role(role: Role, available: watm_abi::Roles) -> ConfigError {
    ConfigError::Role(InterfaceError::MissingRole { role, available })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_quotes_a_module_in_part_and_without_what_moves_a_cursor() {
        let long = format!("a\u{1b}[31m\nb{}", "\u{e9}".repeat(5000));
        for error in [
            LoadError::Malformed(long.clone()),
            LoadError::Compile(long.clone()),
        ] {
            let text = error.to_string();
            assert!(text.contains("a\\u{1b}[31m\\nb\u{e9}"), "{text}");
            assert!(text.ends_with("\u{e9}.."), "{text}");
            assert!(text.chars().count() < 300, "{text}");
        }
        let text = LoadError::Malformed("short".into()).to_string();
        assert!(text.ends_with(": short"), "{text}");
    }

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
