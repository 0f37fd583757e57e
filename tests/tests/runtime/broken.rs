//! Both ends of a connection can tell an end from a failure. A failure arrives as a reset, after
//! the data before it, and never as an end of stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use watm_tests::{
    Pair, SHORT, accept_one, alternate, built, connect, expect_end, listener, read_to_reset,
    read_vec, reset, tcp_pair, with_worker,
};
use watm_wasmer::{
    Builder, Conn, Dialer, Errno, Listener, Relay, ServerHandle, TransportError, TransportModule,
};

/// The ways in which a worker can fail.
const FAILURES: [&str; 3] = [
    // An error number.
    "(i32.const -29)",
    // A trap.
    "(unreachable)",
    // An error after closing everything, as programs do that return errors upwards.
    "(drop (call $fd_close (global.get $net)))
     (drop (call $fd_close (global.get $internal)))
     (i32.const -29)",
];

/// Writes three bytes to the network and fails.
fn fails(how: &str) -> TransportModule {
    with_worker(&format!("(call $text (global.get $net)) {how}"))
}

#[test]
fn the_peer_of_a_module_that_fails_gets_what_came_before_and_a_reset() {
    for how in FAILURES {
        let module = fails(how);
        let dialled = Pair::dial(&module);
        assert_eq!(read_to_reset(&dialled.peer), b"abc", "{how}");
        dialled.conn.close().expect_err("it failed");
        let accepted = Pair::accepted(Listener::builder(&module));
        assert_eq!(read_to_reset(&accepted.peer), b"abc", "{how}");
    }
}

#[test]
fn a_peer_that_reads_late_still_gets_all_of_it_before_the_reset() {
    let module = with_worker(
        "(local $i i32)
         (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65536))
         (loop $more
           (drop (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $i) (i32.const 32))))
         (unreachable)",
    );
    let pair = Pair::narrow(Dialer::builder(&module));
    // The transport has failed, or waits for this.
    let _ = pair.conn.wait(Some(Duration::from_millis(300)));
    let received = read_to_reset(&pair.peer);
    assert_eq!(received.len(), 32 * 65_536);
}

#[test]
fn a_guest_that_closes_its_connection_and_goes_on_has_not_failed() {
    let module = with_worker(
        "(call $text (global.get $net))
         (drop (call $fd_close (global.get $net)))
         (drop (call $wait (global.get $internal) (i32.const 1)))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    assert_eq!(read_vec(&pair.peer, 3), b"abc");
    expect_end(&pair.peer);
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    pair.conn.close().expect("a good end");
}

#[test]
fn an_application_that_gives_up_is_a_reset_for_the_peer() {
    for name in ["plain", "plain16k", "halfclose", "rust_tcp", "rust_plain"] {
        for length in [0, 5, 1_000_000] {
            let builder = Dialer::builder(&built(name)).close_grace(SHORT);
            let pair = Pair::with(builder);
            std::thread::scope(|scope| {
                let reading = scope.spawn(|| read_to_reset(&pair.peer));
                (&pair.conn).write_all(&vec![7; length]).expect("room");
                pair.conn.abort();
                let _ = pair.conn.close();
                let received = reading.join().expect("a reset");
                assert_eq!(received.len(), length, "{name}");
            });
            assert_eq!((&pair.conn).read(&mut [0]).expect("no more"), 0);
        }
    }
}

/// A client of a relay, the socket at its remote, and the relay.
fn through(module: &TransportModule) -> (TcpStream, TcpStream, ServerHandle) {
    let (remote, address) = listener();
    let relay = Relay::builder(module).remote(address).bind("127.0.0.1:0");
    let relay = relay.expect("a relay").spawn().expect("a thread");
    let client = connect(relay.local_addr());
    (client, accept_one(&remote), relay)
}

#[test]
fn a_reset_passes_a_relay_in_both_directions() {
    for name in ["plain", "plain16k", "halfclose", "rust_tcp", "rust_plain"] {
        for from_client in [true, false] {
            let (client, server, _relay) = through(&built(name));
            alternate(&client, &server, 64, |_| {});
            let (breaks, sees) = if from_client {
                (client, server)
            } else {
                (server, client)
            };
            (&breaks).write_all(b"the last").expect("room");
            assert_eq!(read_vec(&sees, 8), b"the last");
            reset(breaks);
            assert_eq!(read_to_reset(&sees), b"", "{name}, {from_client}");
        }
    }
}

#[test]
fn a_reset_of_the_peer_is_an_error_for_the_application() {
    for name in ["plain", "plain16k", "halfclose", "rust_tcp", "rust_plain"] {
        let pairs: [(Conn, TcpStream); 2] = [
            {
                let pair = Pair::dial(&built(name));
                (pair.conn, pair.peer)
            },
            {
                let pair = Pair::accepted(Listener::builder(&built(name)));
                (pair.conn, pair.peer)
            },
        ];
        for (conn, peer) in pairs {
            (&peer).write_all(b"the last").expect("room");
            assert_eq!(read_vec(&conn, 8), b"the last");
            reset(peer);
            let mut rest = Vec::new();
            (&conn).read_to_end(&mut rest).expect_err(name);
            assert!(rest.is_empty());
            conn.close().expect_err("it failed");
        }
    }
}

#[test]
fn clients_of_a_relay_that_cannot_be_served_are_reset() {
    let refusing = watm_tests::ReservedPort::new();
    let plain = built("plain");
    let relay = |builder: Builder<Relay>| {
        let relay = builder.bind("127.0.0.1:0").expect("a relay");
        relay.spawn().expect("a thread")
    };
    // Nobody listens there.
    let refused = relay(Relay::builder(&plain).remote(refusing.address()));
    assert_eq!(read_to_reset(&connect(refused.local_addr())), b"");
    // The client never sends what the module waits for.
    let (_remote, address) = listener();
    let silent = Relay::builder(&built("handshake")).remote(&address);
    let silent = relay(silent.setup_timeout(Duration::from_millis(200)));
    assert_eq!(read_to_reset(&connect(silent.local_addr())), b"");
    // The module fails.
    let (_remote, address) = listener();
    let failing = relay(
        Relay::builder(&built("err_positive"))
            .config("associate")
            .remote(address),
    );
    assert_eq!(read_to_reset(&connect(failing.local_addr())), b"");
}

#[test]
fn clients_of_a_listener_whose_handshake_fails_are_reset() {
    let builder = Listener::builder(&built("handshake"));
    let acceptor = builder.setup_timeout(Duration::from_millis(200)).acceptor();
    let acceptor = acceptor.expect("an acceptor");
    // One is silent, the other sends something else.
    for said in [&b""[..], b"sixteen wrong bytes"] {
        let (client, server) = tcp_pair();
        client.set_read_timeout(Some(SHORT)).expect("a timeout");
        (&client).write_all(said).expect("room");
        acceptor.accept(server).expect_err("no handshake");
        // Data that the module sent before it failed may come first.
        read_to_reset(&client);
    }
}

#[test]
fn a_guest_that_takes_a_reset_for_an_end_does_not_make_it_one() {
    // Reads until there is nothing more, whatever the reason, and returns 0.
    let swallows = "(loop $more
           (if (i32.eqz (call $read (global.get $net) (i32.const 16384) (i32.const 1000)))
             (then (if (i32.load (i32.const 8)) (then
               (drop (call $write (global.get $internal) (i32.const 16384) (i32.load (i32.const 8))))
               (br $more))))))";
    let half_closes = "(drop (call $shutdown (global.get $internal) (i32.const 2)))
         (drop (call $wait (global.get $internal) (i32.const 1)))";
    let closes = "(drop (call $fd_close (global.get $internal)))
         (drop (call $wait (global.get $control) (i32.const 1)))";
    for then in ["", half_closes, closes] {
        let module = with_worker(&format!("{swallows} {then} (i32.const 0)"));
        let pair = Pair::dial(&module);
        (&pair.peer).write_all(b"the last").expect("room");
        assert_eq!(read_vec(&pair.conn, 8), b"the last");
        reset(pair.peer);
        let error = (&pair.conn).read(&mut [0]).expect_err("no end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{then}: {error}");
        let error = pair.conn.close().expect_err("it is not complete");
        assert!(
            matches!(
                error,
                TransportError::ConnectionLost {
                    errno: Errno::Connreset
                }
            ),
            "{then}: {error}"
        );

        // An end is reported as an end.
        let pair = Pair::dial(&module);
        (&pair.peer).write_all(b"the last").expect("room");
        drop(pair.peer);
        assert_eq!(read_vec(&pair.conn, 8), b"the last");
        expect_end(&pair.conn);
        pair.conn.close().expect("a good end");
    }
}

#[test]
fn a_guest_that_dials_again_after_a_reset_has_not_lost_its_connection() {
    // Reads from one connection until it breaks, then from another until it ends.
    let module = with_worker(
        "(local $other i32)
         (drop (call $read (global.get $net) (i32.const 16384) (i32.const 1000)))
         (drop (call $fd_close (global.get $net)))
         (local.set $other (call $water_dial_fixed))
         (drop (call $read (local.get $other) (i32.const 16384) (i32.const 1000)))
         (i32.const 0)",
    );
    let (remote, address) = listener();
    let dialer = Dialer::builder(&module).build().expect("a dialer");
    let conn = dialer.dial(&address).expect("a connection");
    reset(accept_one(&remote));
    drop(accept_one(&remote));
    expect_end(&conn);
    conn.close().expect("a good end");
}
