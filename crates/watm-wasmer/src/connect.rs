//! Making connections: the dial hook, and connecting to the first of several addresses that
//! answers, without blocking past a deadline or a stop.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use watm_abi::Excerpt;

use crate::address::{Network, resolve, split_address};
use crate::attempts::{Schedule, Winners, order};
use crate::channel::link::Link;
use crate::policy::AddressPolicy;
use crate::reactor::Reactor;
use crate::stream::{self, Stream};

/// Replaces or watches how connections are made.
///
/// Each outgoing connection of a transport goes through the hook, whether the application or the
/// module chose the address; what the module chose and no entry of the policy could allow never
/// comes here. A hook that connects by itself answers for the addresses behind a name. It runs on
/// the connection's own worker thread and may block there; the handshake timeout is kept all the
/// same. A panic in it fails that one connection. That thread blocks the signals that are the
/// application's; a process that is started there inherits this.
pub trait DialHook: Send + Sync {
    /// Makes the connection. The default connects to the address asked for; an implementation
    /// may connect elsewhere ([`DialAttempt::connect_to`]), through something else, or refuse.
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        attempt.connect()
    }

    /// Sees each socket before it connects to `remote`: to bind it to an interface or an address,
    /// to mark or protect it. An error fails this address; the next one is tried.
    ///
    /// A name with several addresses has several sockets, of which some may be connecting at the
    /// same time. The first that connects is used; the others are closed.
    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        let _ = (socket, remote);
        Ok(())
    }
}

/// The hook of those who set none.
pub(crate) struct PlainDial;

impl DialHook for PlainDial {}

/// One outgoing connection about to be made, as a [`DialHook`] sees it.
pub struct DialAttempt<'a> {
    network: Network,
    address: &'a str,
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
            .field("address", &self.address)
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
        self.address
    }

    /// Whether the module chose the address (`water_dial`), not the application.
    pub fn is_chosen_by_module(&self) -> bool {
        self.policy.is_some()
    }

    /// When the connect timeout ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Resolves and connects to the address asked for. If the module chose it, each address it
    /// resolves to is checked against the policy.
    ///
    /// If there are several, both families take turns, another is tried beside those under way
    /// every 250 milliseconds (at once when one fails), and the first that connects is used
    /// (RFC 8305). It is tried first the next time.
    pub fn connect(&self) -> io::Result<Stream> {
        self.resolve_and_connect(self.network, self.address, self.policy)
    }

    /// Resolves and connects to another address, which is the hook's own choice: no policy is
    /// asked. Several addresses are treated as by [`DialAttempt::connect`].
    pub fn connect_to(&self, network: Network, address: &str) -> io::Result<Stream> {
        self.resolve_and_connect(network, address, None)
    }

    fn resolve_and_connect(
        &self,
        network: Network,
        address: &str,
        policy: Option<&AddressPolicy>,
    ) -> io::Result<Stream> {
        let (host, port) = split_address(address)?;
        let mut found = (self.outgoing.resolver)(host, port)?;
        found.retain(|address| network.admits(address.ip()));
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("{} has no address for the network {network}", Excerpt(host)),
            ));
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
        let winners = &self.outgoing.winners;
        let is_choice = found.len() > 1;
        let first = if is_choice {
            winners.get(host, port, Instant::now())
        } else {
            None
        };
        let (stream, address) = Race::new(self, order(found, first)).run()?;
        if is_choice {
            winners.put(host, port, address, Instant::now());
        }
        Ok(stream)
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
            if let Some((socket, address)) = won {
                return Ok((socket.into(), address));
            }
        }
    }

    /// Begins to connect to an address; returns the socket if it is connected at once.
    fn begin(&mut self, address: SocketAddr) -> Option<(Socket, SocketAddr)> {
        match self.try_begin(address) {
            Ok((socket, None)) => return Some((socket, address)),
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
        self.attempt.outgoing.hook.prepare(&socket, address)?;
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
    fn wait(&mut self) -> io::Result<Option<(Socket, SocketAddr)>> {
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
                Ok(true) => {
                    let Runner {
                        socket, address, ..
                    } = self.give_up(at);
                    return Ok(Some((socket, address)));
                }
                Err(error) => {
                    let Runner { address, .. } = self.give_up(at);
                    self.fail(address, error);
                }
            }
        }
        Ok(None)
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

/// Marks the error of an address that the policy does not allow.
#[derive(Debug)]
struct PolicyDenies;

impl fmt::Display for PolicyDenies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address policy does not allow it")
    }
}

impl std::error::Error for PolicyDenies {}

/// Whether an error says that the policy does not allow the address.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<PolicyDenies>())
}

/// Finds the addresses of a host.
type Resolver = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// How a worker makes its outgoing connections.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) hook: Arc<dyn DialHook>,
    pub(crate) policy: Arc<AddressPolicy>,
    pub(crate) timeout: Duration,
    resolver: Arc<Resolver>,
    /// What all connections of a dialer have learnt.
    winners: Arc<Winners>,
}

impl Outgoing {
    /// Without a hook, within `timeout`. Nothing that a module chooses is allowed.
    pub(crate) fn within(timeout: Duration) -> Self {
        Self {
            hook: Arc::new(PlainDial),
            policy: Arc::default(),
            timeout,
            resolver: Arc::new(resolve),
            winners: Arc::default(),
        }
    }

    /// Makes one connection. A panic in the hook is an error like others.
    pub(crate) fn connect(
        &self,
        network: Network,
        address: &str,
        chosen_by_module: bool,
        link: &Link,
        reactor: &mut Reactor,
    ) -> io::Result<Stream> {
        if chosen_by_module {
            let (host, port) = split_address(address)?;
            if !self.policy.could_permit(network, host, port) {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    PolicyDenies,
                ));
            }
        }
        let attempt = DialAttempt {
            network,
            address,
            policy: chosen_by_module.then_some(&*self.policy),
            outgoing: self,
            deadline: Instant::now() + self.timeout,
            link,
            reactor: RefCell::new(reactor),
        };
        let call = std::panic::AssertUnwindSafe(|| self.hook.dial(&attempt));
        // What a remote takes to answer is no delay of a client.
        let in_handshake = link.set_in_handshake(false);
        let dialled = std::panic::catch_unwind(call);
        link.set_in_handshake(in_handshake);
        dialled.unwrap_or_else(|_| Err(io::Error::other("the dial hook panicked")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::link::Level;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Longer than anything takes on a busy machine, and shorter than a share of the timeout.
    const SOON: Duration = Duration::from_secs(8);
    const TIMEOUT: Duration = Duration::from_secs(40);

    /// A listening socket that lets connections wait without an answer, since its queue is full.
    fn silent() -> (Socket, SocketAddr, Vec<Socket>) {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = socket();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("to listen");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        while queued.len() < 1000 {
            let client = socket();
            match client.connect_timeout(&address, Duration::from_millis(200)) {
                Ok(()) => queued.push(client),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => panic!("the queue cannot be filled: {error}"),
            }
        }
        let address = address.as_socket().expect("an IP address");
        (listener, address, queued)
    }

    fn live(ip: impl Into<std::net::IpAddr>) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((ip.into(), 0)).expect("a listener");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// An address that refuses.
    fn refusing() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("an address");
        let address = address.as_socket().expect("an IP address");
        (socket, address)
    }

    fn resolving_to(found: &[SocketAddr]) -> Outgoing {
        let found = found.to_vec();
        Outgoing {
            resolver: Arc::new(move |_, _| Ok(found.clone())),
            ..Outgoing::within(TIMEOUT)
        }
    }

    fn connect(outgoing: &Outgoing, chosen_by_module: bool) -> io::Result<SocketAddr> {
        let link = Link::default();
        let mut reactor = Reactor::new(&link).expect("a reactor");
        let stream = outgoing.connect(
            Network::Tcp,
            "a.example:80",
            chosen_by_module,
            &link,
            &mut reactor,
        );
        stream.map(|stream| stream.peer_addr().expect("an address"))
    }

    /// Notes for which addresses there were sockets.
    #[derive(Default)]
    struct Watching(Mutex<Vec<SocketAddr>>);

    impl DialHook for Arc<Watching> {
        fn prepare(&self, _: &Socket, remote: SocketAddr) -> io::Result<()> {
            self.0.lock().expect("no panic").push(remote);
            Ok(())
        }
    }

    #[test]
    fn an_address_that_never_answers_costs_a_moment_and_the_next_time_nothing() {
        let (_socket, silent, _queue) = silent();
        let (_listener, live) = live(Ipv4Addr::LOCALHOST);
        let watching = Arc::new(Watching::default());
        let mut outgoing = resolving_to(&[silent, live]);
        outgoing.hook = Arc::new(Arc::clone(&watching));
        let started = Instant::now();
        assert_eq!(connect(&outgoing, false).expect("it answers"), live);
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
        assert!(elapsed < SOON, "{elapsed:?}");
        assert_eq!(connect(&outgoing, false).expect("it answers"), live);
        // Each was prepared when its turn came, and the one that worked was alone the second time.
        assert_eq!(*watching.0.lock().expect("no panic"), [silent, live, live]);
    }

    #[test]
    fn an_address_that_refuses_costs_nothing() {
        let refusing: Vec<_> = (0..30).map(|_| refusing()).collect();
        let (_listener, live) = live(Ipv4Addr::LOCALHOST);
        let mut found: Vec<_> = refusing.iter().map(|(_, address)| *address).collect();
        found.push(live);
        let started = Instant::now();
        let found = connect(&resolving_to(&found), false);
        assert_eq!(found.expect("it answers"), live);
        // Thirty pauses would be more.
        assert!(started.elapsed() < Duration::from_secs(7));
    }

    #[test]
    fn both_families_are_tried() {
        let (_socket, silent, _queue) = silent();
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return; // A machine without IPv6.
        };
        let live = listener.local_addr().expect("an address");
        let found = connect(&resolving_to(&[silent, silent, live]), false);
        assert_eq!(found.expect("it answers"), live);
    }

    #[test]
    fn the_policy_is_asked_of_each_address() {
        let (_listener, live) = live(Ipv4Addr::LOCALHOST);
        let denied: SocketAddr = ([127, 0, 0, 2], live.port()).into();
        let allow = |policy: AddressPolicy, text: &str| {
            let port = live.port();
            policy.allow(format!("{text}:{port}").parse().expect("an entry"))
        };
        let watching = Arc::new(Watching::default());
        let mut outgoing = resolving_to(&[denied, live]);
        outgoing.hook = Arc::new(Arc::clone(&watching));
        // A name is looked up only if an entry for names could allow it.
        let policy = AddressPolicy::deny_all().allow("a.example".parse().expect("an entry"));
        let policy = policy.deny("127.0.0.2".parse().expect("an entry"));
        outgoing.policy = Arc::new(allow(policy, "127.0.0.1"));
        assert_eq!(connect(&outgoing, true).expect("it is allowed"), live);
        assert_eq!(*watching.0.lock().expect("no panic"), [live]);
        outgoing.resolver = Arc::new(move |_, _| Ok(vec![denied, denied]));
        assert!(is_denied(&connect(&outgoing, true).expect_err("denied")));
        assert_eq!(watching.0.lock().expect("no panic").len(), 1);
    }

    #[test]
    fn the_connect_timeout_holds_over_all_addresses() {
        let (_socket, silent, _queue) = silent();
        let mut outgoing = resolving_to(&[silent, silent]);
        outgoing.timeout = Duration::from_millis(300);
        let started = Instant::now();
        let error = connect(&outgoing, false).expect_err("nobody answers");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= outgoing.timeout && started.elapsed() < SOON);
    }

    #[test]
    fn a_stop_ends_all_attempts_at_once() {
        let (_socket, silent, _queue) = silent();
        let outgoing = resolving_to(&[silent, ([127, 0, 0, 1], silent.port()).into()]);
        let link = Arc::new(Link::default());
        let mut reactor = Reactor::new(&link).expect("a reactor");
        let begun = Arc::new(AtomicUsize::new(0));
        struct Counting(Arc<AtomicUsize>);
        impl DialHook for Counting {
            fn prepare(&self, _: &Socket, _: SocketAddr) -> io::Result<()> {
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        }
        let outgoing = Outgoing {
            hook: Arc::new(Counting(Arc::clone(&begun))),
            ..outgoing
        };
        let stopped = Arc::clone(&link);
        let stopping = std::thread::spawn(move || {
            let deadline = Instant::now() + SOON;
            while begun.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
                std::thread::yield_now();
            }
            stopped.raise(Level::Stopping);
        });
        let started = Instant::now();
        let error = outgoing
            .connect(Network::Tcp, "a.example:80", false, &link, &mut reactor)
            .expect_err("it is stopped");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(started.elapsed() < 2 * SOON);
        stopping.join().expect("it ends");
    }

    #[test]
    fn what_an_address_has_answered_is_told_and_not_that_the_other_family_is_missing() {
        let (_socket, refusing) = refusing();
        // A zone that does not exist: the system has no way there.
        let unreachable = "[fe80::1%4000000000]:80".parse().expect("an address");
        for found in [[refusing, unreachable], [unreachable, refusing]] {
            let error = connect(&resolving_to(&found), false).expect_err("nobody listens");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        }
    }
}
