//! Listeners: accept connections and unwrap what comes over them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use watm_abi::Role;

use crate::accept_loop::{AcceptLoop, AcceptWaker, Accepting, Handshakes, bind};
use crate::conn::Conn;
use crate::dialer::connect;
use crate::error::{AcceptError, ConfigError, ListenError, copy_of};
use crate::host::Ends;
use crate::link::{Link, lock};
use crate::module::TransportModule;
use crate::pipe::pipe;
use crate::settings::{Builder, Settings};
use crate::stream::Stream;
use crate::worker::{Connection, Workers};

/// Handshakes that were dropped and are about to end, beside those in progress.
const SLACK: usize = 64;

struct Queue {
    /// Set up and waiting for `accept`.
    ready: VecDeque<Conn>,
    /// Workers whose transport is being set up, those told to stop included.
    under_way: usize,
    closed: bool,
    failure: Option<io::Error>,
}

struct Shared {
    workers: Workers,
    queue: Mutex<Queue>,
    changed: Condvar,
    handshakes: Handshakes,
}

/// Accepts connections and runs each through an instance of the module (`watm_accept_v1`).
///
/// Handshakes run side by side on threads of their own: a client that stays silent delays nobody.
/// One that fails is logged and never seen by [`Listener::accept`].
///
/// ```no_run
/// use std::io::{Read, Write};
/// use watm_wasmer::{Listener, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// println!("listening on {}", listener.local_addr());
/// for conn in listener.incoming() {
///     std::thread::spawn(move || std::io::copy(&mut &conn, &mut &conn));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener {
    shared: Arc<Shared>,
    accept_loop: Mutex<AcceptLoop>,
    waker: AcceptWaker,
    local: SocketAddr,
}

impl Listener {
    /// Starts the configuration of a listener.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module)
    }

    /// Waits for the next connection whose transport is set up.
    ///
    /// # Errors
    ///
    /// [`AcceptError::Closed`] once the listener is closed, [`AcceptError::Host`] if its socket
    /// failed. A client whose handshake fails is no error here.
    pub fn accept(&self) -> Result<Conn, AcceptError> {
        let mut queue = lock(&self.shared.queue);
        loop {
            if queue.closed {
                return Err(AcceptError::Closed);
            }
            if let Some(conn) = queue.ready.pop_front() {
                drop(queue);
                self.waker.wake();
                return Ok(conn);
            }
            if let Some(error) = &queue.failure {
                return Err(AcceptError::Host(copy_of(error)));
            }
            queue = self
                .shared
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The connections, one after the other, until the listener is closed or its socket fails.
    pub fn incoming(&self) -> impl Iterator<Item = Conn> + '_ {
        std::iter::from_fn(|| self.accept().ok())
    }

    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops listening: `accept` returns [`AcceptError::Closed`] at once in all threads,
    /// handshakes in progress are dropped, and so are connections that nobody has accepted.
    /// Connections that were accepted live on. Dropping the listener does the same.
    pub fn close(&self) {
        lock(&self.accept_loop).close();
        self.shared.workers.close_stock();
        let ready = {
            let mut queue = lock(&self.shared.queue);
            queue.closed = true;
            std::mem::take(&mut queue.ready)
        };
        self.shared.changed.notify_all();
        self.shared.handshakes.stop_all();
        drop(ready);
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
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// The place of a connection that is being set up, or whose worker has not ended since that failed.
/// Given back when it is dropped.
struct Place {
    shared: Arc<Shared>,
    link: Arc<Link>,
    waker: AcceptWaker,
}

impl Place {
    fn take(shared: &Arc<Shared>, link: &Arc<Link>, waker: AcceptWaker) -> Self {
        shared.handshakes.begin(link);
        lock(&shared.queue).under_way += 1;
        Self {
            shared: Arc::clone(shared),
            link: Arc::clone(link),
            waker,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.handshakes.end(&self.link);
        lock(&self.shared.queue).under_way -= 1;
        self.waker.wake();
    }
}

/// What the accepting thread does.
struct Unwrap(Arc<Shared>, AcceptWaker);

impl Accepting for Unwrap {
    fn wants_more(&self) -> bool {
        let queue = lock(&self.0.queue);
        let settings = &self.0.workers.settings;
        // A handshake that lost its place takes a moment to end; beyond some of these, others wait.
        queue.ready.len() < settings.backlog
            && queue.under_way < settings.handshake_limit.saturating_add(SLACK)
    }

    fn accepted(&self, stream: TcpStream) {
        let (shared, waker) = (Arc::clone(&self.0), self.1.clone());
        let worker = shared.workers.next(None);
        let link = Arc::clone(worker.link());
        let (end, internal) = pipe(Arc::clone(&link));
        let place = Arc::new(Mutex::new(Some(Place::take(&shared, &link, waker))));
        let kept = Arc::clone(&place);
        let reporting = Arc::clone(&shared);
        let reported = Arc::clone(&link);
        let report = move |result| {
            match result {
                Ok(established) => {
                    drop(lock(&place).take());
                    let mut queue = lock(&reporting.queue);
                    let grace = reporting.workers.settings.close_grace;
                    let conn = Conn::new(end, reported, established, grace);
                    if queue.closed {
                        drop(queue);
                        drop(conn);
                    } else {
                        queue.ready.push_back(conn);
                        drop(queue);
                        reporting.changed.notify_one();
                    }
                }
                // Its worker is still there, and so it keeps its place.
                Err(error) => log::info!("a client was dropped: {error}"),
            }
        };
        let served = worker.serve(Connection {
            ends: Ends {
                fixed: None,
                incoming: Some(stream.into()),
                internal: Some(internal),
            },
            report: Box::new(report),
            ended: Some(Box::new(move |_| drop(lock(&kept).take()))),
        });
        if let Err(error) = served {
            log::error!("a client was dropped: {error}");
        }
    }

    fn failed(&self, error: io::Error) {
        log::error!("the listener failed: {error}");
        lock(&self.0.queue).failure = Some(error);
        self.0.changed.notify_all();
    }
}

/// Unwraps sockets that the application accepted by itself (`watm_accept_v1`).
#[derive(Clone)]
pub struct Acceptor {
    workers: Workers,
}

impl Acceptor {
    /// Runs the module's handshake over an accepted socket and returns when it is done.
    ///
    /// # Errors
    ///
    /// [`AcceptError`], which says whether the module or the host failed.
    pub fn accept(&self, stream: impl Into<Stream>) -> Result<Conn, AcceptError> {
        Ok(connect(&self.workers, None, Some(stream.into()), None)?)
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
    /// Listens on `address` (`host:port` or `[v6]:port`); port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the module is no listener, a setting cannot work, or the address cannot
    /// be listened on.
    pub fn bind(self, address: &str) -> Result<Listener, ListenError> {
        let settings = self.check(Role::Listener)?;
        start(settings, bind(address)?)
    }

    /// Listens on a socket that the application has bound.
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`].
    pub fn listen(self, listener: TcpListener) -> Result<Listener, ListenError> {
        start(self.check(Role::Listener)?, listener)
    }

    /// Makes an acceptor, for sockets that the application accepts.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the module is no listener or a setting cannot work.
    pub fn acceptor(self) -> Result<Acceptor, ConfigError> {
        let settings = self.check(Role::Listener)?;
        Ok(Acceptor {
            workers: Workers::new(settings, Role::Listener),
        })
    }
}

fn start(settings: Arc<Settings>, listener: TcpListener) -> Result<Listener, ListenError> {
    let handshakes = Handshakes::new(settings.handshake_limit);
    let queue = Queue {
        ready: VecDeque::new(),
        under_way: 0,
        closed: false,
        failure: None,
    };
    let shared = Arc::new(Shared {
        workers: Workers::new(settings, Role::Listener),
        queue: Mutex::new(queue),
        changed: Condvar::new(),
        handshakes,
    });
    let mut waker = None;
    let accept_loop = AcceptLoop::spawn(listener, |its_waker| {
        waker = Some(its_waker.clone());
        Unwrap(Arc::clone(&shared), its_waker)
    })?;
    let local = accept_loop.local_addr();
    let waker = waker.ok_or_else(|| ListenError::Host(io::Error::other("no waker")))?;
    Ok(Listener {
        shared,
        accept_loop: Mutex::new(accept_loop),
        waker,
        local,
    })
}
