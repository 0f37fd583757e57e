//! The only place where a worker sleeps: its own poll, shared by its sockets and its waker.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::channel::link::Link;

/// The token of the waker. Sockets count up from 0.
const WAKER: Token = Token(usize::MAX);

/// What one event said about a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer sends no more. The rest, and then the end, can be read without a further event.
    pub(crate) ended: bool,
    /// Urgent data has arrived. A read ends early at it.
    pub(crate) urgent: bool,
}

impl Readiness {
    fn of(event: &Event) -> Self {
        let broken = event.is_error();
        Self {
            readable: event.is_readable() || event.is_read_closed() || broken,
            writable: event.is_writable() || event.is_write_closed() || broken,
            ended: event.is_read_closed() || broken,
            urgent: event.is_priority(),
        }
    }
}

pub(crate) struct Reactor {
    poll: Poll,
    events: Events,
    next: usize,
    /// Events that arrived during a wait for particular sockets, and that this wait did not take.
    missed: Vec<(usize, Readiness)>,
}

impl Reactor {
    /// Creates the reactor of a worker. From then on, `link` wakes it.
    pub(crate) fn new(link: &Link) -> io::Result<Self> {
        let poll = Poll::new()?;
        link.set_waker(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(16),
            next: 0,
            missed: Vec::new(),
        })
    }

    /// Watches a socket for everything (edge-triggered). Returns the token of its events.
    pub(crate) fn watch(&mut self, fd: RawFd) -> io::Result<usize> {
        let token = self.next;
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        self.registry()
            .register(&mut SourceFd(&fd), Token(token), interest)?;
        self.next += 1;
        Ok(token)
    }

    /// Stops watching a socket. Needed only while the socket stays open.
    pub(crate) fn forget(&self, fd: RawFd) {
        let _ = self.registry().deregister(&mut SourceFd(&fd));
    }

    /// Sleeps until something happens, for at most `timeout`, and hands over the event of each
    /// socket. A signal ends the sleep early, like an event that belongs to no socket. Returns
    /// whether anything happened.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut each: impl FnMut(usize, Readiness),
    ) -> io::Result<bool> {
        let mut happened = !self.missed.is_empty();
        let timeout = if self.missed.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        for (token, readiness) in self.missed.drain(..) {
            each(token, readiness);
        }
        self.poll(timeout)?;
        for event in &self.events {
            happened = true;
            if event.token() != WAKER {
                each(event.token().0, Readiness::of(event));
            }
        }
        Ok(happened)
    }

    /// Sleeps like [`Reactor::wait`], but waits only for certain sockets. Keeps the events of the
    /// others for later, and what no event will repeat. Returns the tokens of the sockets that a
    /// read or a write may find ready.
    pub(crate) fn wait_for(
        &mut self,
        tokens: &[usize],
        timeout: Duration,
    ) -> io::Result<Vec<usize>> {
        self.poll(Some(timeout))?;
        let mut happened = Vec::new();
        for event in &self.events {
            let (Token(found), readiness) = (event.token(), Readiness::of(event));
            if event.token() == WAKER {
                continue;
            }
            let awaited = tokens.contains(&found);
            if awaited && (readiness.readable || readiness.writable) {
                happened.push(found);
            }
            if !awaited || readiness.ended || readiness.urgent {
                keep(&mut self.missed, found, readiness);
            }
        }
        Ok(happened)
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    fn registry(&self) -> &Registry {
        self.poll.registry()
    }
}

/// Adds an event to those kept for later, of which each socket has one.
fn keep(missed: &mut Vec<(usize, Readiness)>, token: usize, readiness: Readiness) {
    match missed.iter_mut().find(|(found, _)| *found == token) {
        Some((_, known)) => {
            known.readable |= readiness.readable;
            known.writable |= readiness.writable;
            known.ended |= readiness.ended;
            known.urgent |= readiness.urgent;
        }
        None => missed.push((token, readiness)),
    }
}
