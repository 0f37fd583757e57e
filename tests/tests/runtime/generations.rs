//! Contract, section 3: a write that follows a read is never refused. Each of the three generations
//! of the TinyGo library would lose the connection or bytes otherwise. They run in every role, with
//! readers that are slower than the writers. So do modules of standard Go.
//!
//! `WATM_FLOOD=256` moves 256 MB in each direction in the last step, instead of 2.

use std::io::Read;

use watm_tests::{Carrier, Logs, Pair, Place, built, copy_as, expect_end, text};
use watm_wasmer::Outcome;

fn carries(generation: u32, place: Place) {
    for reverses in [false, true] {
        let name = format!(
            "generation{generation}{}",
            if reverses { "_reverse" } else { "" }
        );
        let alias = format!("{name}_{place:?}");
        let logs = Logs::of_module(&alias);
        let module = copy_as(&name, &alias);
        for buffer in [1024, 16_384, 100_000] {
            Carrier {
                module: &module,
                config: Some(buffer.to_string()),
                buffer,
                reverses,
                half_closes: false,
            }
            .carry_any_load(place);
        }
        let dropped = logs
            .texts()
            .iter()
            .filter(|line| line.contains("dropped"))
            .count();
        assert_eq!(dropped, 0, "pieces were dropped by {alias}");
    }
}

#[test]
fn standard_go_carries_any_load_in_every_role() {
    for place in [
        Place::Dialer,
        Place::Listener,
        Place::Relay,
        Place::Entrance,
        Place::Exit,
    ] {
        Carrier {
            module: &built("go_plain"),
            config: None,
            buffer: 16_384,
            reverses: false,
            half_closes: true,
        }
        .carry_any_load(place);
    }
}

#[test]
fn the_first_generation_carries_any_load_out_and_in() {
    carries(1, Place::Dialer);
}

#[test]
fn the_second_generation_carries_any_load_out_and_in() {
    carries(2, Place::Dialer);
}

#[test]
fn the_third_generation_carries_any_load_out_and_in() {
    carries(3, Place::Dialer);
}

#[test]
fn the_first_generation_carries_any_load_of_a_listener() {
    carries(1, Place::Listener);
}

#[test]
fn the_second_generation_carries_any_load_of_a_listener() {
    carries(2, Place::Listener);
}

#[test]
fn the_third_generation_carries_any_load_of_a_listener() {
    carries(3, Place::Listener);
}

#[test]
fn the_first_generation_carries_any_load_of_a_relay() {
    carries(1, Place::Relay);
}

#[test]
fn the_second_generation_carries_any_load_of_a_relay() {
    carries(2, Place::Relay);
}

#[test]
fn the_third_generation_carries_any_load_of_a_relay() {
    carries(3, Place::Relay);
}

#[test]
fn the_first_generation_carries_any_load_between_sockets() {
    carries(1, Place::Entrance);
    carries(1, Place::Exit);
}

#[test]
fn the_second_generation_carries_any_load_between_sockets() {
    carries(2, Place::Entrance);
    carries(2, Place::Exit);
}

#[test]
fn the_third_generation_carries_any_load_between_sockets() {
    carries(3, Place::Entrance);
    carries(3, Place::Exit);
}

/// Writes 64 MiB to the network without having read anything, and returns the first error.
const WRITES_ALONE: &str = r#"(module
    (import "env" "water_dial_fixed" (func $d (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $f (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\00\10\00\00\00\04\00\00")
    (global $n (mut i32) (i32.const -1))
    (func (export "watm_init_v1") (result i32) (i32.const 0))
    (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
    (func (export "watm_dial_v1") (param i32) (result i32)
      (global.set $n (call $d))
      (drop (call $f (global.get $n) (i32.const 4)))
      (global.get $n))
    (func (export "watm_start_v1") (result i32) (local $i i32) (local $e i32)
      (loop $a
        (local.set $e (call $w (global.get $n) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (local.get $e) (then (return (i32.sub (i32.const 0) (local.get $e)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $a (i32.lt_u (local.get $i) (i32.const 65536))))
      (i32.const 0)))"#;

#[test]
fn a_guest_that_cannot_wait_for_room_is_made_to() {
    let pair = Pair::dial(&text(WRITES_ALONE));
    let mut received = 0;
    let mut buf = vec![0; 1 << 20];
    loop {
        match (&pair.peer).read(&mut buf).expect("bytes") {
            0 => break,
            len => received += len,
        }
    }
    assert_eq!(received, 64 << 20);
    expect_end(&pair.conn);
    assert_eq!(pair.conn.close().expect("a good end"), Outcome::Completed);
}
