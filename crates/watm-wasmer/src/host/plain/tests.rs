use super::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering;

use socket2::SockRef;
use watm_abi::{FdFlags, SubscriptionKind};

use crate::channel::link::Level;
use crate::error::{SetupError, TransportError};
use crate::host::Internal;
use crate::host::tests::{AGAIN, Fixture, clock, fill, fill_net, fixture_with, setup};

const LONG: Duration = Duration::from_secs(20);

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let client = TcpStream::connect(address).expect("a connection");
    client.set_read_timeout(Some(LONG)).expect("a timeout");
    (client, listener.accept().expect("the client").0)
}

/// A host that carries a plain connection, and the client of that.
fn carrying(patience: Duration, grace: Duration) -> (Fixture, TcpStream) {
    let (client, plain) = tcp_pair();
    let mut setup = setup();
    setup.limits = Limits {
        patience,
        grace,
        naming: LONG,
    };
    let internal = Internal::Plain(plain.into());
    (fixture_with(setup, Some(internal)), client)
}

fn reset(client: TcpStream) {
    let linger = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    linger.expect("an option");
}

/// Polls until the control descriptor is readable, like a guest that waits for nothing else.
fn await_control(f: &mut Fixture) {
    let control = [SubscriptionKind::FdRead { fd: f.control }];
    assert_eq!(f.poll(&control).expect("events").len(), 1);
}

#[test]
fn bytes_move_between_the_client_and_the_network_and_are_counted_apart() {
    let (mut f, mut client) = carrying(LONG, LONG);
    client.write_all(b"out").expect("room");
    assert_eq!(f.read(f.internal, 16).expect("bytes"), b"out");
    assert_eq!(f.write(f.net, b"wrapped"), Ok(7));
    f.peer.write_all(b"reply").expect("room");
    assert_eq!(f.read(f.net, 16).expect("bytes"), b"reply");
    assert_eq!(f.write(f.internal, b"in"), Ok(2));
    f.host.flush();
    let mut buf = [0; 7];
    f.peer.read_exact(&mut buf).expect("bytes");
    client.read_exact(&mut buf[..2]).expect("bytes");
    let traffic = &f.link.traffic;
    let counts = [
        &traffic.plain_received,
        &traffic.sent,
        &traffic.received,
        &traffic.plain_sent,
    ];
    assert_eq!(
        counts.map(|count| count.load(Ordering::Relaxed)),
        [3, 7, 5, 2]
    );
}

#[test]
fn a_plain_connection_is_none_that_a_role_could_return() {
    let (f, _client) = carrying(LONG, LONG);
    assert!(f.host.net(f.internal).is_none());
    assert!(f.host.net(f.net).is_some());
}

#[test]
fn each_direction_ends_by_itself() {
    let (mut f, mut client) = carrying(LONG, LONG);
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    assert_eq!(f.write(f.internal, b"still"), Ok(5));
    assert!(!f.host.plain_side.is_over());
    f.host.shutdown(f.internal, 2).expect("a shutdown");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"still");
    assert!(f.host.plain_side.is_over());
    assert!(!f.link.is_broken());

    let (mut f, mut client) = carrying(LONG, LONG);
    f.host.shutdown(f.internal, 2).expect("a shutdown");
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    client.write_all(b"still").expect("room");
    assert_eq!(f.read(f.internal, 8).expect("bytes"), b"still");
    assert!(!f.host.plain_side.is_over());
}

#[test]
fn a_guest_that_goes_on_after_both_directions_is_told_to_end_in_time() {
    let (mut f, client) = carrying(Duration::from_millis(20), LONG);
    drop(client);
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    f.host.close(f.internal).expect("it is open");
    // It is quiet, so this does not take the grace period.
    await_control(&mut f);
    assert!(f.link.level() < Level::Stopping);
    // One that never calls the host again is stopped all the same.
    let (mut f, client) = carrying(Duration::ZERO, Duration::ZERO);
    drop(client);
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    f.host.shutdown(f.internal, 2).expect("a shutdown");
    let given_up = Instant::now() + LONG;
    while !f.link.is_stopping() {
        assert!(Instant::now() < given_up, "it is never stopped");
        std::thread::yield_now();
    }
}

#[test]
fn the_time_does_not_begin_before_the_client_has_taken_all() {
    let (mut f, client) = carrying(Duration::ZERO, LONG);
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    let internal = f.internal;
    let sent = fill(&mut f, internal);
    f.host.shutdown(f.internal, 2).expect("a shutdown");
    let _ = f.poll(&[clock(1_000_000)]).expect("events");
    assert!(!f.host.plain_side.is_over());
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        (&client).read_to_end(&mut all).expect("the end");
        all.len()
    });
    await_control(&mut f);
    assert_eq!(reader.join().expect("it ends"), sent);
}

#[test]
fn a_client_that_resets_breaks_the_connection_behind_its_last_bytes() {
    let (mut f, mut client) = carrying(LONG, LONG);
    client.write_all(b"the last").expect("room");
    assert_eq!(f.read(f.internal, 4).expect("bytes"), b"the ");
    reset(client);
    assert_eq!(f.read(f.internal, 8).expect("bytes"), b"last");
    assert_eq!(f.read(f.internal, 8), Err(Errno::Connreset.into()));
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    assert!(f.link.is_broken());
    assert_eq!(f.link.plain_lost(), Some(Errno::Connreset));
    assert!(f.host.plain_side.is_over());
    assert_eq!(f.host.lost_connection(), None, "the network is still there");
    assert!(!f.host.has_ended_in_order());
    // The network sees no end of stream, whatever the guest makes of it.
    f.write(f.net, b"the last").expect("room");
    f.host.shutdown(f.net, 2).expect("a shutdown");
    f.peer.read_exact(&mut [0; 8]).expect("bytes");
    f.peer.set_nonblocking(true).expect("a mode");
    let error = f.peer.read(&mut [0]).expect_err("no end");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn what_a_client_does_not_take_any_more_is_dropped() {
    let (mut f, mut client) = carrying(LONG, LONG);
    client.write_all(b"the last").expect("room");
    reset(client);
    f.nonblocking();
    let given_up = Instant::now() + LONG;
    while f.link.plain_lost().is_none() {
        assert_eq!(f.write(f.internal, b"for nobody"), Ok(10));
        f.host.flush();
        assert!(Instant::now() < given_up, "it never fails");
    }
    assert_eq!(f.write(f.internal, &[7; 100_000]), Ok(100_000));
    assert!(f.link.is_broken());
    assert_eq!(f.read(f.internal, 8).expect("what came"), b"the last");
    f.host.end_guest();
    f.host.drain(LONG).expect("the guest's bytes for nobody");
}

#[test]
fn a_guest_that_waits_for_something_else_does_not_hide_a_reset() {
    let (mut f, client) = carrying(Duration::ZERO, LONG);
    reset(client);
    await_control(&mut f);
    assert_eq!(f.link.plain_lost(), Some(Errno::Connreset));
}

#[test]
fn a_side_has_nothing_to_read_while_the_other_has_no_room() {
    let (mut f, mut client) = carrying(LONG, LONG);
    fill_net(&mut f);
    client.write_all(b"abc").expect("room");
    assert!(!f.is_readable(f.internal));
    assert_eq!(f.read(f.internal, 8), Err(AGAIN));
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert!(!f.is_readable(f.internal), "the bytes come first");

    let (mut f, client) = carrying(LONG, LONG);
    let internal = f.internal;
    let sent = fill(&mut f, internal);
    f.peer.write_all(b"abc").expect("room");
    assert!(!f.is_readable(f.net));
    let mut received = vec![0; sent];
    let reader = std::thread::spawn(move || {
        (&client).read_exact(&mut received).expect("bytes");
        client
    });
    let net = [SubscriptionKind::FdRead { fd: f.net }];
    assert_eq!(f.poll(&net).expect("events").len(), 1, "it wakes for room");
    assert_eq!(f.read(f.net, 8).expect("bytes"), b"abc");
    reader.join().expect("it ends");
}

#[test]
fn a_network_that_was_lost_is_no_end_for_the_client() {
    let (client_end, peer) = tcp_pair();
    let (mut f, mut client) = carrying(LONG, LONG);
    let second = f
        .host
        .open_net(peer.into(), crate::channel::link::Side::Network)
        .expect("a descriptor");
    reset(client_end);
    assert_eq!(f.read(second, 8), Err(Errno::Connreset.into()));
    f.write(f.internal, b"so far").expect("room");
    f.host.shutdown(f.internal, 2).expect("a shutdown");
    let mut so_far = [0; 6];
    client.read_exact(&mut so_far).expect("bytes");
    client.set_nonblocking(true).expect("a mode");
    let error = client.read(&mut [0]).expect_err("no end");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert!(matches!(
        f.link.outcome(),
        Some(Err(TransportError::ConnectionLost { .. }))
    ));
    // It has to end now.
    await_control(&mut f);
    f.host.end_guest();
    f.host.drain(LONG).expect("all was delivered");
    client.set_nonblocking(false).expect("a mode");
    let error = client.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_client_may_go_on_for_a_while_after_the_transport_has_ended() {
    let (mut f, mut client) = carrying(LONG, LONG);
    f.write(f.internal, b"an answer").expect("room");
    let thread = std::thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the end");
        // It is still sending, and does not look.
        for _ in 0..50 {
            client.write_all(&[7; 20_000]).expect("nobody minds");
        }
        answer
    });
    f.host.end_guest();
    f.host.drain(LONG).expect("all was delivered");
    drop(f);
    assert_eq!(thread.join().expect("it ends"), b"an answer");
}

#[test]
fn a_client_that_has_ended_gets_what_was_on_its_way_when_the_transport_failed() {
    let (mut f, client) = carrying(LONG, LONG);
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    let internal = f.internal;
    let sent = fill(&mut f, internal);
    f.link.set_broken();
    f.host.end_guest();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let error = (&client).read_to_end(&mut all).expect_err("a reset");
        (error.kind(), all.len())
    });
    f.host.drain(LONG).expect("all was delivered");
    drop(f);
    let seen = reader.join().expect("it ends");
    assert_eq!(seen, (std::io::ErrorKind::ConnectionReset, sent));
}

#[test]
fn a_reset_behind_the_end_of_a_client_is_noticed() {
    let (mut f, client) = carrying(Duration::ZERO, LONG);
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    assert_eq!(f.link.plain_lost(), None);
    reset(client);
    await_control(&mut f);
    assert!(f.link.plain_lost().is_some());
    assert!(f.link.is_broken());
}

#[test]
fn a_client_may_send_on_to_a_guest_that_reads_nothing_more() {
    let (mut f, mut client) = carrying(LONG, LONG);
    client.write_all(b"early").expect("room");
    assert_eq!(f.read(f.internal, 8).expect("bytes"), b"early");
    assert_eq!(f.write(f.internal, b"an answer"), Ok(9));
    f.host.shutdown(f.internal, 3).expect("a shutdown");
    assert_eq!(f.read(f.internal, 8).expect("the end"), b"");
    assert!(f.is_readable(f.internal));
    let thread = std::thread::spawn(move || {
        // More than all buffers hold.
        for _ in 0..100 {
            client.write_all(&[7; 200_000]).expect("nobody minds");
        }
        client.shutdown(Shutdown::Write).expect("a shutdown");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the end");
        answer
    });
    let given_up = Instant::now() + LONG;
    while !thread.is_finished() && Instant::now() < given_up {
        let _ = f.poll(&[clock(1_000_000)]).expect("events");
    }
    f.host.end_guest();
    f.host.drain(LONG).expect("all was delivered");
    assert_eq!(thread.join().expect("it ends"), b"an answer");
    assert!(!f.link.is_broken());
    let received = f.link.traffic.plain_received.load(Ordering::Relaxed);
    assert_eq!(received, 5, "what is thrown away does not count");
}

#[test]
fn only_what_causes_no_event_is_looked_at_again_and_again() {
    let (mut f, client) = carrying(LONG, LONG);
    f.host.close(f.internal).expect("it is open");
    f.host.leaving.close_all(std::iter::empty(), false);
    assert!(!f.host.leaving.settle(), "the client is still there");
    assert!(!f.host.leaving.needs_looks(), "its end will be an event");
    f.link.set_broken();
    assert!(f.host.leaving.needs_looks(), "an acknowledgement is none");
    drop(client);
}

/// A host whose application's side leads to a target.
fn towards(address: &str) -> Fixture {
    let internal = Internal::Target(Target {
        address: Some(address.parse().expect("it is one")),
        outgoing: Outgoing::within(LONG),
    });
    fixture_with(setup(), Some(internal))
}

#[test]
fn a_target_is_connected_to_when_the_guest_is_set_up_or_writes() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    for writes_early in [false, true] {
        let mut f = towards(&address);
        f.nonblocking();
        assert_eq!(f.read(f.internal, 8), Err(AGAIN));
        assert!(!f.is_readable(f.internal));
        if writes_early {
            assert_eq!(f.write(f.internal, b"early"), Ok(5));
            f.host.flush();
        }
        assert_eq!(f.host.awaits_target(), !writes_early);
        f.host.connect_target().expect("a connection");
        assert!(!f.host.awaits_target());
        f.host.connect_target().expect("there is one already");
        let stat = f.host.descriptors.fdstat(f.internal).expect("a stat");
        assert_eq!(stat.flags, FdFlags::NONBLOCK, "they are kept");
        let (mut server, _) = listener.accept().expect("the host");
        server.set_read_timeout(Some(LONG)).expect("a timeout");
        if writes_early {
            server.read_exact(&mut [0; 5]).expect("bytes");
        }
        server.write_all(b"hello").expect("room");
        let readable = [SubscriptionKind::FdRead { fd: f.internal }];
        assert_eq!(f.poll(&readable).expect("events").len(), 1);
        assert_eq!(f.read(f.internal, 8).expect("bytes"), b"hello");
    }
}

#[test]
fn a_target_that_refuses_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let mut f = towards(&address);
    let refused = Err(Errno::Connrefused.into());
    assert_eq!(f.write(f.internal, b"early"), refused);
    assert_eq!(f.host.connect_target().map(|()| 0), refused);
    assert!(matches!(
        f.host.take_failure(),
        Some(SetupError::Connect { address: named, .. }) if named == address
    ));
    // A guest that has closed it needs no connection.
    let mut f = towards(&address);
    f.host.close(f.internal).expect("it is open");
    f.host.connect_target().expect("nothing to do");
    assert!(f.host.awaits_target());
}
