;; fd_guess: writes a byte to every descriptor number from 0 to 2000 and to -1, except its own
;; three. Then writes four little-endian i32s to the internal descriptor: how many writes succeeded
;; (at most standard output and error), how many failed with EBADF, how many failed otherwise, and
;; the last errno of those. Then returns 0.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
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

  (func $try (param $fd i32)
    (local $errno i32)
    (if (i32.or (i32.or
          (i32.eq (local.get $fd) (global.get $internal))
          (i32.eq (local.get $fd) (global.get $net)))
          (i32.eq (local.get $fd) (global.get $control)))
      (then (return)))
    (local.set $errno (call $write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 8)))
    (if (i32.eqz (local.get $errno)) (then (call $count (i32.const 64)) (return)))
    (if (i32.eq (local.get $errno) (i32.const 8)) (then (call $count (i32.const 68)) (return)))
    (call $count (i32.const 72))
    (i32.store (i32.const 76) (local.get $errno)))

  (func $count (param $counter i32)
    (i32.store (local.get $counter) (i32.add (i32.load (local.get $counter)) (i32.const 1))))

  (data (i32.const 16) "\20\00\00\00\01\00\00\00") ;; an iovec: one byte at 32
  (data (i32.const 24) "\40\00\00\00\10\00\00\00") ;; an iovec: the four counters at 64
  (data (i32.const 32) "\n")

  (func (export "watm_start_v1") (result i32)
    (local $fd i32)
    (loop $next
      (call $try (local.get $fd))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $fd) (i32.const 2000))))
    (call $try (i32.const -1))
    (drop (call $write (global.get $internal) (i32.const 24) (i32.const 1) (i32.const 8)))
    (i32.const 0)))
