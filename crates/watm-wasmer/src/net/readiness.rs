//! A descriptor for event loops, for something that is no descriptor: it is readable while reading
//! may go on, and writable while writing may.
//!
//! It is one end of a socket pair. The end of the loop is readable once the other has sent a byte,
//! and not writable once its own buffer is full.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use socket2::SockRef;

use crate::channel::pipe::{Signal, Way};

/// What a buffer is filled with, and drained into.
const FILL: [u8; 4096] = [0; 4096];

#[derive(Debug)]
pub(crate) struct Readiness {
    /// The end that the event loop watches.
    watched: UnixStream,
    other: UnixStream,
    is_readable: AtomicBool,
    is_writable: AtomicBool,
}

impl Readiness {
    /// Both ways are ready.
    pub(crate) fn new() -> io::Result<Self> {
        let (watched, other) = UnixStream::pair()?;
        watched.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        // As small as the system lets it be: it is filled to say that writing has to wait.
        SockRef::from(&watched).set_send_buffer_size(1)?;
        let readiness = Self {
            watched,
            other,
            is_readable: AtomicBool::new(false),
            is_writable: AtomicBool::new(true),
        };
        readiness.set_ready(Way::Read);
        Ok(readiness)
    }

    /// Another descriptor of the end that event loops watch.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.watched.try_clone()?.into())
    }
}

/// Whoever is waited for has something to read.
impl Wake for Readiness {
    fn wake(self: Arc<Self>) {
        self.set_ready(Way::Read);
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

impl Signal for Readiness {
    fn set_ready(&self, way: Way) {
        match way {
            Way::Read if !self.is_readable.swap(true, Ordering::Relaxed) => {
                expect((&self.other).write(&[0]));
            }
            Way::Write if !self.is_writable.swap(true, Ordering::Relaxed) => drain(&self.other),
            Way::Read | Way::Write => {}
        }
    }

    fn set_blocked(&self, way: Way) {
        match way {
            Way::Read if self.is_readable.swap(false, Ordering::Relaxed) => drain(&self.watched),
            Way::Write if self.is_writable.swap(false, Ordering::Relaxed) => {
                while matches!((&self.watched).write(&FILL), Ok(1..)) {}
            }
            Way::Read | Way::Write => {}
        }
    }
}

fn drain(mut from: &UnixStream) {
    let mut buf = FILL;
    while matches!(from.read(&mut buf), Ok(1..)) {}
}

fn expect(sent: io::Result<usize>) {
    if let Err(error) = sent {
        log::error!("an event loop could not be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    /// Whether the descriptor is readable, and whether it is writable.
    fn state(readiness: &Readiness) -> (bool, bool) {
        let fd = readiness.descriptor().expect("a descriptor");
        let mut fds = [PollFd::new(&fd, PollFlags::IN | PollFlags::OUT)];
        let now = rustix::time::Timespec::default();
        poll(&mut fds, Some(&now)).expect("a poll");
        let seen = fds[0].revents();
        (seen.contains(PollFlags::IN), seen.contains(PollFlags::OUT))
    }

    #[test]
    fn the_descriptor_says_for_each_way_whether_it_may_go_on() {
        let readiness = Readiness::new().expect("a socket pair");
        assert_eq!(state(&readiness), (true, true));
        for _ in 0..3 {
            readiness.set_blocked(Way::Read);
            readiness.set_blocked(Way::Read);
            assert_eq!(state(&readiness), (false, true));
            readiness.set_blocked(Way::Write);
            assert_eq!(state(&readiness), (false, false));
            readiness.set_ready(Way::Read);
            readiness.set_ready(Way::Read);
            assert_eq!(state(&readiness), (true, false));
            readiness.set_ready(Way::Write);
            assert_eq!(state(&readiness), (true, true));
        }
    }

    #[test]
    fn a_loop_that_looks_at_edges_alone_sees_each_change() {
        use mio::unix::SourceFd;
        use std::os::fd::AsRawFd;

        let readiness = Readiness::new().expect("a socket pair");
        let mut poll = mio::Poll::new().expect("a poll");
        let fd = readiness.as_fd().as_raw_fd();
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let registry = poll.registry();
        let registered = registry.register(&mut SourceFd(&fd), mio::Token(0), both);
        registered.expect("it can be watched");
        let mut events = mio::Events::with_capacity(4);
        for _ in 0..3 {
            for way in [Way::Read, Way::Write] {
                readiness.set_blocked(way);
                let now = Some(std::time::Duration::ZERO);
                poll.poll(&mut events, now).expect("a poll");
                readiness.set_ready(way);
                let soon = Some(std::time::Duration::from_secs(20));
                poll.poll(&mut events, soon).expect("a poll");
                let seen = events.iter().any(|event| match way {
                    Way::Read => event.is_readable(),
                    Way::Write => event.is_writable(),
                });
                assert!(seen, "{way:?}: {events:?}");
            }
        }
    }
}
