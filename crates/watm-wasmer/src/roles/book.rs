//! The connections of a listener or a server: those that are open, and how the others ended.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::channel::link::{Level, Link, Side, Traffic};
use crate::channel::supervisor;
use crate::channel::sync::lock;
use crate::channel::wakers::Wakers;
use crate::error::{Outcome, TransportError, copy_of};
use crate::host::stats::ConnStats;
use crate::worker::MARGIN;

/// What a [`Listener`](crate::Listener), a [`Relay`](crate::Relay) or a [`Server`](crate::Server)
/// has done so far.
///
/// ```
/// use std::net::TcpStream;
/// use std::time::Duration;
/// use watm_wasmer::{Listener, Relay, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let remote = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let relay = Relay::builder(&module).remote(remote.local_addr()).bind("127.0.0.1:0")?.spawn()?;
///
/// let client = TcpStream::connect(relay.local_addr())?;
/// let server = remote.accept()?;
/// drop(client);
/// server.close()?;
/// assert!(relay.drain(Duration::from_secs(20)));
/// let stats = relay.stats();
/// assert_eq!((stats.accepted, stats.active), (1, 0));
/// println!("{} ended well, {} did not", stats.completed, stats.failed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open, including those that are being set up, and clients that have yet to
    /// say what they want.
    pub active: u64,
    /// Connections whose transport could not be set up: the handshake failed or was dropped, the
    /// remote of a relay or the target of a server refused.
    pub refused: u64,
    /// Connections whose transport was set up and ended well.
    pub completed: u64,
    /// Connections whose transport was set up and ended with an error.
    pub failed: u64,
    /// Connections whose transport was set up, and then cut off by a shutdown or the drop of a
    /// relay or server.
    pub cut: u64,
    /// Bytes received by connections that have ended: from the network, and so from both sides of a
    /// relay.
    pub received: u64,
    /// Bytes sent by connections that have ended: to the network, and so to both sides of a relay.
    pub sent: u64,
    /// The part of `received` that came from the clients of a relay or listener.
    pub client_received: u64,
    /// The part of `sent` that went to them.
    pub client_sent: u64,
    /// Bytes that connections that have ended received from plain connections: from the clients of
    /// a server that dials, or from its target if it forwards. 0 for listeners and relays.
    pub plain_received: u64,
    /// Bytes that connections that have ended sent to plain connections.
    pub plain_sent: u64,
}

impl ServerStats {
    /// What a single connection has transferred.
    pub(super) fn of_one(traffic: &Traffic) -> Self {
        let mut stats = Self::default();
        stats.add(traffic);
        stats
    }

    fn add(&mut self, traffic: &Traffic) {
        self.received += traffic.received.load(Ordering::Relaxed);
        self.sent += traffic.sent.load(Ordering::Relaxed);
        self.client_received += traffic.client_received.load(Ordering::Relaxed);
        self.client_sent += traffic.client_sent.load(Ordering::Relaxed);
        self.plain_received += traffic.plain_received.load(Ordering::Relaxed);
        self.plain_sent += traffic.plain_sent.load(Ordering::Relaxed);
    }
}

/// How a connection has ended, for its server.
pub(super) enum Ending {
    /// Its transport was never set up.
    Refused,
    Completed,
    Cut,
    Failed(TransportError),
}

/// A connection that is open.
struct Open {
    link: Arc<Link>,
    client: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    since: Instant,
}

/// How far a connection is that is open.
///
/// ```
/// use watm_wasmer::{ConnState, Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let near = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// let far = listener.accept()?;
/// let states = listener.connections().into_iter().map(|open| open.state);
/// assert_eq!(states.collect::<Vec<_>>(), [ConnState::Open]);
/// assert_eq!(ConnState::Open.code(), "open");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ConnState {
    /// The transport is being set up. Its module is not in its handshake: an instance is made, or the
    /// handshake of a server has to wait.
    SettingUp,
    /// The transport is being set up, and the host connects to the remote; or the remote has refused.
    Connecting,
    /// The transport is being set up, and the module talks with its peer.
    Handshake,
    /// The transport is set up, and the client has yet to say where it wants to go.
    AwaitingTarget,
    /// The transport is set up. Bytes move, and one or both sides may have ended.
    Open,
    /// The transport is told to end or has ended, and its last bytes are delivered.
    Closing,
}

impl ConnState {
    /// A word for it that stays the same in all releases: `setting-up`, `connecting`, `handshake`,
    /// `awaiting-target`, `open` or `closing`.
    pub fn code(self) -> &'static str {
        match self {
            Self::SettingUp => "setting-up",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::AwaitingTarget => "awaiting-target",
            Self::Open => "open",
            Self::Closing => "closing",
        }
    }

    fn of(link: &Link) -> Self {
        if link.level() > Level::Running || link.has_guest_ended() {
            Self::Closing
        } else if link.is_established() {
            if link.awaits_target() {
                Self::AwaitingTarget
            } else {
                Self::Open
            }
        } else if !link.is_setting_up() {
            Self::Closing
        } else if link.is_connecting() {
            Self::Connecting
        } else if link.is_in_handshake() {
            Self::Handshake
        } else {
            Self::SettingUp
        }
    }
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Where the ends of the connections of a book are.
#[derive(Clone, Copy)]
pub(crate) struct Sides {
    pub(crate) client: Side,
    pub(crate) remote: Side,
}

/// A connection of a listener, a relay or another server that is open.
///
/// ```
/// use watm_wasmer::{Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let near = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// let far = listener.accept()?;
/// for open in listener.connections() {
///     let moved = open.stats.received + open.stats.sent;
///     println!("{}: {:?} for {:?}, {moved} bytes", open.number, open.client, open.age);
///     assert_eq!(open.client, Some(near.local_addr()?));
///     assert!(open.is_established);
/// }
/// # assert_eq!(listener.connections().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenConnection {
    /// Its number among those that were accepted. The first is 1.
    pub number: u64,
    /// The address of the client. A Unix socket has none.
    pub client: Option<SocketAddr>,
    /// The address of what the client is carried to: of the network connection that a server makes
    /// that dials. `None` before that is set up, for other roles, and for a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The time since it was accepted.
    pub age: Duration,
    /// How far it is.
    pub state: ConnState,
    /// Whether the module has read the end of what the client sends, or the client is lost.
    pub client_ended: bool,
    /// The same of the other side: the remote of a server that dials or relays, the target of one that
    /// forwards. Always false if the other side is a [`Conn`](crate::Conn).
    pub remote_ended: bool,
    /// Whether its transport is set up.
    pub is_established: bool,
    /// What it has moved so far.
    pub stats: ConnStats,
}

/// It is behind one lock, so that the numbers are consistent.
#[derive(Default)]
struct State {
    open: BTreeMap<u64, Open>,
    /// Clients that have yet to say what they want.
    greeting: usize,
    stats: ServerStats,
    /// Nothing more is accepted, because somebody asked for that.
    closed: bool,
    /// The connections that end from now on are cut off.
    cutting: bool,
    /// Why the listening socket accepts nothing any more.
    failure: Option<io::Error>,
}

impl State {
    fn closed(&self) -> Option<io::Result<()>> {
        if let Some(error) = &self.failure {
            return Some(Err(copy_of(error)));
        }
        self.closed.then_some(Ok(()))
    }
}

#[derive(Default)]
pub(crate) struct Book {
    state: Mutex<State>,
    /// A connection has ended, or nothing more is accepted.
    changed: Condvar,
    /// Tasks that wait for the same.
    pub(super) tasks: Wakers,
}

impl Book {
    /// Whether the connections are cut off that begin from now on.
    pub(super) fn is_cutting(&self) -> bool {
        lock(&self.state).cutting
    }

    /// Adds a connection that was accepted, and returns its number. The numbers grow.
    pub(crate) fn open(&self, link: &Arc<Link>, client: Option<SocketAddr>) -> u64 {
        let mut state = lock(&self.state);
        state.stats.accepted += 1;
        let number = state.stats.accepted;
        let open = Open {
            link: Arc::clone(link),
            client,
            remote: None,
            since: Instant::now(),
        };
        state.open.insert(number, open);
        number
    }

    /// Notes where a connection leads.
    pub(super) fn lead(&self, number: u64, remote: Option<SocketAddr>) {
        if let (Some(open), Some(_)) = (lock(&self.state).open.get_mut(&number), remote) {
            open.remote = remote;
        }
    }

    /// Counts a client that has yet to say what it wants.
    #[cfg(feature = "front")]
    pub(super) fn arrive(&self) {
        lock(&self.state).greeting += 1;
    }

    /// One of these has said it, or has gone.
    #[cfg(feature = "front")]
    pub(super) fn leave(&self) {
        lock(&self.state).greeting -= 1;
        self.tell();
    }

    /// Removes a connection whose worker has ended or could not be started. `tell` hears first how it
    /// has ended: whoever waits for the last connection may end the process.
    pub(super) fn end(&self, number: u64, link: &Link, tell: impl FnOnce(&Ending)) {
        let ending = self.judge(link);
        tell(&ending);
        {
            let mut state = lock(&self.state);
            state.open.remove(&number);
            let stats = &mut state.stats;
            stats.add(&link.traffic);
            *match &ending {
                Ending::Refused => &mut stats.refused,
                Ending::Completed => &mut stats.completed,
                Ending::Cut => &mut stats.cut,
                Ending::Failed(_) => &mut stats.failed,
            } += 1;
        }
        self.tell();
    }

    fn judge(&self, link: &Link) -> Ending {
        let cutting = lock(&self.state).cutting;
        match link.final_outcome() {
            _ if !link.is_established() => Ending::Refused,
            // It had come to its own end before it was cut off.
            Some(Ok(Outcome::Completed)) => Ending::Completed,
            _ if cutting => Ending::Cut,
            Some(Ok(_)) => Ending::Completed,
            Some(Err(error)) => Ending::Failed(error),
            None => Ending::Failed(TransportError::Interrupted),
        }
    }

    /// Those that are open, the oldest first.
    pub(crate) fn connections(&self, sides: Sides) -> Vec<OpenConnection> {
        let state = lock(&self.state);
        let described = |(number, open): (&u64, &Open)| OpenConnection {
            number: *number,
            client: open.client,
            remote: open.remote,
            age: open.since.elapsed(),
            state: ConnState::of(&open.link),
            client_ended: open.link.has_side_ended(sides.client),
            remote_ended: open.link.has_side_ended(sides.remote),
            is_established: open.link.is_established(),
            stats: ConnStats::of(&open.link.traffic),
        };
        state.open.iter().map(described).collect()
    }

    pub(crate) fn stats(&self) -> ServerStats {
        let state = lock(&self.state);
        ServerStats {
            active: (state.open.len() + state.greeting) as u64,
            ..state.stats
        }
    }

    /// The same with the bytes of those that are open.
    pub(crate) fn totals(&self) -> ServerStats {
        let state = lock(&self.state);
        let mut totals = ServerStats {
            active: state.open.len() as u64,
            ..state.stats
        };
        let open = state.open.values();
        open.for_each(|open| totals.add(&open.link.traffic));
        totals
    }

    /// Tells whoever waits.
    fn tell(&self) {
        self.changed.notify_all();
        self.tasks.wake();
    }

    /// Connections that are open.
    pub(crate) fn len(&self) -> usize {
        let state = lock(&self.state);
        state.open.len() + state.greeting
    }

    /// Says that nothing more is accepted, because somebody asked for that.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.tell();
    }

    /// Says that nothing more is accepted, because the listening socket failed.
    pub(crate) fn fail(&self, error: io::Error) {
        lock(&self.state).failure = Some(error);
        self.tell();
    }

    /// Waits until nothing more is accepted.
    ///
    /// # Errors
    ///
    /// If the listening socket failed.
    pub(crate) fn wait_closed(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        loop {
            if let Some(closed) = state.closed() {
                return closed;
            }
            state = self.wait(state, None);
        }
    }

    /// Whether nothing more is accepted, and why if that is a failure.
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn closed(&self) -> Option<io::Result<()>> {
        lock(&self.state).closed()
    }

    /// Waits up to `timeout` until no connection is open. Returns whether none is.
    pub(crate) fn wait_empty(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = lock(&self.state);
        while !state.open.is_empty() || state.greeting > 0 {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            state = self.wait(state, left);
        }
        true
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match limit {
            None => self.changed.wait(state),
            Some(limit) => match self.changed.wait_timeout(state, limit) {
                Ok((state, _)) => Ok(state),
                Err(poisoned) => Err(PoisonError::new(poisoned.into_inner().0)),
            },
        }
        .unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts all connections that are open: their transports are told to end over the control pipe,
    /// and stopped at the end of the grace period; the network sees resets. Does not wait.
    pub(crate) fn cut_all(&self, grace: Duration) -> Vec<Arc<Link>> {
        let links: Vec<_> = {
            let mut state = lock(&self.state);
            state.cutting = true;
            let open = state.open.values();
            open.map(|open| Arc::clone(&open.link)).collect()
        };
        let deadline = Instant::now() + grace;
        for link in &links {
            supervisor::cut(link, deadline);
        }
        links
    }
}

/// Waits until connections that were cut with this grace period have ended.
pub(crate) fn wait_cut(links: &[Arc<Link>], grace: Duration) {
    let deadline = Instant::now() + grace + MARGIN;
    for link in links {
        link.wait_finished(Some(deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_connection_has_ended_is_told_while_it_still_counts() {
        let book = Book::default();
        let link = Arc::new(Link::default());
        let number = book.open(&link, None);
        let mut told = false;
        book.end(number, &link, |ending| {
            assert!(matches!(ending, Ending::Refused));
            assert_eq!(book.len(), 1, "whoever waits for it still waits");
            told = true;
        });
        assert!(told);
        assert_eq!((book.len(), book.stats().refused), (0, 1));
    }
}
