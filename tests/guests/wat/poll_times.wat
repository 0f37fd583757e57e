;; poll_times: the worker polls clocks of every kind. For each of eight polls it writes one record
;; of 40 bytes to the internal descriptor, then returns 0. A record, all little-endian: errno,
;; nevents, the first event's error, its type (four i32), its userdata (i64), the duration of the
;; poll in nanoseconds (i64), 1 if the second event slot is unchanged, 0 (two i32). Nothing may
;; become ready on control.
;; Polls (with the expected userdata): 0 monotonic, relative 5 ms (1); 1 monotonic, absolute, in 5
;; ms (1); 2 realtime, absolute, in 5 ms (1); 3 monotonic, relative 0 (1); 4 monotonic, absolute, in
;; the past (1); 5 relative 5 ms and one hour (1); 6 relative one hour (1) and 5 ms (2), so that the
;; second fires (2); 7 relative 5 ms (1) and control for reading, which is silent (1).
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
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

  (func $now (param $clock i32) (result i64)
    (drop (call $clock (local.get $clock) (i64.const 1) (i32.const 16)))
    (i64.load (i32.const 16)))

  ;; Fills slot 0 or 1 of the subscriptions at 64. Its userdata is the slot's number plus 1.
  (func $clock_subscription (param $slot i32) (param $clock i32) (param $timeout i64) (param $absolute i32)
    (local $at i32)
    (local.set $at (i32.add (i32.const 64) (i32.mul (local.get $slot) (i32.const 48))))
    (memory.fill (local.get $at) (i32.const 0) (i32.const 48))
    (i64.store (local.get $at) (i64.extend_i32_u (i32.add (local.get $slot) (i32.const 1))))
    (i32.store offset=16 (local.get $at) (local.get $clock))
    (i64.store offset=24 (local.get $at) (local.get $timeout))
    (i32.store16 offset=40 (local.get $at) (local.get $absolute)))

  (func $poll_case (param $count i32)
    (local $started i64)
    (local $record i32)
    (memory.fill (i32.const 192) (i32.const 0xaa) (i32.const 64))
    (i32.store (i32.const 8) (i32.const 0x55555555))
    (local.set $started (call $now (i32.const 1)))
    (call $put (call $poll (i32.const 64) (i32.const 192) (local.get $count) (i32.const 8)))
    (call $put (i32.load (i32.const 8)))
    (call $put (i32.load16_u (i32.const 200)))
    (call $put (i32.load8_u (i32.const 202)))
    (call $put_long (i64.load (i32.const 192)))
    (call $put_long (i64.sub (call $now (i32.const 1)) (local.get $started)))
    (call $put (i64.eq (i64.load (i32.const 224)) (i64.const 0xaaaaaaaaaaaaaaaa)))
    (call $put (i32.const 0)))

  (func $put_long (param $value i64)
    (i64.store (global.get $end) (local.get $value))
    (global.set $end (i32.add (global.get $end) (i32.const 8))))

  (func (export "watm_start_v1") (result i32)
    (call $clock_subscription (i32.const 0) (i32.const 1) (i64.const 5_000_000) (i32.const 0))
    (call $poll_case (i32.const 1))
    (call $clock_subscription (i32.const 0) (i32.const 1)
      (i64.add (call $now (i32.const 1)) (i64.const 5_000_000)) (i32.const 1))
    (call $poll_case (i32.const 1))
    (call $clock_subscription (i32.const 0) (i32.const 0)
      (i64.add (call $now (i32.const 0)) (i64.const 5_000_000)) (i32.const 1))
    (call $poll_case (i32.const 1))
    (call $clock_subscription (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 0))
    (call $poll_case (i32.const 1))
    (call $clock_subscription (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 1))
    (call $poll_case (i32.const 1))
    (call $clock_subscription (i32.const 0) (i32.const 1) (i64.const 5_000_000) (i32.const 0))
    (call $clock_subscription (i32.const 1) (i32.const 1) (i64.const 3_600_000_000_000) (i32.const 0))
    (call $poll_case (i32.const 2))
    (call $clock_subscription (i32.const 0) (i32.const 1) (i64.const 3_600_000_000_000) (i32.const 0))
    (call $clock_subscription (i32.const 1) (i32.const 1) (i64.const 5_000_000) (i32.const 0))
    (call $poll_case (i32.const 2))
    (call $clock_subscription (i32.const 0) (i32.const 1) (i64.const 5_000_000) (i32.const 0))
    (call $clock_subscription (i32.const 1) (i32.const 1) (i64.const 0) (i32.const 0))
    (i32.store8 (i32.const 120) (i32.const 1))
    (i32.store (i32.const 128) (global.get $control))
    (call $poll_case (i32.const 2))
    (call $send_results)
    (i32.const 0)))
