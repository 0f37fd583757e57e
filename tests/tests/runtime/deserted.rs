//! Modules that never end, and never look at those whom they serve. They are ended soon after these
//! have gone.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use watm_tests::{
    SHORT, accept_one, connect, eventually, listener, read_to_reset, reset, tcp_pair, text,
};
use watm_wasmer::{Builder, Carried, Dialer, Listener, Relay, TransportError, TransportModule};

/// The time that a module has once nobody is left, and then to end.
const TIME: Duration = Duration::from_millis(100);

/// What modules do for ever. There is an array of one buffer at 0 and an empty one at 8.
const LOOPS: [(&str, &str); 11] = [
    ("computes", ""),
    (
        "fills memory",
        "(memory.fill (i32.const 4096) (i32.const 7) (i32.const 60000))",
    ),
    (
        "peeks at the network",
        "(drop (call $sock_recv (global.get $net) (i32.const 0) (i32.const 1) (i32.const 1)
           (i32.const 24) (i32.const 28)))",
    ),
    (
        "peeks at the other side",
        "(drop (call $sock_recv (global.get $other) (i32.const 0) (i32.const 1) (i32.const 1)
           (i32.const 24) (i32.const 28)))",
    ),
    (
        "reads nothing",
        "(drop (call $fd_read (global.get $other) (i32.const 8) (i32.const 1) (i32.const 24)))",
    ),
    (
        "reads from where nothing is",
        "(drop (call $fd_read (i32.const 99) (i32.const 0) (i32.const 1) (i32.const 24)))",
    ),
    (
        "polls nothing",
        "(drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 0) (i32.const 24)))",
    ),
    (
        "polls without waiting",
        "(i32.store8 (i32.const 72) (i32.const 0))
         (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 24)))",
    ),
    (
        "makes random numbers",
        "(drop (call $random_get (i32.const 4096) (i32.const 60000)))",
    ),
    (
        "reads the clock",
        "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 24)))",
    ),
    (
        "writes to standard error",
        "(drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 24)))",
    ),
];

/// A module of all roles that does this for ever.
fn never_ending(body: &str) -> TransportModule {
    let text_of_it = r#"(module
  (import "env" "water_accept" (func $accept (result i32)))
  (import "env" "water_dial_fixed" (func $dial (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (global $net (mut i32) (i32.const -1))
  (global $other (mut i32) (i32.const -1))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param $fd i32) (result i32)
    (global.set $other (local.get $fd))
    (global.set $net (call $dial))
    (global.get $net))
  (func (export "watm_accept_v1") (param $fd i32) (result i32)
    (global.set $other (local.get $fd))
    (global.set $net (call $accept))
    (global.get $net))
  (func (export "watm_associate_v1") (result i32)
    (global.set $net (call $accept))
    (global.set $other (call $dial))
    (i32.const 0))
  (func (export "watm_start_v1") (result i32)
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.const 100))
    (loop $for_ever BODY (br $for_ever))
    (i32.const 0)))
"#;
    text(&text_of_it.replace("BODY", body))
}

/// Waits until a module that calls the host does so in its loop.
#[track_caller]
fn await_calls(carried: &Carried, body: &str) {
    if body.contains("call") {
        let before = carried.stats().host_calls;
        eventually("it calls the host", || {
            carried.stats().host_calls >= before + 100
        });
    }
}

fn quick<R>(builder: Builder<R>) -> Builder<R> {
    builder.drain_timeout(TIME).close_grace(TIME)
}

/// A connection that a dialer carries, and one that a listener does, each with its plain client and
/// its peer on the network.
fn carried(module: &TransportModule) -> [(Carried, TcpStream, TcpStream); 2] {
    let dialer = quick(Dialer::builder(module)).build().expect("a dialer");
    let ((client, plain), (remote, address)) = (tcp_pair(), listener());
    let dialled = dialer.carry(plain, &address).expect("a connection");
    let acceptor = quick(Listener::builder(module)).acceptor();
    let ((server, plain_server), (peer, stream)) = (tcp_pair(), tcp_pair());
    let acceptor = acceptor.expect("an acceptor");
    let accepted = acceptor.carry(stream, plain_server).expect("a connection");
    let all = [
        (dialled, client, accept_one(&remote)),
        (accepted, server, peer),
    ];
    for (_, client, peer) in &all {
        // There is something to peek at.
        for mut side in [client, peer] {
            side.write_all(b"something").expect("room");
        }
    }
    all
}

#[test]
fn a_module_that_never_ends_is_ended_once_its_plain_connection_was_reset() {
    for (name, body) in LOOPS {
        let both = carried(&never_ending(body)).map(|(carried, client, peer)| {
            await_calls(&carried, body);
            reset(client);
            (carried, peer)
        });
        for (carried, peer) in both {
            let ended = carried.wait(Some(SHORT));
            let error = ended.unwrap_or_else(|| panic!("it goes on: {name}"));
            let error = error.expect_err("it failed");
            assert!(
                matches!(
                    error,
                    TransportError::Interrupted | TransportError::PlainLost { .. }
                ),
                "{name}: {error}"
            );
            assert_eq!(read_to_reset(&peer), b"", "{name}");
        }
    }
}

#[test]
fn a_module_that_never_ends_is_ended_once_both_sides_were_reset() {
    for (name, body) in LOOPS {
        let both = carried(&never_ending(body)).map(|(carried, client, peer)| {
            await_calls(&carried, body);
            // It meets the reset of the network long before the other one.
            reset(peer);
            await_calls(&carried, body);
            reset(client);
            carried
        });
        for carried in both {
            let ended = carried.wait(Some(SHORT));
            ended
                .unwrap_or_else(|| panic!("it goes on: {name}"))
                .expect_err(name);
        }
    }
}

#[test]
fn a_relay_whose_module_never_ends_is_ended_once_both_peers_were_reset() {
    for (name, body) in LOOPS {
        let (remote, address) = listener();
        let relay = quick(Relay::builder(&never_ending(body)).remote(&address));
        let relay = relay.bind("127.0.0.1:0").expect("a relay");
        let relay = relay.spawn().expect("a thread");
        let (client, server) = (connect(relay.local_addr()), accept_one(&remote));
        reset(client);
        reset(server);
        eventually(name, || {
            relay.stats().accepted == 1 && relay.stats().active == 0
        });
    }
}

#[test]
fn a_module_that_never_ends_is_ended_once_its_application_has_dropped_it() {
    for (name, body) in LOOPS {
        let builder = quick(Dialer::builder(&never_ending(body)));
        let (remote, address) = listener();
        let conn = builder.build().expect("a dialer").dial(&address);
        let peer = accept_one(&remote);
        drop(conn.expect("a connection"));
        assert_eq!(read_to_reset(&peer), b"", "{name}");
    }
}
