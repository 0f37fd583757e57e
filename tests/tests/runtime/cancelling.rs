//! Contract, section 5: how a transport is told to end, and what happens to one that does not.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use watm_tests::{
    Pair, alternate, built, expect_end, expect_reset, listener, read_numbers, read_vec, wat,
    with_worker, within,
};
use watm_wasmer::{
    Conn, DialError, Dialer, Errno, Listener, Outcome, TransportError, TransportModule,
};

const GRACE: Duration = Duration::from_millis(300);

/// How much longer than its grace period an end may take. The promise is 100 ms, but the machine
/// may be busy. The sum is still less than the default grace period of three seconds.
const SLACK: Duration = Duration::from_millis(2500);

/// The same for a handshake, whose default limit is 30 seconds.
const HANDSHAKE_SLACK: Duration = Duration::from_secs(20);

/// Closes a connection whose transport does not end by itself.
#[track_caller]
fn close_interrupts(conn: &Conn) {
    let started = Instant::now();
    let error = conn.close().expect_err("it does not end by itself");
    let elapsed = started.elapsed();
    assert!(matches!(error, TransportError::Interrupted), "{error:?}");
    assert_eq!(error.errno(), Errno::Canceled);
    assert!(elapsed >= GRACE, "it had {GRACE:?}, and got {elapsed:?}");
    assert!(elapsed < GRACE + SLACK, "{elapsed:?}");
}

#[track_caller]
fn dial_hasty(module: &TransportModule) -> Pair {
    Pair::with(Dialer::builder(module).close_grace(GRACE))
}

#[test]
fn a_guest_that_only_computes_is_interrupted_after_the_grace_period() {
    let pair = dial_hasty(&wat("loop_start_worker"));
    close_interrupts(&pair.conn);
    expect_reset(&pair.peer);
}

#[test]
fn a_guest_that_only_polls_is_stopped_at_a_host_call() {
    for name in ["poll_spin", "eagain_spin"] {
        let pair = dial_hasty(&wat(name));
        close_interrupts(&pair.conn);
        expect_reset(&pair.peer);
    }
}

#[test]
fn a_guest_that_never_looks_at_control_is_stopped_in_its_sleep() {
    let pair = dial_hasty(&built("ctrl_ignore"));
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
    close_interrupts(&pair.conn);
    expect_reset(&pair.peer);
}

#[test]
fn a_blocking_read_and_a_blocking_write_are_stopped_in_their_sleep() {
    let reading = with_worker(
        "(drop (call $read (global.get $net) (i32.const 16384) (i32.const 1))) (i32.const 0)",
    );
    let pair = dial_hasty(&reading);
    close_interrupts(&pair.conn);
    let writing = with_worker(
        "(loop $next
           (drop (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))
           (br $next))
         (unreachable)",
    );
    let pair = dial_hasty(&writing);
    pair.peer.peek(&mut [0]).expect("it writes");
    close_interrupts(&pair.conn);
}

#[test]
fn a_write_that_is_refused_for_ever_parks_and_is_stopped() {
    // The guest repeats the same write to a peer that never reads. It has asked for room once, so
    // that writes are refused.
    let spinning = with_worker(
        "(drop (call $set_flags (global.get $net) (i32.const 4)))
         (drop (call $wait (global.get $net) (i32.const 2)))
         (loop $next
           (drop (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))
           (br $next))
         (unreachable)",
    );
    let pair = Pair::narrow(Dialer::builder(&spinning).close_grace(GRACE));
    pair.peer.peek(&mut [0]).expect("it writes");
    close_interrupts(&pair.conn);
}

#[test]
fn a_computation_between_host_calls_is_interrupted() {
    let builder = Dialer::builder(&built("compute")).config(*b"100000000000");
    let pair = Pair::with(builder.close_grace(GRACE));
    assert_eq!(read_vec(&pair.peer, 9), b"computing");
    close_interrupts(&pair.conn);
    expect_reset(&pair.peer);
}

#[test]
fn a_listener_s_connection_is_interrupted_too() {
    let pair = Pair::accepted(Listener::builder(&with_loop()).close_grace(GRACE));
    close_interrupts(&pair.conn);
    expect_reset(&pair.peer);
}

fn with_loop() -> TransportModule {
    with_worker("(loop $l (br $l)) (unreachable)")
}

#[test]
fn several_loops_are_interrupted_side_by_side() {
    let module = with_loop();
    let pairs: Vec<_> = (0..8).map(|_| dial_hasty(&module)).collect();
    std::thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(|| close_interrupts(&pair.conn));
        }
    });
}

#[test]
fn a_grace_period_of_nothing_stops_at_once() {
    let pair = Pair::with(Dialer::builder(&with_loop()).close_grace(Duration::ZERO));
    let started = Instant::now();
    pair.conn.close().expect_err("it does not end by itself");
    assert!(started.elapsed() < SLACK);
}

#[test]
fn dropping_a_connection_never_waits_for_a_guest_that_does_not_cooperate() {
    let pair = Pair::dial(&with_loop());
    let started = Instant::now();
    drop(pair.conn);
    // The default grace period is three seconds.
    assert!(started.elapsed() < Duration::from_secs(3));
    expect_reset(&pair.peer);
}

#[test]
fn the_application_reads_the_end_as_soon_as_it_closes() {
    let pair = Pair::dial(&with_loop());
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| pair.conn.close());
        expect_end(&pair.conn);
        closing
            .join()
            .expect("it returns")
            .expect_err("it had to be interrupted");
    });
}

#[test]
fn the_control_descriptor_gives_one_byte_of_0_and_no_more() {
    let module = with_worker(
        "(i32.store (i32.const 16384) (i32.const 0x55555555))
         (call $put (call $read (global.get $control) (i32.const 16384) (i32.const 4)))
         (call $put (i32.load (i32.const 8)))
         (call $put (i32.load (i32.const 16384)))
         (drop (call $set_flags (global.get $control) (i32.const 4)))
         (call $put (call $read (global.get $control) (i32.const 16384) (i32.const 4)))
         (call $report (global.get $net))
         (i32.const -11)",
    );
    let pair = Pair::dial(&module);
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Cancelled);
    assert_eq!(read_numbers(&pair.peer), [0, 1, 0x5555_5500, 6]);
}

#[test]
fn control_is_silent_while_nobody_closes() {
    // A non-blocking read between two messages of the application.
    let module = with_worker(
        "(drop (call $set_flags (global.get $control) (i32.const 4)))
         (drop (call $read (global.get $internal) (i32.const 16384) (i32.const 16)))
         (call $put (call $read (global.get $control) (i32.const 16384) (i32.const 4)))
         (drop (call $read (global.get $internal) (i32.const 16384) (i32.const 16)))
         (call $put (call $read (global.get $control) (i32.const 16384) (i32.const 4)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    (&pair.conn).write_all(b"one").expect("room");
    pair.conn
        .shutdown(std::net::Shutdown::Write)
        .expect("a shutdown");
    assert_eq!(read_numbers(&pair.conn), [6, 6]);
}

#[test]
fn a_guest_that_waits_for_control_alone_ends_within_the_grace_period() {
    let pair = Pair::dial(&built("err_positive"));
    let started = Instant::now();
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Cancelled);
    // An interrupted transport would not end cleanly.
    assert!(
        started.elapsed() < Duration::from_secs(3) + SLACK,
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_guest_that_does_not_care_for_the_end_of_stream_is_told_over_control() {
    // The guest drops what it reads, continues after the end of stream, and listens to control.
    // Half of the grace period is for the end of stream, and the other half for control.
    let module = with_worker(
        "(loop $next
           (drop (call $wait (global.get $control) (i32.const 1)))
           (br_if $next (i32.eqz (i32.load (i32.const 8)))))
         (i32.const -11)",
    );
    // A busy machine needs some of it to wake the guest.
    let grace = Duration::from_secs(3);
    let pair = Pair::with(Dialer::builder(&module).close_grace(grace));
    let started = Instant::now();
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Cancelled);
    let elapsed = started.elapsed();
    assert!(
        elapsed >= grace / 2 && elapsed < grace + SLACK,
        "{elapsed:?}"
    );
}

#[test]
fn a_transport_that_goes_on_after_control_keeps_its_grace_period() {
    // The guest learns from control, waits until the peer has answered, and ends cleanly.
    let module = with_worker(
        "(drop (call $wait (global.get $control) (i32.const 1)))
         (call $text (global.get $net))
         (drop (call $read (global.get $net) (i32.const 16384) (i32.const 16)))
         (i32.const -11)",
    );
    let mut pair = Pair::with(Dialer::builder(&module).close_grace(Duration::from_secs(3)));
    std::thread::scope(|scope| {
        let conn = &pair.conn;
        let closing = scope.spawn(move || conn.close());
        assert_eq!(read_vec(&pair.peer, 3), b"abc");
        pair.peer.write_all(b"x").expect("room");
        let end = closing.join().expect("it returns").expect("a clean end");
        assert_eq!(end, Outcome::Cancelled);
    });
}

// ---- setting up ------------------------------------------------------------------------------

#[track_caller]
fn dial_times_out(module: &TransportModule) {
    let (_listener, address) = listener();
    let limit = GRACE;
    let dialer = Dialer::builder(module).setup_timeout(limit).build();
    let dialer = dialer.expect("a dialer");
    let started = Instant::now();
    let error = within(watm_tests::SHORT, move || {
        dialer.dial(&address).expect_err("a loop")
    });
    let elapsed = started.elapsed();
    match error {
        DialError::TimedOut { after, .. } => assert_eq!(after, limit),
        other => panic!("{}: {other:?}", module.name()),
    }
    assert!(
        elapsed >= limit && elapsed < limit + HANDSHAKE_SLACK,
        "{elapsed:?}"
    );
}

#[test]
fn a_main_that_never_ends_costs_the_setup_timeout() {
    dial_times_out(&wat("loop_main"));
}

#[test]
fn an_init_that_never_ends_costs_the_setup_timeout() {
    dial_times_out(&wat("loop_init"));
}

#[test]
fn a_dial_that_never_ends_costs_the_setup_timeout() {
    dial_times_out(&wat("loop_dial"));
}

#[test]
fn an_accepted_socket_whose_handshake_never_ends_costs_the_setup_timeout() {
    let acceptor = Listener::builder(&built("handshake"))
        .setup_timeout(GRACE)
        .acceptor();
    let (client, server) = watm_tests::tcp_pair();
    let started = Instant::now();
    let error = acceptor
        .expect("an acceptor")
        .accept(server)
        .expect_err("a silent client");
    let elapsed = started.elapsed();
    assert!(
        matches!(error, watm_wasmer::AcceptError::TimedOut { .. }),
        "{error:?}"
    );
    assert!(
        elapsed >= GRACE && elapsed < GRACE + HANDSHAKE_SLACK,
        "{elapsed:?}"
    );
    expect_reset(&client);
}

#[test]
fn a_setup_timeout_does_not_touch_a_connection_that_is_set_up() {
    // Enough for a handshake on a busy machine.
    let limit = Duration::from_secs(2);
    let builder = Dialer::builder(&built("plain")).setup_timeout(limit);
    let pair = Pair::with(builder);
    pair.conn
        .set_read_timeout(Some(limit + GRACE))
        .expect("a timeout");
    // Waits longer than the handshake may take.
    (&pair.conn).read(&mut [0; 1]).expect_err("nothing comes");
    alternate(&pair.conn, &pair.peer, 1024, |_| {});
}
