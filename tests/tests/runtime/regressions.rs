//! What was broken once, here or in a dependency, and must not break again.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use watm_tests::{
    Pair, built, expect_end, listener, read_numbers, read_numbers_to_reset, reset, with_worker,
};
use watm_wasmer::{DialError, Dialer, Errno, TransportError, TransportModule};

#[test]
fn whoever_has_read_the_end_of_a_transport_cannot_write_to_it_any_more() {
    // The end became visible to readers slightly before writers saw it.
    for _ in 0..20 {
        let pair = Pair::dial(&built("plain"));
        drop(pair.peer);
        expect_end(&pair.conn);
        let error = (&pair.conn).write(b"late").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_guest_that_closes_its_descriptors_before_it_fails_still_fails() {
    // Drops the streams before it returns the error, as guests do that hold them in types of std.
    // The application took the closed descriptor for a clean end.
    let module = with_worker(
        "(local $i i32)
         (drop (call $fd_close (global.get $internal)))
         (drop (call $fd_close (global.get $net)))
         (loop $a_while
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $a_while (i32.lt_u (local.get $i) (i32.const 100000000))))
         (i32.const -65)",
    );
    let pair = Pair::dial(&module);
    let error = (&pair.conn)
        .read(&mut [0; 8])
        .expect_err("the module's error");
    let inner = error.get_ref().expect("the transport's error");
    let error: &TransportError = inner.downcast_ref().expect("the transport's error");
    assert_eq!(error.errno(), Errno::Proto);
}

#[test]
fn a_guest_that_closes_its_internal_descriptor_and_goes_on_holds_nobody_up() {
    // The guest waits for the network. Meanwhile the application must read the end.
    let module = with_worker(
        "(call $text (global.get $internal))
         (drop (call $fd_close (global.get $internal)))
         (drop (call $read (global.get $net) (i32.const 16384) (i32.const 16)))
         (i32.const 0)",
    );
    let mut pair = Pair::dial(&module);
    let mut all = Vec::new();
    (&pair.conn).read_to_end(&mut all).expect("the end");
    assert_eq!(all, b"abc");
    assert!(pair.conn.outcome().is_none());
    pair.peer.write_all(b"x").expect("room");
    expect_end(&pair.peer);
}

#[test]
fn a_start_section_that_never_ends_times_out_like_everything_else() {
    // This was an interruption or a timeout at random.
    let module = TransportModule::from_bytes(
        r#"(module
            (import "env" "water_dial_fixed" (func $dial (result i32)))
            (memory (export "memory") 1)
            (func $endless (loop $l (br $l)))
            (start $endless)
            (func (export "watm_init_v1") (result i32) (i32.const 0))
            (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
            (func (export "watm_dial_v1") (param i32) (result i32) (call $dial))
            (func (export "watm_start_v1") (result i32) (i32.const 0)))"#,
    );
    let (_listener, address) = listener();
    let dialer = Dialer::builder(&module.expect("a module"));
    let dialer = dialer.setup_timeout(Duration::from_millis(20)).build();
    let dialer = dialer.expect("a dialer");
    for _ in 0..20 {
        let error = dialer.dial(&address).expect_err("it never starts");
        assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
    }
}

#[test]
fn a_reset_that_a_write_has_met_is_told_to_the_read_behind_it() {
    // The system reports a reset once. The write received it, and the read after it found a clean
    // end.
    const ECONNRESET: i32 = 15;
    let module = with_worker(
        "(drop (call $read (global.get $internal) (i32.const 16384) (i32.const 16)))
         ;; The second is one too many to wait for a third.
         (call $put (call $write (global.get $net) (i32.const 65536) (i32.const 60000)))
         (call $put (call $write (global.get $net) (i32.const 65536) (i32.const 60000)))
         (call $put (call $read (global.get $net) (i32.const 16384) (i32.const 16)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    let pair = Pair::dial(&module);
    reset(pair.peer);
    (&pair.conn).write_all(b"go").expect("room");
    let found = read_numbers_to_reset(&pair.conn);
    assert!(
        matches!(found[..], [0, 0, ECONNRESET] | [0, ECONNRESET, _]),
        "{found:?}"
    );
}

#[test]
fn the_host_s_standard_streams_do_not_show_behind_a_guest_s_own() {
    // When a guest closed or moved its own descriptor, the host's descriptor of the same number
    // appeared.
    let module = with_worker(
        "(drop (call $fd_close (i32.const 1)))
         (call $put (call $write (i32.const 1) (i32.const 16) (i32.const 0)))
         (drop (call $renumber (i32.const 2) (global.get $net)))
         (call $put (call $write (i32.const 2) (i32.const 16) (i32.const 0)))
         (drop (call $fd_close (i32.const 0)))
         (call $put (call $read (i32.const 0) (i32.const 16384) (i32.const 0)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    assert_eq!(read_numbers(&Pair::dial(&module).conn), [8, 8, 8]);
}

#[test]
fn a_clock_of_nothing_does_not_wait_for_ever() {
    // An earlier WASI implementation waited for ever.
    let module = with_worker(
        "(i32.store (i32.const 80) (i32.const 1))
         (call $put (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))
         (call $put (i32.load (i32.const 8)))
         (call $report (global.get $internal))
         (i32.const 0)",
    );
    assert_eq!(read_numbers(&Pair::dial(&module).conn), [0, 1]);
}

#[test]
fn a_reset_is_not_taken_for_the_end_of_a_stream() {
    // An earlier WASI implementation reported an end.
    let pair = Pair::dial(&built("plain"));
    reset(pair.peer);
    let error = (&pair.conn).read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
