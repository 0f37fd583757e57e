;; close_twice: closes and renumbers descriptors, and uses them after their end. Writes 17 raw
;; results to the internal descriptor, as little-endian i32s. Then closes that descriptor twice and
;; returns the negated second result: -8.
;; Order (expected result in parentheses): close net (0), close net again (8), read it (8), write it
;; (8), its flags (8), renumber it over internal (8), renumber internal over it (8; after a success
;; the worker continues with that number), dial again (1 if a new number came back, else the
;; result), renumber control over the new one (0), read control's old number (8), make the new one
;; non-blocking (0), read it (6), renumber it over itself (0), read it (6), poll its old number (0),
;; the error of that event (8), close it (0).
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)

  (global $internal (mut i32) (i32.const -1))
  (global $net (mut i32) (i32.const -1))
  (global $control (mut i32) (i32.const -1))

  ;; Results are collected at 4096. $send_results writes them to the internal descriptor through the
  ;; iovec at 0.
  (global $end (mut i32) (i32.const 4096))
  (func $put (param $result i32)
    (i32.store (global.get $end) (local.get $result))
    (global.set $end (i32.add (global.get $end) (i32.const 4))))
  (func $send_results
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (i32.const 4096)))
    (drop (call $write (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param $fd i32) (result i32)
    (global.set $control (local.get $fd))
    (i32.const 0))
  (func (export "watm_dial_v1") (param $fd i32) (result i32)
    (global.set $internal (local.get $fd))
    (global.set $net (call $dial_fixed))
    (global.get $net))

  (func $read_one (param $fd i32) (result i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 4))
    (call $read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))

  (func $write_one (param $fd i32) (result i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 4))
    (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))

  (func (export "watm_start_v1") (result i32)
    (local $result i32)
    (local $new i32)
    (call $put (call $close (global.get $net)))
    (call $put (call $close (global.get $net)))
    (call $put (call $read_one (global.get $net)))
    (call $put (call $write_one (global.get $net)))
    (call $put (call $fdstat (global.get $net) (i32.const 64)))
    (call $put (call $renumber (global.get $net) (global.get $internal)))
    (local.set $result (call $renumber (global.get $internal) (global.get $net)))
    (call $put (local.get $result))
    (if (i32.eqz (local.get $result)) (then (global.set $internal (global.get $net))))

    (local.set $new (call $dial_fixed))
    (call $put (select
      (i32.const 1)
      (local.get $new)
      (i32.and
        (i32.gt_s (local.get $new) (i32.const 2))
        (i32.and
          (i32.ne (local.get $new) (global.get $internal))
          (i32.ne (local.get $new) (global.get $control))))))
    (call $put (call $renumber (global.get $control) (local.get $new)))
    (call $put (call $read_one (global.get $control)))
    (call $put (call $set_flags (local.get $new) (i32.const 4)))
    (call $put (call $read_one (local.get $new)))
    (call $put (call $renumber (local.get $new) (local.get $new)))
    (call $put (call $read_one (local.get $new)))

    (i32.store8 (i32.const 136) (i32.const 1))
    (i32.store (i32.const 144) (global.get $control))
    (call $put (call $poll (i32.const 128) (i32.const 192) (i32.const 1) (i32.const 8)))
    (call $put (i32.load16_u (i32.const 200)))
    (call $put (call $close (local.get $new)))

    (call $send_results)
    (drop (call $close (global.get $internal)))
    (i32.sub (i32.const 0) (call $close (global.get $internal)))))
