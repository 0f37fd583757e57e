;; calls: repeats one host call, so that a benchmark can measure it. Commands arrive from the
;; network, which leaves the internal descriptor empty. A command is 16 bytes, two little-endian
;; i64s: the index of a function in the table below, and a count. The guest answers each command
;; with one byte. An unexpected errno is a trap. Ends with 0 at the end of stream. Never looks at
;; control.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))

  ;; Memory: 0 an iovec, 8 a result, 16 the command, 64 three subscriptions, 256 three events, 512
  ;; the output of other calls, 65536 a piece of 64 KiB.
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

  ;; In the order of `Call` in calls.rs. Each function takes a count of at least 1 and returns an
  ;; errno.
  (type $repeat (func (param i64) (result i32)))
  (table funcref (elem $loop_alone $wasm_call $read_again $write_0 $write_1 $poll_1 $poll_3 $clock_time $random_8
    $sched_yield $fdstat_get $drain $fill))

  (func (export "watm_start_v1") (result i32)
    (block $end
      (loop $next
        (call $iovec (i32.const 16) (i32.const 16))
        (call $expect (call $read (global.get $net) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0))
        (br_if $end (i32.eqz (i32.load (i32.const 8))))
        (call $expect (i32.load (i32.const 8)) (i32.const 16))
        (call $expect
          (call_indirect (type $repeat) (i64.load (i32.const 24)) (i32.wrap_i64 (i64.load (i32.const 16))))
          (i32.const 0))
        (call $iovec (i32.const 512) (i32.const 1))
        (call $expect (call $write (global.get $net) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0))
        (br $next)))
    (i32.const 0))

  (func $expect (param $found i32) (param $expected i32)
    (if (i32.ne (local.get $found) (local.get $expected)) (then (unreachable))))

  (func $iovec (param $buffer i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length)))

  (func $subscribe (param $slot i32) (param $tag i32) (param $fd i32)
    (i32.store8 offset=8 (local.get $slot) (local.get $tag))
    (i32.store offset=16 (local.get $slot) (local.get $fd)))

  (func $loop_alone (param $count i64) (result i32)
    (loop $next
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (i32.const 0))

  ;; Called by the next function. It has as many parameters and results as most host calls.
  (func $same (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func $wasm_call (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $same (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $errno))

  ;; Reads the empty, non-blocking internal descriptor.
  (func $read_again (param $count i64) (result i32)
    (local $errno i32)
    (call $expect (call $set_flags (global.get $internal) (i32.const 4)) (i32.const 0))
    (call $iovec (i32.const 512) (i32.const 1024))
    (loop $next
      (local.set $errno (call $read (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (call $expect (local.get $errno) (i32.const 6))
    (call $set_flags (global.get $internal) (i32.const 0)))

  (func $write_0 (param $count i64) (result i32)
    (call $iovec (i32.const 512) (i32.const 0))
    (call $write_many (global.get $internal) (local.get $count)))

  ;; To the network, where small writes are collected before they are sent.
  (func $write_1 (param $count i64) (result i32)
    (call $iovec (i32.const 512) (i32.const 1))
    (call $write_many (global.get $net) (local.get $count)))

  (func $write_many (param $fd i32) (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $errno))

  ;; One subscription, which is ready because the internal descriptor has room.
  (func $poll_1 (param $count i64) (result i32)
    (call $subscribe (i32.const 64) (i32.const 2) (global.get $internal))
    (call $poll_many (i32.const 1) (local.get $count)))

  ;; What a worker subscribes to: control and both sides. Again only one is ready.
  (func $poll_3 (param $count i64) (result i32)
    (call $subscribe (i32.const 64) (i32.const 1) (global.get $control))
    (call $subscribe (i32.const 112) (i32.const 1) (global.get $net))
    (call $subscribe (i32.const 160) (i32.const 2) (global.get $internal))
    (call $poll_many (i32.const 3) (local.get $count)))

  (func $poll_many (param $subscriptions i32) (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      ;; Different userdata each time: the host puts a guest to rest that gets the same answer again
      ;; and again without acting on it.
      (i64.store (i32.const 64) (local.get $count))
      (i64.store (i32.const 160) (local.get $count))
      (local.set $errno (call $poll (i32.const 64) (i32.const 256) (local.get $subscriptions) (i32.const 8)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (call $expect (i32.load (i32.const 8)) (i32.const 1))
    (local.get $errno))

  (func $clock_time (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $clock (i32.const 1) (i64.const 1) (i32.const 512)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $errno))

  (func $random_8 (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $random (i32.const 512) (i32.const 8)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $errno))

  (func $sched_yield (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $yield))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $errno))

  (func $fdstat_get (param $count i64) (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $fdstat (global.get $internal) (i32.const 512)))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $errno))

  ;; Reads `count` bytes from the application, in pieces of up to 64 KiB.
  (func $drain (param $count i64) (result i32)
    (call $iovec (i32.const 65536) (i32.const 65536))
    (loop $next
      (call $expect (call $read (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0))
      (local.set $count (i64.sub (local.get $count) (i64.load32_u (i32.const 8))))
      (br_if $next (i64.gt_s (local.get $count) (i64.const 0))))
    (i32.const 0))

  ;; Writes `count` bytes for the application, in pieces of up to 64 KiB.
  (func $fill (param $count i64) (result i32)
    (local $piece i64)
    (loop $next
      (local.set $piece (select (local.get $count) (i64.const 65536) (i64.lt_s (local.get $count) (i64.const 65536))))
      (call $iovec (i32.const 65536) (i32.wrap_i64 (local.get $piece)))
      (call $expect (call $write (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 0))
      (local.set $count (i64.sub (local.get $count) (local.get $piece)))
      (br_if $next (i64.gt_s (local.get $count) (i64.const 0))))
    (i32.const 0)))
