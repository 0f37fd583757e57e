//! Contract, section 4: `poll_oneoff`.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use watm_tests::{
    Pair, SHORT, expect_end, expect_pattern, expect_reset, read_numbers, read_numbers_to_reset,
    read_vec, reset, send_pattern, wat, with_worker,
};
use watm_wasmer::{Conn, Dialer, Outcome, TransportModule};

const READ: i32 = 1;
const WRITE: i32 = 2;
const HANGUP: i32 = 1;
const EBADF: i32 = 8;
const EFAULT: i32 = 21;
const EINVAL: i32 = 28;
const UNTOUCHED: i32 = 0xeeee;

#[track_caller]
fn report(module: &TransportModule) -> Vec<i32> {
    // Addresses behind the end of its memory are outside of it.
    let dialer = Dialer::builder(module).memory_headroom(0);
    read_numbers(&Pair::with(dialer).conn)
}

#[test]
fn clocks_of_every_kind_wait_as_long_as_they_say() {
    let pair = Pair::dial(&wat("poll_times"));
    let records = read_vec(&pair.conn, 8 * 40);
    expect_end(&pair.conn);
    let waits = [true, true, true, false, false, true, true, true];
    for (i, record) in records.chunks(40).enumerate() {
        let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four"));
        let long = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight"));
        assert_eq!(number(0), 0, "poll {i}: its errno");
        assert_eq!(number(4), 1, "poll {i}: one event");
        assert_eq!(number(8), 0, "poll {i}: no error in it");
        assert_eq!(number(12), 0, "poll {i}: a clock");
        assert_eq!(
            long(16),
            if i == 6 { 2 } else { 1 },
            "poll {i}: the one that was due"
        );
        let took = Duration::from_nanos(long(24));
        let least = Duration::from_millis(if waits[i] { 5 } else { 0 });
        // The clocks are read at different times, so a few microseconds may be missing.
        assert!(
            took + Duration::from_micros(200) >= least,
            "poll {i}: {took:?}"
        );
        // A unit that is mistaken for the next larger one would take longer.
        assert!(took < least + Duration::from_secs(4), "poll {i}: {took:?}");
        assert_eq!(number(32), 1, "poll {i}: the second slot is unchanged");
    }
}

#[test]
fn absurd_polls_are_refused_and_leave_everything_as_it_was() {
    let found = report(&wat("poll_bomb"));
    let (calls, rest) = found.as_chunks::<3>();
    assert!(rest.is_empty() && calls.len() == 10, "{found:?}");
    let [
        nothing,
        one,
        many,
        half,
        all,
        subscription,
        event,
        count,
        kind,
        clock,
    ] = calls
    else {
        panic!("{calls:?}");
    };
    let untouched = [0x5555_5555, 0xffff];
    assert_eq!(nothing[0], EINVAL, "no subscription at all");
    assert_eq!(nothing[1..], untouched);
    assert_eq!(*one, [0, 1, 0]);
    match many[0] {
        0 => assert_eq!(many[1..], [10_000, 0]),
        refused => assert_eq!((refused, &many[1..]), (EINVAL, &untouched[..])),
    }
    for refused in [half, all] {
        assert!(matches!(refused[0], EINVAL | EFAULT), "{refused:?}");
        assert_eq!(refused[1..], untouched);
    }
    for outside in [subscription, event] {
        assert_eq!(outside[0], EFAULT, "{outside:?}");
    }
    assert_eq!(subscription[1..], untouched);
    assert_eq!(count[0], EFAULT);
    assert_eq!(kind[0], EINVAL);
    // Either the call or the event reports it.
    assert!(clock[0] == EINVAL || *clock == [0, 1, EINVAL], "{clock:?}");
}

#[test]
fn a_descriptor_that_does_not_exist_is_bad_in_its_own_event() {
    let found = report(&wat("fdops"));
    assert_eq!(found[58..63], [0, 1, 17, EBADF, READ]);
}

#[test]
fn only_the_slots_of_events_are_written() {
    let found = report(&wat("fdops"));
    assert_eq!(found[63..65], [0, 2], "reading what is bad, and writing");
    let mut events = [&found[65..68], &found[68..71]];
    events.sort();
    assert_eq!(events, [&[2, EBADF, READ][..], &[3, 0, WRITE][..]]);
    assert_eq!(found[71..74], [0xaaaa_aaaa_u32.cast_signed(), 0xaaaa, 0xaa]);
}

/// Polls a descriptor for reading repeatedly, and sometimes reads one of three bytes. Each number
/// has the errno of a poll in hundreds, the number of events in tens, and the event's error in
/// ones.
fn levels(fd: &str) -> String {
    format!(
        "(local $round i32)
         (loop $next
           (call $put (i32.add (i32.add
             (i32.mul (call $wait (global.get {fd}) (i32.const 1)) (i32.const 100))
             (i32.mul (i32.load (i32.const 8)) (i32.const 10)))
             (i32.load16_u (i32.const 136))))
           (local.set $round (i32.add (local.get $round) (i32.const 1)))
           ;; Behind the 10th and the 20th.
           (if (i32.eqz (i32.rem_u (local.get $round) (i32.const 10)))
             (then (drop (call $read (global.get {fd}) (i32.const 16384) (i32.const 1)))))
           (br_if $next (i32.lt_u (local.get $round) (i32.const 30))))
         (call $report (global.get $internal))
         (i32.const 0)"
    )
}

#[test]
fn what_is_ready_stays_ready_until_it_is_read() {
    let mut pair = Pair::dial(&with_worker(&levels("$net")));
    pair.peer.write_all(b"abc").expect("room");
    assert_eq!(read_numbers(&pair.conn), [10; 30]);
    let pair = Pair::dial(&with_worker(&levels("$internal")));
    (&pair.conn).write_all(b"abc").expect("room");
    assert_eq!(read_numbers(&pair.conn), [10; 30]);
}

/// Waits for reading, reports the event, reads, and reports the result.
fn event_then_read(fd: &str, reads: usize) -> String {
    let once = format!(
        "(call $put (call $wait (global.get {fd}) (i32.const 1)))
         (call $put (i32.load (i32.const 8)))
         (call $put (i32.load16_u (i32.const 136)))
         (call $put (i32.load8_u (i32.const 138)))
         (call $put (i32.load (i32.const 144)))
         (call $put (i32.load16_u (i32.const 152)))
         (call $put (call $read (global.get {fd}) (i32.const 16384) (i32.const 16)))
         (call $put (i32.load (i32.const 8)))\n"
    );
    format!(
        "(drop (call $set_flags (global.get {fd}) (i32.const 4))) {}
         (call $report (global.get $internal))
         (i32.const 0)",
        once.repeat(reads)
    )
}

#[test]
fn the_end_of_a_stream_is_a_readable_event_with_hang_up_and_no_error() {
    let end = [0, 1, 0, READ, 0, HANGUP, 0, 0];
    let pair = Pair::dial(&with_worker(&event_then_read("$net", 2)));
    pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(read_numbers(&pair.conn), [end, end].concat());
    let pair = Pair::dial(&with_worker(&event_then_read("$internal", 2)));
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(read_numbers(&pair.conn), [end, end].concat());
}

#[test]
fn bytes_before_the_end_are_a_readable_event_that_tells_how_many() {
    for fd in ["$net", "$internal"] {
        let mut pair = Pair::dial(&with_worker(&event_then_read(fd, 2)));
        if fd == "$net" {
            pair.peer.write_all(b"seven").expect("room");
            pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
        } else {
            pair.conn.write_all(b"seven").expect("room");
            pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
        }
        let found = read_numbers(&pair.conn);
        assert_eq!(found[..5], [0, 1, 0, READ, 5], "{fd}: {found:?}");
        // The event may or may not report the end after these bytes already.
        assert!(matches!(found[5], 0 | HANGUP), "{fd}: {found:?}");
        assert_eq!(found[6..8], [0, 5], "{fd}: {found:?}");
        assert_eq!(
            found[8..],
            [0, 1, 0, READ, 0, HANGUP, 0, 0],
            "{fd}: {found:?}"
        );
    }
}

#[test]
fn a_reset_is_a_readable_event_without_error_and_the_read_says_what_it_was() {
    const ECONNRESET: i32 = 15;
    let pair = Pair::dial(&with_worker(&event_then_read("$net", 1)));
    reset(pair.peer);
    let found = read_numbers_to_reset(&pair.conn);
    assert_eq!(found[..4], [0, 1, 0, READ], "{found:?}");
    assert_eq!(found[6], ECONNRESET, "{found:?}");
}

#[test]
fn a_worker_sleeps_until_the_application_writes_and_until_the_peer_does() {
    for fd in ["$internal", "$net"] {
        let mut pair = Pair::dial(&with_worker(&event_then_read(fd, 1)));
        if fd == "$internal" {
            pair.conn.write_all(b"x").expect("room");
        } else {
            pair.peer.write_all(b"x").expect("room");
        }
        let found = read_numbers(&pair.conn);
        assert_eq!(found, [0, 1, 0, READ, 1, 0, 0, 1], "{fd}");
    }
}

#[test]
fn control_wakes_a_worker_that_waits_for_nothing_else() {
    let pair = Pair::dial(&wat("control_echo"));
    let started = Instant::now();
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Cancelled);
    // The grace period of three seconds was not used up.
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_poll_for_writing_waits_until_there_is_room() {
    // Writes 64 KiB at a time without waiting, and polls for writing after a refusal, 100 times.
    let module = with_worker(
        "(local $left i32) (local $errno i32)
         (local.set $left (i32.const 100))
         (drop (call $set_flags (global.get $net) (i32.const 4)))
         (memory.fill (i32.const 65536) (i32.const 9) (i32.const 65536))
         (loop $next
           (local.set $errno (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))
           (if (i32.eq (local.get $errno) (i32.const 6))
             (then
               (local.set $errno (call $wait (global.get $net) (i32.const 2)))
               (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
               (if (i32.load16_u (i32.const 136)) (then (return (i32.const -29))))
               ;; It is not refused again.
               (local.set $errno (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))))
           (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $next (local.get $left)))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    let bytes = read_vec(&pair.peer, 100 * 65_536);
    assert!(bytes.iter().all(|byte| *byte == 9));
    expect_end(&pair.peer);
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Completed);
}

#[test]
fn a_yield_takes_in_what_has_come() {
    // Spins on sched_yield and a non-blocking read, without any poll.
    let module = with_worker(
        "(drop (call $set_flags (global.get $net) (i32.const 4)))
         (loop $next
           (drop (call $yield))
           (br_if $next (i32.eq (i32.const 6)
             (call $read (global.get $net) (i32.const 16384) (i32.const 16)))))
         (call $put (i32.load (i32.const 8)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    pair.peer.write_all(b"hello").expect("room");
    assert_eq!(read_numbers(&pair.conn), [5]);
}

#[test]
fn a_guest_that_reads_without_ever_polling_gets_its_bytes() {
    // eagain_spin discards what it reads. The room that it makes shows that it reads.
    let pair = Pair::dial(&wat("eagain_spin"));
    send_pattern(&pair.conn, 1, 3_000_000, 64 * 1024);
    drop(pair.conn);
    let pair = Pair::dial(&with_worker(
        "(local $errno i32)
         (drop (call $set_flags (global.get $net) (i32.const 4)))
         (loop $next
           (local.set $errno (call $read (global.get $net) (i32.const 65536) (i32.const 8192)))
           (br_if $next (i32.eq (local.get $errno) (i32.const 6)))
           (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
           (if (i32.load (i32.const 8)) (then
             (drop (call $write (global.get $internal) (i32.const 65536) (i32.load (i32.const 8))))
             (br $next))))
         (i32.const 0)",
    ));
    let Pair { conn, peer } = pair;
    let sending = std::thread::spawn(move || send_pattern(peer, 2, 3_000_000, 10_000));
    expect_pattern(&conn, 2, 3_000_000);
    expect_end(&conn);
    sending.join().expect("the peer's part");
}

#[test]
fn polling_a_standard_stream_or_a_file_never_waits() {
    // Standard input, which is empty, and standard output.
    let module = with_worker(
        "(call $put (call $wait (i32.const 0) (i32.const 1)))
         (call $put (i32.load16_u (i32.const 136)))
         (call $put (call $wait (i32.const 1) (i32.const 2)))
         (call $put (i32.load16_u (i32.const 136)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    assert_eq!(report(&module), [0, 0, 0, 0]);
    // The directory of the configuration, which is always ready.
    let module = with_worker(
        "(call $put (call $wait (i32.const 3) (i32.const 1)))
         (call $put (i32.load16_u (i32.const 136)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::with(Dialer::builder(&module).config(*b"x"));
    assert_eq!(read_numbers(&pair.conn), [0, 0]);
}

#[test]
fn the_part_of_an_event_that_a_poll_does_not_fill_in_is_as_it_was() {
    // A failed poll writes nothing.
    let module = with_worker(
        "(call $put (call $wait (global.get $net) (i32.const 9)))
         (call $put (i32.load16_u (i32.const 136)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    assert_eq!(report(&module), [EINVAL, UNTOUCHED]);
}

#[test]
fn a_poll_of_an_hour_ends_with_the_connection() {
    let module = with_worker(
        "(i32.store (i32.const 80) (i32.const 1))
         (i64.store (i32.const 88) (i64.const 3600000000000))
         (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))
         (i32.const 0)",
    );
    let close = |conn: &Conn| {
        let started = Instant::now();
        conn.close().expect_err("it does not end by itself");
        // The grace period is three seconds.
        assert!(started.elapsed() < SHORT);
    };
    let pair = Pair::dial(&module);
    assert!(pair.conn.outcome().is_none());
    close(&pair.conn);
    expect_reset(&pair.peer);
}
