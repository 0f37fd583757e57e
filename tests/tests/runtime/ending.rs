//! The end of a connection: who learns of it, in which order, and that it loses no byte.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use watm_tests::{
    Duo, Logs, Pair, Pattern, alternate, built, copy_as, eventually, expect_end, expect_pattern,
    expect_reset, read_numbers, read_numbers_to_reset, read_vec, reset, send_pattern, wat,
    with_worker,
};
use watm_wasmer::{Conn, Dialer, Errno, GuestError, Listener, Outcome, TransportError};

/// The modules with half-close. The last one first needs 8 bytes from the application.
const HALF_CLOSING: [&str; 3] = ["halfclose", "rust_tcp", "posix"];

fn transport_error(error: &std::io::Error) -> &TransportError {
    let inner = error.get_ref().expect("an error of the transport");
    inner.downcast_ref().expect("an error of the transport")
}

#[test]
fn a_shutdown_for_writing_reaches_the_peer_behind_the_last_byte_and_the_reply_still_arrives() {
    for name in HALF_CLOSING {
        let pair = Pair::dial(&built(name));
        send_pattern(&pair.conn, 1, 200_000, 7000);
        pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
        expect_pattern(&pair.peer, 1, 200_000);
        expect_end(&pair.peer);
        send_pattern(&pair.peer, 2, 3_000_000, 50_000);
        pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
        expect_pattern(&pair.conn, 2, 3_000_000);
        expect_end(&pair.conn);
        assert_eq!(pair.conn.close().expect(name), Outcome::Completed);
    }
}

#[test]
fn the_peers_shutdown_reaches_the_application_and_its_reply_still_arrives() {
    for name in HALF_CLOSING {
        let pair = Pair::dial(&built(name));
        (&pair.conn).write_all(b"12345678").expect("room");
        assert_eq!(read_vec(&pair.peer, 8), b"12345678");
        send_pattern(&pair.peer, 2, 200_000, 7000);
        pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
        expect_pattern(&pair.conn, 2, 200_000);
        expect_end(&pair.conn);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send_pattern(&pair.conn, 1, 3_000_000, 50_000);
                pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
            });
            expect_pattern(&pair.peer, 1, 3_000_000);
            expect_end(&pair.peer);
        });
        assert_eq!(pair.conn.close().expect(name), Outcome::Completed);
    }
}

#[test]
fn half_closes_pass_a_dialer_and_a_listener_back_to_back() {
    for name in ["halfclose", "rust_tcp"] {
        let duo = Duo::new(&built(name));
        send_pattern(&duo.dialer, 1, 100_000, 999);
        duo.dialer.shutdown(Shutdown::Write).expect("a shutdown");
        expect_pattern(&duo.listener, 1, 100_000);
        expect_end(&duo.listener);
        send_pattern(&duo.listener, 2, 100_000, 999);
        duo.listener.shutdown(Shutdown::Write).expect("a shutdown");
        expect_pattern(&duo.dialer, 2, 100_000);
        expect_end(&duo.dialer);
        assert_eq!(duo.dialer.close().expect(name), Outcome::Completed);
        assert_eq!(duo.listener.close().expect(name), Outcome::Completed);
    }
}

#[test]
fn a_close_with_unsent_bytes_delivers_them_all() {
    for name in ["plain", "plain16k", "halfclose", "rust_plain", "rust_tcp"] {
        let pair = Pair::dial(&built(name));
        send_pattern(&pair.conn, 1, 100_000, 100_000);
        pair.conn
            .close()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        expect_pattern(&pair.peer, 1, 100_000);
        expect_end(&pair.peer);
    }
}

#[test]
fn a_close_delivers_all_that_the_buffers_took_to_a_peer_that_reads_late() {
    for name in ["plain16k", "halfclose"] {
        let pair = Pair::with(Dialer::builder(&built(name)).close_grace(Duration::from_secs(20)));
        let written = fill(&pair.conn);
        // The peer begins to read only now.
        std::thread::scope(|scope| {
            let closing = scope.spawn(|| pair.conn.close());
            expect_pattern(&pair.peer, 1, written);
            expect_end(&pair.peer);
            closing.join().expect("it returns").expect(name);
        });
    }
}

/// Writes until nothing more fits, even after a wait. Returns the number of bytes written.
fn fill(conn: &Conn) -> u64 {
    let mut pattern = Pattern::new(1);
    let mut pending = Vec::new();
    conn.set_write_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    loop {
        if pending.is_empty() {
            pending = pattern.take(10_000);
        }
        match (&mut &*conn).write(&pending) {
            Ok(len) => drop(pending.drain(..len)),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return pattern.position() - pending.len() as u64;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_connection_that_is_dropped_delivers_what_was_written() {
    for name in ["plain", "halfclose", "rust_tcp"] {
        for pair in [
            Pair::dial(&built(name)),
            Pair::accepted(Listener::builder(&built(name))),
        ] {
            send_pattern(&pair.conn, 1, 100_000, 100_000);
            drop(pair.conn);
            expect_pattern(&pair.peer, 1, 100_000);
            expect_end(&pair.peer);
        }
    }
}

#[test]
fn the_peers_last_bytes_arrive_before_the_end_at_an_application_that_reads_late() {
    for name in ["plain", "plain16k", "halfclose", "rust_tcp"] {
        let pair = Pair::dial(&built(name));
        // The buffers between the ends hold this much, so the peer is gone before the first read.
        send_pattern(&pair.peer, 2, 400_000, 64 * 1024);
        drop(pair.peer);
        expect_pattern(&pair.conn, 2, 400_000);
        expect_end(&pair.conn);
        assert_eq!(pair.conn.close().expect(name), Outcome::Completed);
    }
}

#[test]
fn what_a_worker_wrote_before_it_returned_arrives_on_both_sides() {
    // Writes 100,000 bytes, more than a socket takes from one such write, and returns.
    let module = with_worker(
        "(local $errno i32)
         (memory.fill (i32.const 65536) (i32.const 7) (i32.const 100000))
         (local.set $errno (i32.or
           (call $write (global.get $internal) (i32.const 65536) (i32.const 100000))
           (call $write (global.get $net) (i32.const 65536) (i32.const 100000))))
         (i32.sub (i32.const 0) (local.get $errno))",
    );
    for pair in [
        Pair::dial(&module),
        Pair::accepted(Listener::builder(&module)),
    ] {
        assert!(read_vec(&pair.peer, 100_000).iter().all(|byte| *byte == 7));
        expect_end(&pair.peer);
        assert!(read_vec(&pair.conn, 100_000).iter().all(|byte| *byte == 7));
        expect_end(&pair.conn);
        assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Completed);
    }
}

#[test]
fn what_a_worker_wrote_before_it_returned_waits_for_a_peer_that_reads_late() {
    // Writes without waiting until nothing more is taken, reports the number of writes, and
    // returns. It has asked for room before, so that writes are refused when there is none.
    let module = with_worker(
        "(local $taken i32)
         (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65536))
         (drop (call $set_flags (global.get $net) (i32.const 4)))
         (drop (call $wait (global.get $net) (i32.const 2)))
         (loop $next
           (if (i32.eqz (call $write (global.get $net) (i32.const 65536) (i32.const 65536)))
             (then
               (local.set $taken (i32.add (local.get $taken) (i32.const 1)))
               (br $next))))
         (call $put (local.get $taken))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    let taken = read_numbers(&pair.conn)[0];
    assert_eq!(
        pair.conn.outcome().expect("it has ended").expect("well"),
        Outcome::Completed
    );
    // The peer reads only now. What the host still held comes after what the system held.
    for _ in 0..taken {
        assert!(read_vec(&pair.peer, 65_536).iter().all(|byte| *byte == 7));
    }
    expect_end(&pair.peer);
}

/// A worker that writes to both sides and then ends as `last` says.
fn writes_then(last: &str) -> watm_wasmer::TransportModule {
    with_worker(&format!(
        "(memory.fill (i32.const 65536) (i32.const 7) (i32.const 100000))
         (drop (call $write (global.get $internal) (i32.const 65536) (i32.const 100000)))
         (drop (call $write (global.get $net) (i32.const 65536) (i32.const 100000)))
         {last}"
    ))
}

#[test]
fn an_error_comes_behind_the_last_bytes_on_both_sides() {
    let pair = Pair::dial(&writes_then("(i32.const -65)"));
    assert!(read_vec(&pair.peer, 100_000).iter().all(|byte| *byte == 7));
    expect_reset(&pair.peer);
    assert!(read_vec(&pair.conn, 100_000).iter().all(|byte| *byte == 7));
    for _ in 0..2 {
        let error = (&pair.conn)
            .read(&mut [0; 8])
            .expect_err("the module's error");
        match transport_error(&error) {
            TransportError::Failed { function, error } => {
                assert_eq!(*function, "watm_start_v1");
                assert_eq!(*error, GuestError::Errno(Errno::Proto));
            }
            other => panic!("{other:?}"),
        }
    }
    let error = (&pair.conn).write(b"late").expect_err("the module's error");
    assert!(matches!(
        transport_error(&error),
        TransportError::Failed { .. }
    ));
}

#[test]
fn a_trap_comes_behind_the_last_bytes_on_both_sides() {
    let pair = Pair::dial(&writes_then("(unreachable)"));
    assert!(read_vec(&pair.peer, 100_000).iter().all(|byte| *byte == 7));
    expect_reset(&pair.peer);
    assert!(read_vec(&pair.conn, 100_000).iter().all(|byte| *byte == 7));
    let error = (&pair.conn).read(&mut [0; 8]).expect_err("the trap");
    assert!(matches!(
        transport_error(&error),
        TransportError::Trapped { .. }
    ));
}

#[test]
fn writes_after_a_clean_end_say_that_the_pipe_is_broken() {
    let pair = Pair::dial(&built("plain"));
    drop(pair.peer);
    expect_end(&pair.conn);
    let error = (&pair.conn).write(b"late").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_writer_that_waits_for_room_learns_of_the_end() {
    let Pair { conn, peer } = Pair::dial(&built("plain"));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let piece = vec![0; 64 * 1024];
            loop {
                if let Err(error) = (&conn).write_all(&piece) {
                    return error;
                }
            }
        });
        peer.peek(&mut [0]).expect("the first byte");
        reset(peer);
        let error = writing.join().expect("it returns");
        assert!(
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{error:?}"
        );
    });
}

#[test]
fn a_reader_that_waits_learns_of_a_close_by_another_thread() {
    let pair = Pair::dial(&built("plain"));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| (&pair.conn).read(&mut [0; 8]));
        pair.conn.close().expect("a clean end");
        assert_eq!(reading.join().expect("it returns").expect("the end"), 0);
    });
}

#[test]
fn an_outcome_is_there_when_the_end_is_and_not_before() {
    let pair = Pair::dial(&built("plain"));
    assert!(pair.conn.outcome().is_none());
    drop(pair.peer);
    expect_end(&pair.conn);
    assert_eq!(
        pair.conn
            .outcome()
            .expect("an outcome")
            .expect("a clean end"),
        Outcome::Completed
    );
}

#[test]
fn a_close_can_be_repeated_and_says_the_same() {
    let pair = Pair::dial(&built("plain"));
    let first = pair.conn.close().expect("a clean end");
    assert_eq!(pair.conn.close().expect("a clean end"), first);
    let pair = Pair::dial(&wat("unreachable_start"));
    for _ in 0..2 {
        let error = pair.conn.close().expect_err("it trapped");
        assert!(matches!(error, TransportError::Trapped { .. }), "{error:?}");
    }
}

#[test]
fn a_closed_connection_reads_nothing_and_refuses_writes() {
    let mut pair = Pair::dial(&built("halfclose"));
    pair.peer.write_all(b"unread").expect("room");
    pair.conn.close().expect("an end");
    expect_end(&pair.conn);
    let error = (&pair.conn).write(b"late").expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_shutdown_for_reading_drops_what_comes_and_leaves_writing_alone() {
    let pair = Pair::dial(&built("plain"));
    pair.conn.shutdown(Shutdown::Read).expect("a shutdown");
    expect_end(&pair.conn);
    // Far more than the pipe holds. If it were kept, it would stop the module.
    send_pattern(&pair.peer, 2, 3_000_000, 64 * 1024);
    send_pattern(&pair.conn, 1, 300_000, 5000);
    expect_pattern(&pair.peer, 1, 300_000);
    expect_end(&pair.conn);
}

#[test]
fn a_panic_in_the_guest_ends_its_connection_alone_and_says_so() {
    let logs = Logs::of_module("a_panic");
    let steady = Pair::dial(&built("rust_plain"));
    let pair = Pair::dial(&copy_as("rust_panic", "a_panic"));
    let error = (&pair.conn).read(&mut [0; 8]).expect_err("a trap");
    match transport_error(&error) {
        TransportError::Trapped { function, message } => {
            assert_eq!(*function, "watm_start_v1");
            assert!(message.contains("unreachable"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    expect_reset(&pair.peer);
    logs.wait("the panic's own message", |lines| {
        lines
            .iter()
            .any(|line| line.text.contains("the worker panics on purpose"))
            .then_some(())
    });
    alternate(&steady.conn, &steady.peer, 1024, |_| {});
}

#[test]
fn a_close_delivers_its_bytes_although_the_peer_still_sends() {
    // Unread bytes in a closing socket cause a reset, which would overtake the bytes in flight. The
    // pipe holds what is written here. Nobody reads what the peer sends, which stops some modules.
    for name in ["plain16k", "halfclose", "rust_tcp"] {
        for _ in 0..10 {
            let Pair { conn, peer } = Pair::dial(&built(name));
            let mut sending = peer.try_clone().expect("a clone");
            std::thread::scope(|scope| {
                scope.spawn(move || while sending.write_all(&[7; 10_000]).is_ok() {});
                scope.spawn(|| {
                    send_pattern(&conn, 1, 100_000, 50_000);
                    // With bytes of the peer in flight, either end is correct.
                    let _ = conn.close();
                });
                expect_pattern(&peer, 1, 100_000);
                peer.shutdown(Shutdown::Both).ok();
            });
        }
    }
}

#[test]
fn a_reset_while_bytes_are_written_is_never_a_clean_end() {
    for name in ["plain", "halfclose", "rust_tcp"] {
        for _ in 0..20 {
            let Pair { conn, peer } = Pair::dial(&built(name));
            std::thread::scope(|scope| {
                let writing = scope.spawn(|| while (&conn).write_all(&[7; 100]).is_ok() {});
                read_vec(&peer, 1000);
                reset(peer);
                writing.join().expect("it learns of the end");
            });
            let outcome = conn.close();
            outcome
                .err()
                .unwrap_or_else(|| panic!("{name} ended cleanly after a reset"));
        }
    }
}

#[test]
fn a_reset_behind_some_bytes_is_told_behind_them() {
    const ECONNRESET: i32 = 15;
    // Waits for 8 bytes, of which 3 come before the reset, and reads once more.
    let module = with_worker(
        "(i32.store (i32.const 0) (i32.const 16384))
         (i32.store (i32.const 4) (i32.const 8))
         (call $put (call $recv (global.get $net) (i32.const 0) (i32.const 1) (i32.const 2)
           (i32.const 8) (i32.const 12)))
         (call $put (i32.load (i32.const 8)))
         (call $put (call $read (global.get $net) (i32.const 16384) (i32.const 8)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    pair.peer.write_all(b"abc").expect("room");
    // The bytes have been read, and the guest waits for the rest.
    eventually("the bytes are acknowledged", || {
        unacknowledged(&pair.peer) == 0
    });
    reset(pair.peer);
    assert_eq!(read_numbers_to_reset(&pair.conn), [0, 3, ECONNRESET]);
}

/// Number of bytes that the other system has not yet acknowledged.
fn unacknowledged(stream: &std::net::TcpStream) -> libc::c_int {
    let mut len = 0;
    // SAFETY: the descriptor is open, and the request writes only one int, to a local variable.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut len) };
    assert_eq!(result, 0);
    len
}

#[test]
fn a_close_that_could_not_deliver_everything_is_no_success() {
    let grace = Duration::from_millis(300);
    for name in ["plain16k", "halfclose", "rust_tcp"] {
        let pair = Pair::narrow(Dialer::builder(&built(name)).close_grace(grace));
        let written = fill(&pair.conn);
        let started = Instant::now();
        // The peer reads nothing at all.
        let result = pair.conn.close();
        let elapsed = started.elapsed();
        // Less than the default of three seconds.
        assert!(
            elapsed < grace + Duration::from_millis(2500),
            "{name}: {elapsed:?}"
        );
        let error = result.err();
        assert!(
            error.is_some(),
            "{name}: {written} bytes were not delivered"
        );
    }
}
