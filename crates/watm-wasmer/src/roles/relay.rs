//! Relays: accept connections, wrap them and dial on; the application sees none of the bytes.

use std::fmt;
use std::net::SocketAddr;

use watm_abi::Role;

use crate::error::{ListenError, ReplaceError};
use crate::module::TransportModule;
use crate::net::address::Network;
use crate::net::listening::ListenSocket;
use crate::net::target::Target;
use crate::roles::accept_loop::Sockets;
use crate::roles::binding::{Binds, Bound};
use crate::roles::builder::Builder;
use crate::roles::chain::Below;
use crate::roles::listener::Acceptor;
use crate::roles::server::{Server, ServerHandle, Service, parsed};

/// Accepts connections, wraps each with an instance of the module (`watm_associate_v1`) and dials
/// on: to the remote that the application names, or (with an [`crate::AddressPolicy`]) to one that
/// the module chooses.
///
/// ```
/// use std::time::Duration;
/// use watm_wasmer::{Relay, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let builder = Relay::builder(&module).remote("192.0.2.1:443");
/// let builder = builder.connection_limit(500).handshake_limit(50);
/// let relay = builder.bind("127.0.0.1:0")?.spawn()?;
/// println!("relaying from {}", relay.local_addr());
/// // At the end: no more connections, time for those that are open, and an end to the rest.
/// relay.drain(Duration::from_secs(5));
/// relay.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Relay(Server);

impl Relay {
    /// Starts the configuration of a relay.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module, Role::Relay)
    }

    /// The address listened on; the first of TCP, if there are several. `0.0.0.0:0` if none is of TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// All addresses of TCP that are listened on: one, unless there are several sockets.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.0.local_addrs()
    }

    /// All that is listened on, in the order in which it was named: `127.0.0.1:80`,
    /// `unix:/run/app.sock`.
    pub fn listening_on(&self) -> impl Iterator<Item = &str> {
        self.0.listening_on()
    }

    /// Makes one instance with these settings, as [`Server::try_instance`] does.
    ///
    /// # Errors
    ///
    /// [`ReplaceError::Instance`] if no instance can be made.
    pub fn try_instance(&self) -> Result<(), ReplaceError> {
        self.0.try_instance()
    }

    /// Starts relaying, on threads of its own.
    ///
    /// # Errors
    ///
    /// [`ListenError::Host`] if there is no thread or descriptor for it.
    pub fn spawn(self) -> Result<ServerHandle, ListenError> {
        self.0.spawn()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("local", &self.0)
            .finish_non_exhaustive()
    }
}

impl Builder<Relay> {
    /// Sets the remote that `water_dial_fixed` dials, as for [`Dialer::dial`](crate::Dialer::dial).
    /// Without it, only a module that chooses its own remotes can relay.
    pub fn remote(mut self, target: impl Into<Target>) -> Self {
        self.remote = Some(target.into());
        self
    }

    /// Has `acceptor` unwrap each accepted connection before this module does: a chain, whose other
    /// end has a [`Dialer`](crate::Dialer) as its dial hook.
    pub fn over(mut self, acceptor: Acceptor) -> Self {
        self.below = Some(acceptor);
        self
    }

    /// Sets the maximum number of handshakes in progress with clients; one more drops the oldest. 256
    /// by default. Making an instance is no handshake, nor is the time that it takes to connect to
    /// the remote.
    pub fn handshake_limit(mut self, count: usize) -> Self {
        self.settings.handshake_limit = count;
        self
    }

    /// Sets the maximum number of connections at the same time, including those that are being set
    /// up; 4,096 by default. Further clients wait in the queue of the system.
    ///
    /// While one waits, clients that have been at their handshake for a second give way, the oldest
    /// first. So silent clients cannot keep others out.
    pub fn connection_limit(mut self, count: usize) -> Self {
        self.settings.connection_limit = count;
        self
    }
}

impl Binds for Relay {}

impl Bound for Relay {
    fn make(
        builder: Builder<Self>,
        bind: impl FnOnce() -> Result<Vec<ListenSocket>, ListenError>,
    ) -> Result<Self, ListenError> {
        let remote = parsed("remote", builder.remote.clone())?;
        let settings = builder.check()?;
        let below = Below::new(builder.below.clone());
        let sockets = Sockets::new(bind()?)?;
        let remote = remote.map(|remote| (Network::Tcp, remote));
        let service = Service::Relay(remote);
        Ok(Self(Server::new(
            settings,
            service,
            sockets,
            below,
            #[cfg(feature = "front")]
            builder.serving.protocols,
        )))
    }
}
