//! Servers: accept connections and carry each over a transport. The application sees none of the
//! bytes.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watm_abi::{Excerpt, Role};

use crate::channel::link::Link;
use crate::channel::sync::lock;
use crate::error::{ConfigError, ListenError, ReplaceError, SetupError, TransportError};
use crate::guest::exports::Established;
use crate::guest::settings::Settings;
use crate::host::plain::Target as Destination;
use crate::host::{Ends, Internal};
use crate::net::address::{Address, Network, canonical};
use crate::net::connect::Outgoing;
use crate::net::stream::Stream;
use crate::net::target::Target;
use crate::roles::accept_loop::{AcceptLoop, AcceptWaker, Accepting, Sockets};
use crate::roles::binding::{Binds, Bound};
use crate::roles::book::{Book, Ending, OpenConnection, ServerStats, wait_cut};
use crate::roles::builder::Builder;
use crate::roles::chain::Below;
use crate::roles::dialer::{Dialer, FixedDialer};
use crate::roles::dropped;
use crate::roles::handshakes::Handshakes;
use crate::roles::listener::Listener;
use crate::roles::warnings::Warnings;
use crate::worker::thread::Connection;
use crate::worker::{Workers, try_instance};

/// Accepts connections and carries each over a transport of its own: plain connections to a
/// remote, or connections of the module's clients to a plain server. It is bound, and does not
/// accept yet.
///
/// The socket of each client goes to the thread of its transport. So a client costs one thread, and
/// no byte passes through the application.
///
/// | from | to | builder |
/// | --- | --- | --- |
/// | plain clients | a remote of the application | [`Builder::carry_to`] of a [`Dialer`] |
/// | plain clients | a remote of the module | [`Builder::carry`] of a [`FixedDialer`] |
/// | clients of the module | a plain server | [`Builder::forward_to`] of a [`Listener`] |
///
/// A [`Relay`](crate::Relay) has a transport on both sides.
///
/// The end of one direction is passed on as far as the module knows half-close, and the other goes
/// on. A failure of either side is a reset for the other, after everything that came before. If a
/// plain connection has ended in both directions and the transport does not end, the transport is
/// closed after the drain timeout. A client without a transport is reset, and a line in the log
/// names the cause.
///
/// ```no_run
/// use std::time::Duration;
/// use watm_wasmer::{Dialer, Listener, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// // In front of a web server.
/// let exit = Listener::builder(&module).forward_to("127.0.0.1:80");
/// let exit = exit.bind("127.0.0.1:7000")?.spawn()?;
/// // On the other machine, for plain clients.
/// let entrance = Dialer::builder(&module).carry_to("127.0.0.1:7000");
/// let entrance = entrance.bind("127.0.0.1:8080")?.spawn()?;
/// println!("serving at {}", entrance.local_addr());
/// // At the end: no more clients, time for those that are there, and an end to the rest.
/// for server in [entrance, exit] {
///     server.drain(Duration::from_secs(5));
///     server.shutdown();
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    settings: Arc<Settings>,
    service: Service,
    sockets: Sockets,
    below: Below,
}

/// What happens to each connection that is accepted.
pub(super) enum Service {
    /// It is wrapped, and the module dials on: to this remote, or where it chooses.
    Relay(Option<(Network, Address)>),
    /// It is carried to this remote, or to one that the module chooses.
    Dial(Option<(Network, Address)>),
    /// It is unwrapped and carried to a plain server.
    Forward(Destination),
}

impl Service {
    fn role(&self) -> Role {
        match self {
            Self::Relay(_) => Role::Relay,
            Self::Dial(Some(_)) => Role::Dialer,
            Self::Dial(None) => Role::FixedDialer,
            Self::Forward(_) => Role::Listener,
        }
    }

    /// Maximum number of handshakes in progress with clients. Plain clients have none.
    fn handshake_limit(&self, settings: &Settings) -> usize {
        match self {
            Self::Relay(_) | Self::Forward(_) => settings.handshake_limit,
            Self::Dial(_) => usize::MAX,
        }
    }

    /// The ends of the connection that an accepted socket becomes.
    fn ends(&self, stream: Stream) -> Ends {
        match self {
            Self::Relay(remote) => Ends {
                fixed: remote.clone(),
                incoming: Some(stream),
                internal: Internal::None,
            },
            Self::Dial(remote) => Ends {
                fixed: remote.clone(),
                incoming: None,
                internal: Internal::Plain(stream),
            },
            Self::Forward(target) => Ends {
                fixed: None,
                incoming: Some(stream),
                internal: Internal::Target(target.clone()),
            },
        }
    }

    /// How much a connection has carried, for the log.
    fn carried(&self, link: &Link) -> String {
        let stats = ServerStats::of_one(&link.traffic);
        match self {
            Self::Relay(_) => format!("{} bytes received, {} sent", stats.received, stats.sent),
            Self::Dial(_) | Self::Forward(_) => format!(
                "{} bytes to the transport, {} from it",
                stats.plain_received, stats.plain_sent
            ),
        }
    }
}

/// How long a client has for its handshake even if others wait for its connection.
const FAIR_TIME: Duration = Duration::from_secs(1);

struct Serving {
    workers: Workers,
    service: Service,
    /// What unwraps a connection before it is served.
    below: Below,
    book: Book,
    handshakes: Handshakes,
    warnings: Warnings,
}

impl Server {
    pub(super) fn new(
        settings: Arc<Settings>,
        service: Service,
        sockets: Sockets,
        below: Below,
    ) -> Self {
        Self {
            settings,
            service,
            sockets,
            below,
        }
    }

    /// The address listened on; the first, if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs()[0]
    }

    /// All addresses listened on: one, unless there are several sockets.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.sockets.locals()
    }

    /// Makes one instance with these settings, which runs `watm_init_v1` and ends. A server that is
    /// about to take the place of another is tried out so.
    ///
    /// # Errors
    ///
    /// [`ReplaceError::Instance`] if no instance can be made.
    pub fn try_instance(&self) -> Result<(), ReplaceError> {
        let tried = try_instance(&self.settings, self.service.role());
        tried.map_err(|error| ReplaceError::Instance(error.into()))
    }

    /// Starts serving, on threads of its own.
    ///
    /// # Errors
    ///
    /// [`ListenError::Host`] if there is no thread or descriptor for it.
    pub fn spawn(self) -> Result<ServerHandle, ListenError> {
        let handshakes = Handshakes::new(self.service.handshake_limit(&self.settings));
        let locals = self.sockets.locals().into();
        let shared = Arc::new(Serving {
            workers: Workers::new(self.settings, self.service.role()),
            service: self.service,
            below: self.below,
            book: Book::default(),
            handshakes,
            warnings: Warnings::default(),
        });
        let accept_loop = AcceptLoop::spawn(self.sockets, |waker| Serve {
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

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local", &self.local_addrs())
            .finish_non_exhaustive()
    }
}

/// A running [`Server`] or [`Relay`](crate::Relay). Dropping it is like [`ServerHandle::shutdown`],
/// but does not wait.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
/// use watm_wasmer::{Listener, TransportModule, plain};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let web = plain::bind("127.0.0.1:0")?;
/// let server = Listener::builder(&module).forward_to(web.local_addr()?);
/// let server = server.bind("127.0.0.1:0")?.spawn()?;
///
/// let mut client = TcpStream::connect(server.local_addr())?;
/// client.write_all(b"GET /")?;
/// let (mut request, _) = web.accept()?;
/// let mut bytes = [0; 5];
/// request.read_exact(&mut bytes)?;
/// assert_eq!(&bytes, b"GET /");
/// assert_eq!(server.stats().active, 1);
///
/// // At the end: no more clients, time for those that are there, and an end to the rest.
/// if !server.drain(Duration::from_millis(10)) {
///     server.shutdown();
/// }
/// assert_eq!(server.stats().active, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ServerHandle {
    shared: Arc<Serving>,
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

    /// Replaces the module and the settings for connections that begin from now on; those that are
    /// there go on as they are. The builder is one for the same role. What is below it is replaced
    /// with it. The addresses, the remote or target, and the limits of handshakes and connections
    /// stay.
    ///
    /// Nothing changes unless one instance has run `watm_init_v1`. If then the first three
    /// connections all fail because of the new module (it traps or exits, or a server that dials
    /// gets an error or no end of the handshake), the one before is put back, and the log says so.
    /// The handshakes of clients do not count: anybody may be the client.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`] if the configuration cannot be used, or if no instance can be made with it.
    pub fn replace<R>(&self, builder: Builder<R>) -> Result<(), ReplaceError> {
        builder.replace_in(&self.shared.workers, self.shared.service.role())?;
        self.shared.below.replace(builder.below);
        Ok(())
    }

    /// What the server has done so far.
    pub fn stats(&self) -> ServerStats {
        self.shared.book.stats()
    }

    /// The same, where the bytes are also those of connections that are open. So the numbers grow
    /// while long connections go on, and never fall.
    pub fn totals(&self) -> ServerStats {
        self.shared.book.totals()
    }

    /// Whether the first connections after the last [`ServerHandle::replace`] failed because of it,
    /// so that what was there before is used again.
    pub fn is_taken_back(&self) -> bool {
        self.shared.workers.is_taken_back()
    }

    /// The connections that are open, the oldest first, including those that are being set up.
    pub fn connections(&self) -> Vec<OpenConnection> {
        self.shared.book.connections()
    }

    /// Waits until the server accepts no more connections, because it was told to end. Connections
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
        self.shared.workers.close_pool();
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

    pub(super) fn cut_all(&self) -> Vec<Arc<Link>> {
        self.stop_accepting();
        self.shared.handshakes.stop_all();
        self.shared.book.cut_all(self.grace())
    }

    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn book(&self) -> &Book {
        &self.shared.book
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

impl Serving {
    /// Tells that a client did not get a transport.
    fn dropped(&self, peer: SocketAddr, error: &SetupError) {
        if matches!(error, SetupError::Closed) {
            return log::info!("client {peer} was dropped: {error}");
        }
        let message = format_args!("client {peer} was dropped: {error}");
        self.warnings.tell(module_path!(), message);
    }

    /// Tells that the transport of a client is set up.
    fn established(&self, peer: SocketAddr, established: &Established) {
        match &self.service {
            Service::Relay(_) => log::debug!("client {peer}: relayed"),
            Service::Dial(_) => match established.peer {
                Some(remote) => log::debug!("client {peer}: dialled {remote}"),
                None => log::debug!("client {peer}: dialled"),
            },
            Service::Forward(target) if established.is_connected => {
                log::debug!("client {peer}: forwarded to {}", target.address.as_str());
            }
            Service::Forward(_) => log::debug!("client {peer}: its handshake is done"),
        }
    }

    /// Tells how the connection of a client has ended.
    fn ended(&self, peer: SocketAddr, link: &Link, ending: Ending) {
        let carried = self.service.carried(link);
        match ending {
            // That was told when it came about.
            Ending::Refused => {}
            Ending::Completed => log::info!("client {peer} has ended: {carried}"),
            Ending::Cut => log::info!("client {peer} was cut off: {carried}"),
            Ending::Failed(error @ TransportError::PlainLost { .. }) => {
                log::info!("client {peer}: {error} ({carried})");
            }
            Ending::Failed(error) => {
                let message = format_args!("client {peer}: {error} ({carried})");
                self.warnings.tell(module_path!(), message);
            }
        }
    }
}

/// What the accepting thread does.
struct Serve {
    shared: Arc<Serving>,
    waker: AcceptWaker,
}

impl Accepting for Serve {
    fn wants_more(&self) -> bool {
        let limit = self.shared.workers.settings.connection_limit;
        let has_room = self.shared.book.len() < limit;
        if !has_room {
            self.shared.handshakes.make_room();
        }
        has_room
    }

    fn crowded(&self) -> Option<Duration> {
        match self.shared.service {
            // The clients are plain. It is not for them to finish a handshake.
            Service::Dial(_) => None,
            Service::Relay(_) | Service::Forward(_) => self.shared.handshakes.give_way(FAIR_TIME),
        }
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = &self.shared;
        let peer = canonical(peer);
        let stream = match shared.below.unwrapped(stream.into()) {
            Ok(stream) => stream,
            Err(error) => return shared.dropped(peer, &error),
        };
        let worker = shared.workers.next(None, None);
        let link = Arc::clone(worker.link());
        let number = shared.book.open(&link, peer);
        shared.handshakes.add(number, &link);
        let (beginning, begun) = (Arc::clone(shared), Arc::clone(&link));
        let reporting = Arc::clone(shared);
        let ending = Arc::clone(shared);
        let waker = self.waker.clone();
        let served = worker.serve(Connection {
            ends: shared.service.ends(stream),
            begins: Some(Box::new(move || beginning.handshakes.begin(&begun))),
            report: Box::new(move |result| match result {
                Ok(established) => {
                    reporting.handshakes.end(number);
                    reporting.established(peer, &established);
                }
                // Its worker is still there, and can be stopped for a later one.
                Err(error) => reporting.dropped(peer, &error),
            }),
            ended: Some(Box::new(move |link| {
                ending.handshakes.end(number);
                let how = ending.book.end(number, link);
                ending.ended(peer, link, how);
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
        log::error!("the server accepts no more connections: {error}");
        self.shared.book.fail(error);
    }
}

/// Parses an address that connections are made to.
pub(super) fn parsed(
    setting: &'static str,
    target: Option<Target>,
) -> Result<Option<Address>, ConfigError> {
    let address = target.map(Target::into_address).transpose();
    address.map_err(|(text, error)| ConfigError::Invalid {
        setting,
        message: format!("`{}` is not an address: {error}", Excerpt(&text)),
    })
}

impl Binds for Server {}

impl Bound for Server {
    fn make(
        builder: Builder<Self>,
        bind: impl FnOnce() -> Result<Vec<TcpListener>, ListenError>,
    ) -> Result<Self, ListenError> {
        let is_listener = builder.role == Role::Listener;
        let setting = if is_listener { "target" } else { "remote" };
        let remote = parsed(setting, builder.remote.clone())?;
        let settings = builder.check()?;
        let below = Below::new(builder.below.clone());
        let sockets = Sockets::new(bind()?)?;
        let service = match remote {
            Some(address) if is_listener => Service::Forward(Destination {
                address,
                outgoing: Outgoing::within(settings.outgoing.timeout),
            }),
            remote => Service::Dial(remote.map(|remote| (Network::Tcp, remote))),
        };
        Ok(Self::new(settings, service, sockets, below))
    }
}

impl Builder<Dialer> {
    /// Makes a [`Server`] of it, which accepts plain connections and carries each to `remote`, as
    /// [`Dialer::carry`] does.
    pub fn carry_to(self, remote: impl Into<Target>) -> Builder<Server> {
        self.turn_into(Some(remote.into()))
    }
}

impl Builder<FixedDialer> {
    /// Makes a [`Server`] of it, which accepts plain connections and carries each to a remote that
    /// the module chooses, as [`FixedDialer::carry`] does.
    pub fn carry(self) -> Builder<Server> {
        self.turn_into(None)
    }
}

impl Builder<Listener> {
    /// Makes a [`Server`] of it, which unwraps what it accepts and carries it to the plain server
    /// `target`.
    ///
    /// The target is connected to once the handshake of the module is done, within the connect
    /// timeout. That counts towards the set-up timeout. The dial hook is not asked, nor is the
    /// policy: nothing of the module chooses this address. Until it is connected, the module finds
    /// nothing to read on its internal descriptor; a write before connects at once.
    pub fn forward_to(self, target: impl Into<Target>) -> Builder<Server> {
        self.turn_into(Some(target.into()))
    }
}

impl Builder<Server> {
    /// Sets the maximum number of connections at the same time, including those that are being set
    /// up; 4,096 by default. Further clients wait in the queue of the system.
    ///
    /// While one waits, clients of the module that have been at their handshake for a second give
    /// way, the oldest first. So silent clients cannot keep others out.
    pub fn connection_limit(mut self, count: usize) -> Self {
        self.settings.connection_limit = count;
        self
    }
}
