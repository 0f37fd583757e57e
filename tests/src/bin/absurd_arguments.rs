//! Runs a guest that calls one WASI function with absurd arguments. Fails if that does anything but
//! return. This is a separate program, because a mistake may end the whole process.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use watm_tests::Pair;
use watm_wasmer::{Dialer, TransportModule};

fn main() -> ExitCode {
    let name = std::env::args().nth(1).expect("the name of a function");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("file"), "content").expect("a file");
    let module = TransportModule::from_bytes(calls_absurdly(&name)).expect("a module");
    let builder = Dialer::builder(&module)
        .config(*b"a configuration")
        .dir_writable(directory.path(), "/data")
        .close_grace(Duration::from_secs(20));
    match Pair::with(builder).conn.close() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => panic!("the guest failed: {error}"),
    }
}

/// A dialer whose worker calls the function repeatedly: with the same absurd value in all
/// parameters, with each of these values as the descriptor, and with mixtures.
fn calls_absurdly(name: &str) -> String {
    let signature = watm_abi::import_signature("wasi_snapshot_preview1", name).expect("a function");
    let types: Vec<_> = signature.params.iter().map(ToString::to_string).collect();
    let results: String = signature.results.iter().map(ToString::to_string).collect();
    let values = [
        "0",
        "1",
        "8",
        "16384",
        "65535",
        "65536",
        "131070",
        "131072",
        "0x7fffffff",
        "-1",
        "-8",
    ];
    let descriptors = [
        "0", "1", "2", "3", "4", "5", "512", "513", "514", "1023", "1024",
    ];
    let mut calls = String::new();
    let mut call = |value: &mut dyn FnMut(usize) -> &'static str| {
        calls.push_str("(drop (call $absurd");
        for (i, ty) in types.iter().enumerate() {
            write!(calls, " ({ty}.const {})", value(i)).expect("text");
        }
        calls.push_str("))\n");
    };
    for value in values {
        call(&mut |_| value);
        for descriptor in descriptors {
            call(&mut |i| if i == 0 { descriptor } else { value });
        }
    }
    // Mixtures, which are the same in every run.
    let mut state = 1u32;
    let mut pick = |from: &[&'static str]| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        from[(state >> 16) as usize % from.len()]
    };
    for _ in 0..500 {
        call(&mut |i| pick(if i == 0 { &descriptors } else { &values }));
    }
    format!(
        r#"(module
  (import "env" "water_dial_fixed" (func $dial (result i32)))
  (import "wasi_snapshot_preview1" "{name}" (func $absurd (param {params}) (result {results})))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func $nonblocking (param $fd i32) (result i32)
    (drop (call $set_flags (local.get $fd) (i32.const 4)))
    (local.get $fd))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param $fd i32) (result i32)
    (drop (call $nonblocking (local.get $fd)))
    (i32.const 0))
  (func (export "watm_dial_v1") (param $fd i32) (result i32)
    (drop (call $nonblocking (local.get $fd)))
    (call $nonblocking (call $dial)))
  (func (export "watm_start_v1") (result i32)
    {calls}
    (i32.const 0)))"#,
        params = types.join(" "),
    )
}
