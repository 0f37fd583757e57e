;; peek_input: a dialer that peeks at the beginning of its standard input, then reads it. It sends
;; the error numbers of the peek and of the read, as one byte each, and the bytes that it has read.
(module
  (import "env" "water_dial_fixed" (func $dial (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv"
    (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; A buffer of 16 bytes at 66.
  (data (i32.const 0) "\42\00\00\00\10\00\00\00")
  (global $net (mut i32) (i32.const -1))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32)
    (global.set $net (call $dial))
    (global.get $net))
  (func (export "watm_start_v1") (result i32)
    (i32.store8 (i32.const 64)
      (call $recv (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 8) (i32.const 12)))
    (i32.store8 (i32.const 65)
      (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 64))
    (i32.store (i32.const 20) (i32.add (i32.load (i32.const 8)) (i32.const 2)))
    (i32.sub (i32.const 0)
      (call $write (global.get $net) (i32.const 16) (i32.const 1) (i32.const 24)))))
