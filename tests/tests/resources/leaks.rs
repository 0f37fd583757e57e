//! Connections give back what they took.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use watm_tests::{
    Pair, ReservedPort, accept_one, alone, alternate, built, connect, eventually, expect_end,
    listener, path_of, read_vec, reset, threads, wat, with_worker,
};
use watm_wasmer::{
    ArtifactCache, DialAttempt, DialHook, Dialer, FixedDialer, Listener, ModuleLoader, Relay,
    Stream, TransportModule,
};

use super::MEBIBYTE;
use super::SLACK;
use super::Uses;

/// Opens a connection and ends it in one of several ways.
pub(crate) fn live_and_end(module: &TransportModule, how: usize) {
    let pair = Pair::dial(module);
    (&pair.conn).write_all(b"12345678").expect("room");
    assert_eq!(read_vec(&pair.peer, 8), b"12345678");
    (&pair.peer).write_all(b"back").expect("room");
    assert_eq!(read_vec(&pair.conn, 4), b"back");
    match how % 5 {
        0 => drop(pair.conn.close().expect("a clean end")),
        1 => drop(pair.conn),
        2 => {
            drop(pair.peer);
            expect_end(&pair.conn);
        }
        3 => {
            reset(pair.peer);
            let _ = (&pair.conn).read(&mut [0; 8]);
        }
        _ => {
            // Both ends at once, with bytes in flight.
            (&pair.conn).write_all(&[0; 50_000]).expect("room");
            drop(pair);
        }
    }
}

#[test]
fn a_thousand_connections_leave_memory_threads_and_descriptors_where_they_were() {
    alone(|| {
        let modules = [built("plain"), built("halfclose"), built("rust_tcp")];
        let each = |count: usize| {
            for i in 0..count {
                live_and_end(&modules[i % modules.len()], i / modules.len());
            }
        };
        each(150);
        eventually("the first ones have ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        each(1000);
        before.expect_back(SLACK);
    });
}

#[test]
fn modules_that_are_loaded_again_and_again_leave_no_code_behind() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = ArtifactCache::open(directory.path()).expect("a cache");
        let loader = ModuleLoader::new().cache(&cache);
        let each = |count: usize| {
            for i in 0..count {
                let module = loader.load_file(path_of("rust_tcp")).expect("a module");
                if i % 10 == 0 {
                    // A connection is the last user of the module's code.
                    let pair = Pair::dial(&module);
                    drop(module);
                    alternate(&pair.conn, &pair.peer, 64, |_| {});
                }
            }
        };
        each(20);
        eventually("the first ones have ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        each(300);
        before.expect_back(SLACK);
    });
}

#[test]
fn many_connections_at_once_leave_nothing_behind() {
    alone(|| {
        let module = built("plain");
        drop(Pair::dial(&module));
        eventually("the first one has ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        for _ in 0..3 {
            let pairs: Vec<_> = (0..200).map(|_| Pair::dial(&module)).collect();
            assert_eq!(threads("watm-worker"), 200);
            for pair in &pairs {
                alternate(&pair.conn, &pair.peer, 64, |_| {});
            }
            drop(pairs);
            eventually("they have ended", || threads("watm-worker") == 0);
            // The allocator keeps some of what 200 threads used at once.
            before.expect_back(64 * MEBIBYTE);
        }
    });
}

#[test]
fn clients_of_a_listener_leave_nothing_behind() {
    alone(|| {
        let module = built("handshake");
        let listener = Listener::builder(&module)
            .bind("127.0.0.1:0")
            .expect("a listener");
        let serve = |count: usize| {
            for i in 0..count {
                let mut client = connect(listener.local_addr());
                if i % 3 == 0 {
                    // The handshake fails.
                    client.write_all(b"not the greeting").expect("room");
                    continue;
                }
                client.write_all(b"WATM-HELLO-00001").expect("room");
                assert_eq!(read_vec(&client, 16), b"WATM-REPLY-00001");
                let conn = listener.accept().expect("a connection");
                alternate(&conn, &client, 64, |_| {});
            }
        };
        serve(60);
        eventually("the first ones have ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        serve(400);
        before.expect_back(SLACK);
        listener.close();
        eventually("its own thread has ended", || threads("watm-accept") == 0);
    });
}

#[test]
fn connections_through_a_relay_leave_nothing_behind() {
    alone(|| {
        let (remote, address) = listener();
        let relay = Relay::builder(&built("plain"))
            .remote(address)
            .bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let serve = |count: usize| {
            for i in 0..count {
                let client = connect(relay.local_addr());
                let server = accept_one(&remote);
                alternate(&client, &server, 64, |_| {});
                match i % 3 {
                    0 => drop(client),
                    1 => drop(server),
                    _ => reset(client),
                }
            }
        };
        serve(60);
        eventually("the first ones have ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        serve(300);
        before.expect_back(SLACK);
        relay.shutdown();
        eventually("its own thread has ended", || threads("watm-accept") == 0);
    });
}

struct Panicking;

impl DialHook for Panicking {
    fn dial(&self, _: &DialAttempt<'_>) -> std::io::Result<Stream> {
        // Avoids the message of a panic, which would only fill the output.
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn dials_that_fail_leave_nothing_behind() {
    alone(|| {
        let refusing = ReservedPort::new();
        let (_listener, reachable) = listener();
        let failing = |count: usize| {
            for _ in 0..count {
                let dial = |module: &TransportModule, config: &str, address: &str| {
                    let dialer = Dialer::builder(module)
                        .config(config)
                        .build()
                        .expect("a dialer");
                    dialer.dial(address).expect_err("it fails");
                };
                dial(&built("plain"), "", &refusing.address());
                dial(&built("xor"), "", &reachable);
                dial(&built("exit3"), "", &reachable);
                for choice in [
                    "trap-init",
                    "trap-dial",
                    "exit-ctrlpipe",
                    "badfd",
                    "refused",
                ] {
                    dial(&built("err_positive"), choice, &reachable);
                }
                let fixed = FixedDialer::builder(&built("fixed")).config("tcp 127.0.0.1:1");
                fixed
                    .build()
                    .expect("a fixed dialer")
                    .dial()
                    .expect_err("it is denied");
                let panicking = Dialer::builder(&built("plain")).dial_hook(Panicking);
                panicking
                    .build()
                    .expect("a dialer")
                    .dial(&reachable)
                    .expect_err("it panics");
            }
        };
        failing(5);
        eventually("the first ones have ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        failing(30);
        before.expect_back(SLACK);
    });
}

#[test]
fn a_dial_that_is_given_up_leaves_no_worker_behind() {
    alone(|| {
        let (_listener, address) = listener();
        let limit = Duration::from_millis(50);
        drop(Pair::dial(&built("plain")));
        eventually("the first one has ended", || threads("watm-worker") == 0);
        let modules = [
            wat("loop_main"),
            wat("loop_init"),
            wat("loop_dial"),
            built("handshake"),
        ];
        let before = Uses::now();
        for module in modules {
            let dialer = Dialer::builder(&module).setup_timeout(limit).build();
            let dialer = dialer.expect("a dialer");
            for _ in 0..5 {
                dialer.dial(&address).expect_err("it takes too long");
            }
        }
        before.expect_back(SLACK);
    });
}

#[test]
fn a_thread_ends_whose_guest_had_to_be_interrupted() {
    alone(|| {
        for name in ["loop_start_worker", "poll_spin", "eagain_spin"] {
            let grace = Duration::from_millis(100);
            let pair = Pair::with(Dialer::builder(&wat(name)).close_grace(grace));
            assert_eq!(threads("watm-worker"), 1);
            pair.conn.close().expect_err("it does not end by itself");
            // The close itself waits for the worker, so only the end of the thread is left.
            eventually("its thread has ended", || threads("watm-worker") == 0);
        }
        let pairs: Vec<_> = (0..20)
            .map(|_| {
                let builder = Dialer::builder(&wat("loop_start_worker"));
                Pair::with(builder.close_grace(Duration::from_millis(100)))
            })
            .collect();
        drop(pairs);
        eventually("all threads have ended", || threads("watm-worker") == 0);
    });
}

#[test]
fn a_connection_that_is_dropped_ends_with_its_grace_period_although_the_peer_never_reads() {
    alone(|| {
        for name in ["plain", "halfclose"] {
            let builder = Dialer::builder(&built(name)).close_grace(Duration::from_millis(200));
            let pair = Pair::with(builder);
            pair.conn
                .set_write_timeout(Some(Duration::from_millis(100)))
                .expect("a timeout");
            while (&pair.conn).write(&[7; 64 * 1024]).is_ok() {}
            assert_eq!(threads("watm-worker"), 1);
            drop(pair.conn);
            eventually("its thread has ended", || threads("watm-worker") == 0);
        }
    });
}

#[test]
fn bytes_that_nobody_takes_hold_an_ended_transport_no_longer_than_the_drain_timeout() {
    alone(|| {
        // It writes without waiting until a write is refused, and returns with its buffer full.
        // Writes are refused because it has asked for room.
        let module = with_worker(
            "(drop (call $set_flags (global.get $net) (i32.const 4)))
         (drop (call $wait (global.get $net) (i32.const 2)))
         (loop $next
           (br_if $next (i32.eqz
             (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))))
         (i32.const 0)",
        );
        let limit = Duration::from_millis(300);
        let pair = Pair::with(Dialer::builder(&module).drain_timeout(limit));
        let started = Instant::now();
        // This does not delay the application.
        expect_end(&pair.conn);
        eventually("its thread has ended", || threads("watm-worker") == 0);
        // The default is 30 seconds.
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    });
}
