//! Servers: accept connections and carry each over a transport. The application sees none of the
//! bytes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use watm_abi::{Excerpt, Role};

use crate::channel::link::Link;
use crate::channel::supervisor;
use crate::channel::sync::lock;
use crate::error::{ConfigError, ListenError, ReplaceError, SetupError, TransportError};
use crate::guest::exports::Established;
use crate::guest::settings::Settings;
use crate::host::plain::Target as Destination;
use crate::module::TransportModule;
use crate::net::address::{Address, Client, Network};
use crate::net::connect::{DialHook, Outgoing};
use crate::net::listening::ListenSocket;
use crate::net::policy::AddressPolicy;
use crate::net::stream::Stream;
use crate::net::target::Target;
use crate::roles::accept_loop::{AcceptLoop, AcceptWaker, Accepting, Locals, Sockets};
use crate::roles::binding::{Binds, Bound};
use crate::roles::book::{Book, Ending, OpenConnection, ServerStats, wait_cut};
use crate::roles::builder::Builder;
use crate::roles::chain::Below;
use crate::roles::dialer::{Dialer, FixedDialer};
use crate::roles::dropped;
#[cfg(feature = "front")]
use crate::roles::front::Front;
#[cfg(feature = "front")]
use crate::roles::greeter::{Greeter, Protocols};
use crate::roles::handshakes::Handshakes;
use crate::roles::listener::Listener;
use crate::roles::pending::{Own, own_settings};
#[cfg(feature = "front")]
use crate::roles::relay::Relay;
pub(super) use crate::roles::server::service::Service;
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
/// | clients of the module | where each asks to go | [`Builder::forward_where_asked`] of a [`Listener`] |
///
/// With the feature `front`, plain clients may say first where they want to go, as to a proxy of SOCKS
/// or HTTP (`Builder::front`), and a balancer may say who its clients are (`Builder::proxy_protocol`).
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
    #[cfg(feature = "front")]
    protocols: Protocols,
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
        #[cfg(feature = "front")] protocols: Protocols,
    ) -> Self {
        Self {
            settings,
            service,
            sockets,
            below,
            #[cfg(feature = "front")]
            protocols,
        }
    }

    /// The address listened on; the first of TCP, if there are several. `0.0.0.0:0` if none is of TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.sockets.locals().first()
    }

    /// All addresses of TCP that are listened on: one, unless there are several sockets.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.sockets.locals().tcp()
    }

    /// All that is listened on, in the order in which it was named: `127.0.0.1:80`,
    /// `unix:/run/app.sock`.
    pub fn listening_on(&self) -> impl Iterator<Item = &str> {
        self.sockets.locals().all()
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
        let locals = self.sockets.locals().clone();
        #[cfg(feature = "front")]
        let limit = self.settings.setup_timeout;
        let shared = Arc::new(Serving {
            workers: Workers::new(self.settings, self.service.role()),
            service: self.service,
            below: self.below,
            book: Book::default(),
            handshakes,
            warnings: Warnings::default(),
        });
        #[cfg(feature = "front")]
        let (mut greeter, protocols) = (None, self.protocols);
        let accept_loop = AcceptLoop::spawn(self.sockets, |waker| {
            #[cfg(feature = "front")]
            if !protocols.is_empty() {
                let spawned = greeting::spawn(protocols, limit, &shared, &waker);
                greeter = Some(spawned.map_err(ListenError::Host)?);
            }
            Ok(Serve {
                shared: Arc::clone(&shared),
                waker,
                #[cfg(feature = "front")]
                greeter: greeter.clone(),
            })
        })?;
        Ok(ServerHandle {
            shared,
            locals,
            accept_loop: Mutex::new(accept_loop),
            #[cfg(feature = "front")]
            greeter,
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local", &self.sockets.locals())
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
    locals: Locals,
    accept_loop: Mutex<AcceptLoop>,
    #[cfg(feature = "front")]
    greeter: Option<Greeter>,
}

impl ServerHandle {
    /// The address listened on; the first of TCP, if there are several. `0.0.0.0:0` if none is of TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.locals.first()
    }

    /// All addresses of TCP that are listened on: one, unless there are several sockets.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.locals.tcp()
    }

    /// All that is listened on, in the order in which it was named: `127.0.0.1:80`,
    /// `unix:/run/app.sock`.
    pub fn listening_on(&self) -> impl Iterator<Item = &str> {
        self.locals.all()
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
        self.shared.book.connections(self.shared.service.sides())
    }

    /// The module that connections which begin now are made with.
    pub fn module(&self) -> TransportModule {
        self.shared.workers.current().module.clone()
    }

    /// Where all connections are carried to: the remote of a server that dials or relays, the target of
    /// one that forwards. `None` if the module or each client chooses.
    pub fn target(&self) -> Option<&Address> {
        self.shared.service.target()
    }

    /// Maximum number of connections at the same time: [`Builder::connection_limit`].
    pub fn connection_limit(&self) -> usize {
        self.shared.workers.settings.connection_limit
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
        #[cfg(feature = "front")]
        if let Some(greeter) = &self.greeter {
            greeter.stop();
        }
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
    fn dropped(&self, peer: Client, error: &SetupError) {
        if matches!(error, SetupError::Closed) {
            return log::info!("client {peer} was dropped: {error}");
        }
        let message = format_args!("client {peer} was dropped: {error}");
        self.warnings.tell(module_path!(), message);
    }

    /// Tells that the transport of a client is set up.
    fn established(&self, peer: Client, established: &Established) {
        match &self.service {
            Service::Relay(_) => log::debug!("client {peer}: relayed"),
            Service::Dial(..) => match established.peer {
                Some(remote) => log::debug!("client {peer}: dialled {remote}"),
                None => log::debug!("client {peer}: dialled"),
            },
            Service::Forward(Destination {
                address: Some(address),
                ..
            }) if established.is_connected => {
                log::debug!("client {peer}: forwarded to {address}");
            }
            Service::Forward(_) => log::debug!("client {peer}: its handshake is done"),
        }
    }

    /// Tells how the connection of a client has ended.
    fn ended(&self, peer: Client, link: &Link, ending: &Ending) {
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

/// What a client wants, if it has said something, and how it hears what becomes of that.
#[derive(Default)]
struct Wish {
    remote: Option<(Network, Address)>,
    own: Own,
    /// Called once, when its connection is set up or cannot be.
    tell: Option<Tell>,
}

type Tell = Box<dyn FnOnce(Result<(), SetupError>) + Send>;

impl Serving {
    /// Serves a client.
    fn serve(
        self: &Arc<Self>,
        waker: &AcceptWaker,
        stream: Stream,
        client: Option<SocketAddr>,
        wish: Wish,
    ) {
        let peer = Client(client);
        let Wish { remote, own, tell } = wish;
        // Whoever hears first that there is no transport tells the client.
        let tell = tell.map(|tell| Arc::new(Mutex::new(Some(tell))));
        let told = tell.clone();
        let prepared = self.below.unwrapped(stream).and_then(|stream| {
            let settings = own
                .settings
                .map(|common| own_settings(&self.workers, &common));
            Ok((stream, settings.transpose().map_err(SetupError::Config)?))
        });
        let (stream, settings) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.refuse(peer, error, tell),
        };
        let worker = self.workers.next(settings, own.config).within(own.timeout);
        let link = Arc::clone(worker.link());
        let number = self.book.open(&link, client);
        self.handshakes.add(number, &link);
        let (beginning, begun) = (Arc::clone(self), Arc::clone(&link));
        let (reporting, ending) = (Arc::clone(self), Arc::clone(self));
        let waker = waker.clone();
        let served = worker.serve(Connection {
            ends: self.service.ends(stream, remote),
            begins: Some(Box::new(move || beginning.handshakes.begin(&begun))),
            report: Box::new(move |result| match result {
                Ok(established) => {
                    reporting.handshakes.end(number);
                    reporting
                        .book
                        .lead(number, reporting.service.remote_of(&established));
                    reporting.established(peer, &established);
                    told_of(tell, Ok(()));
                }
                // Its worker is still there, and can be stopped for a later one.
                Err(error) => reporting.refuse(peer, error, tell),
            }),
            ended: Some(Box::new(move |link| {
                ending.handshakes.end(number);
                let tell = |how: &_| ending.ended(peer, link, how);
                ending.book.end(number, link, tell);
                waker.wake();
            })),
        });
        if let Some(cancel) = own.cancel {
            cancel.watch(&link);
        }
        if let Err(error) = served {
            self.handshakes.end(number);
            self.book.end(number, &link, |_| {});
            self.refuse(peer, error, told);
        } else if self.book.is_cutting() {
            // Whoever cuts the connections off may have looked before this one was there.
            supervisor::cut(&link, Instant::now() + self.workers.settings.close_grace);
        }
    }

    /// A client does not get a transport.
    fn refuse(&self, peer: Client, error: SetupError, tell: Option<Shared<Tell>>) {
        self.dropped(peer, &error);
        told_of(tell, Err(error));
    }
}

/// What several may take, and one does.
type Shared<T> = Arc<Mutex<Option<T>>>;

/// Tells a client what has become of its dial, unless it was told.
fn told_of(tell: Option<Shared<Tell>>, result: Result<(), SetupError>) {
    let tell = tell.and_then(|tell| lock(&tell).take());
    if let Some(tell) = tell {
        tell(result);
    }
}

/// What the accepting thread does.
struct Serve {
    shared: Arc<Serving>,
    waker: AcceptWaker,
    /// What talks with clients before they are served.
    #[cfg(feature = "front")]
    greeter: Option<Greeter>,
}

impl Serve {
    /// Drops a client that takes its time to say what it wants. Returns when to do so again.
    fn make_room(&self) -> Option<Duration> {
        #[cfg(feature = "front")]
        return self.greeter.as_ref().map(Greeter::make_room);
        #[cfg(not(feature = "front"))]
        None
    }
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
        let again = self.make_room();
        let handshakes = match self.shared.service {
            // The clients are plain. It is not for them to finish a handshake.
            Service::Dial(..) => None,
            Service::Relay(_) | Service::Forward(_) => self.shared.handshakes.give_way(FAIR_TIME),
        };
        again.into_iter().chain(handshakes).min()
    }

    fn accepted(&self, stream: Stream, client: Option<SocketAddr>) {
        #[cfg(feature = "front")]
        if let Some(greeter) = &self.greeter {
            self.shared.book.arrive();
            if !greeter.greet(stream, client) {
                self.shared.book.leave();
            }
            return;
        }
        let wish = Wish::default();
        self.shared.serve(&self.waker, stream, client, wish);
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

#[cfg(feature = "front")]
mod greeting;
mod service;

impl Binds for Server {}

impl Bound for Server {
    fn make(
        builder: Builder<Self>,
        bind: impl FnOnce() -> Result<Vec<ListenSocket>, ListenError>,
    ) -> Result<Self, ListenError> {
        let role = builder.role;
        let is_listener = role == Role::Listener;
        let setting = if is_listener { "target" } else { "remote" };
        let remote = parsed(setting, builder.remote.clone())?;
        #[cfg(feature = "front")]
        greeting::check(&builder.serving.protocols, role)?;
        let settings = builder.check()?;
        let below = Below::new(builder.below.clone());
        let sockets = Sockets::new(bind()?)?;
        let service = if is_listener {
            let mut outgoing = Outgoing::within(settings.outgoing.timeout);
            outgoing.hook = builder.serving.hook.clone();
            if let Some(policy) = &builder.serving.asked {
                outgoing.policy = Arc::clone(policy);
            }
            Service::Forward(Destination {
                address: remote,
                outgoing,
            })
        } else {
            Service::Dial(role, remote.map(|remote| (Network::Tcp, remote)))
        };
        Ok(Self::new(
            settings,
            service,
            sockets,
            below,
            #[cfg(feature = "front")]
            builder.serving.protocols,
        ))
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

    /// Makes a [`Server`] of it, which unwraps what it accepts and carries each client where it asks
    /// to go: an address in the form of SOCKS5 in front of its bytes, as clients of Shadowsocks send
    /// it, if `policy` allows that.
    ///
    /// Names are resolved here, and each address behind one has to be allowed. Whoever may connect
    /// reaches all that the policy allows, also what only this machine can reach: deny its network.
    ///
    /// A client has the set-up timeout for its address, from the end of the handshake. One whose
    /// address is none, is not allowed or does not answer is reset.
    ///
    /// ```
    /// use watm_wasmer::{AddressPolicy, Listener, TransportModule};
    ///
    /// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
    /// let module = TransportModule::from_file(file)?;
    /// let mut policy = AddressPolicy::allow_all();
    /// for own in ["127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"] {
    ///     policy = policy.deny(own.parse()?);
    /// }
    /// let server = Listener::builder(&module).forward_where_asked(policy).bind("127.0.0.1:0")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forward_where_asked(mut self, policy: AddressPolicy) -> Builder<Server> {
        self.serving.asked = Some(Arc::new(policy));
        self.turn_into(None)
    }
}

#[cfg(feature = "front")]
impl Builder<Dialer> {
    /// Makes a [`Server`] of it, whose plain clients say first what they want, and so where each is
    /// carried to.
    pub fn front(self, front: impl Front + 'static) -> Builder<Server> {
        self.turn_into::<Server>(None).front(front)
    }
}

#[cfg(feature = "front")]
impl Builder<Relay> {
    /// Has a header of the PROXY protocol, version 1 or 2, come in front of each connection: that of
    /// the balancer that accepts for this relay. The client is then the one that it names.
    ///
    /// Whoever can connect can say who it is: let nobody but the balancer connect. Connections without
    /// a header are dropped.
    pub fn proxy_protocol(mut self) -> Self {
        self.serving.protocols.proxy_header = true;
        self
    }
}

#[cfg(feature = "front")]
impl Builder<Server> {
    /// Has plain clients say first what they want. What they do not say is as the server has it: its
    /// remote, if they name no target.
    ///
    /// A server that forwards has no plain clients, so that this is an error when it is bound.
    pub fn front(mut self, front: impl Front + 'static) -> Self {
        self.serving.protocols.front = Some(Arc::new(front));
        self
    }

    /// Has a header of the PROXY protocol, version 1 or 2, come in front of each connection: that of
    /// the balancer that accepts for this server. The client is then the one that it names.
    ///
    /// Whoever can connect can say who it is: let nobody but the balancer connect. Connections without
    /// a header are dropped.
    pub fn proxy_protocol(mut self) -> Self {
        self.serving.protocols.proxy_header = true;
        self
    }
}

impl Builder<Server> {
    /// Has `hook` make the connections to the target of a server that forwards, for example to tell the
    /// target who the client is ([`DialAttempt::client`](crate::DialAttempt::client)). It has no
    /// effect for a server that dials, which has [`Builder::dial_hook`].
    pub fn forward_hook(mut self, hook: impl DialHook + 'static) -> Self {
        self.serving.hook = Some(Arc::new(hook));
        self
    }

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
