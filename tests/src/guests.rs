//! Guest modules by name. Each is compiled once per process, because that takes long.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use watm_wasmer::TransportModule;

/// The file of a guest: `NAME.wat` in `guests/wat`, every other name in `guests/built`.
pub fn path_of(name: &str) -> PathBuf {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    if name.ends_with(".wat") {
        guests.join("wat").join(name)
    } else {
        guests.join("built").join(format!("{name}.wasm"))
    }
}

/// A module that `guests/toolchains.sh` has built.
#[track_caller]
pub fn of_toolchain(name: &str) -> TransportModule {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    let path = target.join(name).with_extension("wasm");
    assert!(
        path.exists(),
        "tests/guests/toolchains.sh builds {}",
        path.display()
    );
    cached(&format!("{name} of its toolchain"), || {
        TransportModule::from_file(path)
    })
}

/// A module that was built from C, Rust or Go.
#[track_caller]
pub fn built(name: &str) -> TransportModule {
    cached(name, || TransportModule::from_file(path_of(name)))
}

/// A module in the text format.
#[track_caller]
pub fn wat(name: &str) -> TransportModule {
    let name = format!("{name}.wat");
    cached(&name, || TransportModule::from_file(path_of(&name)))
}

/// A module from its text.
#[track_caller]
pub fn text(text: &str) -> TransportModule {
    cached(text, || TransportModule::from_bytes(text))
}

/// The built module `name` under another name, to tell its log lines from those of all others. The
/// name of a text module ends with `.wat`.
#[track_caller]
pub fn copy_as(name: &str, alias: &str) -> TransportModule {
    cached(&format!("{name} as {alias}"), || {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join(alias).with_extension("wasm");
        std::fs::copy(path_of(name), &copy).expect("a copy");
        TransportModule::from_file(copy)
    })
}

/// The text of a module in the text format, for a test to change.
#[track_caller]
pub fn wat_text(name: &str) -> String {
    let path = path_of(&format!("{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A dialer and listener whose worker is `body`: the locals and instructions of `watm_start_v1`.
///
/// It has the globals `$internal`, `$net` and `$control`, and these functions:
/// - `$read fd buffer length` and `$write fd buffer length`: do one call and return its errno. The
///   count is at 8.
/// - `$wait fd type`: polls for reading (1) or writing (2) and returns the errno. The number of
///   events is at 8, and the event at 128: error at 136, type 138, bytes 144, flags 152. Bytes of
///   the event that the host does not write are 0xee.
/// - `$put value`: collects a number. `$report fd` writes all of them to `fd`, as little-endian
///   `i32`s.
/// - `$text fd`: writes the three bytes `abc`.
/// - imports: `$water_dial_fixed`, `$water_accept`, `$fd_read`, `$fd_write`, `$fd_close`,
///   `$renumber`, `$set_flags`, `$recv`, `$send`, `$shutdown`, `$poll`, `$yield`.
///
/// Its memory has four pages. The addresses from 16,384 on are free for the worker.
#[track_caller]
pub fn with_worker(body: &str) -> TransportModule {
    text(&WORKER.replace("BODY", body))
}

const WORKER: &str = r#"(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "env" "water_accept" (func $water_accept (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "abc")
  (global $internal (mut i32) (i32.const -1))
  (global $net (mut i32) (i32.const -1))
  (global $control (mut i32) (i32.const -1))
  (global $end (mut i32) (i32.const 8192))
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param $fd i32) (result i32)
    (global.set $control (local.get $fd))
    (i32.const 0))
  (func (export "watm_dial_v1") (param $fd i32) (result i32)
    (global.set $internal (local.get $fd))
    (global.set $net (call $water_dial_fixed))
    (global.get $net))
  (func (export "watm_accept_v1") (param $fd i32) (result i32)
    (global.set $internal (local.get $fd))
    (global.set $net (call $water_accept))
    (global.get $net))
  (func $read (param $fd i32) (param $buffer i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $write (param $fd i32) (param $buffer i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $wait (param $fd i32) (param $type i32) (result i32)
    (memory.fill (i32.const 128) (i32.const 0xee) (i32.const 32))
    (i32.store8 (i32.const 72) (local.get $type))
    (i32.store (i32.const 80) (local.get $fd))
    (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))
  (func $put (param $value i32)
    (i32.store (global.get $end) (local.get $value))
    (global.set $end (i32.add (global.get $end) (i32.const 4))))
  (func $report (param $fd i32)
    (drop (call $write (local.get $fd) (i32.const 8192) (i32.sub (global.get $end) (i32.const 8192)))))
  (func $text (param $fd i32)
    (drop (call $write (local.get $fd) (i32.const 16) (i32.const 3))))
  (func (export "watm_start_v1") (result i32)
    BODY))"#;

type Slot = Arc<OnceLock<TransportModule>>;

#[track_caller]
fn cached<E: std::fmt::Display>(
    key: &str,
    load: impl FnOnce() -> Result<TransportModule, E>,
) -> TransportModule {
    static MODULES: OnceLock<Mutex<HashMap<String, Slot>>> = OnceLock::new();
    let slot = {
        let modules = MODULES.get_or_init(Mutex::default);
        let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(modules.entry(key.to_owned()).or_default())
    };
    let module = slot.get_or_init(|| load().unwrap_or_else(|error| panic!("{key}: {error}")));
    module.clone()
}
