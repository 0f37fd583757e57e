//! What all roles are configured with, and the builder that gathers it.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::Role;

use crate::error::{ConfigError, ReplaceError, missing_role};
use crate::guest::settings::{Common, Settings};
use crate::host::arguments::Arguments;
use crate::host::observer::Observer;
use crate::host::preopens::{self, InMemory, MemoryFile};
use crate::host::stdio::Stdio;
use crate::host::watch::CallHook;
use crate::module::TransportModule;
use crate::module::engine::PAGE;
use crate::net::connect::{DialHook, Resolver};
use crate::net::policy::AddressPolicy;
use crate::net::target::Target;
#[cfg(feature = "front")]
use crate::roles::greeter::Protocols;
use crate::roles::listener::Acceptor;
use crate::roles::settings::setters;
use crate::worker::Workers;

/// Longer timeouts are shortened to this. It is as good as none, and adding it to a clock does not
/// overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Maximum number of instances that are kept ready.
const SPARE_LIMIT: usize = 1024;

/// The pauses that the system accepts before it probes a peer.
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32400);

/// Gathers the configuration of a [`crate::Dialer`], [`crate::FixedDialer`], [`crate::Listener`]
/// or [`crate::Relay`]: each has a `builder` function that starts one. A [`crate::Server`] is made
/// from the builder of a dialer or a listener.
///
/// A module gets only what is named here. By default it has no files and no environment, and may
/// not choose addresses.
///
/// ```
/// use std::net::Ipv4Addr;
/// use std::time::Duration;
/// use watm_wasmer::{Dialer, Stdio, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// # let certificates = env!("CARGO_MANIFEST_DIR");
/// let module = TransportModule::from_file(file)?;
/// let builder = Dialer::builder(&module)
///     .config(*b"key")
///     .env("LANG", "C")
///     .dir(certificates, "/etc/ssl/certs")
///     .stdio(Stdio::Null)
///     .memory_limit(64 << 20)
///     .source_address(Ipv4Addr::LOCALHOST)
///     .connect_timeout(Duration::from_secs(5));
/// // Both are alike but for the spare instances of one.
/// let seldom = builder.clone().build()?;
/// let often = builder.spare_instances(4).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder<R> {
    pub(crate) settings: Settings,
    /// What the module is used as.
    pub(super) role: Role,
    /// Where connections go: the remote of a relay or of a server that dials, or the target of a
    /// server that forwards.
    pub(super) remote: Option<Target>,
    /// What unwraps accepted connections before this module does.
    pub(super) below: Option<Acceptor>,
    /// What else a server is told, beyond the settings.
    pub(super) serving: Serving,
    made: PhantomData<R>,
}

/// What a server is told about its clients and about where it forwards them to.
#[derive(Clone, Default)]
pub(super) struct Serving {
    /// What clients say before they are served.
    #[cfg(feature = "front")]
    pub(super) protocols: Protocols,
    /// What makes the connections to the target.
    pub(super) hook: Option<Arc<dyn DialHook>>,
    /// Where clients may be forwarded to that name their target.
    pub(super) asked: Option<Arc<AddressPolicy>>,
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("module", &self.settings.module)
            .finish_non_exhaustive()
    }
}

impl<R> Clone for Builder<R> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            role: self.role,
            remote: self.remote.clone(),
            below: self.below.clone(),
            serving: self.serving.clone(),
            made: PhantomData,
        }
    }
}

impl<R> Builder<R> {
    pub(super) fn new(module: &TransportModule, role: Role) -> Self {
        Self {
            settings: Settings::of(module),
            role,
            remote: None,
            below: None,
            serving: Serving::default(),
            made: PhantomData,
        }
    }

    /// The same for something else that uses the module in the same role, with the address that
    /// connections go to.
    pub(super) fn turn_into<S>(self, remote: Option<Target>) -> Builder<S> {
        Builder {
            settings: self.settings,
            role: self.role,
            remote,
            below: self.below,
            serving: self.serving,
            made: PhantomData,
        }
    }

    /// Replaces all settings that the roles share, such as the configuration, the policy and the
    /// timeouts. The setters below change them for this builder.
    pub fn settings(mut self, settings: &crate::Settings) -> Self {
        self.settings.common = settings.0.clone();
        self
    }

    setters!();

    /// The configuration that is set: see [`Builder::config`].
    pub fn configuration(&self) -> Option<&[u8]> {
        self.settings.config.as_deref()
    }

    fn common(&mut self) -> &mut Common {
        &mut self.settings.common
    }

    /// Has `workers` make its new connections with these settings.
    pub(super) fn replace_in(&self, workers: &Workers, role: Role) -> Result<(), ReplaceError> {
        if self.role != role {
            return Err(ReplaceError::Config(ConfigError::Invalid {
                setting: "role",
                message: format!("it is used as a {role}, not as a {}", self.role),
            }));
        }
        let settings = self.check()?;
        workers
            .replace(settings)
            .map_err(|error| ReplaceError::Instance(error.into()))
    }

    /// Checks all settings together.
    pub(crate) fn check(&self) -> Result<Arc<Settings>, ConfigError> {
        check(&self.settings, self.role)
    }
}

/// Checks all settings of a role together.
pub(super) fn check(settings: &Settings, role: Role) -> Result<Arc<Settings>, ConfigError> {
    let invalid = |setting, message: &str| ConfigError::Invalid {
        setting,
        message: message.into(),
    };
    if !settings.module.has_role(role) {
        return Err(missing_role(role, settings.module.roles()));
    }
    if settings
        .keepalive
        .is_some_and(|idle| !KEEPALIVE.contains(&idle))
    {
        return Err(invalid(
            "keepalive",
            "it must be from one second to nine hours",
        ));
    }
    let arguments = Arguments::new(settings.module.name(), &settings.args, &settings.envs)?;
    let in_memory = preopens::check(
        &settings.directories,
        &settings.files,
        settings.config.as_ref(),
    )?;
    if settings.memory_limit < PAGE {
        return Err(invalid(
            "memory_limit",
            "it must be at least one page of 65536 bytes",
        ));
    }
    if !(3..=480).contains(&settings.descriptor_limit) {
        return Err(invalid("descriptor_limit", "it must be from 3 to 480"));
    }
    let counts = [
        ("handshake_limit", settings.handshake_limit),
        ("backlog", settings.backlog),
        ("connection_limit", settings.connection_limit),
        ("spare_refill_rate", settings.spare_refill_rate as usize),
    ];
    if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
        return Err(invalid(setting, "it must be at least 1"));
    }
    if settings.spare_instances > SPARE_LIMIT {
        return Err(invalid("spare_instances", "it must be at most 1024"));
    }
    let timeouts = [
        ("connect_timeout", settings.outgoing.timeout),
        ("setup_timeout", settings.setup_timeout),
    ];
    if let Some((setting, _)) = timeouts.into_iter().find(|(_, time)| time.is_zero()) {
        return Err(invalid(setting, "it must not be 0"));
    }
    Ok(checked(settings, arguments, in_memory))
}

/// The settings with what was built from them.
fn checked(settings: &Settings, arguments: Arguments, in_memory: InMemory) -> Arc<Settings> {
    let mut settings = settings.clone();
    settings.arguments = Arc::new(arguments);
    settings.in_memory = Arc::new(in_memory);
    let common = &mut settings.common;
    for duration in [
        &mut common.outgoing.timeout,
        &mut common.setup_timeout,
        &mut common.close_grace,
        &mut common.drain_timeout,
    ] {
        *duration = (*duration).min(LONGEST);
    }
    Arc::new(settings)
}
