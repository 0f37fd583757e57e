//! Relays: accept connections, wrap them and dial on; the application sees none of the bytes.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watm_abi::Role;

use crate::channel::link::Link;
use crate::channel::sync::lock;
use crate::error::{ConfigError, ListenError, SetupError};
use crate::guest::settings::Settings;
use crate::host::Ends;
use crate::module::TransportModule;
use crate::net::address::{Address, Network, canonical};
use crate::roles::accept_loop::{AcceptLoop, AcceptWaker, Accepting, Sockets};
use crate::roles::binding::Binds;
use crate::roles::book::{Book, ServerStats, wait_cut};
use crate::roles::builder::Builder;
use crate::roles::dropped;
use crate::roles::handshakes::Handshakes;
use crate::roles::warnings::Warnings;
use crate::worker::Workers;
use crate::worker::thread::Connection;

struct Relaying {
    workers: Workers,
    remote: Option<(Network, Address)>,
    book: Book,
    handshakes: Handshakes,
    warnings: Warnings,
}

/// Accepts connections, wraps each with an instance of the module (`watm_associate_v1`) and dials
/// on: to the remote that the application names, or (with an [`crate::AddressPolicy`]) to one that
/// the module chooses.
///
/// ```no_run
/// use std::time::Duration;
/// use watm_wasmer::{Relay, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let relay = Relay::builder(&module).remote("192.0.2.1:443").bind("127.0.0.1:0")?.spawn()?;
/// println!("relaying from {}", relay.local_addr());
/// // At the end: no more connections, time for those that are open, and an end to the rest.
/// relay.drain(Duration::from_secs(5));
/// relay.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Relay {
    settings: Arc<Settings>,
    remote: Option<(Network, Address)>,
    sockets: Sockets,
}

impl Relay {
    /// Starts the configuration of a relay.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module, Role::Relay)
    }

    /// The address listened on; the first, if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs()[0]
    }

    /// All addresses listened on: one, unless there are several sockets.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.sockets.locals()
    }

    /// Starts relaying, on threads of its own.
    ///
    /// # Errors
    ///
    /// [`ListenError::Host`] if there is no thread or descriptor for it.
    pub fn spawn(self) -> Result<ServerHandle, ListenError> {
        let handshakes = Handshakes::new(self.settings.handshake_limit);
        let locals = self.sockets.locals().into();
        let shared = Arc::new(Relaying {
            workers: Workers::new(self.settings, Role::Relay),
            remote: self.remote,
            book: Book::default(),
            handshakes,
            warnings: Warnings::default(),
        });
        let accept_loop = AcceptLoop::spawn(self.sockets, |waker| Wrap {
            shared: Arc::clone(&shared),
            waker,
        })?;
        Ok(ServerHandle {
            shared,
            locals,
            accept_loop: Mutex::new(accept_loop),
        })
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("local", &self.local_addrs())
            .finish_non_exhaustive()
    }
}

/// A running relay. Dropping it is like [`ServerHandle::shutdown`], but does not wait.
pub struct ServerHandle {
    shared: Arc<Relaying>,
    locals: Box<[SocketAddr]>,
    accept_loop: Mutex<AcceptLoop>,
}

impl ServerHandle {
    /// The address listened on; the first, if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.locals[0]
    }

    /// All addresses listened on: one, unless there are several sockets.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.locals
    }

    /// What the relay has done so far.
    pub fn stats(&self) -> ServerStats {
        self.shared.book.stats()
    }

    /// Waits until the relay accepts no more connections, because it was told to end. Connections
    /// may still be open then.
    ///
    /// # Errors
    ///
    /// Its listening socket failed: nobody can connect any more, and only the connections that are
    /// open go on. A lack of descriptors or memory is no such failure; accepting goes on after it.
    pub fn wait(&self) -> io::Result<()> {
        self.shared.book.wait_closed()
    }

    /// Stops listening. Open connections continue, including those that are being set up.
    pub fn stop_accepting(&self) {
        lock(&self.accept_loop).close();
        self.shared.workers.close_stock();
        self.shared.book.close();
    }

    /// Stops listening and waits until all connections have ended by themselves, up to `timeout`.
    /// Returns whether they have; those that have not go on.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.stop_accepting();
        self.shared.book.wait_empty(timeout)
    }

    /// Stops listening and cuts off all connections: the control pipe tells their transports to
    /// end, and both sides are reset after they have received what came before. Waits until that is
    /// done, which takes at most the grace period, and a little longer for guests that do not
    /// cooperate.
    ///
    /// [`ServerHandle::drain`] before it lets connections come to their own end.
    pub fn shutdown(&self) {
        wait_cut(&self.cut_all(), self.grace());
    }

    fn cut_all(&self) -> Vec<Arc<Link>> {
        self.stop_accepting();
        self.shared.handshakes.stop_all();
        self.shared.book.cut_all(self.grace())
    }

    fn grace(&self) -> Duration {
        self.shared.workers.settings.close_grace
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.cut_all().iter().for_each(dropped::add);
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("local", &self.locals)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Relaying {
    /// Tells that a client did not get a transport.
    fn dropped(&self, peer: SocketAddr, error: &SetupError) {
        if matches!(error, SetupError::Closed) {
            return log::info!("client {peer} was dropped: {error}");
        }
        let message = format_args!("client {peer} was dropped: {error}");
        self.warnings.tell(module_path!(), message);
    }

    /// Tells that the transport of a client has failed.
    fn failed(&self, peer: SocketAddr, link: &Link) {
        if let Some(Err(error)) = link.final_outcome() {
            let message = format_args!("client {peer}: {error}");
            self.warnings.tell(module_path!(), message);
        }
    }
}

/// What the accepting thread does.
struct Wrap {
    shared: Arc<Relaying>,
    waker: AcceptWaker,
}

impl Accepting for Wrap {
    fn wants_more(&self) -> bool {
        let limit = self.shared.workers.settings.connection_limit;
        let has_room = self.shared.book.len() < limit;
        if !has_room {
            self.shared.handshakes.make_room();
        }
        has_room
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = &self.shared;
        let peer = canonical(peer);
        let worker = shared.workers.next(None);
        let link = Arc::clone(worker.link());
        let number = shared.book.open(&link);
        shared.handshakes.add(number, &link);
        let (beginning, begun) = (Arc::clone(shared), Arc::clone(&link));
        let reporting = Arc::clone(shared);
        let ending = Arc::clone(shared);
        let waker = self.waker.clone();
        let served = worker.serve(Connection {
            ends: Ends {
                fixed: shared.remote.clone(),
                incoming: Some(stream.into()),
                internal: None,
            },
            begins: Some(Box::new(move || beginning.handshakes.begin(&begun))),
            report: Box::new(move |result| match result {
                Ok(_) => reporting.handshakes.end(number),
                // Its worker is still there, and can be stopped for a later one.
                Err(error) => reporting.dropped(peer, &error),
            }),
            ended: Some(Box::new(move |link| {
                ending.handshakes.end(number);
                if ending.book.end(number, link) {
                    ending.failed(peer, link);
                }
                waker.wake();
            })),
        });
        if let Err(error) = served {
            shared.dropped(peer, &error);
            shared.handshakes.end(number);
            shared.book.end(number, &link);
        }
    }

    fn failed(&self, error: io::Error) {
        log::error!("the relay accepts no more connections: {error}");
        self.shared.book.fail(error);
    }
}

impl Builder<Relay> {
    /// Sets the remote that `water_dial_fixed` dials, as for [`Dialer::dial`](crate::Dialer::dial).
    /// Without it, only a module that chooses its own remotes can relay.
    pub fn remote(mut self, address: impl Into<String>) -> Self {
        self.remote = Some(address.into());
        self
    }

    /// Sets the maximum number of connections at the same time, including those that are being set
    /// up; 4,096 by default. Further clients wait in the queue of the system.
    pub fn connection_limit(mut self, count: usize) -> Self {
        self.settings.connection_limit = count;
        self
    }

    fn parsed_remote(&self) -> Result<Option<(Network, Address)>, ConfigError> {
        let Some(remote) = &self.remote else {
            return Ok(None);
        };
        let address = Address::parse(remote).map_err(|error| ConfigError::Invalid {
            setting: "remote",
            message: error.to_string(),
        })?;
        Ok(Some((Network::Tcp, address)))
    }
}

impl Binds for Relay {
    fn make(
        builder: Builder<Self>,
        bind: impl FnOnce() -> Result<Vec<TcpListener>, ListenError>,
    ) -> Result<Self, ListenError> {
        let remote = builder.parsed_remote()?;
        let settings = builder.check()?;
        let sockets = Sockets::new(bind()?)?;
        Ok(Self {
            settings,
            remote,
            sockets,
        })
    }
}
