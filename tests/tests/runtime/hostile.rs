//! Malicious or broken modules: each ends its own connection in bounded time, with an error that
//! says what happened. The host and all other connections continue.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, Pair, SHORT, alternate, built, echo_messages, expect_end, expect_reset, listener,
    read_numbers, text, wat, wat_text, with_worker, within,
};
use watm_wasmer::{
    DialError, Dialer, Errno, GuestError, LoadError, TransportError, TransportModule,
};

const EAGAIN: i32 = 6;
const EFAULT: i32 = 21;
const EINVAL: i32 = 28;

/// Checks that an honest connection of the same process still works.
#[track_caller]
fn others_go_on() {
    static SERVER: OnceLock<EchoServer> = OnceLock::new();
    let server = SERVER.get_or_init(EchoServer::start);
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    echo_messages(&dialer.dial(server.address()).expect("a connection"));
}

fn dial_choosing(choice: &str) -> Result<Pair, DialError> {
    let (listener, address) = listener();
    let dialer = Dialer::builder(&built("err_positive")).config(choice);
    let conn = dialer.build().expect("a dialer").dial(&address)?;
    let peer = watm_tests::accept_one(&listener);
    Ok(Pair { conn, peer })
}

#[track_caller]
fn transport(error: DialError) -> TransportError {
    match error {
        DialError::Transport(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trap_at_each_stage_of_the_set_up_fails_the_dial_and_names_the_function() {
    for (choice, expected) in [
        ("trap-init", "watm_init_v1"),
        ("trap-dial", "watm_dial_v1"),
        ("trap-ctrlpipe", "watm_ctrlpipe_v1"),
    ] {
        match transport(dial_choosing(choice).err().expect(choice)) {
            TransportError::Trapped { function, message } => {
                assert_eq!(function, expected);
                assert!(message.contains("unreachable"), "{message}");
            }
            other => panic!("{choice}: {other:?}"),
        }
        others_go_on();
    }
    for (name, expected) in [
        ("unreachable_init", "watm_init_v1"),
        ("unreachable_dial", "watm_dial_v1"),
    ] {
        let (_listener, address) = listener();
        let dialer = Dialer::builder(&wat(name)).build().expect("a dialer");
        match transport(dialer.dial(&address).expect_err(name)) {
            TransportError::Trapped { function, .. } => assert_eq!(function, expected),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_exit_at_each_stage_of_the_set_up_fails_the_dial_and_names_function_and_code() {
    for (choice, expected) in [
        ("exit-init", "watm_init_v1"),
        ("exit-dial", "watm_dial_v1"),
        ("exit-ctrlpipe", "watm_ctrlpipe_v1"),
    ] {
        match transport(dial_choosing(choice).err().expect(choice)) {
            error @ TransportError::Exited { function, code } => {
                assert_eq!((function, code), (expected, 7));
                let text = error.to_string();
                assert!(text.contains(expected) && text.contains('7'), "{text}");
            }
            other => panic!("{choice}: {other:?}"),
        }
        others_go_on();
    }
}

#[test]
fn a_trap_and_an_exit_in_the_worker_are_errors_of_the_connection_alone() {
    let steady = Pair::dial(&built("plain"));
    for (choice, code) in [("trap", None), ("exit", Some(7))] {
        let pair = dial_choosing(choice).expect("a connection");
        let error = (&pair.conn).read(&mut [0; 8]).expect_err(choice);
        let inner = error.get_ref().expect("the transport's error");
        match (inner.downcast_ref().expect("the transport's error"), code) {
            (TransportError::Trapped { function, .. }, None) => {
                assert_eq!(*function, "watm_start_v1");
            }
            (TransportError::Exited { function, code }, Some(expected)) => {
                assert_eq!((*function, *code), ("watm_start_v1", expected));
            }
            (other, _) => panic!("{choice}: {other:?}"),
        }
        expect_reset(&pair.peer);
    }
    alternate(&steady.conn, &steady.peer, 1024, |_| {});
}

#[test]
fn an_exit_with_0_in_the_worker_is_no_clean_end() {
    let pair = Pair::dial(&wat("exit_in_start"));
    match pair.conn.close().expect_err("it exited") {
        TransportError::Exited { function, code } => {
            assert_eq!((function, code), ("watm_start_v1", 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recursion_without_end_is_a_trap() {
    for _ in 0..3 {
        let pair = Pair::dial(&wat("recursion"));
        let error = (&pair.conn)
            .read(&mut [0; 8])
            .expect_err("the stack is used up");
        assert!(error.to_string().contains("watm_start_v1"), "{error}");
        match pair.conn.close().expect_err("the stack is used up") {
            TransportError::Trapped { message, .. } => {
                assert!(message.contains("stack"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        others_go_on();
    }
}

#[test]
fn accesses_outside_of_memory_bad_divisions_and_bad_calls_are_traps() {
    for (body, message) in [
        ("(i32.load (i32.const 0x7ffffff0))", "memory"),
        ("(i32.load offset=0xfffffff0 (i32.const -16))", "memory"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
        (
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1)) (i32.const 0)",
            "memory",
        ),
        ("(i32.trunc_f32_u (f32.const nan))", "conver"),
    ] {
        let pair = Pair::dial(&with_worker(body));
        match pair.conn.close().expect_err(body) {
            TransportError::Trapped { message: found, .. } => {
                assert!(found.contains(message), "{body}: {found}");
            }
            other => panic!("{body}: {other:?}"),
        }
        others_go_on();
    }
}

#[test]
fn data_that_does_not_fit_into_memory_fails_the_instantiation() {
    let module = text(&wat_text("no_wasi").replace(
        "(memory (export \"memory\") 2)",
        "(memory (export \"memory\") 2) (data (i32.const 131070) \"too long\")",
    ));
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&module).build().expect("a dialer");
    let error = dialer.dial(&address).expect_err("it does not fit");
    let text = format!("{error:?}");
    assert!(
        matches!(
            error,
            DialError::Instantiate(_) | DialError::Transport(TransportError::Trapped { .. })
        ),
        "{text}"
    );
    others_go_on();
}

#[test]
fn a_huge_table_or_memory_is_refused() {
    for declaration in [
        "(table 100000000 funcref) (memory (export \"memory\") 2)",
        "(memory (export \"memory\") 65536)",
    ] {
        let module = wat_text("no_wasi").replace("(memory (export \"memory\") 2)", declaration);
        match TransportModule::from_bytes(module) {
            // Either the file is refused,
            Err(LoadError::TooComplex(_)) => {}
            Err(other) => panic!("{other:?}"),
            // or its instances are.
            Ok(module) => {
                let (_listener, address) = listener();
                let dialer = Dialer::builder(&module).build().expect("a dialer");
                let error = dialer.dial(&address).expect_err("too much");
                assert!(matches!(error, DialError::Instantiate(_)), "{error:?}");
            }
        }
        others_go_on();
    }
}

#[test]
fn arrays_and_buffers_outside_of_memory_are_refused_one_by_one() {
    let (_listener, address) = listener();
    let policy = watm_wasmer::AddressPolicy::allow_all();
    let dialer = Dialer::builder(&wat("iovec_bomb"))
        .memory_headroom(0)
        .policy(policy)
        .build()
        .expect("a dialer");
    let conn = dialer.dial(&address).expect("a connection");
    let found = read_numbers(&conn);
    assert_eq!(found.len(), 30, "{found:?}");
    let refused = |errno: &i32| matches!(*errno, EFAULT | EINVAL);
    for (i, errno) in found.iter().enumerate() {
        match i {
            // An empty buffer with its result outside memory, and no buffers at all.
            7 | 8 => assert!(
                refused(errno) || matches!(*errno, 0 | EAGAIN),
                "{i}: {errno}"
            ),
            16 => assert!(refused(errno), "{i}: {errno}"),
            17 => assert!(refused(errno) || *errno == 0, "{i}: {errno}"),
            0..22 | 29 => assert!(refused(errno), "{i}: {errno}"),
            25 => assert_eq!(*errno, -EINVAL, "text where an array is due"),
            _ => assert!(*errno < 0, "{i}: {errno}"),
        }
    }
    conn.close().expect("it returns 0");
    others_go_on();
}

#[test]
fn a_text_and_its_length_in_place_of_an_array_are_invalid() {
    let module = text(&wat_text("fixed_by_pointer"));
    let policy = watm_wasmer::AddressPolicy::allow_all();
    let dialer = watm_wasmer::FixedDialer::builder(&module)
        .policy(policy)
        .build();
    match transport(
        dialer
            .expect("a fixed dialer")
            .dial()
            .expect_err("no array"),
    ) {
        TransportError::Failed { function, error } => {
            assert_eq!(function, "watm_dial_fixed_v1");
            assert_eq!(error, GuestError::Errno(Errno::Inval));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_module_that_grows_its_memory_by_a_lot_stays_within_the_limit() {
    // All at once, and far beyond what exists.
    let module = with_worker(
        "(call $put (memory.grow (i32.const 0xffff)))
         (call $put (memory.grow (i32.const -1)))
         (call $put (memory.size))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::with(Dialer::builder(&module).memory_headroom(0));
    assert_eq!(read_numbers(&pair.conn), [-1, -1, 4]);
    others_go_on();
}

#[test]
fn memory_that_moved_while_the_host_looked_away_is_found_again() {
    // Grows memory between two host calls, on buffers at its old and at its new end.
    let module = with_worker(
        "(local $at i32)
         (call $text (global.get $internal))
         (drop (memory.grow (i32.const 100)))
         (local.set $at (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 16)))
         (i32.store (local.get $at) (i32.const 0x7a797877))
         (drop (call $write (global.get $internal) (local.get $at) (i32.const 4)))
         (drop (call $read (global.get $net) (local.get $at) (i32.const 16)))
         (drop (call $write (global.get $internal) (local.get $at) (i32.load (i32.const 8))))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    pair.peer.write_all(b"from the net").expect("room");
    let mut all = Vec::new();
    (&pair.conn).read_to_end(&mut all).expect("all");
    assert_eq!(all, b"abcwxyzfrom the net");
}

#[test]
fn a_guest_that_opens_all_the_connections_it_can_is_told_to_end_like_others() {
    let (_listener, address) = listener();
    for _ in 0..3 {
        let dialer = Dialer::builder(&built("dialmany"))
            .build()
            .expect("a dialer");
        let address = address.clone();
        let started = Instant::now();
        let conn = within(SHORT, move || dialer.dial(&address).expect("a connection"));
        conn.close().expect("it can still be told to end");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    others_go_on();
}

#[test]
fn closing_everything_leaves_nothing_to_crash_on() {
    // Closes every possible descriptor, and continues to use them.
    let module = with_worker(
        "(local $fd i32)
         (loop $next
           (drop (call $fd_close (local.get $fd)))
           (drop (call $shutdown (local.get $fd) (i32.const 3)))
           (drop (call $read (local.get $fd) (i32.const 16384) (i32.const 16)))
           (drop (call $write (local.get $fd) (i32.const 16384) (i32.const 16)))
           (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
           (br_if $next (i32.lt_u (local.get $fd) (i32.const 1100))))
         (drop (call $wait (global.get $control) (i32.const 1)))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    expect_end(&pair.conn);
    expect_end(&pair.peer);
    pair.conn.close().expect("it returns 0");
    others_go_on();
}

#[test]
fn renumbering_at_random_leaves_nothing_to_crash_on() {
    // Every pair of valid numbers, and of some invalid ones.
    let module = with_worker(
        "(local $from i32) (local $to i32)
         (loop $outer
           (local.set $to (i32.const 0))
           (loop $inner
             (drop (call $renumber (local.get $from) (local.get $to)))
             (drop (call $renumber (local.get $from) (i32.add (local.get $to) (i32.const 8))))
             (drop (call $renumber (i32.add (local.get $from) (i32.const 8)) (local.get $to)))
             (drop (call $renumber (local.get $from) (i32.add (local.get $to) (i32.const 1020))))
             (drop (call $water_dial_fixed))
             (local.set $to (i32.add (local.get $to) (i32.const 1)))
             (br_if $inner (i32.lt_u (local.get $to) (i32.const 8))))
           (local.set $from (i32.add (local.get $from) (i32.const 1)))
           (br_if $outer (i32.lt_u (local.get $from) (i32.const 8))))
         (i32.const 0)",
    );
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&module).build().expect("a dialer");
    let conn = dialer.dial(&address).expect("a connection");
    let end = within(SHORT, move || conn.close());
    end.expect("it returns 0");
    others_go_on();
}

#[test]
fn absurd_arguments_are_answered_by_every_function_of_wasi() {
    // Each function in a separate process, which a mistake may end.
    let names: Vec<_> = watm_abi::imports()
        .filter(|(module, name, _)| *module != "env" && *name != "proc_exit")
        .map(|(_, name, _)| name)
        .collect();
    let broken: Vec<_> = names
        .into_iter()
        .filter_map(|name| {
            let mut child = Command::new(env!("CARGO_BIN_EXE_absurd_arguments"));
            let output = child.arg(name).output().expect("a process");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (!output.status.success()).then(|| format!("{name}: {}: {errors}", output.status))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "{} functions:\n{}",
        broken.len(),
        broken.join("\n")
    );
    others_go_on();
}

/// A dialer whose functions do nothing but `body` at one stage. Also returns the function that
/// fails if the guest ends there.
fn misbehaves_at(stage: &str, body: &str) -> (TransportModule, &'static str) {
    let at = |this: &str| if stage == this { body } else { "" };
    let (main, name) = match stage {
        "_start" => (at("_start"), "_start"),
        _ => (at("_initialize"), "_initialize"),
    };
    let starts = if stage == "start section" {
        format!("(func $early {body}) (start $early)")
    } else {
        String::new()
    };
    let module = text(&format!(
        r#"(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $deeper (param i64) (result i64)
    (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
  {starts}
  (func (export "{name}") {main})
  (func (export "watm_init_v1") (result i32) {init} (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) {dial} (call $water_dial_fixed))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) {control} (i32.const 0))
  (func (export "watm_start_v1") (result i32) {start} (i32.const 0)))"#,
        init = at("watm_init_v1"),
        dial = at("watm_dial_v1"),
        control = at("watm_ctrlpipe_v1"),
        start = at("watm_start_v1"),
    ));
    let function = match stage {
        "start section" => "(start)",
        "_start" => "_start",
        "_initialize" => "_initialize",
        "watm_init_v1" => "watm_init_v1",
        "watm_dial_v1" => "watm_dial_v1",
        "watm_ctrlpipe_v1" => "watm_ctrlpipe_v1",
        _ => "watm_start_v1",
    };
    (module, function)
}

#[test]
fn a_recursion_a_trap_and_an_exit_are_told_with_their_stage_whichever_it_is() {
    for stage in [
        "start section",
        "_start",
        "_initialize",
        "watm_init_v1",
        "watm_dial_v1",
        "watm_ctrlpipe_v1",
        "watm_start_v1",
    ] {
        for (body, expected) in [
            ("(drop (call $deeper (i64.const 0)))", "stack"),
            ("(unreachable)", "unreachable"),
            ("(call $exit (i32.const 9))", "exit"),
        ] {
            let (module, function) = misbehaves_at(stage, body);
            let (_listener, address) = listener();
            let dialer = Dialer::builder(&module).build().expect("a dialer");
            let error = within(SHORT, move || match dialer.dial(&address) {
                Err(DialError::Transport(error)) => error,
                Err(other) => panic!("{stage}: {body}: {other:?}"),
                Ok(conn) => conn.close().expect_err("it does not end cleanly"),
            });
            match error {
                TransportError::Trapped {
                    function: found,
                    message,
                } => {
                    assert!(message.contains(expected), "{stage}: {body}: {message}");
                    assert_eq!(found, function, "{stage}: {body}");
                }
                TransportError::Exited {
                    function: found,
                    code,
                } => {
                    assert_eq!((expected, code), ("exit", 9), "{stage}: {body}");
                    assert_eq!(found, function, "{stage}: {body}");
                }
                other => panic!("{stage}: {body}: {other:?}"),
            }
        }
    }
    others_go_on();
}

#[test]
fn a_table_grows_no_further_than_its_limit() {
    let module = text(
        &wat_text("no_wasi")
            .replace(
                "(memory (export \"memory\") 2)",
                "(memory (export \"memory\") 2) (table $grows 1 externref)",
            )
            .replace(
                "(func (export \"watm_init_v1\") (result i32)",
                "(func (export \"watm_init_v1\") (result i32)
                   (if (i32.ne (table.grow $grows (ref.null extern) (i32.const 0x7fffffff)) (i32.const -1))
                     (then (return (i32.const -1))))
                   (loop $more
                     (br_if $more (i32.ne
                       (table.grow $grows (ref.null extern) (i32.const 100000)) (i32.const -1))))
                   (if (i32.gt_u (table.size $grows) (i32.const 20000000))
                     (then (return (i32.const -2))))",
            ),
    );
    let started = Instant::now();
    let pair = within(SHORT, move || Pair::dial(&module));
    assert!(started.elapsed() < Duration::from_secs(10));
    drop(pair);
    others_go_on();
}

#[test]
fn buffers_that_lie_over_each_other_are_filled_in_their_order() {
    // Ten bytes into three buffers: 4 at 16384, 4 at 16386, 8 at 16384.
    let module = with_worker(
        "(i64.store (i32.const 512) (i64.const 0x0000000400004000))
         (i64.store (i32.const 520) (i64.const 0x0000000400004002))
         (i64.store (i32.const 528) (i64.const 0x0000000800004000))
         (drop (call $wait (global.get $net) (i32.const 1)))
         (call $put (call $fd_read (global.get $net) (i32.const 512) (i32.const 3) (i32.const 8)))
         (call $put (i32.load (i32.const 8)))
         (call $put (i32.load (i32.const 16384)))
         (call $put (i32.load (i32.const 16388)))
         ;; And out again, each byte as often as it is named.
         (call $report (global.get $internal))
         (call $put (call $fd_write (global.get $internal) (i32.const 512) (i32.const 3) (i32.const 8)))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    pair.peer.write_all(b"0123456789").expect("room");
    let mut all = Vec::new();
    (&pair.conn).read_to_end(&mut all).expect("all");
    let (numbers, rest) = all.split_at(16);
    let numbers = read_numbers(numbers);
    assert_eq!(numbers[..2], [0, 10]);
    assert_eq!(numbers[2].to_le_bytes(), *b"8945");
    assert_eq!(numbers[3].to_le_bytes(), [b'6', b'7', 0, 0]);
    assert_eq!(rest, b"89454567894567\0\0");
}

#[test]
fn thousands_of_dials_that_are_denied_or_refused_take_a_bounded_time() {
    let refusing = watm_tests::ReservedPort::new();
    for policy in [
        watm_wasmer::AddressPolicy::deny_all(),
        watm_wasmer::AddressPolicy::allow_all(),
    ] {
        let address = refusing.address();
        let module = text(&format!(
            r#"(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "env" "water_dial" (func $dial (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\20\00\00\00\03\00\00\00\30\00\00\00\{len:02x}\00\00\00")
  (data (i32.const 32) "tcp")
  (data (i32.const 48) "{address}")
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32)
    (local $count i32)
    (loop $next
      (if (i32.ge_s (call $dial (i32.const 16) (i32.const 1) (i32.const 24) (i32.const 1)) (i32.const 0))
        (then (unreachable)))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $count) (i32.const 5000))))
    (call $water_dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))"#,
            len = address.len()
        ));
        let pair = within(SHORT, move || {
            Pair::with(Dialer::builder(&module).policy(policy))
        });
        pair.conn.close().expect("a clean end");
    }
    others_go_on();
}

#[test]
fn a_module_that_is_cut_at_any_place_is_refused_or_loads_and_nothing_else() {
    let whole = std::fs::read(watm_tests::path_of("plain_reactor")).expect("the file");
    let mut refused = 0;
    let step = whole.len() / 150;
    for len in (0..whole.len()).step_by(step).chain(0..40) {
        match TransportModule::from_bytes(&whole[..len]) {
            Ok(_) => {}
            Err(LoadError::NotAModule(_) | LoadError::Malformed(_)) => refused += 1,
            // The prefix lacks its exports.
            Err(LoadError::Interface(_)) => refused += 1,
            Err(other) => panic!("{len}: {other:?}"),
        }
    }
    assert!(refused > 150, "{refused}");
}
