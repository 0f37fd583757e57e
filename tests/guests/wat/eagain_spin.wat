;; eagain_spin: the worker makes the internal descriptor non-blocking and reads it for ever,
;; whatever the result. The host may park the worker, but must wake it for data and for a stop.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (memory (export "memory") 2)

  (global $internal (mut i32) (i32.const -1))
  (global $net (mut i32) (i32.const -1))
  (global $control (mut i32) (i32.const -1))

  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param $fd i32) (result i32)
    (global.set $control (local.get $fd))
    (i32.const 0))
  (func (export "watm_dial_v1") (param $fd i32) (result i32)
    (global.set $internal (local.get $fd))
    (global.set $net (call $dial_fixed))
    (global.get $net))
  (func (export "watm_start_v1") (result i32)
    (drop (call $set_flags (global.get $internal) (i32.const 4)))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 1024))
    (loop $forever
      (drop (call $read (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $forever))
    (unreachable)))
