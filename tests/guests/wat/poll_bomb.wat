;; poll_bomb: polls with absurd counts and arrays. For each of ten calls, writes three little-endian
;; i32s to the internal descriptor: the errno, nevents (0x55555555 if the host did not write it) and
;; the error of the first event (0xffff if the host did not write it). Then returns 0.
;; The calls, in order: 0 subscriptions; 1; 10000 clocks of 0; 2^31; 2^32 - 1; a subscription that
;; crosses the end of memory; an event that does; a count that does; an unknown event type; an
;; unknown clock.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)

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

  ;; Zeroed subscriptions are relative clocks of 0.
  (func $poll_case (param $subscriptions i32) (param $events i32) (param $count i32) (param $ready i32)
    (i32.store (i32.const 8) (i32.const 0x55555555))
    (i32.store16 (i32.const 0x90008) (i32.const 0xffff))
    (call $put (call $poll (local.get $subscriptions) (local.get $events) (local.get $count) (local.get $ready)))
    (call $put (i32.load (i32.const 8)))
    (call $put (i32.load16_u (i32.const 0x90008))))

  (func (export "watm_start_v1") (result i32)
    ;; no subscription: EINVAL
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 0) (i32.const 8))
    ;; one clock
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 1) (i32.const 8))
    ;; 10000 clocks
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 10000) (i32.const 8))
    ;; 2^31
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 0x80000000) (i32.const 8))
    ;; 2^32 - 1
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 0xffffffff) (i32.const 8))
    ;; subscriptions that cross the end of memory
    (call $poll_case (i32.const 0xfffe0) (i32.const 0x90000) (i32.const 1) (i32.const 8))
    ;; events that cross it
    (call $poll_case (i32.const 0x10000) (i32.const 0xffff0) (i32.const 1) (i32.const 8))
    ;; a count that crosses it
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 1) (i32.const 0xffffe))
    ;; no such type
    (i32.store8 (i32.const 0x10008) (i32.const 9))
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 1) (i32.const 8))
    ;; no such clock
    (i32.store8 (i32.const 0x10008) (i32.const 0))
    (i32.store (i32.const 0x10010) (i32.const 77))
    (call $poll_case (i32.const 0x10000) (i32.const 0x90000) (i32.const 1) (i32.const 8))
    (call $send_results)
    (i32.const 0)))
