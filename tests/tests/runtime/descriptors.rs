//! Contract, section 3: the descriptors that a guest gets, and what each call does to them.

use std::io::{Read, Write};
use std::net::Shutdown;

use watm_tests::{
    Logs, Pair, Pattern, alternate, built, copy_as, expect_end, expect_pattern, listener,
    read_numbers, read_vec, send_pattern, text, wat, with_worker,
};
use watm_wasmer::{AddressPolicy, Dialer, FixedDialer, Listener, Outcome};

const EAGAIN: i32 = 6;
const EBADF: i32 = 8;
const SOCKET_STREAM: i32 = 6;
const NONBLOCK: i32 = 4;
const ESPIPE: i32 = 70;

/// What a small guest reports about itself.
#[track_caller]
fn report(module: &watm_wasmer::TransportModule) -> Vec<i32> {
    let pair = Pair::dial(module);
    let numbers = read_numbers(&pair.conn);
    pair.conn.close().expect("it returns 0");
    numbers
}

#[test]
fn every_kind_is_a_blocking_stream_socket_whose_flags_can_be_set_and_that_cannot_seek() {
    let found = report(&wat("fdops"));
    assert_eq!(found.len(), 80, "{found:?}");
    let each = [
        0,
        SOCKET_STREAM,
        0, // at first: blocking
        0,
        0,
        NONBLOCK, // set
        0,
        0, // and cleared
        0,
        EAGAIN, // non-blocking, and no data
        ESPIPE,
        ESPIPE,
        ESPIPE,
        ESPIPE, // seek, tell, pread, pwrite
        0,
        SOCKET_STREAM, // filestat
    ];
    for (kind, found) in ["internal", "net", "control"]
        .iter()
        .zip(found.chunks(each.len()))
    {
        assert_eq!(found, each, "{kind}");
    }
}

#[test]
fn a_descriptor_that_does_not_exist_is_bad_for_every_call() {
    let found = report(&wat("fdops"));
    assert_eq!(found[48..58], [EBADF; 10]);
}

#[test]
fn receiving_sending_and_shutting_down_work_and_check_their_flags() {
    let found = report(&wat("fdops"));
    assert_eq!(found[74], EAGAIN, "sock_recv without data");
    assert_eq!(found[75..77], [0, 1], "sock_send of one byte");
    assert_eq!(
        found[77..79],
        [28, 28],
        "sock_shutdown with an unknown direction"
    );
    assert_ne!(found[79], 0, "nobody writes to control");
}

#[test]
fn closed_and_renumbered_descriptors_follow_the_rules() {
    // The guest dials a second time.
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&wat("close_twice"))
        .build()
        .expect("a dialer");
    let conn = dialer.dial(&address).expect("a connection");
    let found = read_numbers(&read_vec(&conn, 17 * 4)[..]);
    assert_eq!(found, [0, 8, 8, 8, 8, 8, 8, 1, 0, 8, 0, 6, 0, 6, 0, 8, 0]);
    // Its last call closes the internal descriptor a second time. It returns the result of this
    // call.
    let error = conn.close().expect_err("it returns -8");
    assert_eq!(error.errno(), watm_wasmer::Errno::Badf);
}

#[test]
fn only_its_own_numbers_mean_something_to_a_guest() {
    let found = report(&wat("fd_guess"));
    // Standard output and error take the byte. All others fail with EBADF, except that standard
    // input may also say that it cannot be written.
    assert_eq!(found[0], 2, "{found:?}");
    assert!(found[2] <= 1, "{found:?}");
    assert_eq!(found[..3].iter().sum::<i32>(), 2002 - 3, "{found:?}");
}

#[test]
fn numbers_are_below_what_select_can_take_and_all_different() {
    let (_listener, address) = listener();
    let logs = Logs::of_module("many_numbers");
    let lines = vec![format!("tcp {address}"); 100].join("\n");
    let dialer = FixedDialer::builder(&copy_as("dialmany", "many_numbers"))
        .policy(AddressPolicy::allow_all())
        .descriptor_limit(480)
        .config(lines);
    let _conn = dialer
        .build()
        .expect("a fixed dialer")
        .dial()
        .expect("a connection");
    let lines = logs.all_after("dial ", 100);
    let number = |line: &String| line.rsplit_once("-> fd ")?.1.parse::<u32>().ok();
    let mut numbers: Vec<_> = lines.iter().map(|line| number(line).expect(line)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 100);
    assert!(numbers[0] > 2 && numbers[99] < 1024, "{numbers:?}");
}

#[test]
fn a_guest_gets_as_many_descriptors_as_the_limit_says() {
    // Two of them are the internal descriptor and control.
    for (limit, count) in [(3, 1), (64, 62), (480, 478)] {
        let (_listener, address) = listener();
        let alias = format!("limited_{limit}");
        let logs = Logs::of_module(&alias);
        let dialer = Dialer::builder(&copy_as("dialmany", &alias)).descriptor_limit(limit);
        let conn = dialer.build().expect("a dialer").dial(&address);
        assert_eq!(logs.after("dialled "), format!("{count} then errno 33"));
        // The host has kept a descriptor for control, so that the guest can be told to end.
        let conn = conn.expect("a connection");
        conn.close().expect("a clean end");
    }
}

#[test]
fn a_file_never_has_the_number_of_a_connection() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("greeting.txt"), "hello\n").expect("a file");
    for name in ["files", "rust_files"] {
        for limit in [64, 480] {
            let alias = format!("no_clash_{name}_{limit}");
            let logs = Logs::of_module(&alias);
            let dialer = Dialer::builder(&copy_as(name, &alias));
            let dialer = dialer
                .dir(directory.path(), "/data")
                .descriptor_limit(limit);
            let pair = Pair::with(dialer);
            assert_eq!(read_vec(&pair.conn, 6), b"hello\n");
            // As many as it gets, before its connection is open and while it is open.
            let opened = logs.after("opened: ");
            assert_eq!(opened, format!("{limit} errno 33"), "{alias}");
            assert_eq!(logs.after("clash: "), "none");
            // The lowest free number, as on other systems: that of a closed file.
            assert_ne!(logs.after("reused: "), "none");
            alternate(&pair.conn, &pair.peer, 1024, |_| {});
        }
    }
}

#[test]
fn a_file_that_was_moved_among_the_hosts_numbers_keeps_its_number() {
    // The worker opens the configuration, moves it to a number above that of its connection, and
    // dials until that fails. No new connection may get that number, and the file must still be
    // readable.
    let module = text(
        r#"(module
  (import "env" "water_dial_fixed" (func $dial (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "watm.cfg")
  (global $internal (mut i32) (i32.const -1))
  (global $net (mut i32) (i32.const -1))
  (global $at (mut i32) (i32.const 4096))
  (func $put (param i32)
    (i32.store (global.get $at) (local.get 0))
    (global.set $at (i32.add (global.get $at) (i32.const 4))))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32)
    (global.set $internal (local.get 0))
    (global.set $net (call $dial))
    (global.get $net))
  (func $read_file (param $fd i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 2))
    (call $put (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $put (i32.load16_u (i32.const 64))))
  (func (export "watm_start_v1") (result i32)
    (local $target i32)
    (local $new i32)
    (local $met i32)
    ;; Whichever directory has it.
    (local.set $target (i32.const 3))
    (loop $directories
      (local.set $new (call $path_open (local.get $target) (i32.const 0) (i32.const 16) (i32.const 8)
        (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))
      (local.set $target (i32.add (local.get $target) (i32.const 1)))
      (br_if $directories (i32.and (i32.ne (local.get $new) (i32.const 0))
        (i32.lt_u (local.get $target) (i32.const 16)))))
    (call $put (local.get $new))
    ;; Over the connection that dial gave: its number belongs to the file from now on.
    (local.set $target (global.get $net))
    (call $put (call $renumber (i32.load (i32.const 8)) (local.get $target)))
    (call $read_file (local.get $target))
    (loop $more
      (local.set $new (call $dial))
      (if (i32.eq (local.get $new) (local.get $target)) (then (local.set $met (i32.const 1))))
      (br_if $more (i32.ge_s (local.get $new) (i32.const 0))))
    (call $put (local.get $new))
    (call $put (local.get $met))
    (call $read_file (local.get $target))
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.sub (global.get $at) (i32.const 4096)))
    (drop (call $fd_write (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.const 0)))"#,
    );
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&module).config(*b"abcd").build();
    let conn = dialer
        .expect("a dialer")
        .dial(&address)
        .expect("a connection");
    let (ab, cd) = (
        i32::from(u16::from_le_bytes(*b"ab")),
        i32::from(u16::from_le_bytes(*b"cd")),
    );
    assert_eq!(read_numbers(&conn), [0, 0, 0, ab, -33, 0, 0, cd]);
}

#[test]
fn a_connection_can_take_the_place_of_a_standard_stream() {
    // Internal becomes standard output. What is written there arrives, and the old number is
    // invalid.
    let module = with_worker(
        "(call $put (call $renumber (global.get $internal) (i32.const 1)))
         (call $put (call $write (global.get $internal) (i32.const 16) (i32.const 3)))
         (call $report (i32.const 1))
         (i32.const 0)",
    );
    assert_eq!(read_numbers(&Pair::dial(&module).conn), [0, EBADF]);
}

#[test]
fn a_standard_stream_that_was_closed_is_gone() {
    // The host's own descriptors of the same numbers must not show.
    let module = with_worker(
        "(local $fd i32)
         (loop $next
           (call $put (call $fd_close (local.get $fd)))
           (call $put (call $read (local.get $fd) (i32.const 16384) (i32.const 0)))
           (call $put (call $write (local.get $fd) (i32.const 16384) (i32.const 0)))
           (call $put (call $fd_close (local.get $fd)))
           (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
           (br_if $next (i32.lt_u (local.get $fd) (i32.const 3))))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    assert_eq!(report(&module), [[0, EBADF, EBADF, EBADF]; 3].concat());
}

#[test]
fn a_standard_stream_that_was_moved_is_gone_from_its_old_number() {
    let module = with_worker(
        "(call $put (call $renumber (i32.const 1) (i32.const 2)))
         (call $put (call $write (i32.const 1) (i32.const 16) (i32.const 0)))
         (call $put (call $renumber (i32.const 0) (global.get $net)))
         (call $put (call $read (i32.const 0) (i32.const 16384) (i32.const 0)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    assert_eq!(report(&module), [0, EBADF, 0, EBADF]);
}

#[test]
fn blocking_descriptors_wait_in_the_data_phase() {
    // Length-prefixed messages that strictly alternate, read and written without any poll.
    let message = |len: u32| {
        let mut message = len.to_be_bytes().to_vec();
        message.extend(Pattern::new(u64::from(len)).take(len as usize));
        message
    };
    #[track_caller]
    fn pass(mut from: impl Write, mut to: impl Read, message: &[u8]) {
        // In two pieces: a reader waits in one call while the second piece is on its way.
        from.write_all(&message[..3]).expect("room");
        from.write_all(&message[3..]).expect("room");
        let mut found = vec![0; message.len()];
        to.read_exact(&mut found).expect("the message");
        assert!(found == message, "a message of {} bytes", message.len());
    }
    let lengths = [0, 1, 1000, 65_536];
    let pair = Pair::dial(&built("blocking"));
    for len in lengths {
        pass(&pair.conn, &pair.peer, &message(len));
        pass(&pair.peer, &pair.conn, &message(len));
    }
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    expect_end(&pair.conn);
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Completed);
    let pair = Pair::accepted(Listener::builder(&built("blocking")));
    for len in lengths {
        pass(&pair.peer, &pair.conn, &message(len));
        pass(&pair.conn, &pair.peer, &message(len));
    }
}

#[test]
fn the_posix_layer_of_wasi_libc_works_on_them() {
    // fstat, fcntl, select, poll, recv with PEEK and WAITALL, send, shutdown.
    let logs = Logs::of_module("on_posix");
    let pair = Pair::dial(&copy_as("posix", "on_posix"));
    let mut pattern = Pattern::new(1);
    // WAITALL reads 8 bytes in one call, although they come one by one.
    for _ in 0..8 {
        (&pair.conn).write_all(&pattern.take(1)).expect("room");
    }
    let line = logs.after("posix: peeked ");
    assert!(line.ends_with(", read 8"), "{line}");
    (&pair.conn).write_all(&pattern.take(99_992)).expect("room");
    expect_pattern(&pair.peer, 1, 100_000);
    send_pattern(&pair.peer, 2, 500_000, 9999);
    expect_pattern(&pair.conn, 2, 500_000);
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    expect_end(&pair.peer);
    drop(pair.peer);
    expect_end(&pair.conn);
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Completed);
}

#[test]
fn a_message_written_alone_is_one_read_whatever_its_size() {
    // 60,000 bytes do not divide the pipe's capacity, so some messages wrap around its end.
    let logs = Logs::of_module("one_read");
    let pair = Pair::with(Dialer::builder(&copy_as("bigwrite", "one_read")).config(*b"1 0"));
    let lengths = [
        1, 2, 1023, 60_000, 60_000, 60_000, 60_000, 65_536, 7, 65_536, 33_333,
    ];
    for (i, len) in lengths.into_iter().enumerate() {
        (&pair.conn).write_all(&vec![0; len]).expect("room");
        let read = logs.all_after("read ", i + 1);
        assert_eq!(read.last().expect("a line"), &len.to_string());
    }
}

#[test]
fn a_message_of_the_network_written_alone_is_one_read() {
    let module = with_worker(
        "(loop $next
           (drop (call $read (global.get $net) (i32.const 65536) (i32.const 65536)))
           (i32.store (i32.const 16384) (i32.load (i32.const 8)))
           (drop (call $write (global.get $internal) (i32.const 16384) (i32.const 4)))
           (br_if $next (i32.load (i32.const 16384))))
         (i32.const 0)",
    );
    let mut pair = Pair::accepted(Listener::builder(&module));
    for len in [1u32, 2, 1000, 1460, 16_000] {
        pair.peer.write_all(&vec![0; len as usize]).expect("room");
        assert_eq!(read_vec(&pair.conn, 4), len.to_le_bytes());
    }
    pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(read_vec(&pair.conn, 4), [0; 4], "0 only at the end");
    expect_end(&pair.conn);
}

#[test]
fn a_read_returns_what_is_there_and_0_only_at_the_end() {
    // The first read asks for more than there is. A read of no bytes returns 0 and takes nothing.
    let module = with_worker(
        "(drop (call $wait (global.get $internal) (i32.const 1)))
         (call $put (call $read (global.get $internal) (i32.const 16384) (i32.const 0)))
         (call $put (i32.load (i32.const 8)))
         (call $put (call $read (global.get $internal) (i32.const 16384) (i32.const 1000)))
         (call $put (i32.load (i32.const 8)))
         (call $put (call $read (global.get $internal) (i32.const 16384) (i32.const 1000)))
         (call $put (i32.load (i32.const 8)))
         (call $put (call $read (global.get $internal) (i32.const 16384) (i32.const 1000)))
         (call $put (i32.load (i32.const 8)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    (&pair.conn).write_all(b"twelve bytes").expect("room");
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(read_numbers(&pair.conn), [0, 0, 0, 12, 0, 0, 0, 0]);
}

#[test]
fn peeking_leaves_the_bytes_on_every_kind() {
    // Three bytes each, on internal and net: sock_recv twice with PEEK, then once without.
    let module = with_worker(
        "(local $fd i32) (local $round i32) (local $flags i32)
         (local.set $fd (global.get $internal))
         (i32.store (i32.const 0) (i32.const 16384))
         (i32.store (i32.const 4) (i32.const 3))
         (loop $kinds
           (drop (call $wait (local.get $fd) (i32.const 1)))
           (i32.store (i32.const 0) (i32.const 16384))
           (i32.store (i32.const 4) (i32.const 3))
           (local.set $round (i32.const 0))
           (loop $calls
             (local.set $flags (i32.lt_u (local.get $round) (i32.const 2)))
             (i32.store (i32.const 16384) (i32.const 0))
             (call $put (call $recv (local.get $fd) (i32.const 0) (i32.const 1) (local.get $flags)
               (i32.const 8) (i32.const 12)))
             (call $put (i32.load (i32.const 8)))
             (call $put (i32.load (i32.const 16384)))
             (local.set $round (i32.add (local.get $round) (i32.const 1)))
             (br_if $calls (i32.lt_u (local.get $round) (i32.const 3))))
           (if (i32.eq (local.get $fd) (global.get $internal))
             (then (local.set $fd (global.get $net)) (br $kinds))))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    (&pair.conn).write_all(b"xyz").expect("room");
    pair.peer.write_all(b"uvw").expect("room");
    let (xyz, uvw) = (i32::from_le_bytes(*b"xyz\0"), i32::from_le_bytes(*b"uvw\0"));
    let expected = [[0, 3, xyz]; 3]
        .into_iter()
        .chain([[0, 3, uvw]; 3])
        .flatten();
    assert_eq!(read_numbers(&pair.conn), expected.collect::<Vec<_>>());
}

#[test]
fn waiting_for_all_takes_what_comes_piece_by_piece_on_every_kind() {
    // Reads 8 bytes each from internal and net, and reports them.
    let module = with_worker(
        "(i32.store (i32.const 0) (i32.const 16384))
         (i32.store (i32.const 4) (i32.const 8))
         (call $put (call $recv (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 2)
           (i32.const 8) (i32.const 12)))
         (call $put (i32.load (i32.const 8)))
         (call $put (call $recv (global.get $net) (i32.const 0) (i32.const 1) (i32.const 2)
           (i32.const 8) (i32.const 12)))
         (call $put (i32.load (i32.const 8)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    for _ in 0..8 {
        (&pair.conn).write_all(b"x").expect("room");
    }
    for _ in 0..8 {
        pair.peer.write_all(b"y").expect("room");
    }
    assert_eq!(read_numbers(&pair.conn), [0, 8, 0, 8]);
}

#[test]
fn several_buffers_are_gathered_and_scattered_in_order() {
    // Reads into three buffers, of 3, 0 and 10 bytes, and writes them in reverse order.
    let module = with_worker(
        "(i64.store (i32.const 256) (i64.const 0x0000_0003_0000_4000))
         (i64.store (i32.const 264) (i64.const 0x0000_0000_0000_0000))
         (i64.store (i32.const 272) (i64.const 0x0000_000a_0000_5000))
         (drop (call $fd_read (global.get $internal) (i32.const 256) (i32.const 3) (i32.const 8)))
         (i64.store (i32.const 256) (i64.const 0x0000_000a_0000_5000))
         (i64.store (i32.const 272) (i64.const 0x0000_0003_0000_4000))
         (drop (call $fd_write (global.get $net) (i32.const 256) (i32.const 3) (i32.const 8)))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    (&pair.conn).write_all(b"abc0123456789").expect("room");
    assert_eq!(read_vec(&pair.peer, 13), b"0123456789abc");
}

#[test]
fn a_write_after_a_shutdown_says_that_the_pipe_is_broken() {
    const EPIPE: i32 = 64;
    let module = with_worker(
        "(call $put (call $shutdown (global.get $net) (i32.const 2)))
         (call $put (call $write (global.get $net) (i32.const 16) (i32.const 3)))
         (call $report (global.get $internal))
         (call $put (call $shutdown (global.get $internal) (i32.const 2)))
         (drop (call $write (global.get $internal) (i32.const 16) (i32.const 3)))
         (drop (call $wait (global.get $control) (i32.const 1)))
         (i32.const -11)",
    );
    let pair = Pair::dial(&module);
    // The worker continues, and both sides have already read the end.
    assert_eq!(read_numbers(&pair.conn), [0, EPIPE]);
    expect_end(&pair.peer);
    assert!(pair.conn.outcome().is_none());
}
