//! Why a dialer, a listener or a relay could not be made.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use watm_abi::{InterfaceError, Role, Roles};

use super::DialError;

/// Why a dialer, listener or relay could not be made from its configuration.
///
/// ```
/// use watm_wasmer::{ConfigError, Dialer, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// match Dialer::builder(&module).descriptor_limit(10_000).build() {
///     Err(ConfigError::Invalid { setting, message }) => {
///         assert_eq!(setting, "descriptor_limit");
///         assert_eq!(message, "it must be from 3 to 480");
///     }
///     result => panic!("{result:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The module does not have the role. The message names the roles that it has.
    #[error(transparent)]
    Role(InterfaceError),
    /// A directory cannot be given to the module.
    #[error("the directory {} cannot be given to the module", path.display())]
    Directory {
        /// The directory on the host.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The value of a setting cannot be used.
    #[error("the setting `{setting}` is not usable: {message}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// What is wrong with the value.
        message: String,
    },
}

/// Why the module of a running role could not be replaced. The one before stays.
///
/// ```
/// use watm_wasmer::{Dialer, ReplaceError, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// # let needs_a_key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/xor.wasm");
/// let dialer = Dialer::builder(&TransportModule::from_file(file)?).build()?;
///
/// // The configuration is missing, without which this module does not start. So nothing changes.
/// let new = TransportModule::from_file(needs_a_key)?;
/// let error = dialer.replace(Dialer::builder(&new)).expect_err("it needs a key");
/// assert!(matches!(error, ReplaceError::Instance(_)));
/// assert_eq!(error.code(), "failed");
///
/// dialer.replace(Dialer::builder(&new).config(*b"key"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No instance could be made with it.
    #[error("no instance of the new module could be made")]
    Instance(#[source] DialError),
}

impl ReplaceError {
    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Instance(error) => error.kind(),
        }
    }

    /// A word for the error that stays the same in all releases: that of the error within.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Instance(error) => error.code(),
        }
    }
}

/// Why a listener or relay could not start.
///
/// ```
/// use watm_wasmer::{ListenError, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let taken = listener.local_addr().to_string();
/// match Listener::builder(&module).bind(&taken) {
///     Err(ListenError::Bind { address, source }) => {
///         assert_eq!(address, taken);
///         assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
///     }
///     result => panic!("{result:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is not possible to listen on the address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The host failed: it had no thread or no descriptor left.
    #[error("the host could not start the listener")]
    Host(#[source] io::Error),
}

impl ConfigError {
    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Role(_) | Self::Invalid { .. } => io::ErrorKind::InvalidInput,
            Self::Directory { source, .. } => source.kind(),
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `role`,
    /// `directory` or `invalid`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Role(_) => "role",
            Self::Directory { .. } => "directory",
            Self::Invalid { .. } => "invalid",
        }
    }
}

impl ListenError {
    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Bind { source, .. } | Self::Host(source) => source.kind(),
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `bind`,
    /// `host`, or that of the [`ConfigError`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Bind { .. } => "bind",
            Self::Host(_) => "host",
        }
    }
}

/// The error for a module that lacks a role. It names the roles that the module has.
pub(crate) fn missing_role(role: Role, available: Roles) -> ConfigError {
    ConfigError::Role(InterfaceError::MissingRole { role, available })
}
