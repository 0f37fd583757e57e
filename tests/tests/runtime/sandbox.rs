//! What a hostile guest tries against the host through WASI functions during its init. The error of
//! the dial reports the result of each attempt.

use std::time::Duration;

use watm_tests::{EchoServer, Pair, text, with_worker};
use watm_wasmer::{
    Builder, DialError, Dialer, Errno, GuestError, LoadError, TransportError, TransportModule,
};

/// A dialer whose `watm_init_v1` is `body`, with `fields` beside its functions.
fn guest(fields: &str, body: &str) -> TransportModule {
    text(&format!(
        r#"(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_rights" (func $fd_fdstat_set_rights (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $sock_shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "file")
  (data (i32.const 110) "data/file")
  (data (i32.const 130) "/data/file")
  (data (i32.const 150) "../data/file")
  {fields}
  (func (export "watm_init_v1") (result i32) (local $i i32) (local $result i32) {body})
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $water_dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))"#
    ))
}

/// The result of the guest's init, as an error number.
#[track_caller]
fn init_error(builder: Builder<Dialer>) -> Option<Errno> {
    let server = EchoServer::start();
    match builder.build().expect("a dialer").dial(server.address()) {
        Ok(_) => None,
        Err(DialError::Transport(TransportError::Failed {
            function: "watm_init_v1",
            error: GuestError::Errno(errno),
        })) => Some(errno),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn interrupting_a_guest_that_spins_on_host_calls_never_harms_the_process() {
    // An interrupt once unwound the engine's own code between guest and host, and left its locks
    // held. After some hundred interrupts the process aborted or hung.
    let server = EchoServer::start();
    for call in [
        "(call $args_sizes_get (i32.const 64) (i32.const 68))",
        "(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 64))",
        "(call $fd_fdstat_get (i32.const 1) (i32.const 64))",
    ] {
        let module = guest(
            "",
            &format!("(loop $for_ever (drop {call}) (br $for_ever)) (i32.const 0)"),
        );
        let dialer = Dialer::builder(&module).setup_timeout(Duration::from_millis(3));
        let dialer = dialer.build().expect("a dialer");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..120 {
                        let error = dialer.dial(server.address()).expect_err("it never ends");
                        assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_guest_that_only_fills_memory_is_interrupted_too() {
    // Filling happens in library code, where an interrupt is held back at first.
    let module = with_worker(
        "(drop (memory.grow (i32.const 1000)))
         (loop $for_ever (memory.fill (i32.const 1024) (i32.const 7) (i32.const 60000000)) (br $for_ever))
         (i32.const 0)",
    );
    let pair = Pair::with(Dialer::builder(&module).close_grace(Duration::from_millis(50)));
    let error = pair.conn.close().expect_err("it has to be interrupted");
    assert!(matches!(error, TransportError::Interrupted), "{error:?}");
    // The result is known only once the worker has ended.
    assert!(pair.conn.wait(Some(Duration::from_secs(20))).is_some());
}

#[test]
fn links_are_withheld() {
    // An earlier WASI implementation kept links in memory without a bound. A link to its own
    // directory made it deadlock or panic.
    for call in [
        "(call $path_link (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 4) (i32.const 110) (i32.const 9))",
        "(call $path_symlink (i32.const 100) (i32.const 4) (i32.const 4) (i32.const 110) (i32.const 9))",
    ] {
        let module = guest("", &format!("(i32.sub (i32.const 0) {call})"));
        let directory = tempfile::tempdir().expect("a directory");
        let builder = Dialer::builder(&module).dir_writable(directory.path(), "/data");
        assert_eq!(init_error(builder), Some(Errno::Notsup));
    }
}

#[test]
fn nothing_is_reachable_but_through_what_was_given() {
    // The standard streams, a possible root and the internal descriptor are not directories.
    for fd in [0, 1, 2, 4, 5, 511, 512, -1] {
        for call in [
            format!(
                "(call $path_open (i32.const {fd}) (i32.const 0) (i32.const 110) (i32.const 9) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64))"
            ),
            format!("(call $path_unlink_file (i32.const {fd}) (i32.const 110) (i32.const 9))"),
            format!(
                "(call $path_rename (i32.const {fd}) (i32.const 110) (i32.const 9) (i32.const 3) (i32.const 100) (i32.const 3))"
            ),
            format!(
                "(call $path_rename (i32.const 3) (i32.const 110) (i32.const 9) (i32.const {fd}) (i32.const 100) (i32.const 3))"
            ),
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            std::fs::write(directory.path().join("file"), "kept").expect("a file");
            let module = guest("", &format!("(i32.sub (i32.const 0) {call})"));
            let builder = Dialer::builder(&module).dir_writable(directory.path(), "/data");
            assert_eq!(init_error(builder), Some(Errno::Badf), "{call}");
            assert!(directory.path().join("file").exists());
        }
    }
}

#[test]
fn a_file_of_a_directory_given_for_reading_is_not_removed_through_its_handle() {
    // An earlier WASI implementation removed an open file through its handle, regardless of the
    // directory's rights.
    for (path, len) in [(100, 4), (110, 9), (130, 10), (150, 12)] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "kept").expect("a file");
        let module = guest(
                "",
                &format!(
                    "(drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64)))
                     (i32.sub (i32.const 0) (call $path_unlink_file (i32.const 3) (i32.const {path}) (i32.const {len})))"
                ),
            );
        let builder = Dialer::builder(&module).dir(directory.path(), "/data");
        assert!(init_error(builder).is_some());
        assert!(directory.path().join("file").exists());
    }
}

#[test]
fn no_trick_uses_up_the_numbers_of_descriptors() {
    // A result that could not be written used to leave a file open but uncounted. A preopened
    // directory that was closed repeatedly lowered the count.
    let open_at = |at: u32| {
        format!(
            "(call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const {at}))"
        )
    };
    let (nowhere, somewhere) = (open_at(2_000_000_000), open_at(64));
    // A preopened directory that was opened again was never closed.
    let again = somewhere.replace(
        "(i32.const 100) (i32.const 4)",
        "(i32.const 150) (i32.const 1)",
    );
    for body in [
        format!("(if (i32.eqz {again}) (then (drop (call $fd_close (i32.load (i32.const 64))))))"),
        format!("(drop {nowhere})"),
        format!("(drop (call $fd_close (i32.const 4))) (drop {somewhere})"),
    ] {
        let module = guest(
            "",
            &format!(
                "(loop $again
                   {body}
                   (local.set $i (i32.add (local.get $i) (i32.const 1)))
                   (br_if $again (i32.lt_u (local.get $i) (i32.const 700))))
                 (drop {somewhere})
                 (if (i32.ge_u (i32.load (i32.const 64)) (i32.const 6)) (then (return (i32.const -29))))
                 (i32.const 0)"
            ),
        );
        let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        std::fs::write(directories[0].path().join("file"), "x").expect("a file");
        let builder = Dialer::builder(&module)
            .descriptor_limit(480)
            .dir(directories[0].path(), "/data")
            .dir(directories[1].path(), "/other");
        assert_eq!(init_error(builder), None);
    }
}

#[test]
fn a_start_function_that_calls_wasi_is_answered() {
    // There were no surroundings at this point, and the worker panicked.
    let module = guest(
        "(global $answer (mut i32) (i32.const 0))
         (func $early (global.set $answer (call $args_sizes_get (i32.const 64) (i32.const 68))))
         (start $early)",
        "(i32.sub (i32.const 0) (global.get $answer))",
    );
    assert_eq!(init_error(Dialer::builder(&module)), None);
}

#[test]
fn memories_and_tables_cannot_be_multiplied() {
    let plain = watm_tests::wat_text("plain");
    let inside = plain.rfind(')').expect("the end of the module");
    let with = |more: &str| TransportModule::from_bytes(format!("{}{more})", &plain[..inside]));
    let error = with("(memory 1)").expect_err("two memories");
    assert!(matches!(error, LoadError::Malformed(_)), "{error:?}");
    let error = with(&"(table 1 funcref)".repeat(20)).expect_err("many tables");
    assert!(matches!(error, LoadError::TooComplex(_)), "{error:?}");
}

#[test]
fn errors_that_guests_do_not_know_never_reach_them() {
    // An earlier WASI implementation had its own error number for an address outside memory.
    let module = guest(
        "",
        "(i32.sub (i32.const 0) (call $args_sizes_get (i32.const 2000000000) (i32.const 64)))",
    );
    assert_eq!(init_error(Dialer::builder(&module)), Some(Errno::Fault));
}

#[test]
fn a_directory_that_was_closed_is_not_there_any_more() {
    // An earlier WASI implementation kept it, also as a copy among the numbers of connections.
    let stat =
        |fd: &str| format!("(i32.sub (i32.const 0) (call $fd_fdstat_get {fd} (i32.const 64)))");
    for body in [
        format!(
            "(drop (call $fd_close (i32.const 3))) {}",
            stat("(i32.const 3)")
        ),
        format!(
            "(drop (call $fd_renumber (i32.const 3) (i32.const 1))) {}",
            stat("(i32.const 3)")
        ),
        format!(
            "(drop (call $fd_renumber (i32.const 3) (i32.const 1)))
             (drop (call $fd_close (i32.const 1))) {}",
            stat("(i32.const 1)")
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let builder = Dialer::builder(&guest("", &body)).dir(directory.path(), "/data");
        assert_eq!(init_error(builder), Some(Errno::Badf), "{body}");
    }
}

#[test]
fn a_standard_stream_that_was_closed_is_not_there_any_more() {
    // An earlier WASI implementation continued to describe it.
    for fd in 0..3 {
        let module = guest(
            "",
            &format!(
                "(drop (call $fd_close (i32.const {fd})))
                 (i32.sub (i32.const 0) (call $fd_fdstat_get (i32.const {fd}) (i32.const 64)))"
            ),
        );
        assert_eq!(init_error(Dialer::builder(&module)), Some(Errno::Badf));
    }
}

#[test]
fn moving_things_around_reaches_nothing_outside_of_a_directory() {
    // An earlier WASI implementation moved what was behind a link: away from its place, into the
    // guest's reach.
    let rename = |from: (u32, u32), to: (u32, u32)| {
        format!(
            "(call $path_rename (i32.const 3) (i32.const {}) (i32.const {}) (i32.const 3) (i32.const {}) (i32.const {}))",
            from.0, from.1, to.0, to.1
        )
    };
    let fields = r#"
      (data (i32.const 200) "sub")
      (data (i32.const 210) "other/sub")
      (data (i32.const 220) "other/sub/secrets/secret")
      (data (i32.const 250) "sub/inward")
      (data (i32.const 270) "inward")
      (data (i32.const 280) "sub/secrets")
      (data (i32.const 300) "secrets")"#;
    let open = "(call $path_open (i32.const 3) (i32.const 1) (i32.const 220) (i32.const 24) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64))";
    for (what, body, works) in [
        ("a directory", rename((200, 3), (210, 9)), true),
        (
            "a directory, and in",
            format!("(drop {}) {open}", rename((200, 3), (210, 9))),
            false,
        ),
        (
            "a link inside, to where it leads out",
            rename((250, 10), (270, 6)),
            true,
        ),
        ("a link to the outside", rename((280, 11), (300, 7)), true),
    ] {
        let host = tempfile::tempdir().expect("a directory");
        let [inside, secrets] = ["inside", "secrets"].map(|name| host.path().join(name));
        for directory in [
            &inside,
            &secrets,
            &inside.join("sub"),
            &inside.join("other"),
        ] {
            std::fs::create_dir(directory).expect("a directory");
        }
        std::fs::write(secrets.join("secret"), "secret").expect("a file");
        std::fs::write(inside.join("own"), "own").expect("a file");
        std::os::unix::fs::symlink(&secrets, inside.join("sub/secrets")).expect("a link");
        std::os::unix::fs::symlink("../own", inside.join("sub/inward")).expect("a link");
        let module = guest(fields, &format!("(i32.sub (i32.const 0) {body})"));
        let builder = Dialer::builder(&module).dir_writable(&inside, "/data");
        let error = init_error(builder);
        assert_eq!(error.is_none(), works, "{what}: {error:?}");
        let content = std::fs::read_to_string(secrets.join("secret"));
        assert_eq!(content.expect("it is where it was"), "secret", "{what}");
        let links = ["sub/secrets", "other/sub/secrets", "secrets"];
        let is_link = |name: &str| inside.join(name).is_symlink();
        assert_eq!(
            links.iter().filter(|name| is_link(name)).count(),
            1,
            "{what}"
        );
    }
}

#[test]
fn what_is_moved_from_one_directory_to_another_is_not_copied() {
    // An earlier WASI implementation copied the file, in a call that nothing can stop. Here it is a
    // sparse file of a terabyte.
    let outside = "(call $path_rename (i32.const 3) (i32.const 100) (i32.const 4) (i32.const 3) (i32.const 200) (i32.const 14))";
    let between = "(call $path_rename (i32.const 3) (i32.const 100) (i32.const 4) (i32.const 4) (i32.const 100) (i32.const 4))";
    for (call, works) in [(outside, false), (between, true)] {
        let module = guest(
            r#"(data (i32.const 200) "../other/moved")"#,
            &format!("(i32.sub (i32.const 0) {call})"),
        );
        let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let [from, to] = directories.each_ref().map(tempfile::TempDir::path);
        let file = std::fs::File::create(from.join("file")).expect("a file");
        file.set_len(1 << 40).expect("a sparse file");
        std::fs::write(to.join("file"), "there already").expect("a file");
        let builder = Dialer::builder(&module)
            .dir_writable(from, "/data")
            .dir_writable(to, "/other");
        let expected = (!works).then_some(Errno::Notcapable);
        assert_eq!(init_error(builder), expected, "{call}");
        let len = to.join("file").metadata().expect("a file").len();
        assert_eq!(len, if works { 1 << 40 } else { 13 });
        assert_eq!(from.join("file").exists(), !works);
    }
}

#[test]
fn directories_of_any_depth_are_made_and_moved() {
    let depth = 300;
    let module = guest(
        &format!(
            r#"(data (i32.const 1024) "{}a") (data (i32.const 200) "b")"#,
            "a/".repeat(depth - 1)
        ),
        &format!(
            "(local.set $i (i32.const 1))
             (loop $deeper
               (local.set $result (call $path_create_directory (i32.const 3) (i32.const 1024) (local.get $i)))
               (if (local.get $result) (then (return (i32.sub (i32.const 0) (local.get $result)))))
               (local.set $i (i32.add (local.get $i) (i32.const 2)))
               (br_if $deeper (i32.lt_u (local.get $i) (i32.const {}))))
             (i32.sub (i32.const 0) (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 1) (i32.const 3) (i32.const 200) (i32.const 1)))",
            2 * depth
        ),
    );
    let directory = tempfile::tempdir().expect("a directory");
    let builder = Dialer::builder(&module).dir_writable(directory.path(), "/data");
    assert_eq!(init_error(builder), None);
    assert!(directory.path().join("b/a/a").exists());
}

#[test]
fn rights_that_were_given_up_on_a_directory_are_gone() {
    // Only the rights of files were checked, so the directory was created.
    let set = |base: &str| {
        format!("(call $fd_fdstat_set_rights (i32.const 3) {base} (i64.load (i32.const 80)))")
    };
    // The rights that `fd_fdstat_get` has written: all of them, and then without the right to
    // create directories.
    let all = set("(i64.load (i32.const 72))");
    let fewer = set("(i64.and (i64.load (i32.const 72)) (i64.const -513))");
    let given_up = format!("(drop {fewer})");
    let given_up_for_good = format!("(drop {fewer}) (drop {all})");
    let make = "(call $path_create_directory (i32.const 3) (i32.const 100) (i32.const 4))";
    let open = "(call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64))";
    let refused = Some(Errno::Notcapable);
    for (before, call, expected) in [
        ("", make, None),
        (&given_up, make, refused),
        (&given_up, &all, refused),
        (&given_up_for_good, make, refused),
        // A file has other rights.
        (&given_up, open, None),
    ] {
        let module = guest(
            "",
            &format!(
                "(drop (call $fd_fdstat_get (i32.const 3) (i32.const 64)))
                 {before} (i32.sub (i32.const 0) {call})"
            ),
        );
        let directory = tempfile::tempdir().expect("a directory");
        let builder = Dialer::builder(&module).dir_writable(directory.path(), "/data");
        assert_eq!(init_error(builder), expected, "{before} {call}");
        let made = directory.path().join("file").exists();
        assert_eq!(made, expected.is_none(), "{before} {call}");
    }
}

#[test]
fn standard_streams_that_are_logged_are_no_terminals() {
    // They were character devices, so programs wrote colours into the log.
    for (function, at) in [("fd_fdstat_get", 64), ("fd_filestat_get", 80)] {
        for fd in 0..3 {
            let module = guest(
                "",
                &format!(
                    "(drop (call ${function} (i32.const {fd}) (i32.const 64)))
                     (i32.sub (i32.const 0) (i32.load8_u (i32.const {at})))"
                ),
            );
            // Type 0 is a file of no other type.
            assert_eq!(
                init_error(Dialer::builder(&module)),
                None,
                "{function} {fd}"
            );
        }
    }
}

#[test]
fn a_file_or_a_directory_is_no_socket() {
    let open = "(drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64)))";
    for (before, fd, expected) in [
        ("", "(i32.const 1)", Errno::Notsock),
        ("", "(i32.const 3)", Errno::Notsock),
        (open, "(i32.load (i32.const 64))", Errno::Notsock),
        ("", "(i32.const 77)", Errno::Badf),
    ] {
        let module = guest(
            "",
            &format!("{before} (i32.sub (i32.const 0) (call $sock_shutdown {fd} (i32.const 1)))"),
        );
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("file"), "x").expect("a file");
        let builder = Dialer::builder(&module).dir(directory.path(), "/data");
        assert_eq!(init_error(builder), Some(expected), "{before} {fd}");
    }
}
