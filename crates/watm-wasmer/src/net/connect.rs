//! Making connections: the dial hook, and connecting to the first of several addresses that
//! answers, without blocking past a deadline or a stop.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use watm_abi::Excerpt;

use crate::channel::link::Link;
use crate::channel::wakers::Key;
use crate::net::address::{Address, Network, canonical, invalid, is_ip, resolve};
use crate::net::attempts::{Schedule, Winners, order};
use crate::net::listening::unix_address;
use crate::net::policy::AddressPolicy;
use crate::net::reactor::Reactor;
use crate::net::stream::{self, Stream};
use crate::net::target::Target;
use crate::threads::unpark;

/// The pause before a Unix socket whose queue is full is tried again.
const UNIX_PAUSE: Duration = Duration::from_millis(5);

/// Replaces or watches how connections are made.
///
/// The hook makes each outgoing connection of a transport, whether the application or the module
/// chose the address. It is not called for an address of the module that no entry of the policy
/// could allow. A hook that connects by itself is responsible for the addresses behind a name.
///
/// The hook runs on the worker thread of the connection and may block there; the set-up timeout
/// applies all the same. If it panics, only that connection fails. The thread blocks the signals of
/// the application, and a process that is started there inherits this.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
/// use watm_wasmer::{DialAttempt, DialHook, Dialer, Listener, Stream, TransportModule};
///
/// /// Connects to one address, whatever was asked for.
/// struct Redirect(SocketAddr);
///
/// impl DialHook for Redirect {
///     fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
///         attempt.connect_to(attempt.network(), self.0)
///     }
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let hook = Redirect(listener.local_addr());
/// let dialer = Dialer::builder(&module).dial_hook(hook).build()?;
/// let conn = dialer.dial("server.example:443")?;
/// assert_eq!(conn.peer_addr()?, listener.local_addr());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DialHook: Send + Sync {
    /// Makes the connection. The default connects to the address asked for; an implementation
    /// may connect elsewhere ([`DialAttempt::connect_to`]), through something else, or refuse.
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        attempt.connect()
    }

    /// Prepares each socket before it connects to `remote`, for example to bind it to an interface
    /// or an address, or to mark it. If this fails, the next address is tried.
    ///
    /// A name with several addresses has several sockets, and some may be connecting at the same
    /// time. The first that connects is used, and the others are closed.
    ///
    /// ```
    /// use std::io;
    /// use std::net::SocketAddr;
    /// use watm_wasmer::{DialHook, socket2::Socket};
    ///
    /// /// Keeps connections out of a VPN, with what the system offers for that.
    /// struct Protect(fn(&Socket) -> io::Result<()>);
    ///
    /// impl DialHook for Protect {
    ///     fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
    ///         if remote.ip().is_loopback() {
    ///             return Ok(());
    ///         }
    ///         (self.0)(socket)
    ///     }
    /// }
    /// ```
    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        let _ = (socket, remote);
        Ok(())
    }
}

impl<H: DialHook + ?Sized> DialHook for Arc<H> {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        (**self).dial(attempt)
    }

    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        (**self).prepare(socket, remote)
    }
}

/// Finds the addresses of a name, in place of the resolver of the system.
///
/// Names then never reach that resolver, whoever dials them. An address that is written as an IP
/// address is not resolved. It is called on the worker thread of the connection and may block there.
/// Closures of this form implement it.
///
/// ```
/// use std::io;
/// use watm_wasmer::Settings;
///
/// // No names at all.
/// let settings = Settings::new().resolver(|_: &str, _: u16| {
///     Err(io::Error::new(io::ErrorKind::PermissionDenied, "names are not resolved here"))
/// });
/// ```
pub trait Resolver: Send + Sync {
    /// The addresses of `name`, with their ports, in the order in which they are to be tried.
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

impl<F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync> Resolver for F {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self(name, port)
    }
}

/// One outgoing connection about to be made, as a [`DialHook`] sees it.
///
/// ```
/// use std::io;
/// use watm_wasmer::{DialAttempt, DialHook, Stream};
///
/// /// No mail servers, whoever asks for them, and a line for what a module asks for.
/// struct Watch;
///
/// impl DialHook for Watch {
///     fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
///         if attempt.is_chosen_by_module() {
///             println!("the module dials {} over {}", attempt.address(), attempt.network());
///         }
///         let addresses = attempt.addresses()?;
///         if addresses.iter().any(|address| address.port() == 25) {
///             return Err(io::ErrorKind::PermissionDenied.into());
///         }
///         attempt.connect()
///     }
/// }
/// ```
pub struct DialAttempt<'a> {
    network: Network,
    address: &'a Address,
    /// The policy that an address chosen by the module passes; none for the application's.
    policy: Option<&'a AddressPolicy>,
    outgoing: &'a Outgoing,
    deadline: Instant,
    link: &'a Link,
    reactor: RefCell<&'a mut Reactor>,
}

impl fmt::Debug for DialAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialAttempt")
            .field("network", &self.network)
            .field("address", &self.address())
            .field("chosen_by_module", &self.is_chosen_by_module())
            .finish_non_exhaustive()
    }
}

impl DialAttempt<'_> {
    /// The network asked for.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The address asked for, `host:port` or `[v6]:port`.
    pub fn address(&self) -> &str {
        self.address.as_str()
    }

    /// Whether the module chose the address (`water_dial`), not the application.
    pub fn is_chosen_by_module(&self) -> bool {
        self.policy.is_some()
    }

    /// The client that the connection is made for, if it has an address: that of a plain client or of
    /// a server's own.
    pub fn client(&self) -> Option<SocketAddr> {
        self.outgoing.client.peer
    }

    /// The address that this client has reached, if it has one: that of this machine, or of a balancer
    /// in front of it.
    pub fn client_reached(&self) -> Option<SocketAddr> {
        self.outgoing.client.reached
    }

    /// Until when the connection has to be there: the end of the connect timeout, or that of the
    /// whole set-up if it comes first.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Resolves the address asked for. If the module chose it, addresses that the policy does not
    /// allow are left out.
    ///
    /// # Errors
    ///
    /// If the name cannot be resolved, or if nothing is left.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.permitted(self.network, self.address, self.policy)
    }

    /// Passes the address asked for on to `connect`, for a hook that connects through something else.
    /// An address that the application chose is passed on as it is. One that the module chose is
    /// resolved here, and each of its addresses that the policy allows is tried in turn.
    pub(crate) fn pass_on(
        &self,
        mut connect: impl FnMut(&Address) -> io::Result<Stream>,
    ) -> io::Result<Stream> {
        if !self.is_chosen_by_module() {
            return connect(self.address);
        }
        let mut failure = None;
        for address in self.addresses()? {
            match connect(&Address::parse(&address.to_string())?) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    /// Waits for a future that is woken from other threads, until nobody waits for the connection
    /// any more.
    pub(crate) fn wait_for<F: Future>(&self, mut future: Pin<&mut F>) -> io::Result<F::Output> {
        let waker = unpark();
        let mut key = Key::default();
        let result = loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                break Ok(output);
            }
            self.link.tasks.add(&mut key, &waker);
            if self.is_cancelled() {
                break Err(given_up());
            }
            std::thread::park();
        };
        self.link.tasks.remove(&key);
        result
    }

    /// Whether nobody waits for the connection any more: the dial was cancelled, or its time is over.
    pub fn is_cancelled(&self) -> bool {
        self.link.is_stopping()
    }

    /// Resolves and connects to the address asked for. If the module chose it, each address it
    /// resolves to is checked against the policy.
    ///
    /// If there are several addresses, both families take turns. Another address is tried every 250
    /// milliseconds, or as soon as one fails, and the first that connects is used (RFC 8305). It is
    /// tried first the next time.
    pub fn connect(&self) -> io::Result<Stream> {
        self.resolve_and_connect(self.network, self.address, self.policy)
    }

    /// Resolves and connects to another address, which is the hook's own choice: no policy is
    /// asked. Several addresses are treated as by [`DialAttempt::connect`].
    ///
    /// The stream does not block, whatever is done with its descriptor; its own reads and writes
    /// wait, until [`DialAttempt::deadline`].
    pub fn connect_to(&self, network: Network, target: impl Into<Target>) -> io::Result<Stream> {
        let address = target.into().into_address();
        let address = address.map_err(|(text, error)| invalid(&text, error))?;
        self.resolve_and_connect(network, &address, None)
    }

    /// The addresses behind one, without those that the policy or the network leaves out.
    fn permitted(
        &self,
        network: Network,
        address: &Address,
        policy: Option<&AddressPolicy>,
    ) -> io::Result<Vec<SocketAddr>> {
        if address.unix().is_some() {
            let message = "a Unix socket has no IP address";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let (host, port) = (address.host(), address.port());
        let mut found = self.outgoing.resolve(host, port).map_err(unresolved)?;
        found.retain(|address| network.admits(address.ip()));
        if found.is_empty() {
            return Err(unresolved(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("{} has no address for the network {network}", Excerpt(host)),
            )));
        }
        if let Some(policy) = policy {
            found.retain(|address| policy.permits(host, *address));
            if found.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    PolicyDenies,
                ));
            }
        }
        Ok(found)
    }

    fn resolve_and_connect(
        &self,
        network: Network,
        address: &Address,
        policy: Option<&AddressPolicy>,
    ) -> io::Result<Stream> {
        if let Some(path) = address.unix() {
            let mut stream = self.connect_unix(path)?;
            stream.set_deadline(self.deadline);
            return Ok(stream);
        }
        let found = self.permitted(network, address, policy)?;
        let (host, port) = (address.host(), address.port());
        let winners = &self.outgoing.winners;
        let is_choice = found.len() > 1;
        let first = if is_choice {
            winners.get(host, port, Instant::now())
        } else {
            None
        };
        let (mut stream, address) = Race::new(self, order(found, first)).run()?;
        stream.set_deadline(self.deadline);
        if is_choice {
            winners.put(host, port, address, Instant::now());
        }
        Ok(stream)
    }
}

impl DialAttempt<'_> {
    /// Connects to a Unix socket. One whose queue is full is tried again.
    fn connect_unix(&self, path: &str) -> io::Result<Stream> {
        let address = unix_address(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        loop {
            match socket.connect(&address) {
                Ok(()) => return Ok(socket.into()),
                // The system says nothing when there is room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.is_cancelled() {
                return Err(given_up());
            }
            if Instant::now() >= self.deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the queue of the Unix socket was full until the connect timeout",
                ));
            }
            std::thread::sleep(UNIX_PAUSE);
        }
    }
}

/// The attempts to connect to one of several addresses. Those under way when it is dropped are
/// given up.
struct Race<'r, 'a> {
    attempt: &'r DialAttempt<'a>,
    schedule: Schedule,
    under_way: Vec<Runner>,
    failure: Option<io::Error>,
}

/// A socket that is connecting.
struct Runner {
    socket: Socket,
    address: SocketAddr,
    token: usize,
}

impl<'r, 'a> Race<'r, 'a> {
    fn new(attempt: &'r DialAttempt<'a>, ordered: Vec<SocketAddr>) -> Self {
        Self {
            attempt,
            schedule: Schedule::new(ordered, Instant::now(), attempt.deadline),
            under_way: Vec::new(),
            failure: None,
        }
    }

    /// Runs until the first has connected, or all have failed.
    fn run(mut self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            if self.attempt.link.is_stopping() {
                return Err(given_up());
            }
            let now = Instant::now();
            if now >= self.attempt.deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no answer within the connect timeout",
                ));
            }
            let won = if let Some(address) = self.schedule.due(now) {
                self.begin(address)
            } else if self.under_way.is_empty() {
                // None is left to begin either: its turn would have come with the last failure.
                let failure = self.failure.take();
                return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            } else {
                self.wait()?
            };
            if let Some((won, address)) = won {
                return Ok((won, address));
            }
        }
    }

    /// Begins to connect to an address; returns the socket if it is connected at once.
    fn begin(&mut self, address: SocketAddr) -> Option<(Stream, SocketAddr)> {
        match self.try_begin(address) {
            Ok((socket, None)) => return Some((socket.into(), address)),
            Ok((socket, Some(token))) => self.under_way.push(Runner {
                socket,
                address,
                token,
            }),
            Err(error) => self.fail(address, error),
        }
        None
    }

    /// A socket, and its token unless it is connected already.
    fn try_begin(&self, address: SocketAddr) -> io::Result<(Socket, Option<usize>)> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        let outgoing = self.attempt.outgoing;
        outgoing.sockets.apply(&socket, address)?;
        if let Some(hook) = &outgoing.hook {
            hook.prepare(&socket, address)?;
        }
        // It may be connected before anybody here knows of it, and given up then.
        stream::reset_on_drop(&socket);
        match socket.connect(&SockAddr::from(address)) {
            Ok(()) => return Ok((socket, None)),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let token = self
            .attempt
            .reactor
            .borrow_mut()
            .watch(socket.as_raw_fd())?;
        Ok((socket, Some(token)))
    }

    /// Sleeps until a socket has connected, which is returned, or one has failed, or the turn of
    /// the next has come.
    fn wait(&mut self) -> io::Result<Option<(Stream, SocketAddr)>> {
        let (attempt, deadline) = (self.attempt, self.attempt.deadline);
        let wakes = self.schedule.wakes();
        let until = wakes.map_or(deadline, |wakes| wakes.min(deadline));
        attempt.link.announce(0);
        if attempt.link.is_stopping() {
            attempt.link.withdraw();
            return Err(given_up());
        }
        let left = until.saturating_duration_since(Instant::now());
        let tokens: Vec<_> = self.under_way.iter().map(|runner| runner.token).collect();
        let happened = attempt.reactor.borrow_mut().wait_for(&tokens, left);
        attempt.link.withdraw();
        for token in happened? {
            let at = self
                .under_way
                .iter()
                .position(|runner| runner.token == token);
            let Some(at) = at else { continue };
            match is_connected(&self.under_way[at].socket) {
                Ok(false) => continue,
                Ok(true) => return Ok(Some(self.win(at))),
                Err(error) => {
                    let Runner { address, .. } = self.give_up(at);
                    self.fail(address, error);
                }
            }
        }
        Ok(None)
    }

    /// Takes out the one that has connected. It stays watched, unless a hook may do something else
    /// with it than hand it to the worker.
    fn win(&mut self, at: usize) -> (Stream, SocketAddr) {
        if self.attempt.outgoing.hook.is_some() {
            let Runner {
                socket, address, ..
            } = self.give_up(at);
            return (socket.into(), address);
        }
        let runner = self.under_way.swap_remove(at);
        (Stream::watched(runner.socket, runner.token), runner.address)
    }

    /// Takes one out, which is not watched any more.
    fn give_up(&mut self, at: usize) -> Runner {
        let runner = self.under_way.swap_remove(at);
        self.attempt
            .reactor
            .borrow()
            .forget(runner.socket.as_raw_fd());
        runner
    }

    fn fail(&mut self, address: SocketAddr, error: io::Error) {
        log::debug!("no connection to {address}: {error}");
        self.schedule.failed();
        // That this machine cannot reach a family says less than what an address has answered.
        if self.failure.is_none() || !is_unreachable(&error) {
            self.failure = Some(error);
        }
    }
}

impl Drop for Race<'_, '_> {
    fn drop(&mut self) {
        // Closing them would do, unless the hook has kept a copy.
        if let Ok(reactor) = self.attempt.reactor.try_borrow() {
            for runner in &self.under_way {
                reactor.forget(runner.socket.as_raw_fd());
            }
        }
    }
}

fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "the dial was given up")
}

/// Whether the system has no way to such an address.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::AddrNotAvailable
    ) || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Whether a connect under way has succeeded; its error if it has failed.
fn is_connected(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// When a connection has to be there that may take `timeout`.
fn within(timeout: Duration, link: &Link) -> Instant {
    let deadline = Instant::now() + timeout;
    link.set_up_by().map_or(deadline, |by| by.min(deadline))
}

/// Marks the error of a name that was not resolved.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(io::Error);

fn unresolved(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Unresolved(error))
}

/// Whether an error says that the name was not resolved.
pub(crate) fn is_unresolved(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<Unresolved>())
}

/// Marks the error of an address that the policy does not allow.
#[derive(Debug, thiserror::Error)]
#[error("the address policy does not allow it")]
struct PolicyDenies;

/// Whether an error says that the policy does not allow the address.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<PolicyDenies>())
}

/// What sockets are made with, in place of what the system chooses.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketSettings {
    pub(crate) source_v4: Option<Ipv4Addr>,
    pub(crate) source_v6: Option<Ipv6Addr>,
    pub(crate) interface: Option<String>,
    pub(crate) mark: Option<u32>,
}

impl SocketSettings {
    /// Prepares a socket that is to connect to `remote`.
    fn apply(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        {
            if let Some(interface) = &self.interface {
                let bound = socket.bind_device(Some(interface.as_bytes()));
                bound.map_err(|error| told(error, &format!("the interface {interface}")))?;
            }
            if let Some(mark) = self.mark {
                let marked = socket.set_mark(mark);
                marked.map_err(|error| told(error, &format!("the mark {mark}")))?;
            }
        }
        let source = match remote {
            SocketAddr::V4(_) => self.source_v4.map(IpAddr::from),
            SocketAddr::V6(_) => self.source_v6.map(IpAddr::from),
        };
        if let Some(source) = source {
            let bound = socket.bind(&SockAddr::from(SocketAddr::new(source, 0)));
            bound.map_err(|error| told(error, &format!("the source address {source}")))?;
        }
        Ok(())
    }
}

fn told(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what} cannot be used: {error}"))
}

/// The ends of the connection of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) peer: Option<SocketAddr>,
    /// The address that it has reached.
    pub(crate) reached: Option<SocketAddr>,
}

impl Ends {
    pub(crate) fn of(stream: &Stream) -> Self {
        Self {
            peer: stream.peer_addr().map(canonical),
            reached: stream.local_addr().map(canonical),
        }
    }
}

/// How a worker makes its outgoing connections.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) hook: Option<Arc<dyn DialHook>>,
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) timeout: Duration,
    pub(crate) sockets: SocketSettings,
    /// In place of the system's.
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    /// Whom a connection is made for, once there is one.
    pub(crate) client: Ends,
    /// What all connections of a dialer have learnt.
    winners: Arc<Winners>,
}

impl Outgoing {
    /// Without a hook, within `timeout`. Nothing that a module chooses is allowed.
    pub(crate) fn within(timeout: Duration) -> Self {
        Self {
            hook: None,
            policy: Arc::default(),
            timeout,
            sockets: SocketSettings::default(),
            resolver: None,
            client: Ends::default(),
            winners: Arc::default(),
        }
    }

    /// The addresses of a host.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.resolver {
            Some(resolver) if !is_ip(host) => resolver.resolve(host, port),
            _ => resolve(host, port),
        }
    }

    /// Makes one connection. A panic in the hook is an error like others.
    pub(crate) fn connect(
        &self,
        network: Network,
        address: &Address,
        chosen_by_module: bool,
        link: &Link,
        reactor: &mut Reactor,
    ) -> io::Result<Stream> {
        let (host, port) = (address.host(), address.port());
        if chosen_by_module && !self.policy.could_permit(network, host, port) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                PolicyDenies,
            ));
        }
        let attempt = DialAttempt {
            network,
            address,
            policy: chosen_by_module.then_some(&*self.policy),
            outgoing: self,
            deadline: within(self.timeout, link),
            link,
            reactor: RefCell::new(reactor),
        };
        let call = std::panic::AssertUnwindSafe(|| match &self.hook {
            Some(hook) => hook.dial(&attempt),
            None => attempt.connect(),
        });
        link.set_connecting(true);
        // What a remote takes to answer is no delay of a client.
        let paused = link.pause_handshake();
        let dialled = std::panic::catch_unwind(call);
        if matches!(dialled, Ok(Ok(_))) {
            link.set_connecting(false);
        }
        if paused {
            link.resume_handshake();
        }
        dialled.unwrap_or_else(|_| Err(io::Error::other("the dial hook panicked")))
    }
}

#[cfg(test)]
mod tests;
