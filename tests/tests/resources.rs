//! What connections cost the process, and that they give it back. Each test measures the whole
//! process, so it has one of its own, and they take turns.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use watm_tests::{
    EchoServer, LONG, Pair, ReservedPort, ThreadTimes, accept_one, alone, alternate, built,
    connect, copy_as, echo_messages, eventually, expect_end, listener, open_descriptors, path_of,
    processor_time, read_numbers, read_vec, reset, resident_bytes, text, threads, wat, with_worker,
    within,
};
use watm_wasmer::{
    ArtifactCache, DialAttempt, DialError, DialHook, Dialer, FixedDialer, Listener, ModuleLoader,
    Relay, Stream, TransportModule, drain,
};

/// What the process uses now.
#[derive(Debug)]
struct Uses {
    threads: usize,
    descriptors: usize,
    resident: u64,
}

/// The threads of the runtime but for its supervisor, which stays once it is there, and which may
/// be there for a while before it has its name.
fn passing_threads() -> usize {
    threads("watm-").saturating_sub(threads("watm-supervisor"))
}

impl Uses {
    fn now() -> Self {
        Self {
            threads: passing_threads(),
            descriptors: open_descriptors(),
            resident: resident_bytes(),
        }
    }

    /// That threads and descriptors are as before, and memory nearly.
    #[track_caller]
    fn expect_back(&self, growth: u64) {
        eventually("no thread is left over", || {
            passing_threads() <= self.threads
        });
        eventually("no descriptor is left over", || {
            open_descriptors() <= self.descriptors
        });
        let now = Self::now();
        let grown = now.resident.saturating_sub(self.resident);
        assert!(
            grown <= growth,
            "{} KiB more are in use: {self:?}, {now:?}",
            grown / 1024
        );
    }
}

const MEBIBYTE: u64 = 1 << 20;

/// What memory may grow by that only the allocator still holds.
const SLACK: u64 = 4 * MEBIBYTE;

/// A life of a connection, with one of several ends.
fn live_and_end(module: &TransportModule, how: usize) {
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
            // Both at once, with bytes under way.
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
                    // The last that needs its code is a connection.
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
            // The allocator keeps some of what 200 threads had at once.
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
                    // Its handshake fails.
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
        // Without the message of a panic, which would only fill the output.
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
            let dialer = Dialer::builder(&module).handshake_timeout(limit).build();
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
            // The close itself waits for it, and what is left is the end of the thread.
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
        // It writes without waiting until it is refused, which it is since it has asked for room,
        // and returns with its buffer full.
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
        // The application is not held up by that.
        expect_end(&pair.conn);
        eventually("its thread has ended", || threads("watm-worker") == 0);
        // It is 30 seconds by default.
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    });
}

/// Lets all threads of the runtime be for a second and returns what the busiest of them used, in
/// ticks of 10 ms.
fn ticks_of_a_second() -> u64 {
    let before = ThreadTimes::of("watm-");
    // The very thing that is measured: a second in which nothing happens.
    std::thread::sleep(Duration::from_secs(1));
    ThreadTimes::of("watm-").most_since(&before)
}

/// Of the hundred in a second, what a thread with nothing to do may use: it may still be on its way
/// to its sleep, and a tick may fall to it that was not its own.
const IDLE_TICKS: u64 = 10;

#[test]
fn workers_with_nothing_to_do_sleep() {
    alone(|| {
        let mut pairs = Vec::new();
        for name in [
            "plain",
            "halfclose",
            "rust_plain",
            "rust_tcp",
            "ctrl_ignore",
        ] {
            let dialled = Pair::dial(&built(name));
            alternate(&dialled.conn, &dialled.peer, 1024, |_| {});
            pairs.push(dialled);
            let accepted = Pair::accepted(Listener::builder(&built(name)));
            alternate(&accepted.conn, &accepted.peer, 1024, |_| {});
            pairs.push(accepted);
        }
        // Before the first byte, and in blocking calls.
        for name in ["plain", "blocking", "posix", "err_positive"] {
            pairs.push(Pair::dial(&built(name)));
        }
        let idle_listener = Listener::builder(&built("plain")).bind("127.0.0.1:0");
        let _idle_listener = idle_listener.expect("a listener");
        let (_remote, address) = listener();
        let relay = Relay::builder(&built("plain"))
            .remote(address)
            .bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let _client = connect(relay.local_addr());
        eventually("the client is relayed", || relay.stats().active == 1);

        let used = ticks_of_a_second();
        assert!(used <= IDLE_TICKS, "one of them used {used} ticks");
        for pair in &pairs[..10] {
            alternate(&pair.conn, &pair.peer, 64, |_| {});
        }
    });
}

#[test]
fn a_worker_whose_streams_have_half_ended_sleeps_too() {
    alone(|| {
        // Level-triggered ends would keep it awake if the guest asked for them; this one does not.
        for name in ["halfclose", "rust_tcp"] {
            let pair = Pair::dial(&built(name));
            pair.peer
                .shutdown(std::net::Shutdown::Write)
                .expect("a shutdown");
            expect_end(&pair.conn);
            let used = ticks_of_a_second();
            assert!(used <= IDLE_TICKS, "{name} used {used} ticks");
            (&pair.conn).write_all(b"still here").expect("room");
            assert_eq!(read_vec(&pair.peer, 10), b"still here");
        }
    });
}

#[test]
fn a_guest_that_repeats_a_refused_write_is_parked_until_there_is_room() {
    alone(|| {
        for name in ["plain", "rust_plain"] {
            let pair = Pair::dial(&built(name));
            pair.conn
                .set_write_timeout(Some(Duration::from_millis(300)))
                .expect("a timeout");
            let mut written = 0;
            while let Ok(len) = (&pair.conn).write(&[7; 4096]) {
                written += len;
            }
            // The guest spins, the network is full, and nobody reads.
            let used = ticks_of_a_second();
            assert!(used <= IDLE_TICKS, "{name} used {used} ticks");
            assert!(read_vec(&pair.peer, written).iter().all(|byte| *byte == 7));
        }
        // The other way: the application does not read.
        let pair = Pair::dial(&built("plain"));
        let mut peer = pair.peer.try_clone().expect("a clone");
        peer.set_write_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");
        while peer.write(&[7; 4096]).is_ok() {}
        let used = ticks_of_a_second();
        assert!(used <= IDLE_TICKS, "it used {used} ticks");
    });
}

#[test]
fn applications_that_wait_for_a_connection_sleep() {
    alone(|| {
        let pair = Pair::dial(&built("plain"));
        let conn = Arc::new(pair.conn);
        let reading = Arc::clone(&conn);
        let thread = std::thread::Builder::new()
            .name("app-reader".into())
            .spawn(move || (&*reading).read(&mut [0; 8]).expect("the end"))
            .expect("a thread");
        eventually("it waits", || threads("app-reader") == 1);
        let before = ThreadTimes::of("app-reader");
        std::thread::sleep(Duration::from_secs(1));
        let used = ThreadTimes::of("app-reader").most_since(&before);
        assert!(used <= IDLE_TICKS, "it used {used} ticks");
        conn.close().expect("a clean end");
        assert_eq!(thread.join().expect("it returns"), 0);
    });
}

#[test]
fn an_idle_connection_costs_little() {
    alone(|| {
        let module = built("plain");
        let warm: Vec<_> = (0..20).map(|_| Pair::dial(&module)).collect();
        let before = Uses::now();
        let count = 200;
        let pairs: Vec<_> = (0..count).map(|_| Pair::dial(&module)).collect();
        let now = Uses::now();
        let each = (now.resident - before.resident) / count;
        assert!(each < 512 * 1024, "{} KiB each", each / 1024);
        // Its own socket, its poll and its waker; and the peer's socket, which is the test's.
        let descriptors = (now.descriptors - before.descriptors) as u64;
        assert!(descriptors <= 5 * count, "{descriptors} descriptors");
        drop((warm, pairs));
        eventually("they have ended", || threads("watm-worker") == 0);
    });
}

#[test]
fn a_connection_that_stands_still_holds_a_bounded_amount() {
    alone(|| {
        let pairs: Vec<_> = (0..10).map(|_| Pair::dial(&built("plain16k"))).collect();
        let before = resident_bytes();
        for pair in &pairs {
            pair.conn
                .set_write_timeout(Some(Duration::from_millis(100)))
                .expect("a timeout");
            while (&pair.conn).write(&[7; 64 * 1024]).is_ok() {}
            let mut peer = &pair.peer;
            peer.set_write_timeout(Some(Duration::from_millis(100)))
                .expect("a timeout");
            while peer.write(&[7; 64 * 1024]).is_ok() {}
        }
        let each = resident_bytes().saturating_sub(before) / pairs.len() as u64;
        assert!(each < MEBIBYTE, "{} KiB each", each / 1024);
    });
}

#[test]
fn a_flood_of_log_lines_does_not_grow_the_process() {
    alone(|| {
        // Without a logger: what is measured is the runtime alone.
        let module = copy_as("stderr_flood.wat", "a_flood");
        expect_end(&Pair::dial(&module).conn);
        let before = resident_bytes();
        let started = Instant::now();
        for _ in 0..5 {
            expect_end(&Pair::dial(&module).conn);
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < SLACK, "{} KiB more", grown / 1024);
    });
}

#[test]
fn memory_that_a_guest_had_grown_is_given_back() {
    alone(|| {
        let use_it = || {
            let builder = Dialer::builder(&wat("grow")).memory_limit(128 * MEBIBYTE);
            let pair = Pair::with(builder);
            assert_eq!(read_vec(&pair.conn, 4), 2048u32.to_le_bytes());
            expect_end(&pair.conn);
            eventually("it has ended", || threads("watm-worker") == 0);
        };
        use_it();
        let before = Uses::now();
        for _ in 0..10 {
            use_it();
        }
        before.expect_back(SLACK);
    });
}

#[test]
fn a_thread_of_the_runtime_is_there_once_however_many_connections_there_are() {
    alone(|| {
        let pairs: Vec<_> = (0..30).map(|_| Pair::dial(&built("plain"))).collect();
        for pair in &pairs {
            alternate(&pair.conn, &pair.peer, 64, |_| {});
        }
        eventually("it has its name", || threads("watm-supervisor") == 1);
        assert_eq!(threads("watm-worker"), 30);
        assert!(threads("watm-") <= 30 + 10, "{} threads", threads("watm-"));
        let module = with_worker("(i32.const 0)");
        expect_end(&Pair::dial(&module).conn);
    });
}

#[test]
fn a_stock_fills_up_serves_connections_and_is_given_back() {
    alone(|| {
        let module = built("plain16k");
        // The first also starts what all share.
        live_and_end(&module, 0);
        let before = Uses::now();
        let (listener, address) = listener();
        let dialer = Dialer::builder(&module).stock(4).build().expect("a dialer");
        eventually("the stock is full", || threads("watm-worker") == 4);
        // More than it holds, so that some make their own instance.
        let open: Vec<_> = (0..12)
            .map(|_| {
                let conn = dialer.dial(&address).expect("a connection");
                (conn, accept_one(&listener))
            })
            .collect();
        for (conn, peer) in &open {
            (&mut &*conn).write_all(b"12345678").expect("room");
            assert_eq!(read_vec(peer, 8), b"12345678");
            (&*peer).write_all(b"back").expect("room");
            assert_eq!(read_vec(conn, 4), b"back");
        }
        eventually("the stock is full again", || threads("watm-worker") == 16);
        drop(dialer);
        eventually("the stock is gone", || threads("watm-worker") == 12);
        drop((open, listener));
        before.expect_back(SLACK);
    });
}

#[test]
fn a_listener_and_a_relay_give_their_stock_up_when_they_close() {
    alone(|| {
        let module = built("plain16k");
        let listener = Listener::builder(&module).stock(3).bind("127.0.0.1:0");
        let listener = listener.expect("a listener");
        let relay = Relay::builder(&module).stock(2).remote("127.0.0.1:9");
        let relay = relay.bind("127.0.0.1:0").and_then(Relay::spawn);
        let relay = relay.expect("a relay");
        eventually("both stocks are full", || threads("watm-worker") == 5);
        relay.shutdown();
        eventually("the relay's is gone", || threads("watm-worker") == 3);
        listener.close();
        eventually("all are gone", || threads("watm-worker") == 0);
    });
}

#[test]
fn a_stock_that_waits_uses_no_processor() {
    alone(|| {
        let dialer = Dialer::builder(&built("plain")).stock(3).build();
        let _dialer = dialer.expect("a dialer");
        eventually("the stock is full", || threads("watm-worker") == 3);
        // What fills it may still be on its way to sleep.
        eventually("nothing is used in half a second", || {
            let before = ThreadTimes::of("watm-");
            std::thread::sleep(Duration::from_millis(500));
            ThreadTimes::of("watm-").most_since(&before) == 0
        });
    });
}

#[test]
fn a_module_whose_init_never_ends_costs_the_stock_its_time_and_no_more() {
    alone(|| {
        let limit = Duration::from_millis(200);
        let builder = Dialer::builder(&wat("loop_init")).stock(2);
        let dialer = builder.handshake_timeout(limit).build().expect("a dialer");
        eventually("the stock is being filled", || threads("watm-stock") == 1);
        assert!(dialer.dial("127.0.0.1:9").is_err());
        drop(dialer);
        eventually("all threads end", || {
            threads("watm-worker") + threads("watm-stock") == 0
        });
    });
}

#[test]
fn a_stock_that_is_dropped_while_it_is_filled_does_not_wait_for_the_guest() {
    alone(|| {
        // The handshake may take 30 seconds, as long as the wait below.
        let dialer = Dialer::builder(&wat("loop_init")).stock(2).build();
        let dialer = dialer.expect("a dialer");
        eventually("the stock is being filled", || threads("watm-worker") == 1);
        let started = Instant::now();
        drop(dialer);
        eventually("all threads end", || {
            threads("watm-worker") + threads("watm-stock") == 0
        });
        assert!(started.elapsed() < Duration::from_secs(10));
    });
}

/// Leaves the process only `spare` more descriptors, until it is dropped.
struct Shortage {
    before: Rlimit,
}

impl Shortage {
    fn of(spare: usize) -> Self {
        // Whatever the test has used before is still about to end.
        let mut open = 0;
        eventually("descriptors are no longer given back", || {
            let before = std::mem::replace(&mut open, open_descriptors());
            std::thread::sleep(Duration::from_millis(10));
            open == before
        });
        // The numbers that are given out next. No list of what is open tells them: a thread that
        // waits for a connection has reserved one.
        let next: Vec<File> = (0..=spare)
            .map(|_| File::open("/dev/null").expect("a descriptor"))
            .collect();
        let limit = next.iter().map(AsRawFd::as_raw_fd).max();
        let limit = limit.expect("there is one").try_into().expect("it is open");
        drop(next);
        let before = getrlimit(Resource::Nofile);
        let now = Rlimit {
            current: Some(limit),
            ..before
        };
        setrlimit(Resource::Nofile, now).expect("to set the limit");
        Self { before }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}

#[test]
fn a_lack_of_descriptors_stops_accepting_for_as_long_as_it_lasts_and_costs_no_processor() {
    alone(|| {
        let module = built("plain");
        drop(Pair::dial(&module));
        let (remote, address) = listener();
        let listening = Listener::builder(&module).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let relay = Relay::builder(&module).remote(address).bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        eventually("the first one has ended", || threads("watm-worker") == 0);
        // They are connected by the system, and nobody can accept them.
        let clients = [listening.local_addr(), relay.local_addr()].map(|address| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            (socket.expect("a socket"), address)
        });
        eventually("both accept", || threads("watm-accept") == 2);
        let before = ThreadTimes::of("watm-accept");
        {
            let _shortage = Shortage::of(0);
            for (client, address) in &clients {
                client.connect(&(*address).into()).expect("a connection");
            }
            // What is measured.
            std::thread::sleep(Duration::from_millis(500));
        }
        let used = ThreadTimes::of("watm-accept").most_since(&before);
        assert!(used <= 5, "accepting used {used} ticks of 50");
        let [(client, _), (relayed, _)] = clients;
        let conn = within(watm_tests::SHORT, move || {
            listening.accept().expect("a connection")
        });
        alternate(&conn, &std::net::TcpStream::from(client), 1024, |_| {});
        let server = accept_one(&remote);
        alternate(&server, &std::net::TcpStream::from(relayed), 1024, |_| {});
    });
}

/// Takes all of the process's memory mappings but one in `part`.
struct Mappings {
    at: *mut libc::c_void,
    len: usize,
}

impl Mappings {
    fn all_but_one_in(part: usize) -> Self {
        let number = |path| -> usize {
            let text = std::fs::read_to_string(path).expect("a number of the system");
            text.trim().parse().expect("a number")
        };
        let limit = number("/proc/sys/vm/max_map_count");
        let used = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
        let wanted = limit - limit / part - used.lines().count();
        let len = wanted * 4096;
        // SAFETY: new pages, of nobody else, that nobody touches. Each second one gets other
        // rights, so that none is of a piece with the next.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let at = libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "address space");
            for page in (0..wanted).step_by(2) {
                let at = at.byte_add(page * 4096);
                assert_eq!(libc::mprotect(at, 4096, libc::PROT_READ), 0, "a mapping");
            }
            Self { at, len }
        }
    }
}

impl Drop for Mappings {
    fn drop(&mut self) {
        // SAFETY: the pages are ours, and nobody has a reference into them.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

#[test]
fn a_process_with_few_mappings_left_starts_no_connection_and_lives_on() {
    alone(|| {
        let module = built("plain");
        let (remote, address) = listener();
        let dialer = Dialer::builder(&module).build().expect("a dialer");
        let mut conn = dialer.dial(&address).expect("a connection");
        let mut peer = accept_one(&remote);
        let listening = Listener::builder(&module).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let relay = Relay::builder(&module).remote(&address).bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");

        // With less than this left, threads and allocations of anybody may abort the process.
        let shortage = Mappings::all_but_one_in(9);
        let mut tries = 0;
        let error = loop {
            match dialer.dial(&address) {
                Ok(conn) => drop(conn),
                Err(error) => break error,
            }
            drop(accept_one(&remote));
            tries += 1;
            assert!(tries < 1000, "it goes on for ever");
        };
        match error {
            DialError::Host(error) => {
                assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        // Clients wait to be accepted, and what is open goes on.
        let early = [listening.local_addr(), relay.local_addr()].map(connect);
        alternate(&conn, &peer, 64 * 1024, |_| {});
        assert_eq!(relay.stats().accepted, 0);
        dialer.dial(&address).expect_err("still");

        drop(shortage);
        let [client, relayed] = early;
        let accepted = within(watm_tests::SHORT, move || {
            listening.accept().expect("a connection")
        });
        alternate(&accepted, &client, 1024, |_| {});
        alternate(&accept_one(&remote), &relayed, 1024, |_| {});
        drop(dialer.dial(&address).expect("a connection"));
        conn.write_all(b"on and on").expect("room");
        assert_eq!(read_vec(&mut peer, 9), b"on and on");
    });
}

#[test]
fn any_lack_of_descriptors_fails_dials_and_clients_alone_and_leaves_nothing_behind() {
    alone(|| {
        // Nobody has to accept there.
        let (_remote, address) = listener();
        let module = built("xor");
        let dialer = Dialer::builder(&module).config(*b"key").build();
        let dialer = dialer.expect("a dialer");
        drop(dialer.dial(&address).expect("a connection"));
        eventually("the first one has ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        let listening = Listener::builder(&built("plain")).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let (mut failed, mut worked) = (0, 0);
        for spare in 0..9 {
            let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let client = client.expect("a socket");
            let shortage = Shortage::of(spare);
            let (dialer, address) = (dialer.clone(), address.clone());
            match within(watm_tests::SHORT, move || dialer.dial(&address)) {
                Ok(conn) => {
                    worked += 1;
                    drop(conn);
                }
                Err(_) => failed += 1,
            }
            client
                .connect(&listening.local_addr().into())
                .expect("a connection");
            drop(shortage);
            // The client is dropped, or served now or then.
            drop(client);
            eventually("it is over", || threads("watm-worker") == 0);
        }
        assert!(failed > 1 && worked > 0, "{failed} failed, {worked} worked");
        // With those that were served and that nobody has accepted.
        drop(listening);
        before.expect_back(SLACK);
        // All is well again.
        let server = EchoServer::start();
        echo_messages(&dialer.dial(&server.address()).expect("a connection"));
    });
}

#[test]
fn a_guest_that_opens_files_while_there_are_no_descriptors_is_told_so_and_goes_on() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "content").expect("a file");
        let builder = || Dialer::builder(&wat("open_path")).dir(directory.path(), "/data");
        let ask = |pair: &Pair| {
            (&pair.conn).write_all(b"r3file").expect("room");
            let answer = read_numbers(&read_vec(&pair.conn, 8)[..]);
            if answer[0] == 0 {
                assert_eq!(read_vec(&pair.conn, 7), b"content");
            }
            answer[0]
        };
        let pair = Pair::with(builder());
        assert_eq!(ask(&pair), 0);
        let before = open_descriptors();
        for spare in 0..3 {
            let shortage = Shortage::of(spare);
            let errno = ask(&pair);
            assert_eq!(errno != 0, spare < 1, "{spare}: {errno}");
            drop(shortage);
            assert_eq!(ask(&pair), 0);
        }
        eventually("no descriptor is left over", || {
            open_descriptors() <= before
        });
        pair.conn.close().expect("a clean end");
    });
}

#[test]
fn half_finished_handshakes_by_the_thousand_keep_no_honest_client_out() {
    alone(|| {
        let module = built("handshake");
        let limit = 32;
        let listening = Listener::builder(&module)
            .handshake_limit(limit)
            .bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let (remote, address) = listener();
        let relay = Relay::builder(&module)
            .remote(address)
            .handshake_limit(limit)
            .bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let mut most = 0;
        for address in [listening.local_addr(), relay.local_addr()] {
            let mut silent = Vec::new();
            for i in 0..1000 {
                let mut client = connect(address);
                // Each stops at another place.
                let _ = client.write_all(&b"WATM-HELLO-00001"[..i % 16]);
                silent.push(client);
                if i % 50 == 49 {
                    most = most.max(threads("watm-worker"));
                    // The oldest is dropped when the last has come in.
                    match (&silent[i - limit]).read(&mut [0]) {
                        Ok(0) => {}
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                        other => panic!("it is not dropped: {other:?}"),
                    }
                    // Those who were dropped take a moment to end, a busy machine a longer one.
                    eventually("the oldest are gone", || {
                        threads("watm-worker") <= 2 * limit + 2
                    });
                }
            }
            let mut client = connect(address);
            client.write_all(b"WATM-HELLO-00001").expect("room");
            assert_eq!(read_vec(&client, 16), b"WATM-REPLY-00001");
            if address == relay.local_addr() {
                let mut server = accept_one(&remote);
                assert_eq!(read_vec(&server, 16), b"WATM-HELLO-00001");
                server.write_all(b"WATM-REPLY-00001").expect("room");
                alternate(&client, &server, 64, |_| {});
            } else {
                let conn = listening.accept().expect("a connection");
                alternate(&conn, &client, 64, |_| {});
            }
            eventually("the oldest are gone", || {
                threads("watm-worker") <= 2 * limit + 2
            });
        }
        // The limits, an honest client each, and those who came since the last look.
        assert!(most <= 2 * limit + 2 + 50, "{most} workers at a time");
    });
}

#[test]
fn no_descriptor_of_the_runtime_reaches_a_process_that_the_application_starts() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "content").expect("a file");
        let module = built("plain");
        let dialer = Dialer::builder(&module).stock(1).build().expect("a dialer");
        let server = EchoServer::start();
        let conn = dialer.dial(&server.address()).expect("a connection");
        let listening = Listener::builder(&module).bind("127.0.0.1:0");
        let listening = listening.expect("a listener");
        let client = connect(listening.local_addr());
        let accepted = listening.accept().expect("a connection");
        let (_remote, address) = listener();
        let relay = Relay::builder(&module).remote(address).bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let _relayed = connect(relay.local_addr());
        let files = Pair::with(Dialer::builder(&wat("open_path")).dir(directory.path(), "/data"));
        eventually("the client is relayed", || relay.stats().active == 1);
        for _ in 0..5 {
            let output = std::process::Command::new("ls")
                .args(["-l", "/proc/self/fd"])
                .stdin(std::process::Stdio::null())
                .output()
                .expect("a process");
            let listing = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{listing}");
            for kind in ["socket:", "anon_inode:", "/data"] {
                assert!(!listing.contains(kind), "{listing}");
            }
            // And what is open goes on.
            echo_messages(&conn);
            alternate(&accepted, &client, 64, |_| {});
        }
        drop(files);
    });
}

/// A dialer whose `watm_init_v1` is `body`, with the file functions at hand.
fn looking(body: &str) -> TransportModule {
    text(&format!(
        r#"(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 100) "file")
  (data (i32.const 200) "name00000000")
  ;; The name at 200, with another number each time.
  (func $count (param $number i32) (local $at i32)
    (local.set $at (i32.const 211))
    (loop $digit
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $digit (i32.gt_u (local.get $at) (i32.const 203)))))
  (func (export "watm_init_v1") (result i32) (local $i i32) {body})
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $water_dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))"#
    ))
}

#[test]
fn looking_for_and_making_any_number_of_files_does_not_grow_the_process() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "content").expect("a file");
        let times = |count: u32, body: &str| {
            looking(&format!(
                "(loop $next
               (call $count (local.get $i))
               {body}
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $next (i32.lt_u (local.get $i) (i32.const {count}))))
             (i32.const 0)"
            ))
        };
        let use_it = |module: &TransportModule| {
            let builder = Dialer::builder(module).dir_writable(directory.path(), "/data");
            drop(Pair::with(builder));
            eventually("it has ended", || threads("watm-worker") == 0);
        };
        use_it(&times(1, ""));
        for (what, count, body) in [
        (
            "names that are not there",
            100_000,
            "(if (i32.eqz (call $stat (i32.const 3) (i32.const 0) (i32.const 200) (i32.const 12) (i32.const 512))) (then (unreachable)))",
        ),
        (
            "files that are made and removed",
            3000,
            "(if (call $open (i32.const 3) (i32.const 0) (i32.const 200) (i32.const 12) (i32.const 1) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 512)) (then (unreachable)))
             (drop (call $close (i32.load (i32.const 512))))
             (if (call $unlink (i32.const 3) (i32.const 200) (i32.const 12)) (then (unreachable)))",
        ),
        (
            "directories that are made and removed",
            300,
            "(if (call $mkdir (i32.const 3) (i32.const 200) (i32.const 12)) (then (unreachable)))
             (if (call $rmdir (i32.const 3) (i32.const 200) (i32.const 12)) (then (unreachable)))",
        ),
    ] {
        let module = times(count, body);
        let before = resident_bytes();
        let peak = std::sync::atomic::AtomicU64::new(0);
        // Within one connection, so that nothing is given back before the look.
        std::thread::scope(|scope| {
            let using = scope.spawn(|| use_it(&module));
            while !using.is_finished() {
                peak.fetch_max(resident_bytes(), std::sync::atomic::Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let grown = peak.into_inner().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "{what}: {} KiB more", grown / 1024);
    }
    });
}

#[test]
fn a_path_or_an_array_of_buffers_of_absurd_size_is_refused_at_once() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "content").expect("a file");
        // A path of 100 MiB with as many parts as it can have; 8 million buffers over one place.
        let fill = "(drop (memory.grow (i32.const 1700)))
                (loop $fill
                  (i64.store (i32.add (i32.const 65536) (local.get $i)) (i64.const 0x2f612f612f612f61))
                  (local.set $i (i32.add (local.get $i) (i32.const 8)))
                  (br_if $fill (i32.lt_u (local.get $i) (i32.const 100000000))))";
        let (path, len) = ("(i32.const 65536)", "(i32.const 100000000)");
        let buffers = "(drop (memory.grow (i32.const 1700)))
                   (loop $fill
                     (i64.store (i32.add (i32.const 65536) (local.get $i)) (i64.const 0x0010000000000000))
                     (local.set $i (i32.add (local.get $i) (i32.const 8)))
                     (br_if $fill (i32.lt_u (local.get $i) (i32.const 64000000))))
                   (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 512)) (then (unreachable)))";
        let cases = [
        (fill, format!("(call $stat (i32.const 3) (i32.const 0) {path} {len} (i32.const 512))")),
        (fill, format!("(call $open (i32.const 3) (i32.const 0) {path} {len} (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 512))")),
        (fill, format!("(call $unlink (i32.const 3) {path} {len})")),
        (fill, format!("(call $mkdir (i32.const 3) {path} {len})")),
        (fill, format!("(call $rmdir (i32.const 3) {path} {len})")),
        (fill, format!("(call $rename (i32.const 3) {path} {len} (i32.const 3) (i32.const 100) (i32.const 4))")),
        (fill, format!("(call $rename (i32.const 3) (i32.const 100) (i32.const 4) (i32.const 3) {path} {len})")),
        (fill, format!("(call $readlink (i32.const 3) {path} {len} (i32.const 512) (i32.const 8) (i32.const 520))")),
        (buffers, "(call $write (i32.load (i32.const 512)) (i32.const 65536) (i32.const 8000000) (i32.const 520))".to_owned()),
        (buffers, "(call $read (i32.load (i32.const 512)) (i32.const 65536) (i32.const 8000000) (i32.const 520))".to_owned()),
    ];
        for (prepare, call) in cases {
            let module = looking(&format!("{prepare} (i32.sub (i32.const 0) {call})"));
            let before = resident_bytes();
            let builder = Dialer::builder(&module).dir_writable(directory.path(), "/data");
            let dialer = builder.build().expect("a dialer");
            let started = Instant::now();
            let error = dialer.dial("127.0.0.1:9").expect_err("it is refused");
            let text = format!("{error:?}");
            let expected = if prepare == fill {
                "Nametoolong"
            } else {
                "Inval"
            };
            assert!(text.contains(expected), "{call}: {text}");
            let elapsed = started.elapsed();
            assert!(elapsed < Duration::from_secs(5), "{call}: {elapsed:?}");
            eventually("it has ended", || threads("watm-worker") == 0);
            let grown = resident_bytes().saturating_sub(before);
            assert!(grown < 8 * MEBIBYTE, "{call}: {} KiB more", grown / 1024);
            let size = std::fs::metadata(directory.path().join("file")).expect("the file");
            assert_eq!(size.len(), 7, "{call}");
        }
    });
}

#[test]
fn a_first_dial_that_found_no_thread_leaves_later_ones_bounded_in_time() {
    alone(|| {
        let output = within(watm_tests::LONG, || {
            let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_late_supervisor"));
            child.output().expect("a process")
        });
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
    });
}

#[test]
fn a_guest_that_loops_through_the_engines_library_is_interrupted_and_nothing_else() {
    alone(|| {
        // These instructions are carried out in library code, some of it with locks taken. An
        // interrupt that unwound it there left them taken, and every other guest waited for them.
        let server = EchoServer::start();
        let before = threads("watm-worker");
        for instruction in [
            "(drop (memory.grow (i32.const 0)))",
            "(drop (memory.grow (i32.const 1)))",
            "(memory.fill (i32.const 0) (i32.const 7) (i32.const 65536))",
            "(memory.copy (i32.const 0) (i32.const 8) (i32.const 65000))",
            "(memory.init $data (i32.const 0) (i32.const 0) (i32.const 4))",
            "(data.drop $data)",
            "(drop (table.grow $table (ref.null func) (i32.const 0)))",
            "(drop (table.grow $table (ref.null func) (i32.const 1)))",
            "(table.fill $table (i32.const 0) (ref.null func) (i32.const 1000))",
            "(table.copy $table $table (i32.const 0) (i32.const 1) (i32.const 999))",
            "(table.init $table $elements (i32.const 0) (i32.const 0) (i32.const 2))",
            "(elem.drop $elements)",
            "(table.set $table (i32.const 1) (table.get $table (i32.const 0)))",
            "(drop (table.size $table))",
            "(table.set $table (i32.const 1) (ref.func $init))",
        ] {
            let module = text(&format!(
                r#"(module
              (import "env" "water_dial_fixed" (func $dial (result i32)))
              (memory (export "memory") 1)
              (table $table 1000 funcref)
              (data $data "data")
              (elem $elements func $init $init)
              (func $init (export "watm_init_v1") (result i32)
                (loop $for_ever {instruction} (br $for_ever))
                (i32.const 0))
              (func (export "watm_dial_v1") (param i32) (result i32) (call $dial))
              (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
              (func (export "watm_start_v1") (result i32) (i32.const 0)))"#
            ));
            let address = server.address();
            within(Duration::from_secs(60), move || {
                let dialer = Dialer::builder(&module).handshake_timeout(Duration::from_millis(3));
                let dialer = dialer.build().expect("a dialer");
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            for _ in 0..40 {
                                let error = dialer.dial(&address).expect_err("it never ends");
                                assert!(
                                    matches!(error, watm_wasmer::DialError::TimedOut { .. }),
                                    "{error:?}"
                                );
                            }
                        });
                    }
                });
            });
        }
        // Dials return on time whatever happens; it counts that their workers have ended.
        eventually("no worker is left over", || {
            threads("watm-worker") <= before
        });
    });
}

#[test]
fn many_connections_at_once_leave_no_memory_behind() {
    alone(|| {
        let server = EchoServer::start();
        let dialer = Dialer::builder(&built("plain")).build();
        let dialer = dialer.expect("a dialer");
        echo_messages(&dialer.dial(&server.address()).expect("a connection"));
        eventually("the first one has ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        let conns: Vec<_> = (0..400)
            .map(|_| dialer.dial(&server.address()).expect("a connection"))
            .collect();
        for conn in &conns {
            (&*conn).write_all(&[7; 4096]).expect("room");
        }
        for conn in &conns {
            assert_eq!(read_vec(conn, 4096), [7; 4096]);
        }
        let most = resident_bytes();
        assert!(most > before.resident + 8 * SLACK, "{most}: {before:?}");
        drop(conns);
        // A second after they have ended.
        eventually("memory is given back", || {
            resident_bytes() <= before.resident + SLACK
        });
        before.expect_back(SLACK);
    });
}

#[test]
fn a_program_can_wait_for_the_connections_that_it_dropped() {
    alone(|| {
        assert_eq!(drain(Duration::ZERO), 0);
        // The peer takes little until it reads, so that much waits when the connection is dropped.
        let pair = Pair::narrow(Dialer::builder(&built("plain16k")).close_grace(Duration::MAX));
        (&pair.conn).write_all(&vec![7; 250_000]).expect("room");
        let Pair { conn, peer } = pair;
        drop(conn);
        assert_eq!(drain(Duration::from_millis(1)), 1, "it is under way");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            (&peer).read_to_end(&mut received).map(|_| received.len())
        });
        assert_eq!(drain(LONG), 0);
        let received = reading.join().expect("no panic");
        assert_eq!(received.expect("an end in order"), 250_000);

        // The connections of a relay too, whose module does not end before it is interrupted.
        let (remote, address) = listener();
        let relay = Relay::builder(&built("ctrl_ignore")).remote(&address);
        let relay = relay
            .close_grace(Duration::from_secs(1))
            .bind("127.0.0.1:0");
        let relay = relay.expect("a relay").spawn().expect("a thread");
        let client = connect(relay.local_addr());
        let server = accept_one(&remote);
        alternate(&client, &server, 64, |_| {});
        drop(relay);
        assert_eq!(drain(Duration::from_millis(1)), 1, "it goes on");
        assert_eq!(drain(LONG), 0);
    });
}

#[test]
fn a_guest_that_asks_for_room_all_the_time_leaves_the_core_alone() {
    alone(|| {
        // Looks for bytes of the application between two polls, in vain until they come.
        let module = with_worker(
            "(drop (call $set_flags (global.get $internal) (i32.const 4)))
             (loop $again
               (drop (call $wait (global.get $net) (i32.const 2)))
               (br_if $again
                 (call $read (global.get $internal) (i32.const 16384) (i32.const 100))))
             (call $text (global.get $net))
             (i32.const 0)",
        );
        let pair = Pair::dial(&module);
        let busy = processor_time();
        // What is measured is the time that passes while nothing happens.
        std::thread::sleep(Duration::from_secs(1));
        let busy = processor_time() - busy;
        assert!(busy < Duration::from_millis(300), "{busy:?} of a second");
        (&pair.conn).write_all(b"go").expect("room");
        assert_eq!(read_vec(&pair.peer, 3), b"abc");
    });
}
