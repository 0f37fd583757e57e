//! Runs a guest with the standard streams of this process. The guest finds out which of them are
//! terminals. The exit code has one bit for each: 1 for standard input, 2 for output, 4 for error.

use std::process::ExitCode;

use watm_tests::text;
use watm_wasmer::{DialError, Dialer, GuestError, Stdio, TransportError};

/// Returns the bits plus one as an error number. `fd_fdstat_get` and `fd_filestat_get` must agree.
const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "watm_init_v1") (result i32) (local $fd i32) (local $terminals i32)
    (loop $next
      (if (call $fdstat (local.get $fd) (i32.const 64)) (then (unreachable)))
      (if (call $filestat (local.get $fd) (i32.const 128)) (then (unreachable)))
      (if (i32.ne (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 144))) (then (unreachable)))
      (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 2))
        (then (local.set $terminals
          (i32.or (local.get $terminals) (i32.shl (i32.const 1) (local.get $fd))))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $fd) (i32.const 3))))
    (i32.sub (i32.const -1) (local.get $terminals)))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (i32.const -1))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))"#;

fn main() -> ExitCode {
    let dialer = Dialer::builder(&text(MODULE)).stdio(Stdio::Inherit);
    // It fails before it connects to anything.
    match dialer.build().expect("a dialer").dial("127.0.0.1:1") {
        Err(DialError::Transport(TransportError::Failed {
            function: "watm_init_v1",
            error: GuestError::Errno(errno),
        })) => ExitCode::from(u8::try_from(errno.raw() - 1).expect("three bits")),
        other => panic!("{other:?}"),
    }
}
