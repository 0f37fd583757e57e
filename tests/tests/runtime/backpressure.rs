//! Slow readers: every writer must wait for them, and nothing is lost meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watm_tests::{
    Duo, Pair, Pattern, built, eventually, expect_end, expect_pattern, read_vec, send_pattern,
    with_worker,
};
use watm_wasmer::{Dialer, Listener, Outcome};

const FIFTY_MEGABYTES: u64 = 50_000_000;

/// What the systems and the host may hold of a stream that nobody reads: much less than all of it.
const BUFFERS: u64 = 45_000_000;

/// Counts the bytes that pass through.
struct Counted<'a, W>(W, &'a AtomicU64);

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let len = self.0.write(buf)?;
        self.1.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// One side writes 50 MB. The other begins to read a second after the first bytes are written.
#[track_caller]
fn a_second_late(from: impl Write + Send, to: impl Read) {
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let to_write = Counted(from, &written);
        scope.spawn(move || send_pattern(to_write, 1, FIFTY_MEGABYTES, 64 * 1024));
        eventually("100,000 bytes are taken with nobody reading", || {
            written.load(Ordering::Relaxed) > 100_000
        });
        // A reader that pauses for a second is what this tests.
        std::thread::sleep(Duration::from_secs(1));
        let held = written.load(Ordering::Relaxed);
        assert!(
            held < BUFFERS,
            "{held} bytes were taken with nobody reading"
        );
        expect_pattern(to, 1, FIFTY_MEGABYTES);
    });
}

#[test]
fn a_peer_that_does_not_read_for_a_second_gets_fifty_megabytes_exactly() {
    for name in ["plain16k", "halfclose"] {
        let pair = Pair::dial(&built(name));
        a_second_late(&pair.conn, &pair.peer);
        pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
        expect_end(&pair.peer);
    }
}

#[test]
fn an_application_that_does_not_read_for_a_second_gets_fifty_megabytes_exactly() {
    for name in ["plain16k", "rust_tcp"] {
        let pair = Pair::dial(&built(name));
        a_second_late(&pair.peer, &pair.conn);
    }
}

#[test]
fn a_listener_that_does_not_read_for_a_second_gets_fifty_megabytes_exactly() {
    let module = built("xor");
    let duo = Duo::with(
        Dialer::builder(&module).config(*b"another key"),
        Listener::builder(&module).config(*b"another key"),
    );
    a_second_late(&duo.dialer, &duo.listener);
}

#[test]
fn one_direction_that_stands_still_does_not_hold_up_the_other() {
    // Not with the library's worker, which waits in its write and reads nothing meanwhile.
    for name in ["halfclose", "rust_tcp"] {
        let pair = Pair::dial(&built(name));
        pair.conn
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");
        let mut pattern = Pattern::new(1);
        let mut pending = Vec::new();
        // Writes until the direction stalls.
        let stuck = loop {
            if pending.is_empty() {
                pending = pattern.take(10_000);
            }
            match (&pair.conn).write(&pending) {
                Ok(len) => drop(pending.drain(..len)),
                Err(error) => break error,
            }
        };
        assert_eq!(stuck.kind(), ErrorKind::TimedOut);
        let written = pattern.position() - pending.len() as u64;
        std::thread::scope(|scope| {
            scope.spawn(|| send_pattern(&pair.peer, 2, 5_000_000, 64 * 1024));
            expect_pattern(&pair.conn, 2, 5_000_000);
        });
        expect_pattern(&pair.peer, 1, written);
    }
}

#[test]
fn a_non_blocking_write_to_the_application_is_whole_or_refused() {
    // The guest fails with EIO at the first partial write. The reader takes odd amounts, so that
    // the room is never a multiple of the size of a write.
    for message in [65_536, 65_535, 40_000, 1000, 1] {
        let total = (message * 2000).min(10_000_000);
        let config = format!("{message} {total}");
        let pair = Pair::with(Dialer::builder(&built("bigwrite")).config(config));
        let mut at = 0u64;
        let mut buf = vec![0; 7777];
        while at < total {
            let len = (&pair.conn).read(&mut buf).expect("bytes");
            assert!(len > 0, "the stream ended at {at}");
            for byte in &buf[..len] {
                assert_eq!(u64::from(*byte), at % 251, "at {at}");
                at += 1;
            }
        }
        assert_eq!(at, total);
        pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
        expect_end(&pair.conn);
        assert_eq!(
            pair.conn.close().expect("no partial write"),
            Outcome::Completed
        );
    }
}

/// Writes 400 messages of 64 KiB to the network without waiting. Repeats each until it is taken,
/// and fails with EIO if one is taken partially. Byte i of the stream is i modulo 251.
const WHOLE_TO_NETWORK: &str = "
    (local $i i32) (local $written i32) (local $errno i32)
    (drop (call $set_flags (global.get $net) (i32.const 4)))
    (loop $fill
      (i32.store8 (i32.add (i32.const 65536) (local.get $i)) (i32.rem_u (local.get $i) (i32.const 251)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.const 65787))))
    (loop $next
      (loop $again
        (local.set $errno (call $write (global.get $net)
          (i32.add (i32.const 65536) (i32.rem_u (local.get $written) (i32.const 251)))
          (i32.const 65536)))
        (br_if $again (i32.eq (local.get $errno) (i32.const 6))))
      (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
      (if (i32.ne (i32.load (i32.const 8)) (i32.const 65536)) (then (return (i32.const -29))))
      (local.set $written (i32.add (local.get $written) (i32.const 65536)))
      (br_if $next (i32.lt_u (local.get $written) (i32.const 26214400))))
    (i32.const 0)";

#[test]
fn a_non_blocking_write_to_the_network_is_whole_or_refused() {
    let pair = Pair::dial(&with_worker(WHOLE_TO_NETWORK));
    let mut at = 0u64;
    let mut buf = vec![0; 7777];
    loop {
        match (&pair.peer).read(&mut buf).expect("bytes") {
            0 => break,
            len => {
                for byte in &buf[..len] {
                    assert_eq!(u64::from(*byte), at % 251, "at {at}");
                    at += 1;
                }
            }
        }
    }
    assert_eq!(at, 26_214_400);
    assert_eq!(
        pair.conn.close().expect("no partial write"),
        Outcome::Completed
    );
}

#[test]
fn a_blocking_write_of_any_size_is_whole() {
    // 180,000 bytes, more than the host's buffers hold, to each side while its reader is slow.
    let module = with_worker(
        "(local $errno i32)
         (memory.fill (i32.const 65536) (i32.const 3) (i32.const 180000))
         (local.set $errno (call $write (global.get $internal) (i32.const 65536) (i32.const 180000)))
         (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
         (call $put (i32.load (i32.const 8)))
         (local.set $errno (call $write (global.get $net) (i32.const 65536) (i32.const 180000)))
         (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
         (call $put (i32.load (i32.const 8)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    assert!(read_vec(&pair.conn, 180_000).iter().all(|byte| *byte == 3));
    assert!(read_vec(&pair.peer, 180_000).iter().all(|byte| *byte == 3));
    assert_eq!(watm_tests::read_numbers(&pair.conn), [180_000, 180_000]);
}

#[test]
fn a_reader_of_one_byte_at_a_time_gets_everything() {
    let pair = Pair::dial(&built("plain"));
    std::thread::scope(|scope| {
        scope.spawn(|| send_pattern(&pair.conn, 1, 20_000, 20_000));
        scope.spawn(|| send_pattern(&pair.peer, 2, 20_000, 20_000));
        let one_by_one = |mut from: &mut dyn Read, seed| {
            let mut pattern = Pattern::new(seed);
            for _ in 0..20_000 {
                pattern.check(&read_vec(&mut from, 1));
            }
        };
        one_by_one(&mut &pair.peer, 1);
        one_by_one(&mut &pair.conn, 2);
    });
}

#[test]
fn a_writer_of_one_byte_at_a_time_is_read_whole() {
    let pair = Pair::dial(&built("plain"));
    std::thread::scope(|scope| {
        scope.spawn(|| send_pattern(&pair.conn, 1, 50_000, 1));
        expect_pattern(&pair.peer, 1, 50_000);
    });
}
