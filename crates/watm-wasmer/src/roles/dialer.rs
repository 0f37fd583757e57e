//! Dialers: the application chooses the address, or the module does.

use std::fmt;
use std::sync::Arc;

use watm_abi::Role;

use crate::error::{ConfigError, DialError};
use crate::host::{Ends, Internal};
use crate::module::TransportModule;
use crate::net::address::{Address, Network};
use crate::net::stream::Stream;
use crate::roles::builder::Builder;
use crate::roles::carried::{Carried, carry};
use crate::roles::conn::{Conn, connect};
use crate::worker::Workers;

/// Options of a single dial, in place of those of its dialer.
#[derive(Clone, Default)]
pub struct DialOptions {
    config: Option<Arc<[u8]>>,
    network: Network,
}

impl DialOptions {
    /// The defaults: the configuration of the dialer, and the network `tcp`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the contents of `/conf/watm.cfg` for this connection alone.
    pub fn config(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.config = Some(bytes.into().into());
        self
    }

    /// Sets the network of `water_dial_fixed`. It has no effect for a [`FixedDialer`].
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }
}

impl fmt::Debug for DialOptions {
    /// Without the configuration, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialOptions")
            .field("network", &self.network)
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

    /// Dials `address` (`host:port` or `[v6]:port`, see [`Address`](crate::Address)) and returns
    /// after the handshake of the module.
    ///
    /// If a name has several addresses, the first that answers is used, and it is tried first the
    /// next time; see [`DialAttempt::connect`](crate::DialAttempt::connect).
    ///
    /// # Errors
    ///
    /// [`DialError`], which says whether the network, the module or the host failed.
    pub fn dial(&self, address: &str) -> Result<Conn, DialError> {
        self.dial_with(address, DialOptions::new())
    }

    /// Dials with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn dial_with(&self, address: &str, options: DialOptions) -> Result<Conn, DialError> {
        let fixed = Some((options.network, parsed(address)?));
        Ok(connect(&self.workers, fixed, None, options.config)?)
    }

    /// Dials `address` as [`Dialer::dial`] does, and carries a plain connection over the transport:
    /// what comes from `plain` leaves through the module, and the other way round. Returns after
    /// the handshake of the module; the thread of the transport then moves the bytes.
    ///
    /// `plain` becomes non-blocking, and the runtime controls its `SO_LINGER`: see [`Stream`]. If
    /// the dial fails, it is reset. For a server of many clients, see [`Builder::carry_to`].
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn carry(&self, plain: impl Into<Stream>, address: &str) -> Result<Carried, DialError> {
        self.carry_with(plain, address, DialOptions::new())
    }

    /// Carries a plain connection with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn carry_with(
        &self,
        plain: impl Into<Stream>,
        address: &str,
        options: DialOptions,
    ) -> Result<Carried, DialError> {
        let ends = plain_ends(plain.into());
        let ends = Ends {
            fixed: Some((options.network, parsed(address)?)),
            ..ends
        };
        Ok(carry(&self.workers, ends, options.config)?)
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

/// Parses an address that is to be dialled.
fn parsed(address: &str) -> Result<Address, DialError> {
    Address::parse(address).map_err(|source| DialError::Connect {
        address: address.to_owned(),
        source,
    })
}

/// Dials addresses that the module chooses (`watm_dial_fixed_v1`), if the [`crate::AddressPolicy`]
/// allows them. Without a policy, no address is allowed.
#[derive(Clone)]
pub struct FixedDialer {
    workers: Workers,
}

impl FixedDialer {
    /// Starts the configuration of a fixed dialer.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module, Role::FixedDialer)
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
        Ok(connect(&self.workers, None, None, options.config)?)
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
        let ends = plain_ends(plain.into());
        Ok(carry(&self.workers, ends, options.config)?)
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
