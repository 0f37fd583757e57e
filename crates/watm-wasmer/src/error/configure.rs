//! Why a dialer, a listener or a relay could not be made.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use watm_abi::{InterfaceError, Role, Roles};

/// Why a dialer, listener or relay could not be made from its configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The module does not have the role. The message names the roles that it has.
    #[error("{0}")]
    Role(#[source] InterfaceError),
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

/// Why a listener or relay could not start.
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

/// The error for a module that lacks a role. It names the roles that the module has.
pub(crate) fn missing_role(role: Role, available: Roles) -> ConfigError {
    ConfigError::Role(InterfaceError::MissingRole { role, available })
}
