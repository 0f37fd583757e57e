//! What is idle uses no processor time, and everything uses a bounded amount of memory.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_tests::{
    Pair, ThreadTimes, alone, alternate, built, connect, copy_as, eventually, expect_end, listener,
    read_vec, resident_bytes, threads, wat, with_worker,
};
use watm_wasmer::{Dialer, Listener, Relay};

use super::MEBIBYTE;
use super::SLACK;
use super::Uses;

/// Leaves all threads of the runtime alone for a second. Returns what the busiest of them used, in
/// ticks of 10 ms.
pub(crate) fn ticks_of_a_second() -> u64 {
    let before = ThreadTimes::of("watm-");
    // Measures a second in which nothing happens.
    std::thread::sleep(Duration::from_secs(1));
    ThreadTimes::of("watm-").most_since(&before)
}

/// How many of the hundred ticks in a second an idle thread may use. It may still be going to
/// sleep, and may be charged for a tick that was not its own.
pub(crate) const IDLE_TICKS: u64 = 10;

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
        // Level-triggered ends would keep the guest awake if it subscribed to them. This one does
        // not.
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
        // In the other direction, the application does not read.
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
        // The connection's socket, poll and waker, and the peer's socket, which is the test's own.
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
        // Without a logger, to measure only the runtime.
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
