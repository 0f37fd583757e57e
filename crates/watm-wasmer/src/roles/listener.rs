//! Listeners: accept connections and unwrap what comes over them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use watm_abi::Role;

use crate::channel::link::{Link, Side};
use crate::channel::pipe::{Signal, Way, pipe};
use crate::channel::sync::lock;
use crate::channel::wakers::Wakers;
use crate::error::{AcceptError, ConfigError, ListenError, ReplaceError, copy_of};
use crate::guest::settings::Settings;
use crate::host::{Ends, Internal};
use crate::module::TransportModule;
use crate::net::address::Client;
use crate::net::listening::ListenSocket;
use crate::net::readiness::Readiness;
use crate::net::stream::Stream;
use crate::roles::accept_loop::{AcceptLoop, AcceptWaker, Accepting, Locals, Sockets};
use crate::roles::binding::{Binds, Bound};
use crate::roles::book::{Book, OpenConnection, ServerStats, Sides, wait_cut};
use crate::roles::builder::Builder;
use crate::roles::carried::{self, Carried};
use crate::roles::chain::Below;
use crate::roles::conn::{self, Conn};
use crate::roles::handshakes::Handshakes;
use crate::roles::pending::{Own, Pending};
use crate::worker::Workers;
use crate::worker::thread::Connection;

/// Maximum number of handshakes that were dropped and are about to end, beside those in progress.
const SLACK: usize = 64;

struct Queue {
    /// Set up and waiting for `accept`.
    ready: VecDeque<Conn>,
    /// Workers whose transport is being set up, those told to stop included.
    under_way: usize,
    /// No more sockets are accepted.
    stopped: bool,
    /// What is left is not for `accept` any more.
    closed: bool,
    failure: Option<io::Error>,
    /// What event loops watch, if one asked for it.
    signal: Option<Arc<Readiness>>,
}

impl Queue {
    /// What `accept` returns, unless it has to wait.
    fn next(&mut self) -> Option<Result<Conn, AcceptError>> {
        if self.closed {
            return Some(Err(AcceptError::Closed));
        }
        if let Some(conn) = self.ready.pop_front() {
            return Some(Ok(conn));
        }
        if self.stopped && self.under_way == 0 {
            return Some(Err(AcceptError::Closed));
        }
        let failure = self.failure.as_ref()?;
        Some(Err(AcceptError::Host(copy_of(failure))))
    }
}

struct Listening {
    workers: Workers,
    queue: Mutex<Queue>,
    /// Threads and tasks that wait for the queue to change.
    changed: Condvar,
    tasks: Wakers,
    /// What unwraps a connection before this module does.
    below: Below,
    handshakes: Handshakes,
    book: Book,
}

impl Listening {
    /// Tells whoever waits that there is one more connection.
    fn tell_one(&self) {
        self.changed.notify_one();
        self.tell_tasks();
    }

    /// Tells whoever waits that something has ended.
    fn tell_all(&self) {
        self.changed.notify_all();
        self.tell_tasks();
    }

    fn tell_tasks(&self) {
        if let Some(signal) = &lock(&self.queue).signal {
            signal.set_ready(Way::Read);
        }
        self.tasks.wake();
    }
}

/// Accepts connections and runs each through an instance of the module (`watm_accept_v1`).
///
/// Each handshake runs on its own thread, so a silent client delays nobody. A handshake that fails
/// is logged, and [`Listener::accept`] never returns it.
///
/// It ends in one of three ways. [`Listener::drain`] accepts no more sockets and waits until all
/// connections have come to their own end; [`Listener::shutdown`] cuts all that are left, which
/// their peers see as a reset; [`Listener::close`] (or a drop) ends the listening alone.
///
/// ```no_run
/// use std::io::{Read, Write};
/// use watm_wasmer::{Listener, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// println!("listening on {}", listener.local_addr());
/// for conn in listener.incoming() {
///     let conn = conn?;
///     std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         std::io::copy(&mut &conn, &mut &conn)?;
///         conn.close()?;
///         Ok(())
///     });
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener {
    shared: Arc<Listening>,
    accept_loop: Mutex<AcceptLoop>,
    waker: AcceptWaker,
    locals: Locals,
}

impl Listener {
    /// Starts the configuration of a listener.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module, Role::Listener)
    }

    /// Replaces the module and the settings for connections that begin from now on; those that are
    /// there go on as they are. What is below it is replaced with it ([`Builder::over`]). The
    /// addresses, the backlog and the limit of handshakes stay.
    ///
    /// Nothing changes unless one instance has run `watm_init_v1`. If then the first three
    /// connections all fail because of the new module (it traps or exits), the one before is put
    /// back, and the log says so. A handshake that fails does not count: anybody may be the client.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`] if the configuration cannot be used, or if no instance can be made with it.
    pub fn replace(&self, builder: Builder<Self>) -> Result<(), ReplaceError> {
        builder.replace_in(&self.shared.workers, Role::Listener)?;
        self.shared.below.replace(builder.below);
        Ok(())
    }

    /// Waits for the next connection whose transport is set up.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Closed`] once the listener is closed, or once it accepts no more sockets and
    /// has none left; [`AcceptError::Host`] if its socket failed. A client whose handshake fails
    /// does not cause an error here.
    pub fn accept(&self) -> Result<Conn, AcceptError> {
        let mut queue = lock(&self.shared.queue);
        loop {
            if let Some(next) = queue.next() {
                drop(queue);
                return self.taken(next);
            }
            queue = self
                .shared
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns the next connection whose transport is set up, if there is one already.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`].
    ///
    /// ```
    /// use watm_wasmer::{Listener, TransportModule};
    ///
    /// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
    /// let module = TransportModule::from_file(file)?;
    /// let listener = Listener::builder(&module).backlog(16).bind("127.0.0.1:0")?;
    /// let mut conns = Vec::new();
    /// while let Some(conn) = listener.try_accept()? {
    ///     conns.push(conn);
    /// }
    /// // Nobody has come yet.
    /// assert!(conns.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_accept(&self) -> Result<Option<Conn>, AcceptError> {
        match self.look() {
            Some(next) => next.map(Some),
            None => Ok(None),
        }
    }

    /// Accepts as [`Listener::accept`] does, but never waits: if there is no connection, the task of
    /// `cx` is woken when there is one. If several tasks poll, the last is woken.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Conn, AcceptError>> {
        if let Some(next) = self.look() {
            return Poll::Ready(next);
        }
        self.shared.tasks.add_polled(cx.waker());
        self.look().map_or(Poll::Pending, Poll::Ready)
    }

    /// The next connection or the reason why there is none, if it is there.
    pub(super) fn look(&self) -> Option<Result<Conn, AcceptError>> {
        let mut queue = lock(&self.shared.queue);
        let next = queue.next();
        if let (None, Some(signal)) = (&next, &queue.signal) {
            signal.set_blocked(Way::Read);
        }
        drop(queue);
        next.map(|next| self.taken(next))
    }

    /// Lets the accepting thread go on if a connection was taken out of the queue.
    fn taken(&self, next: Result<Conn, AcceptError>) -> Result<Conn, AcceptError> {
        if next.is_ok() {
            self.waker.wake();
        }
        next
    }

    /// A descriptor for event loops: it is readable while [`Listener::try_accept`] may have
    /// something to return. See [`Conn::readiness`].
    ///
    /// # Errors
    ///
    /// Those of the system, if it has no descriptors left: the first call takes two, and each takes
    /// one for what it returns.
    pub fn readiness(&self) -> io::Result<OwnedFd> {
        self.signal()?.descriptor()
    }

    pub(super) fn signal(&self) -> io::Result<Arc<Readiness>> {
        let mut queue = lock(&self.shared.queue);
        match &queue.signal {
            Some(signal) => Ok(Arc::clone(signal)),
            None => {
                let signal = Arc::new(Readiness::new()?);
                queue.signal = Some(Arc::clone(&signal));
                Ok(signal)
            }
        }
    }

    /// The connections, one after the other, until the listener is closed. If its socket fails, that
    /// error is the last item.
    pub fn incoming(&self) -> impl Iterator<Item = Result<Conn, AcceptError>> + '_ {
        let mut has_failed = false;
        std::iter::from_fn(move || {
            if has_failed {
                return None;
            }
            match self.accept() {
                Err(AcceptError::Closed) => None,
                next => {
                    has_failed = next.is_err();
                    Some(next)
                }
            }
        })
    }

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

    /// What the listener has done so far.
    pub fn stats(&self) -> ServerStats {
        self.shared.book.stats()
    }

    /// The connections that are open, the oldest first, including those that are being set up.
    pub fn connections(&self) -> Vec<OpenConnection> {
        self.shared.book.connections(Sides {
            client: Side::Client,
            remote: Side::Application,
        })
    }

    /// Stops listening. Handshakes in progress go on, and so do all connections; `accept` returns
    /// those that are set up, and [`AcceptError::Closed`] when no more can come.
    pub fn stop_accepting(&self) {
        lock(&self.accept_loop).close();
        self.shared.workers.close_pool();
        lock(&self.shared.queue).stopped = true;
        self.shared.tell_all();
    }

    /// Stops listening and waits until all connections have ended by themselves, up to `timeout`:
    /// those that the application has accepted, those that wait for it, and handshakes. Returns
    /// whether they have; those that have not go on.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.stop_accepting();
        self.shared.book.wait_empty(timeout)
    }

    /// Stops listening and cuts all connections, those that the application has accepted included:
    /// their transports are told to end over the control pipe, and the peers are reset once they
    /// have what came before. Waits until that is done: within the grace period, and a little more
    /// for guests that do not cooperate.
    pub fn shutdown(&self) {
        wait_cut(&self.cut_all(), self.shared.workers.settings.close_grace);
    }

    pub(super) fn cut_all(&self) -> Vec<Arc<Link>> {
        // Before the close, which would let connections end in order that nobody has accepted.
        self.stop_accepting();
        self.shared.handshakes.stop_all();
        let grace = self.shared.workers.settings.close_grace;
        let links = self.shared.book.cut_all(grace);
        self.close();
        links
    }

    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn tasks(&self) -> &Wakers {
        &self.shared.tasks
    }

    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn book(&self) -> &Book {
        &self.shared.book
    }

    /// Stops listening: `accept` returns [`AcceptError::Closed`] at once in all threads,
    /// handshakes in progress are dropped, and so are connections that nobody has accepted.
    /// Connections that were accepted live on. Dropping the listener does the same.
    pub fn close(&self) {
        self.stop_accepting();
        let ready = {
            let mut queue = lock(&self.shared.queue);
            queue.closed = true;
            std::mem::take(&mut queue.ready)
        };
        self.shared.tell_all();
        self.shared.handshakes.stop_all();
        // Not an end of stream, which the peer could take for an answer.
        ready.iter().for_each(Conn::abort);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.locals)
            .finish_non_exhaustive()
    }
}

/// The place of a connection that is being set up, or whose worker has not ended since that failed.
/// Given back when it is dropped.
struct Place {
    shared: Arc<Listening>,
    number: u64,
    waker: AcceptWaker,
}

impl Place {
    fn take(shared: &Arc<Listening>, number: u64, link: &Arc<Link>, waker: AcceptWaker) -> Self {
        shared.handshakes.add(number, link);
        lock(&shared.queue).under_way += 1;
        Self {
            shared: Arc::clone(shared),
            number,
            waker,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.handshakes.end(self.number);
        let stopped = {
            let mut queue = lock(&self.shared.queue);
            queue.under_way -= 1;
            queue.stopped
        };
        if stopped {
            // Whoever accepts may have waited for this one.
            self.shared.tell_all();
        }
        self.waker.wake();
    }
}

/// What the accepting thread does.
struct Unwrap(Arc<Listening>, AcceptWaker);

impl Accepting for Unwrap {
    fn wants_more(&self) -> bool {
        let settings = &self.0.workers.settings;
        let (ready, under_way) = {
            let queue = lock(&self.0.queue);
            (queue.ready.len(), queue.under_way)
        };
        // A handshake that lost its place takes a moment to end; beyond some of these, others wait.
        let has_room = under_way < settings.handshake_limit.saturating_add(SLACK);
        if !has_room {
            self.0.handshakes.make_room();
        }
        has_room && ready < settings.backlog
    }

    fn accepted(&self, stream: Stream, client: Option<SocketAddr>) {
        let peer = Client(client);
        let (shared, waker) = (Arc::clone(&self.0), self.1.clone());
        let stream = match shared.below.unwrapped(stream) {
            Ok(stream) => stream,
            Err(error) => return log::error!("client {peer} was dropped: {error}"),
        };
        let worker = shared.workers.next(None, None);
        let link = Arc::clone(worker.link());
        let (end, internal) = pipe(Arc::clone(&link));
        let number = shared.book.open(&link, client);
        let place = Place::take(&shared, number, &link, waker);
        let place = Arc::new(Mutex::new(Some(place)));
        let kept = Arc::clone(&place);
        let ending = Arc::clone(&shared);
        let (beginning, begun) = (Arc::clone(&shared), Arc::clone(&link));
        let (reporting, reported) = (Arc::clone(&shared), Arc::clone(&link));
        let report = move |result| {
            match result {
                Ok(established) => {
                    let mut queue = lock(&reporting.queue);
                    let grace = reporting.workers.current().close_grace;
                    let conn = Conn::new(end, reported, established, grace);
                    if queue.closed {
                        drop(queue);
                        conn.abort();
                        drop(conn);
                    } else {
                        queue.ready.push_back(conn);
                        drop(queue);
                        reporting.tell_one();
                    }
                    // After it was queued, or `accept` might believe that no more can come.
                    drop(lock(&place).take());
                }
                // Its worker is still there, and so it keeps its place.
                Err(error) => log::info!("client {peer} was dropped: {error}"),
            }
        };
        let served = worker.serve(Connection {
            ends: Ends {
                fixed: None,
                incoming: Some(stream),
                internal: Internal::Pipe(internal),
            },
            begins: Some(Box::new(move || beginning.handshakes.begin(&begun))),
            report: Box::new(report),
            ended: Some(Box::new(move |link| {
                drop(lock(&kept).take());
                ending.book.end(number, link, |_| {});
            })),
        });
        if let Err(error) = served {
            log::error!("client {peer} was dropped: {error}");
            shared.book.end(number, &link, |_| {});
        }
    }

    fn failed(&self, error: io::Error) {
        log::error!("the listener failed: {error}");
        lock(&self.0.queue).failure = Some(error);
        self.0.tell_all();
    }
}

/// Unwraps sockets that the application accepted by itself (`watm_accept_v1`).
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use watm_wasmer::{Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let acceptor = Listener::builder(&module).acceptor()?;
///
/// // The application looks at its clients before the module does.
/// let socket = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(socket.local_addr()?)?;
/// let (accepted, address) = socket.accept()?;
/// if address.ip().is_loopback() {
///     let mut conn = acceptor.accept(accepted)?;
///     client.write_all(b"hello")?;
///     let mut request = [0; 5];
///     conn.read_exact(&mut request)?;
///     assert_eq!(&request, b"hello");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Acceptor {
    workers: Workers,
    /// What unwraps a connection before this module does.
    below: Arc<Below>,
}

impl Acceptor {
    /// Replaces the module and the settings for connections that begin from now on, as
    /// [`Listener::replace`] does. All clones are changed.
    ///
    /// # Errors
    ///
    /// As [`Listener::replace`].
    pub fn replace(&self, builder: Builder<Listener>) -> Result<(), ReplaceError> {
        builder.replace_in(&self.workers, Role::Listener)?;
        self.below.replace(builder.below);
        Ok(())
    }

    /// Runs the module's handshake over an accepted socket and returns when it is done.
    ///
    /// # Errors
    ///
    /// [`AcceptError`], which says whether the module or the host failed.
    pub fn accept(&self, stream: impl Into<Stream>) -> Result<Conn, AcceptError> {
        self.begin(stream).wait()
    }

    /// Begins the module's handshake over an accepted socket, and does not wait.
    pub fn begin(&self, stream: impl Into<Stream>) -> Pending<Conn, AcceptError> {
        match self.below.unwrapped(stream.into()) {
            Ok(stream) => conn::begin(&self.workers, None, Some(stream), Own::default()),
            Err(error) => Pending::failed(error),
        }
    }

    /// Runs the module's handshake over an accepted socket, and carries what it unwraps to the
    /// connected plain socket `plain`, and the other way round. Returns when the handshake is done;
    /// the thread of the transport then moves the bytes.
    ///
    /// Both sockets become non-blocking, and the runtime controls their `SO_LINGER`: see
    /// [`Stream`]. If the handshake fails, both are reset. For a server that accepts many clients
    /// and connects to a plain server by itself, see [`Builder::forward_to`].
    ///
    /// # Errors
    ///
    /// As [`Acceptor::accept`].
    pub fn carry(
        &self,
        stream: impl Into<Stream>,
        plain: impl Into<Stream>,
    ) -> Result<Carried, AcceptError> {
        self.begin_carrying(stream, plain).wait()
    }

    /// Begins to carry what an accepted socket brings, as [`Acceptor::carry`] does, and does not wait
    /// for the handshake.
    pub fn begin_carrying(
        &self,
        stream: impl Into<Stream>,
        plain: impl Into<Stream>,
    ) -> Pending<Carried, AcceptError> {
        let stream = match self.below.unwrapped(stream.into()) {
            Ok(stream) => stream,
            Err(error) => return Pending::failed(error),
        };
        let ends = Ends {
            fixed: None,
            incoming: Some(stream),
            internal: Internal::Plain(plain.into()),
        };
        carried::begin(&self.workers, ends, Own::default())
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("module", &self.workers.settings.module)
            .finish_non_exhaustive()
    }
}

impl Builder<Listener> {
    /// Sets the maximum number of handshakes in progress with clients; one more drops the oldest. 256
    /// by default. Making an instance is no handshake, nor is the time that a server takes to connect
    /// to its target. It does not apply to an [`Acceptor`].
    pub fn handshake_limit(mut self, count: usize) -> Self {
        self.settings.handshake_limit = count;
        self
    }

    /// Has `acceptor` unwrap each accepted connection before this module does: a chain, whose other
    /// end has a [`Dialer`](crate::Dialer) as its dial hook. `acceptor` may have others below it.
    pub fn over(mut self, acceptor: Acceptor) -> Self {
        self.below = Some(acceptor);
        self
    }

    /// Sets the maximum number of connections that wait for [`Listener::accept`]; 128 by default.
    /// While that many wait, no more sockets are accepted. It applies to a [`Listener`] alone.
    pub fn backlog(mut self, count: usize) -> Self {
        self.settings.backlog = count;
        self
    }

    /// Makes an acceptor, for sockets that the application accepts.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the module is not a listener or a setting cannot work.
    pub fn acceptor(self) -> Result<Acceptor, ConfigError> {
        let settings = self.check()?;
        Ok(Acceptor {
            workers: Workers::new(settings, Role::Listener),
            below: Arc::new(Below::new(self.below)),
        })
    }
}

impl Binds for Listener {}

impl Bound for Listener {
    fn make(
        builder: Builder<Self>,
        bind: impl FnOnce() -> Result<Vec<ListenSocket>, ListenError>,
    ) -> Result<Self, ListenError> {
        let settings = builder.check()?;
        let below = Below::new(builder.below);
        start(settings, Sockets::new(bind()?)?, below)
    }
}

fn start(settings: Arc<Settings>, sockets: Sockets, below: Below) -> Result<Listener, ListenError> {
    let locals = sockets.locals().clone();
    let handshakes = Handshakes::new(settings.handshake_limit);
    let queue = Queue {
        ready: VecDeque::new(),
        under_way: 0,
        stopped: false,
        closed: false,
        failure: None,
        signal: None,
    };
    let shared = Arc::new(Listening {
        workers: Workers::new(settings, Role::Listener),
        queue: Mutex::new(queue),
        changed: Condvar::new(),
        tasks: Wakers::default(),
        below,
        handshakes,
        book: Book::default(),
    });
    let mut waker = None;
    let accept_loop = AcceptLoop::spawn(sockets, |its_waker| {
        waker = Some(its_waker.clone());
        Ok(Unwrap(Arc::clone(&shared), its_waker))
    })?;
    let waker = waker.ok_or_else(|| ListenError::Host(io::Error::other("no waker")))?;
    Ok(Listener {
        shared,
        accept_loop: Mutex::new(accept_loop),
        waker,
        locals,
    })
}
