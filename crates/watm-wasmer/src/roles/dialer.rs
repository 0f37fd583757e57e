//! Dialers: the application chooses the address, or the module does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::Role;

use crate::error::{ConfigError, DialError, ReplaceError, SetupError};
use crate::host::{Ends, Internal};
use crate::module::TransportModule;
use crate::net::address::{Address, Network};
use crate::net::stream::Stream;
use crate::net::target::Target;
use crate::roles::builder::{Builder, LONGEST};
use crate::roles::carried::{self, Carried};
use crate::roles::conn::{self, Conn};
use crate::roles::pending::{CancelToken, Own, Pending};
use crate::roles::settings::Settings;
use crate::worker::Workers;

/// Options of a single dial, in place of those of its dialer.
///
/// ```
/// use std::time::Duration;
/// use watm_wasmer::{DialOptions, Dialer, Network, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let dialer = Dialer::builder(&module).build()?;
/// # let server = watm_wasmer::plain::bind("127.0.0.1:0")?;
/// # let target = server.local_addr()?;
/// let options = DialOptions::new()
///     .config(*b"the key of this peer")
///     .network(Network::Tcp4)
///     .timeout(Duration::from_secs(5));
/// let conn = dialer.dial_with(target, options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct DialOptions {
    pub(super) own: Own,
    pub(super) network: Network,
}

impl DialOptions {
    /// The defaults: the settings of the dialer, and the network `tcp`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets all settings for this connection alone, in place of those of the dialer: configuration,
    /// arguments, files, policy, timeouts and the others. What belongs to a dialer and not to a
    /// connection, which is the pool of spare instances, has no effect.
    ///
    /// Settings that cannot be used are [`DialError::Config`]. The connection makes an instance of
    /// its own.
    ///
    /// ```no_run
    /// use watm_wasmer::{DialOptions, Dialer, Settings, TransportModule};
    ///
    /// let module = TransportModule::from_file("plain.wasm")?;
    /// let common = Settings::new().env("LANG", "C");
    /// let dialer = Dialer::builder(&module).settings(&common).build()?;
    /// for user in ["anna", "bert"] {
    ///     let own = common.clone().arg("--user").arg(user).config(*b"key");
    ///     let options = DialOptions::new().settings(&own);
    ///     dialer.dial_with("192.0.2.1:443", options)?.close()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.own.settings = Some(Arc::new(settings.0.clone()));
        self
    }

    /// Sets the contents of `/conf/watm.cfg` for this connection alone, also in place of what
    /// [`DialOptions::settings`] says.
    pub fn config(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.own.config = Some(bytes.into().into());
        self
    }

    /// Sets the network of `water_dial_fixed`. It has no effect for a [`FixedDialer`].
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets the maximum time for the whole set-up of this connection, in place of
    /// [`Builder::setup_timeout`]. Zero fails at once.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.own.timeout = Some(timeout.min(LONGEST));
        self
    }

    /// Lets `token` cancel the dial until the connection is set up.
    ///
    /// ```no_run
    /// use watm_wasmer::{CancelToken, DialOptions, Dialer, TransportModule};
    ///
    /// let module = TransportModule::from_file("plain.wasm")?;
    /// let dialer = Dialer::builder(&module).build()?;
    /// let token = CancelToken::new();
    /// let canceller = token.clone();
    /// // The user closes the window.
    /// std::thread::spawn(move || canceller.cancel());
    /// let options = DialOptions::new().cancel(&token);
    /// match dialer.dial_with("192.0.2.1:443", options) {
    ///     Err(watm_wasmer::DialError::Cancelled) => println!("nobody wants it any more"),
    ///     result => println!("{result:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.own.cancel = Some(token.clone());
        self
    }
}

impl fmt::Debug for DialOptions {
    /// Without the configuration, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialOptions")
            .field("network", &self.network)
            .field("timeout", &self.own.timeout)
            .finish_non_exhaustive()
    }
}

/// Dials addresses that the application chooses, through a module (`watm_dial_v1`).
///
/// It can be shared between threads. Each connection has its own instance of the module.
///
/// ```no_run
/// use std::io::{Read, Write};
/// use watm_wasmer::{Dialer, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let dialer = Dialer::builder(&module).config(*b"key").build()?;
/// let mut conn = dialer.dial("192.0.2.1:443")?;
/// conn.write_all(b"hello")?;
/// let mut answer = [0; 512];
/// let len = conn.read(&mut answer)?;
/// println!("{:?}, then {}", &answer[..len], conn.close()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Dialer {
    workers: Workers,
}

impl Dialer {
    /// Starts the configuration of a dialer.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module, Role::Dialer)
    }

    /// Replaces the module and the settings for connections that begin from now on; those that are
    /// there go on as they are. All clones are changed.
    ///
    /// Nothing changes unless one instance has run `watm_init_v1`. If then the first three
    /// connections all fail because of the new module (it returns an error, traps, exits or does not
    /// finish its handshake), what was there before is put back, and the log says so.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`] if the configuration cannot be used, or if no instance can be made with it.
    ///
    /// ```no_run
    /// use watm_wasmer::{Dialer, TransportModule};
    ///
    /// let old = TransportModule::from_file("old.wasm")?;
    /// let dialer = Dialer::builder(&old).build()?;
    /// let new = TransportModule::from_file("new.wasm")?;
    /// dialer.replace(Dialer::builder(&new).config(*b"new key"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace(&self, builder: Builder<Self>) -> Result<(), ReplaceError> {
        builder.replace_in(&self.workers, Role::Dialer)
    }

    /// Dials `target`, and returns after the handshake of the module.
    ///
    /// If a name has several addresses, the first that answers is used, and it is tried first the
    /// next time; see [`DialAttempt::connect`](crate::DialAttempt::connect).
    ///
    /// # Errors
    ///
    /// [`DialError`], which says whether the network, the module or the host failed.
    pub fn dial(&self, target: impl Into<Target>) -> Result<Conn, DialError> {
        self.dial_with(target, DialOptions::new())
    }

    /// Dials with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn dial_with(
        &self,
        target: impl Into<Target>,
        options: DialOptions,
    ) -> Result<Conn, DialError> {
        self.begin(target, options).wait()
    }

    /// Begins to dial, and does not wait. Whatever goes wrong is the result of what is returned.
    pub fn begin(
        &self,
        target: impl Into<Target>,
        options: DialOptions,
    ) -> Pending<Conn, DialError> {
        match parsed(target.into()) {
            Ok(address) => {
                let fixed = Some((options.network, address));
                conn::begin(&self.workers, fixed, None, options.own)
            }
            Err(error) => Pending::failed(error),
        }
    }

    /// Dials `target` as [`Dialer::dial`] does, and carries a plain connection over the transport:
    /// what comes from `plain` leaves through the module, and the other way round. Returns after
    /// the handshake of the module; the thread of the transport then moves the bytes.
    ///
    /// `plain` becomes non-blocking, and the runtime controls its `SO_LINGER`: see [`Stream`]. If
    /// the dial fails, it is reset. For a server of many clients, see [`Builder::carry_to`].
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn carry(
        &self,
        plain: impl Into<Stream>,
        target: impl Into<Target>,
    ) -> Result<Carried, DialError> {
        self.carry_with(plain, target, DialOptions::new())
    }

    /// Carries a plain connection with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn carry_with(
        &self,
        plain: impl Into<Stream>,
        target: impl Into<Target>,
        options: DialOptions,
    ) -> Result<Carried, DialError> {
        self.begin_carrying(plain, target, options).wait()
    }

    /// Begins to carry a plain connection, and does not wait for the dial.
    pub fn begin_carrying(
        &self,
        plain: impl Into<Stream>,
        target: impl Into<Target>,
        options: DialOptions,
    ) -> Pending<Carried, DialError> {
        let ends = plain_ends(plain.into());
        match parsed(target.into()) {
            Ok(address) => {
                let fixed = Some((options.network, address));
                carried::begin(&self.workers, Ends { fixed, ..ends }, options.own)
            }
            Err(error) => Pending::failed(error),
        }
    }
}

/// The ends of a connection that is carried: one is a plain connection, which is reset from now on
/// unless the connection ends in order, and the module dials the other.
fn plain_ends(plain: Stream) -> Ends {
    plain.reset_on_drop();
    Ends {
        fixed: None,
        incoming: None,
        internal: Internal::Plain(plain),
    }
}

/// Parses a target that is to be dialled.
fn parsed(target: Target) -> Result<Address, SetupError> {
    target
        .into_address()
        .map_err(|(address, source)| SetupError::Address { address, source })
}

/// Dials addresses that the module chooses (`watm_dial_fixed_v1`), if the [`crate::AddressPolicy`]
/// allows them. Without a policy, no address is allowed.
///
/// ```
/// use watm_wasmer::{AddressPolicy, FixedDialer, TransportModule, plain};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let server = plain::bind("127.0.0.1:0")?;
/// let module = TransportModule::from_file(file)?;
/// // This module dials what its configuration says.
/// let dialer = FixedDialer::builder(&module)
///     .config(server.local_addr()?.to_string())
///     .policy(AddressPolicy::deny_all().allow("127.0.0.0/8".parse()?))
///     .build()?;
/// let conn = dialer.dial()?;
/// assert_eq!(conn.peer_addr()?, server.local_addr()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FixedDialer {
    workers: Workers,
}

impl FixedDialer {
    /// Starts the configuration of a fixed dialer.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module, Role::FixedDialer)
    }

    /// Replaces the module and the settings for connections that begin from now on; those that are
    /// there go on as they are. All clones are changed.
    ///
    /// Nothing changes unless one instance has run `watm_init_v1`. If then the first three
    /// connections all fail because of the new module (it returns an error, traps, exits or does not
    /// finish its handshake), what was there before is put back, and the log says so.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`] if the configuration cannot be used, or if no instance can be made with it.
    pub fn replace(&self, builder: Builder<Self>) -> Result<(), ReplaceError> {
        builder.replace_in(&self.workers, Role::FixedDialer)
    }

    /// Lets the module dial, and returns after its handshake.
    ///
    /// # Errors
    ///
    /// [`DialError`], which says whether the policy, the network, the module or the host failed.
    pub fn dial(&self) -> Result<Conn, DialError> {
        self.dial_with(DialOptions::new())
    }

    /// Dials with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`FixedDialer::dial`].
    pub fn dial_with(&self, options: DialOptions) -> Result<Conn, DialError> {
        self.begin(options).wait()
    }

    /// Begins to dial, and does not wait. Whatever goes wrong is the result of what is returned.
    pub fn begin(&self, options: DialOptions) -> Pending<Conn, DialError> {
        conn::begin(&self.workers, None, None, options.own)
    }

    /// Lets the module dial, and carries a plain connection over the transport, as
    /// [`Dialer::carry`] does. For a server of many clients, see [`Builder::carry`].
    ///
    /// # Errors
    ///
    /// As [`FixedDialer::dial`].
    pub fn carry(&self, plain: impl Into<Stream>) -> Result<Carried, DialError> {
        self.carry_with(plain, DialOptions::new())
    }

    /// Carries a plain connection with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`FixedDialer::dial`].
    pub fn carry_with(
        &self,
        plain: impl Into<Stream>,
        options: DialOptions,
    ) -> Result<Carried, DialError> {
        self.begin_carrying(plain, options).wait()
    }

    /// Begins to carry a plain connection, and does not wait for the dial.
    pub fn begin_carrying(
        &self,
        plain: impl Into<Stream>,
        options: DialOptions,
    ) -> Pending<Carried, DialError> {
        carried::begin(&self.workers, plain_ends(plain.into()), options.own)
    }
}

impl Builder<Dialer> {
    /// Creates the dialer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the module is not a dialer or if a setting cannot be used.
    pub fn build(self) -> Result<Dialer, ConfigError> {
        let settings = self.check()?;
        Ok(Dialer {
            workers: Workers::new(settings, Role::Dialer),
        })
    }
}

impl Builder<FixedDialer> {
    /// Creates the fixed dialer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the module is not a fixed dialer or if a setting cannot be used.
    pub fn build(self) -> Result<FixedDialer, ConfigError> {
        let settings = self.check()?;
        Ok(FixedDialer {
            workers: Workers::new(settings, Role::FixedDialer),
        })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("module", &self.workers.settings.module)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FixedDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedDialer")
            .field("module", &self.workers.settings.module)
            .finish_non_exhaustive()
    }
}
