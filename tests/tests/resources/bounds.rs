//! What guests and applications can make the process take.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, LONG, Pair, accept_one, alone, alternate, built, connect, echo_messages,
    eventually, listener, processor_time, read_vec, resident_bytes, text, threads, wat,
    with_worker, within,
};
use watm_wasmer::{Dialer, Listener, Relay, TransportModule, drain};

use super::MEBIBYTE;
use super::SLACK;
use super::Uses;

#[test]
fn no_descriptor_of_the_runtime_reaches_a_process_that_the_application_starts() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "content").expect("a file");
        let module = built("plain");
        let dialer = Dialer::builder(&module)
            .spare_instances(1)
            .build()
            .expect("a dialer");
        let server = EchoServer::start();
        let conn = dialer.dial(server.address()).expect("a connection");
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
            // What is already open continues.
            echo_messages(&conn);
            alternate(&accepted, &client, 64, |_| {});
        }
        drop(files);
    });
}

/// A dialer whose `watm_init_v1` is `body`. The file functions are imported.
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
        // Within one connection, so that nothing is given back before the measurement.
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
        // A path of 100 MiB with as many parts as possible, and 8 million buffers at one address.
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
        // Library code executes these instructions, partly while it holds locks. An interrupt that
        // unwound this code left the locks held, and every other guest waited for them.
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
                let dialer = Dialer::builder(&module).setup_timeout(Duration::from_millis(3));
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
        // Dials return on time in any case. What matters is that their workers have ended.
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
        echo_messages(&dialer.dial(server.address()).expect("a connection"));
        eventually("the first one has ended", || threads("watm-worker") == 0);
        let before = Uses::now();
        let conns: Vec<_> = (0..400)
            .map(|_| dialer.dial(server.address()).expect("a connection"))
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
        // This happens one second after they have ended.
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
        // The peer takes little until it reads, so much data waits when the connection is dropped.
        let pair = Pair::narrow(Dialer::builder(&built("plain16k")).close_grace(Duration::MAX));
        (&pair.conn).write_all(&vec![7; 250_000]).expect("room");
        let Pair { conn, peer } = pair;
        drop(conn);
        assert_eq!(drain(Duration::from_millis(1)), 1, "it is in progress");
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            (&peer).read_to_end(&mut received).map(|_| received.len())
        });
        assert_eq!(drain(LONG), 0);
        let received = reading.join().expect("no panic");
        assert_eq!(received.expect("an end in order"), 250_000);

        // Also counts the connections of a relay, whose module ends only when it is interrupted.
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
        // Measures the processor time while nothing happens.
        std::thread::sleep(Duration::from_secs(1));
        let busy = processor_time() - busy;
        assert!(busy < Duration::from_millis(300), "{busy:?} of a second");
        (&pair.conn).write_all(b"go").expect("room");
        assert_eq!(read_vec(&pair.peer, 3), b"abc");
    });
}
