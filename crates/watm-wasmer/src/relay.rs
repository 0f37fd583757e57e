//! Relays: accept connections, wrap them and dial on; the application sees none of the bytes.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use watm_abi::Role;

use crate::accept_loop::{AcceptLoop, AcceptWaker, Accepting, Handshakes, bind};
use crate::connect::{Network, split_address};
use crate::error::{ConfigError, End, ListenError, copy_of};
use crate::host::Ends;
use crate::link::{Level, Link, lock};
use crate::module::TransportModule;
use crate::settings::{Builder, Settings};
use crate::supervisor;
use crate::worker::{Connection, Workers};

/// What a relay has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that are open, those being set up included.
    pub active: u64,
    /// Connections whose transport could not be set up: the remote refused, the module failed.
    pub refused: u64,
    /// Connections whose transport was set up and ended well.
    pub completed: u64,
    /// Connections whose transport was set up and ended with an error.
    pub failed: u64,
    /// Connections whose transport was set up and cut off by [`RelayHandle::shutdown`], or by a drop
    /// of the handle.
    pub cut: u64,
    /// Bytes received by connections that have ended, from both of their sides.
    pub received: u64,
    /// Bytes sent by connections that have ended, to both of their sides.
    pub sent: u64,
}

/// The connections that are open, and what became of the others. Behind one lock, so that the
/// numbers fit each other.
#[derive(Default)]
struct Book {
    open: HashMap<u64, Arc<Link>>,
    stats: RelayStats,
    /// It was told to accept nothing more.
    closed: bool,
    /// All that still ends is cut off.
    cutting: bool,
    /// Why the listening socket accepts nothing any more.
    failure: Option<io::Error>,
}

struct Shared {
    workers: Workers,
    remote: Option<(Network, String)>,
    book: Mutex<Book>,
    /// A connection has ended, the relay was told to end, or its listening socket failed.
    changed: Condvar,
    handshakes: Handshakes,
}

/// Accepts connections, wraps each with an instance of the module (`watm_associate_v1`) and dials
/// on: to the remote that the application names, or (with an [`crate::AddressPolicy`]) to one that
/// the module chooses.
///
/// ```no_run
/// use watm_wasmer::{Relay, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let relay = Relay::builder(&module).remote("192.0.2.1:443").bind("127.0.0.1:0")?.spawn()?;
/// println!("relaying from {}", relay.local_addr());
/// relay.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Relay {
    settings: Arc<Settings>,
    remote: Option<(Network, String)>,
    listener: TcpListener,
    local: SocketAddr,
}

impl Relay {
    /// Starts the configuration of a relay.
    pub fn builder(module: &TransportModule) -> Builder<Self> {
        Builder::new(module)
    }

    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Starts relaying, on threads of its own.
    ///
    /// # Errors
    ///
    /// [`ListenError::Host`] if there is no thread or descriptor for it.
    pub fn spawn(self) -> Result<RelayHandle, ListenError> {
        let handshakes = Handshakes::new(self.settings.handshake_limit);
        let shared = Arc::new(Shared {
            workers: Workers::new(self.settings, Role::Relay),
            remote: self.remote,
            book: Mutex::default(),
            changed: Condvar::new(),
            handshakes,
        });
        let accept_loop = AcceptLoop::spawn(self.listener, |waker| Wrap {
            shared: Arc::clone(&shared),
            waker,
        })?;
        Ok(RelayHandle {
            shared,
            local: self.local,
            accept_loop: Mutex::new(accept_loop),
        })
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// A relay at work. Dropping it ends it like [`RelayHandle::shutdown`], without waiting.
pub struct RelayHandle {
    shared: Arc<Shared>,
    local: SocketAddr,
    accept_loop: Mutex<AcceptLoop>,
}

impl RelayHandle {
    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What the relay has done so far.
    pub fn stats(&self) -> RelayStats {
        let book = lock(&self.shared.book);
        RelayStats {
            active: book.open.len() as u64,
            ..book.stats
        }
    }

    /// Waits until the relay accepts no more connections, because it was told to end. Connections
    /// may still be open then.
    ///
    /// # Errors
    ///
    /// Its listening socket failed: nobody can connect any more, and only the connections that are
    /// open go on. A lack of descriptors or memory is no such failure; accepting goes on after it.
    pub fn wait(&self) -> io::Result<()> {
        let mut book = lock(&self.shared.book);
        loop {
            if let Some(error) = &book.failure {
                return Err(copy_of(error));
            }
            if book.closed {
                return Ok(());
            }
            let changed = &self.shared.changed;
            book = changed.wait(book).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Stops listening. Connections that are open, those being set up included, go on.
    pub fn stop_accepting(&self) {
        lock(&self.accept_loop).close();
        self.shared.workers.close_stock();
        lock(&self.shared.book).closed = true;
        self.shared.changed.notify_all();
    }

    /// Stops listening and waits until all connections have ended by themselves, up to `timeout`.
    /// Returns whether they have; those that have not go on.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.stop_accepting();
        let deadline = Instant::now().checked_add(timeout);
        let mut book = lock(&self.shared.book);
        while !book.open.is_empty() {
            let changed = &self.shared.changed;
            book = match deadline {
                None => changed.wait(book).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = changed.wait_timeout(book, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Stops listening and cuts all connections: their transports are told to end over the control
    /// pipe, and both sides are reset once they have what came before. Waits until that is done:
    /// within the grace period, and a little more for guests that do not cooperate.
    ///
    /// [`RelayHandle::drain`] before it lets connections come to their own end.
    pub fn shutdown(&self) {
        let grace = self.shared.workers.settings.close_grace;
        let deadline = Instant::now() + grace + Duration::from_millis(500);
        for link in self.cut_all() {
            link.wait_finished(Some(deadline));
        }
    }

    fn cut_all(&self) -> Vec<Arc<Link>> {
        self.stop_accepting();
        self.shared.handshakes.stop_all();
        let links: Vec<_> = {
            let mut book = lock(&self.shared.book);
            book.cutting = true;
            book.open.values().cloned().collect()
        };
        let deadline = Instant::now() + self.shared.workers.settings.close_grace;
        for link in &links {
            link.set_broken();
            link.raise(Level::Cancelled);
            supervisor::raise_at(deadline, link, Level::Stopping);
        }
        links
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.cut_all();
    }
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayHandle")
            .field("local", &self.local)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What the accepting thread does.
struct Wrap {
    shared: Arc<Shared>,
    waker: AcceptWaker,
}

impl Accepting for Wrap {
    fn wants_more(&self) -> bool {
        let limit = self.shared.workers.settings.connection_limit;
        lock(&self.shared.book).open.len() < limit
    }

    fn accepted(&self, stream: TcpStream) {
        let shared = &self.shared;
        let worker = shared.workers.next(None);
        let link = Arc::clone(worker.link());
        shared.handshakes.begin(&link);
        let id = {
            let mut book = lock(&shared.book);
            book.stats.accepted += 1;
            let id = book.stats.accepted;
            book.open.insert(id, Arc::clone(&link));
            id
        };
        let (ending, waker) = (Arc::clone(shared), self.waker.clone());
        let (reporting, reported) = (Arc::clone(shared), Arc::clone(&link));
        let ended = Arc::clone(&link);
        let served = worker.serve(Connection {
            ends: Ends {
                fixed: shared.remote.clone(),
                incoming: Some(stream.into()),
                internal: None,
            },
            report: Box::new(move |result| match result {
                Ok(_) => reporting.handshakes.end(&reported),
                // Its worker is still there, and can be stopped for a later one.
                Err(error) => log::info!("a client was dropped: {error}"),
            }),
            ended: Some(Box::new(move |link| {
                ending.handshakes.end(&ended);
                ending.ended(id, link);
                waker.wake();
            })),
        });
        if let Err(error) = served {
            log::error!("a client was dropped: {error}");
            shared.handshakes.end(&link);
            shared.ended(id, &link);
        }
    }

    fn failed(&self, error: io::Error) {
        log::error!("the relay accepts no more connections: {error}");
        lock(&self.shared.book).failure = Some(error);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn ended(&self, id: u64, link: &Link) {
        let mut book = lock(&self.book);
        book.open.remove(&id);
        let cutting = book.cutting;
        self.changed.notify_all();
        let stats = &mut book.stats;
        stats.received += link.traffic.received.load(Ordering::Relaxed);
        stats.sent += link.traffic.sent.load(Ordering::Relaxed);
        match link.final_outcome() {
            _ if !link.is_established() => stats.refused += 1,
            // One that had come to its own end a moment before.
            Some(Ok(End::Completed)) => stats.completed += 1,
            _ if cutting => stats.cut += 1,
            Some(Ok(_)) => stats.completed += 1,
            _ => stats.failed += 1,
        }
    }
}

impl Builder<Relay> {
    /// The remote that `water_dial_fixed` dials, `host:port` or `[v6]:port`. Without it, only a
    /// module that chooses its own remotes can relay.
    pub fn remote(mut self, address: impl Into<String>) -> Self {
        self.remote = Some(address.into());
        self
    }

    /// Connections that the relay carries at the same time at most, those being set up included;
    /// more wait in the system's queue. 4,096 by default.
    pub fn connection_limit(mut self, count: usize) -> Self {
        self.settings.connection_limit = count;
        self
    }

    /// Listens on `address` (`host:port` or `[v6]:port`); port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the module is no relay, a setting cannot work, or the address cannot be
    /// listened on.
    pub fn bind(self, address: &str) -> Result<Relay, ListenError> {
        self.check_relay()?;
        let listener = bind(address)?;
        self.listen(listener)
    }

    /// Listens on a socket that the application has bound.
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`].
    pub fn listen(self, listener: TcpListener) -> Result<Relay, ListenError> {
        let settings = self.check_relay()?;
        let remote = self.remote.map(|remote| (Network::Tcp, remote));
        let local = listener.local_addr().map_err(ListenError::Host)?;
        Ok(Relay {
            settings,
            remote,
            listener,
            local,
        })
    }

    fn check_relay(&self) -> Result<Arc<Settings>, ConfigError> {
        if let Some(remote) = &self.remote {
            split_address(remote).map_err(|error| ConfigError::Invalid {
                setting: "remote",
                message: error.to_string(),
            })?;
        }
        self.check(Role::Relay)
    }
}
