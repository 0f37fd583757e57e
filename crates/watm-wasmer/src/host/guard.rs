//! Ends guests that nobody is left for.
//!
//! An application closes its connection when it has lost interest. Nobody stands behind a plain
//! connection that a transport carries, or behind a relay. So a guest gets a limited time once its
//! plain connection has failed, or once all peers of its relay have failed or were closed.
//!
//! The worker hears of a failure when it sleeps, or when it asks the system for another reason. A
//! guest may never let it: it computes, or its calls are all answered from what the host knows.
//! While the worker does not sleep, the supervisor looks in its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::channel::link::Link;
use crate::channel::supervisor::{self, Guarded};
use crate::channel::sync::lock;
use crate::host::plain::Limits;
use crate::net::outbound::Outbound;

/// Whom a guest serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The plain connection on the application's side.
    Plain,
    /// The peers of a relay. As long as one is left, it may still be receiving.
    Peers,
}

/// Knows the sockets of those whom a guest serves.
pub(super) struct Guard {
    whom: Whom,
    limits: Limits,
    link: Arc<Link>,
    /// The guest has the connection that was accepted for it.
    accepted: AtomicBool,
    /// The end of the guest was ordered.
    ends: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Weak references, so that a socket closes when its worker drops it.
    sockets: Vec<Weak<Outbound>>,
    deserted: Option<Deserted>,
}

/// Nobody is left.
#[derive(Clone, Copy)]
struct Deserted {
    since: Instant,
    /// What the guest had received by then of what had come before.
    received: u64,
}

impl Guard {
    pub(super) fn new(whom: Whom, limits: Limits, link: Arc<Link>) -> Self {
        Self {
            whom,
            limits,
            link,
            accepted: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Adds a socket of the guest.
    pub(super) fn add(&self, out: &Arc<Outbound>) {
        if (self.whom == Whom::Plain) == out.is_plain() {
            let sockets = &mut lock(&self.state).sockets;
            sockets.retain(|socket| socket.strong_count() > 0);
            sockets.push(Arc::downgrade(out));
        }
    }

    /// Called when the guest has got the connection that was accepted for it.
    pub(super) fn set_accepted(&self) {
        self.accepted.store(true, Ordering::Release);
    }

    /// Called when the transport is set up: until then, its time is limited anyway.
    pub(super) fn begin(self: &Arc<Self>) {
        let guard: Weak<Self> = Arc::downgrade(self);
        self.link.set_guard(guard);
    }

    /// Ends the guest at this time. The first call counts.
    pub(super) fn end_guest_at(&self, when: Instant) {
        if !self.ends.swap(true, Ordering::Relaxed) {
            supervisor::end_guest_at(when, &self.link, self.limits.grace);
        }
    }

    /// The same, after the time that a guest has once nobody is left.
    pub(super) fn end_guest(&self) {
        self.end_guest_at(Instant::now() + self.limits.patience);
    }

    /// Looks whether somebody is left. If nobody is, the supervisor looks at the connection from
    /// then on, even while the worker sleeps.
    pub(super) fn check(&self) {
        let is_known = lock(&self.state).deserted.is_some();
        if !is_known && self.is_deserted() {
            lock(&self.state).deserted = Some(self.deserted());
        }
    }

    /// Ends the guest if its time is over. It starts anew while the guest receives what had come
    /// before: that is limited, and may have to wait for the other side.
    fn end_in_time(&self, found: Deserted) {
        let now = self.deserted();
        if found.received != now.received {
            lock(&self.state).deserted = Some(now);
        } else if now.since - found.since >= self.limits.patience {
            if !self.is_deserted() {
                // A relay has dialled again.
                lock(&self.state).deserted = None;
                return;
            }
            if self.whom == Whom::Plain {
                // The network must not take what came before for the whole.
                self.link.set_broken();
            }
            self.end_guest_at(now.since);
        }
    }

    fn deserted(&self) -> Deserted {
        let received = match self.whom {
            Whom::Plain => self.link.traffic.plain_received.load(Ordering::Relaxed),
            // Whatever a relay receives, nobody is there to get it.
            Whom::Peers => 0,
        };
        Deserted {
            since: Instant::now(),
            received,
        }
    }

    /// Whether nobody is left whom the guest serves.
    fn is_deserted(&self) -> bool {
        // What the sockets are asked takes system calls, during which the worker may add another.
        let sockets: Vec<_> = {
            let state = lock(&self.state);
            state.sockets.iter().filter_map(Weak::upgrade).collect()
        };
        match self.whom {
            Whom::Plain => {
                self.link.plain_lost().is_some() || sockets.iter().any(|out| out.is_lost())
            }
            // Before it has accepted, somebody waits for that.
            Whom::Peers => {
                self.accepted.load(Ordering::Acquire) && sockets.iter().all(|out| out.is_lost())
            }
        }
    }
}

impl Guarded for Guard {
    fn look(&self) -> bool {
        if self.link.has_guest_ended() || self.ends.load(Ordering::Relaxed) {
            return false;
        }
        let deserted = lock(&self.state).deserted;
        match deserted {
            Some(found) => self.end_in_time(found),
            None if self.link.leave_asleep() => return false,
            None => self.check(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::link::Side;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use socket2::SockRef;
    use watm_abi::Errno;

    use crate::channel::link::interest;
    use crate::host::Internal;
    use crate::host::tests::{Fixture, fixture, fixture_with, setup};

    fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        (client, listener.accept().expect("the client").0)
    }

    fn reset(client: TcpStream) {
        let linger = SockRef::from(&client).set_linger(Some(Duration::ZERO));
        linger.expect("an option");
    }

    /// A host whose guest has no time once nobody is left, and what looks after it.
    fn guarded(internal: Internal) -> (Fixture, Arc<Guard>) {
        let mut setup = setup();
        setup.limits.patience = Duration::ZERO;
        let f = fixture_with(setup, Some(internal));
        let guard = f.host.guard.clone().expect("there is no application");
        (f, guard)
    }

    #[test]
    fn a_guest_gets_all_that_came_before_its_plain_connection_failed() {
        let (mut client, plain) = tcp_pair();
        let (mut f, guard) = guarded(Internal::Plain(plain.into()));
        client.write_all(&[7; 100_000]).expect("room");
        assert!(guard.look() && guard.look(), "nothing has happened");
        reset(client);
        assert!(guard.look(), "its time begins");
        while f.read(f.internal, 100_000).expect("bytes").len() < 10_000 {}
        assert!(guard.look(), "it has received something");
        assert!(!f.link.is_broken());
        assert!(guard.look(), "its time is over");
        assert!(f.link.is_broken());
        assert!(!guard.look(), "its end was ordered");
    }

    #[test]
    fn a_failure_that_was_looked_at_is_still_read() {
        let (client, plain) = tcp_pair();
        let (mut f, guard) = guarded(Internal::Plain(plain.into()));
        reset(client);
        assert!(guard.look() && guard.look());
        assert_eq!(f.read(f.internal, 8), Err(Errno::Connreset.into()));
        assert_eq!(f.link.plain_lost(), Some(Errno::Connreset));
    }

    #[test]
    fn an_end_of_stream_is_no_failure() {
        let (client, plain) = tcp_pair();
        let (mut f, guard) = guarded(Internal::Plain(plain.into()));
        drop(client);
        f.host.refresh().expect("an event");
        assert!(guard.look() && guard.look() && guard.look());
    }

    #[test]
    fn a_relay_goes_on_while_one_peer_is_left() {
        let (mut f, guard) = guarded(Internal::None);
        let (server, remote) = tcp_pair();
        f.host
            .open_net(remote.into(), Side::Network)
            .expect("a descriptor");
        // A Unix socket resets if it is closed with unread bytes.
        f.write(f.net, b"unread").expect("room");
        f.host.flush();
        drop(f.peer);
        f.host.refresh().expect("an event");
        assert!(guard.look() && guard.look() && guard.look());
        reset(server);
        assert!(guard.look(), "its time begins");
        assert!(guard.look(), "its time is over");
        assert!(!guard.look());
    }

    #[test]
    fn a_relay_that_was_deserted_and_dials_again_goes_on() {
        let (mut f, guard) = guarded(Internal::None);
        f.host.close(f.net).expect("it is open");
        f.host.close_for_good();
        assert!(guard.look(), "its time begins");
        let (server, remote) = tcp_pair();
        f.host
            .open_net(remote.into(), Side::Network)
            .expect("a descriptor");
        assert!(guard.look() && guard.look() && guard.look());
        drop(server);
    }

    #[test]
    fn nobody_looks_while_the_worker_sleeps_unless_it_is_deserted() {
        let (mut client, plain) = tcp_pair();
        let (mut f, guard) = guarded(Internal::Plain(plain.into()));
        f.link.announce(interest::DATA);
        assert!(!guard.look());
        f.link.withdraw();
        assert!(guard.look());
        // The guest never reads it, and so never finds the reset behind it.
        client.write_all(b"unread").expect("room");
        reset(client);
        f.host.refresh().expect("an event");
        f.link.announce(interest::DATA);
        assert!(guard.look());
        assert!(!guard.look());
        f.link.withdraw();
    }

    #[test]
    fn an_application_looks_after_its_connection_itself() {
        assert!(fixture().host.guard.is_none());
    }
}
