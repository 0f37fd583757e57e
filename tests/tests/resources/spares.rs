//! Pools of instances are given back, and cost what the documentation says.

use std::io::Write;
use std::time::{Duration, Instant};

use watm_tests::{
    ThreadTimes, accept_one, alone, built, eventually, listener, read_vec, threads, wat,
};
use watm_wasmer::{Dialer, Listener, Relay};

use super::SLACK;
use super::Uses;
use super::leaks::live_and_end;

#[test]
fn a_pool_fills_up_serves_connections_and_is_given_back() {
    alone(|| {
        let module = built("plain16k");
        // The first one also starts what all share.
        live_and_end(&module, 0);
        let before = Uses::now();
        let (listener, address) = listener();
        let dialer = Dialer::builder(&module)
            .spare_instances(4)
            .build()
            .expect("a dialer");
        eventually("the pool is full", || threads("watm-worker") == 4);
        // More than the pool holds, so that some make their own instance.
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
        eventually("the pool is full again", || threads("watm-worker") == 16);
        drop(dialer);
        eventually("the pool is gone", || threads("watm-worker") == 12);
        drop((open, listener));
        before.expect_back(SLACK);
    });
}

#[test]
fn a_listener_and_a_relay_give_their_pool_up_when_they_close() {
    alone(|| {
        let module = built("plain16k");
        let listener = Listener::builder(&module)
            .spare_instances(3)
            .bind("127.0.0.1:0");
        let listener = listener.expect("a listener");
        let relay = Relay::builder(&module)
            .spare_instances(2)
            .remote("127.0.0.1:9");
        let relay = relay.bind("127.0.0.1:0").and_then(Relay::spawn);
        let relay = relay.expect("a relay");
        eventually("both pools are full", || threads("watm-worker") == 5);
        relay.shutdown();
        eventually("the relay's is gone", || threads("watm-worker") == 3);
        listener.close();
        eventually("all are gone", || threads("watm-worker") == 0);
    });
}

#[test]
fn a_pool_that_waits_uses_no_processor() {
    alone(|| {
        let dialer = Dialer::builder(&built("plain")).spare_instances(3).build();
        let _dialer = dialer.expect("a dialer");
        eventually("the pool is full", || threads("watm-worker") == 3);
        // The thread that fills the pool may still be going to sleep.
        eventually("nothing is used in half a second", || {
            let before = ThreadTimes::of("watm-");
            std::thread::sleep(Duration::from_millis(500));
            ThreadTimes::of("watm-").most_since(&before) == 0
        });
    });
}

#[test]
fn a_module_whose_init_never_ends_costs_the_pool_its_time_and_no_more() {
    alone(|| {
        let limit = Duration::from_millis(200);
        let builder = Dialer::builder(&wat("loop_init")).spare_instances(2);
        let dialer = builder.setup_timeout(limit).build().expect("a dialer");
        eventually("the pool is being filled", || threads("watm-pool") == 1);
        assert!(dialer.dial("127.0.0.1:9").is_err());
        drop(dialer);
        eventually("all threads end", || {
            threads("watm-worker") + threads("watm-pool") == 0
        });
    });
}

#[test]
fn a_pool_that_is_dropped_while_it_is_filled_does_not_wait_for_the_guest() {
    alone(|| {
        // The handshake may take 30 seconds, as long as the wait below.
        let dialer = Dialer::builder(&wat("loop_init"))
            .spare_instances(2)
            .build();
        let dialer = dialer.expect("a dialer");
        eventually("the pool is being filled", || threads("watm-worker") == 1);
        let started = Instant::now();
        drop(dialer);
        eventually("all threads end", || {
            threads("watm-worker") + threads("watm-pool") == 0
        });
        assert!(started.elapsed() < Duration::from_secs(10));
    });
}
