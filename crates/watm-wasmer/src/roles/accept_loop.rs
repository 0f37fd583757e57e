//! The thread that accepts connections for a listener or a relay, on all its sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::error::{ConfigError, ListenError};
use crate::net::accept_errors::AcceptErrors;
use crate::net::address::canonical;
use crate::net::listening::ListenSocket;
use crate::net::stream::Stream;
use crate::threads;
use crate::worker::mappings;

/// The stack of the accepting thread, in bytes.
const STACK: usize = 256 * 1024;

/// The token of the waker; sockets count upwards from 0.
const WAKER: Token = Token(usize::MAX);

/// What a listener does with its sockets.
pub(crate) trait Accepting: Send + 'static {
    /// Whether another socket is welcome now. When this changes, the loop must be woken.
    fn wants_more(&self) -> bool;
    /// Called while a socket waits that is not welcome. Returns when to call this again at the
    /// latest, if that may help.
    fn crowded(&self) -> Option<Duration> {
        None
    }
    fn accepted(&self, stream: Stream, client: Option<SocketAddr>);
    /// Called when a listening socket is broken. Nothing is accepted after this.
    fn failed(&self, error: io::Error);
}

pub(crate) struct AcceptLoop {
    waker: Arc<Waker>,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes an accept loop when more sockets become welcome.
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
    /// Starts accepting. `make` receives a waker of the loop.
    pub(crate) fn spawn<A: Accepting>(
        sockets: Sockets,
        make: impl FnOnce(AcceptWaker) -> Result<A, ListenError>,
    ) -> Result<Self, ListenError> {
        let (poll, waker) = sockets.poll().map_err(ListenError::Host)?;
        let closed = Arc::new(AtomicBool::new(false));
        let accepting = make(AcceptWaker(Arc::clone(&waker)))?;
        let is_closed = Arc::clone(&closed);
        let thread = threads::spawn("watm-accept", STACK, move || {
            accept_all(sockets, poll, &accepting, &is_closed);
        })
        .map_err(ListenError::Host)?;
        Ok(Self {
            waker,
            closed,
            thread: Some(thread),
        })
    }

    /// Stops accepting and closes the listening sockets. Waits for both, which does not take long.
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

/// The listening sockets of a listener or a relay: at least one.
pub(crate) struct Sockets {
    sockets: Vec<(ListenSocket, Pending)>,
    locals: Locals,
    /// The index of the socket that was asked last.
    turn: usize,
}

/// Where the sockets listen.
#[derive(Clone, Debug)]
pub(crate) struct Locals {
    /// Those of TCP.
    tcp: Box<[SocketAddr]>,
    /// All of them, as they are shown.
    all: Box<[Box<str>]>,
}

impl Locals {
    fn of(sockets: &[(ListenSocket, Pending)]) -> Self {
        let sockets = || sockets.iter().map(|(socket, _)| socket);
        Self {
            tcp: sockets().filter_map(ListenSocket::local_addr).collect(),
            all: sockets().map(|socket| socket.to_string().into()).collect(),
        }
    }

    /// The first of TCP, or none that anybody could connect to.
    pub(crate) fn first(&self) -> SocketAddr {
        let none = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.tcp.first().copied().unwrap_or(none)
    }

    /// Those of TCP.
    pub(crate) fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// All of them, as they are shown.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|text| &**text)
    }
}

/// Whether connections may wait at a socket. It is kept here because events are edge-triggered.
type Pending = bool;

impl Sockets {
    /// The sockets to accept on.
    ///
    /// # Errors
    ///
    /// [`ListenError::Config`] if there is none.
    pub(crate) fn new(
        listeners: impl IntoIterator<Item = ListenSocket>,
    ) -> Result<Self, ListenError> {
        let sockets: Vec<_> = listeners.into_iter().map(|socket| (socket, true)).collect();
        if sockets.is_empty() {
            return Err(ListenError::Config(ConfigError::Invalid {
                setting: "listen",
                message: "there is no address to listen on".into(),
            }));
        }
        Ok(Self {
            locals: Locals::of(&sockets),
            sockets,
            turn: 0,
        })
    }

    /// The addresses that they listen on.
    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    fn poll(&self) -> io::Result<(Poll, Arc<Waker>)> {
        let poll = Poll::new()?;
        for (i, (socket, _)) in self.sockets.iter().enumerate() {
            socket.set_nonblocking()?;
            let fd = socket.as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&fd), Token(i), Interest::READABLE)?;
        }
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((poll, Arc::new(waker)))
    }

    /// Notes that connections wait at a socket.
    fn note(&mut self, Token(i): Token) {
        if let Some((_, pending)) = self.sockets.get_mut(i) {
            *pending = true;
        }
    }

    fn is_any_pending(&self) -> bool {
        self.sockets.iter().any(|(_, pending)| *pending)
    }

    /// Whether a connection does wait at one of the sockets where one may.
    fn is_anyone_waiting(&self) -> bool {
        let pending = self.sockets.iter().filter(|(_, pending)| *pending);
        let mut polled: Vec<_> = pending
            .map(|(socket, _)| libc::pollfd {
                fd: socket.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // SAFETY: `polled` has that many entries, and its descriptors stay open meanwhile.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) > 0 }
    }

    /// Accepts a connection from each socket in turn. Returns `None` if no connection waits.
    fn accept(&mut self) -> io::Result<Option<(Stream, Option<SocketAddr>)>> {
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let (socket, pending) = &mut self.sockets[self.turn];
            if !*pending {
                continue;
            }
            match socket.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *pending = false,
                result => return result.map(Some),
            }
        }
        Ok(None)
    }
}

fn accept_all(
    mut sockets: Sockets,
    mut poll: Poll,
    accepting: &impl Accepting,
    closed: &AtomicBool,
) {
    let mut events = Events::with_capacity(16);
    let mut rest = Rest::default();
    let mut errors = AcceptErrors::new();
    let mut look = None;
    loop {
        let timeout = [rest.left(), look.take()].into_iter().flatten().min();
        match poll.poll(&mut events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return accepting.failed(error),
        }
        if closed.load(Ordering::Acquire) {
            return;
        }
        for event in &events {
            sockets.note(event.token());
        }
        // A connection that ends wakes the loop, but does not end a pause.
        while sockets.is_any_pending() && rest.is_over() && !closed.load(Ordering::Acquire) {
            if !accepting.wants_more() {
                if sockets.is_anyone_waiting() {
                    look = accepting.crowded();
                }
                break;
            }
            // A client that waits is better off than one that is accepted and then dropped.
            if let Err(error) = mappings::check_room() {
                rest.begin(errors.shortage(&error));
                break;
            }
            match sockets.accept() {
                Ok(Some((stream, client))) => {
                    accepting.accepted(stream, client.map(canonical));
                }
                Ok(None) => {}
                Err(error) => match errors.pause(error) {
                    Ok(pause) => rest.begin(pause),
                    Err(error) => return accepting.failed(error),
                },
            }
        }
    }
}

/// A pause that accepting makes while the system is short of something.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// Begins a pause. One of no length is none.
    fn begin(&mut self, pause: Duration) {
        if !pause.is_zero() {
            self.until = Some(Instant::now() + pause);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_lasts_its_time_whoever_wakes_the_loop_meanwhile() {
        let mut rest = Rest::default();
        assert!(rest.is_over());
        assert_eq!(rest.left(), None);
        rest.begin(Duration::ZERO);
        assert_eq!(rest.left(), None);
        // Longer than any delay of the test.
        rest.begin(Duration::from_secs(60));
        assert!(!rest.is_over());
        assert!(rest.left().is_some_and(|left| left > Duration::ZERO));
        rest.until = Some(Instant::now());
        assert_eq!(rest.left(), Some(Duration::ZERO), "it has to be noticed");
        assert!(rest.is_over());
        assert_eq!(rest.left(), None);
    }
}
