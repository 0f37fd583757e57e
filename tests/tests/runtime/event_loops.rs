//! Event loops: connections and listeners beside sockets, in mio and in a loop over descriptors.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, poll};
use watm_tests::{
    EchoServer, FullBacklog, ReservedPort, SHORT, accept_one, built, listener, reset, within,
};
use watm_wasmer::{AcceptError, CancelToken, Conn, DialOptions, Dialer, Listener};

const CONN: Token = Token(1);
const LISTENER: Token = Token(2);

fn dial(name: &str, address: impl Into<watm_wasmer::Target>) -> Conn {
    let dialer = Dialer::builder(&built(name)).build().expect("a dialer");
    let conn = dialer.dial(address).expect("a dial");
    conn.set_nonblocking(true).expect("it does not block");
    conn
}

/// Sends and receives `total` bytes over an echo, with one loop for both ways.
fn echo_in_a_loop(mut conn: Conn, total: usize) {
    let mut poll = Poll::new().expect("a poll");
    let both = Interest::READABLE | Interest::WRITABLE;
    let registry = poll.registry();
    registry
        .register(&mut conn, CONN, both)
        .expect("it can be watched");
    let mut events = Events::with_capacity(8);
    let (mut sent, mut received) = (0, 0);
    let mut buf = vec![0; 50_000];
    while received < total {
        poll.poll(&mut events, Some(SHORT)).expect("a poll");
        assert!(
            !events.is_empty(),
            "{sent} sent, {received} received, and nothing happens"
        );
        for event in &events {
            assert_eq!(event.token(), CONN);
            while event.is_writable() && sent < total {
                let piece = vec![sent as u8; buf.len().min(total - sent)];
                match (&conn).write(&piece) {
                    Ok(len) => sent += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            while event.is_readable() {
                match (&conn).read(&mut buf) {
                    Ok(0) => panic!("it has ended"),
                    Ok(len) => received += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    poll.registry()
        .deregister(&mut conn)
        .expect("it was watched");
    assert_eq!((sent, received), (total, total));
}

#[test]
fn a_connection_in_a_loop_of_mio_moves_more_than_its_pipe_holds() {
    let server = EchoServer::start();
    for name in ["plain", "plain16k", "halfclose"] {
        let conn = dial(name, server.address());
        within(SHORT, move || echo_in_a_loop(conn, 3_000_000));
    }
}

#[test]
fn a_loop_accepts_and_hears_that_the_listener_is_closed() {
    let listener = Listener::builder(&built("plain")).bind("127.0.0.1:0");
    let mut listener = listener.expect("a listener");
    let mut poll = Poll::new().expect("a poll");
    let registry = poll.registry();
    let registered = registry.register(&mut listener, LISTENER, Interest::READABLE);
    registered.expect("it can be watched");
    let mut events = Events::with_capacity(8);
    let mut accepted = Vec::new();
    let mut dialled = Vec::new();
    while accepted.len() < 5 {
        if dialled.len() == accepted.len() {
            dialled.push(dial("plain", listener.local_addr()));
        }
        poll.poll(&mut events, Some(SHORT)).expect("a poll");
        assert!(
            !events.is_empty(),
            "nothing happens after {}",
            accepted.len()
        );
        while let Some(conn) = listener.try_accept().expect("it is open") {
            accepted.push(conn);
        }
    }
    listener.close();
    poll.poll(&mut events, Some(SHORT)).expect("a poll");
    assert!(events.iter().any(|event| event.is_readable()));
    assert!(matches!(listener.try_accept(), Err(AcceptError::Closed)));
}

/// What the descriptor says now, or within `timeout`.
fn ready(fd: &impl std::os::fd::AsFd, flags: PollFlags, timeout: Duration) -> PollFlags {
    let mut fds = [PollFd::new(fd, flags)];
    let timeout = timeout.try_into().expect("a time");
    poll(&mut fds, Some(&timeout)).expect("a poll");
    fds[0].revents()
}

#[test]
fn the_descriptor_of_a_connection_is_ready_for_bytes_for_room_and_for_a_failure() {
    let (accepting, address) = listener();
    let conn = dial("plain", address);
    let mut peer = accept_one(&accepting);
    let fd = conn.readiness().expect("a descriptor");
    let mut buf = [0; 16];
    let mut read = || (&conn).read(&mut buf);

    assert_eq!(read().expect_err("nothing").kind(), ErrorKind::WouldBlock);
    let now = Duration::ZERO;
    assert_eq!(ready(&fd, PollFlags::IN, now), PollFlags::empty());
    assert_eq!(ready(&fd, PollFlags::OUT, now), PollFlags::OUT);
    peer.write_all(b"abc").expect("it writes");
    assert_eq!(ready(&fd, PollFlags::IN, SHORT), PollFlags::IN);
    assert_eq!(read().expect("bytes"), 3);

    let mut sent = 0;
    loop {
        match (&conn).write(&[0; 4096]) {
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The network may take more in a moment, but not for ever.
                let more = ready(&fd, PollFlags::OUT, Duration::from_millis(300));
                if more.is_empty() {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut received = vec![0; sent];
    peer.read_exact(&mut received).expect("it reads");
    assert_eq!(ready(&fd, PollFlags::OUT, SHORT), PollFlags::OUT);

    assert_eq!(read().expect_err("nothing").kind(), ErrorKind::WouldBlock);
    reset(peer);
    assert_eq!(ready(&fd, PollFlags::IN, SHORT), PollFlags::IN);
    assert!(read().is_err(), "a reset is no end");
}

#[test]
fn a_descriptor_outlives_its_connection() {
    let server = EchoServer::start();
    let conn = dial("plain", server.address());
    let fd = conn.readiness().expect("a descriptor");
    drop(conn);
    assert!(ready(&fd, PollFlags::IN, SHORT).contains(PollFlags::IN));
}

#[test]
fn dials_in_a_loop_of_mio_are_taken_when_they_are_done() {
    let server = EchoServer::start();
    let port = ReservedPort::new();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let mut poll = Poll::new().expect("a poll");
    let targets = [&server.address()[..], &port.address(), "no address"];
    let mut dials = targets.map(|target| Some(dialer.begin(target, DialOptions::new())));
    for (at, dial) in dials.iter_mut().flatten().enumerate() {
        let registered = poll
            .registry()
            .register(dial, Token(at), Interest::READABLE);
        registered.expect("it can be watched");
    }
    let mut results = [None, None, None];
    let mut events = Events::with_capacity(8);
    while results.iter().any(Option::is_none) {
        poll.poll(&mut events, Some(SHORT)).expect("a poll");
        assert!(!events.is_empty(), "{results:?}");
        for event in &events {
            let Token(at) = event.token();
            let Some(mut dial) = dials[at].take() else {
                continue;
            };
            match dial.try_wait() {
                Some(result) => {
                    let gone = poll.registry().deregister(&mut dial);
                    gone.expect("it was watched");
                    results[at] = Some(result.map_err(|error| error.code()));
                }
                None => dials[at] = Some(dial),
            }
        }
    }
    let [conn, refused, no_address] = results.map(|result| result.expect("it is done"));
    watm_tests::echo_messages(&conn.expect("a connection"));
    assert_eq!(refused.expect_err("nobody listens"), "connect");
    assert_eq!(no_address.expect_err("it is none"), "address");
}

#[test]
fn the_descriptor_of_a_dial_is_readable_once_there_is_a_result() {
    fn is_readable(fd: &std::os::fd::OwnedFd, wait: Duration) -> bool {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        let wait = wait.try_into().expect("a time");
        poll(&mut fds, Some(&wait)).expect("a poll") == 1
    }

    let silent = FullBacklog::new();
    let token = CancelToken::new();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let mut dial = dialer.begin(silent.address(), DialOptions::new().cancel(&token));
    let [first, second] = [(); 2].map(|()| dial.readiness().expect("a descriptor"));
    assert!(!is_readable(&first, Duration::from_millis(100)));
    assert!(dial.try_wait().is_none());
    token.cancel();
    assert!(is_readable(&first, SHORT) && is_readable(&second, SHORT));
    let result = dial.try_wait().expect("it is done");
    assert_eq!(result.expect_err("it was cancelled").code(), "cancelled");
    // One that is done before anybody asks.
    let mut dial = dialer.begin("no address", DialOptions::new());
    assert!(is_readable(
        &dial.readiness().expect("a descriptor"),
        Duration::ZERO
    ));
}
