//! The thread that accepts sockets for a listener or a relay, and the bound on how many
//! handshakes are in progress.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use std::os::fd::AsRawFd;

use crate::error::ListenError;
use crate::link::{Level, Link, Stage, lock};
use crate::mappings;

/// How long accepting rests when the system has no descriptor or memory for another connection.
const REST: Duration = Duration::from_millis(50);
/// How often that is told, while it goes on.
const WARNING_EVERY: Duration = Duration::from_secs(10);

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);

/// What a listener does with its sockets.
pub(crate) trait Accepting: Send + 'static {
    /// Whether another socket is wanted now. When that changes, the loop must be woken.
    fn wants_more(&self) -> bool;
    fn accepted(&self, stream: TcpStream);
    /// The listening socket is broken: nothing will be accepted any more.
    fn failed(&self, error: io::Error);
}

pub(crate) struct AcceptLoop {
    waker: Arc<Waker>,
    closed: Arc<AtomicBool>,
    local: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// Wakes an accept loop, from wherever more sockets become welcome.
#[derive(Clone)]
pub(crate) struct AcceptWaker(Arc<Waker>);

impl AcceptWaker {
    pub(crate) fn wake(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("a listener could not be woken: {error}");
        }
    }
}

impl AcceptLoop {
    /// Starts accepting. `make` gets the means to wake the loop.
    pub(crate) fn spawn<A: Accepting>(
        listener: TcpListener,
        make: impl FnOnce(AcceptWaker) -> A,
    ) -> Result<Self, ListenError> {
        let prepare = || -> io::Result<(Poll, SocketAddr, Arc<Waker>)> {
            listener.set_nonblocking(true)?;
            let local = listener.local_addr()?;
            let poll = Poll::new()?;
            let fd = listener.as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&fd), LISTENER, Interest::READABLE)?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
            Ok((poll, local, waker))
        };
        let (poll, local, waker) = prepare().map_err(ListenError::Host)?;
        let closed = Arc::new(AtomicBool::new(false));
        let accepting = make(AcceptWaker(Arc::clone(&waker)));
        let is_closed = Arc::clone(&closed);
        let thread = thread::Builder::new()
            .name("watm-accept".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                crate::signals::block_all();
                accept_all(&listener, poll, &accepting, &is_closed);
            })
            .map_err(ListenError::Host)?;
        Ok(Self {
            waker,
            closed,
            local,
            thread: Some(thread),
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops accepting and closes the listening socket; waits for both, which does not take long.
    pub(crate) fn close(&mut self) {
        self.closed.store(true, Ordering::Release);
        AcceptWaker(Arc::clone(&self.waker)).wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the accepting thread panicked");
        }
    }
}

impl Drop for AcceptLoop {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept_all(
    listener: &TcpListener,
    mut poll: Poll,
    accepting: &impl Accepting,
    closed: &AtomicBool,
) {
    let mut events = Events::with_capacity(4);
    // Edge-triggered: what was not accepted yet is remembered here.
    let mut pending = true;
    let mut rest = Rest::default();
    loop {
        match poll.poll(&mut events, rest.left()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return accepting.failed(error),
        }
        if closed.load(Ordering::Acquire) {
            return;
        }
        pending |= events.iter().any(|event| event.token() == LISTENER);
        // Whoever ends wakes the loop, but a rest is a rest.
        while pending && rest.is_over() && accepting.wants_more() && !closed.load(Ordering::Acquire)
        {
            // A client that waits is better off than one that is accepted and dropped.
            if let Err(error) = mappings::check_room() {
                rest.begin(&error);
                break;
            }
            match listener.accept() {
                Ok((stream, _)) => accepting.accepted(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pending = false,
                Err(error) if is_passing(&error) => {}
                Err(error) if is_shortage(&error) => rest.begin(&error),
                Err(error) => return accepting.failed(error),
            }
        }
    }
}

/// The pauses that accepting makes while the system is short of something.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    warned: Option<Instant>,
}

impl Rest {
    fn begin(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.until = Some(now + REST);
        if self.warned.is_none_or(|when| now - when >= WARNING_EVERY) {
            self.warned = Some(now);
            log::warn!("accepting rests, {REST:?} at a time, until this is over: {error}");
        }
    }

    /// How long it still lasts, if there is one.
    fn left(&self) -> Option<Duration> {
        Some(self.until?.saturating_duration_since(Instant::now()))
    }

    fn is_over(&mut self) -> bool {
        if self.left().is_some_and(|left| !left.is_zero()) {
            return false;
        }
        self.until = None;
        true
    }
}

/// Errors of a connection that went away before it was accepted; the next is not concerned.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    ) || matches!(
        error.raw_os_error(),
        Some(
            libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Binds a listening socket; port 0 lets the system choose.
pub(crate) fn bind(address: &str) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Bind {
        address: address.to_owned(),
        source,
    };
    let (host, port) = crate::address::split_address(address).map_err(failed)?;
    let candidates = crate::address::resolve(host, port).map_err(failed)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in candidates {
        let listen = || -> io::Result<TcpListener> {
            let socket = Socket::new(
                Domain::for_address(candidate),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            socket.set_reuse_address(true)?;
            socket.bind(&candidate.into())?;
            socket.listen(1024)?;
            Ok(socket.into())
        };
        match listen() {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// The handshakes in progress, oldest first. One too many costs the oldest its place, so that
/// clients that never finish cannot keep others out.
pub(crate) struct Handshakes {
    limit: usize,
    links: Mutex<VecDeque<Weak<Link>>>,
}

impl Handshakes {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            links: Mutex::new(VecDeque::new()),
        }
    }

    pub(crate) fn begin(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        if links.len() >= self.limit
            && let Some(oldest) = links.pop_front().and_then(|oldest| oldest.upgrade())
        {
            displace(&oldest);
        }
        links.push_back(Arc::downgrade(link));
    }

    pub(crate) fn end(&self, link: &Arc<Link>) {
        lock(&self.links).retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(link)));
    }

    /// Stops all of them.
    pub(crate) fn stop_all(&self) {
        for link in lock(&self.links)
            .drain(..)
            .filter_map(|link| link.upgrade())
        {
            displace(&link);
        }
    }
}

/// Stops a connection that is being set up, but not one that was set up a moment ago and has not told
/// so yet.
fn displace(link: &Link) {
    if link.advance(Stage::SettingUp, Stage::Displaced) {
        link.raise(Level::Stopping);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_handshake_too_many_stops_the_oldest_unless_it_is_done() {
        let handshakes = Handshakes::new(1);
        let [first, second, third] = [(); 3].map(|()| Arc::<Link>::default());
        handshakes.begin(&first);
        handshakes.begin(&second);
        assert!(first.is_stopping() && first.is_displaced());
        // It was set up, and its end is about to be told.
        assert!(second.advance(Stage::SettingUp, Stage::Established));
        handshakes.begin(&third);
        assert!(!second.is_stopping() && second.is_established());
        assert!(third.advance(Stage::SettingUp, Stage::Established));
        handshakes.stop_all();
        assert!(!third.is_stopping());
    }

    #[test]
    fn a_rest_lasts_its_time_whoever_wakes_the_loop_meanwhile() {
        let mut rest = Rest::default();
        assert!(rest.is_over());
        assert_eq!(rest.left(), None);
        rest.begin(&io::ErrorKind::OutOfMemory.into());
        // Longer than anything that keeps the test from going on.
        rest.until = rest.until.map(|end| end + 1000 * REST);
        assert!(!rest.is_over());
        assert!(rest.left().is_some_and(|left| left > Duration::ZERO));
        rest.until = Some(Instant::now());
        assert_eq!(rest.left(), Some(Duration::ZERO), "it has to be noticed");
        assert!(rest.is_over());
        assert_eq!(rest.left(), None);
    }

    #[test]
    fn a_shortage_is_told_now_and_then() {
        let mut rest = Rest::default();
        rest.begin(&io::ErrorKind::OutOfMemory.into());
        let warned = rest.warned.expect("a time");
        rest.begin(&io::ErrorKind::OutOfMemory.into());
        assert_eq!(rest.warned, Some(warned));
        rest.warned = warned.checked_sub(WARNING_EVERY);
        rest.begin(&io::ErrorKind::OutOfMemory.into());
        assert!(rest.warned.is_some_and(|again| again >= warned));
    }
}
