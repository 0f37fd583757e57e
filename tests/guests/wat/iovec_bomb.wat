;; iovec_bomb: passes iovec arrays and buffers that lie outside memory, overflow, or are not iovecs
;; at all. Writes 30 raw results to the internal descriptor, as little-endian i32s, then returns 0.
;; Nothing else may arrive there.
;; Order:
;;   0-8   fd_read, internal, non-blocking: see the comments in the worker. EFAULT (21) or EINVAL
;;     (28). The last two, an empty buffer and no iovec at all, may also give 0 or EAGAIN (6)
;;   9-17  fd_write: the same cases; the last may be 0
;;   18-19 sock_recv: 2^31 iovecs, a wrapping buffer
;;   20-21 sock_send: the same
;;   22-28 water_dial: results below 0; 25 is text instead of iovecs: -EINVAL
;;   29    fd_fdstat_get into a record that crosses the end
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "env" "water_dial" (func $dial (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
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

  (data (i32.const 16) "\00\04\00\00\04\00\00\00") ;; 16: 4 bytes at 1024
  (data (i32.const 24) "\00\ff\ff\ff\00\02\00\00") ;; 24: 512 bytes at 2^32 - 256
  (data (i32.const 32) "\00\04\00\00\00\00\00\80") ;; 32: 2^31 bytes at 1024
  (data (i32.const 40) "\fe\ff\01\00\04\00\00\00") ;; 40: 4 bytes, 2 before the end
  (data (i32.const 48) "\00\04\00\00\00\00\00\00") ;; 48: nothing at 1024
  (data (i32.const 56) "\00\00\00\00\ff\ff\ff\7f\00\00\00\00\ff\ff\ff\7f") ;; 56: twice 2^31 - 1 bytes at 0
  (data (i32.const 72) "\04\02\00\00\0e\00\00\00") ;; 72: the address at 516
  (data (i32.const 80) "\00\08\00\00\01\01\00\00") ;; 80: 257 bytes at 2048
  (data (i32.const 512) "tcp\00127.0.0.1:9999")

  (func (export "watm_start_v1") (result i32)
    (drop (call $set_flags (global.get $internal) (i32.const 4)))

    ;; fd_read
    ;; 2^31 iovecs
    (call $put (call $read (global.get $internal) (i32.const 16) (i32.const 0x80000000) (i32.const 8)))
    ;; an array that crosses the end of memory
    (call $put (call $read (global.get $internal) (i32.const 0x1fffc) (i32.const 1) (i32.const 8)))
    ;; an array whose end wraps round 2^32
    (call $put (call $read (global.get $internal) (i32.const 0xfffffff8) (i32.const 2) (i32.const 8)))
    ;; a buffer that wraps round 2^32
    (call $put (call $read (global.get $internal) (i32.const 24) (i32.const 1) (i32.const 8)))
    ;; a buffer of 2^31 bytes
    (call $put (call $read (global.get $internal) (i32.const 32) (i32.const 1) (i32.const 8)))
    ;; a buffer that crosses the end of memory
    (call $put (call $read (global.get $internal) (i32.const 40) (i32.const 1) (i32.const 8)))
    ;; two buffers whose lengths add up to 2^32 - 2
    (call $put (call $read (global.get $internal) (i32.const 56) (i32.const 2) (i32.const 8)))
    ;; an empty buffer, and a result pointer that crosses the end
    (call $put (call $read (global.get $internal) (i32.const 48) (i32.const 1) (i32.const 0x1fffe)))
    ;; no iovec at all
    (call $put (call $read (global.get $internal) (i32.const 16) (i32.const 0) (i32.const 8)))

    ;; fd_write
    ;; 2^31 iovecs
    (call $put (call $write (global.get $internal) (i32.const 16) (i32.const 0x80000000) (i32.const 8)))
    ;; an array that crosses the end of memory
    (call $put (call $write (global.get $internal) (i32.const 0x1fffc) (i32.const 1) (i32.const 8)))
    ;; an array whose end wraps round 2^32
    (call $put (call $write (global.get $internal) (i32.const 0xfffffff8) (i32.const 2) (i32.const 8)))
    ;; a buffer that wraps round 2^32
    (call $put (call $write (global.get $internal) (i32.const 24) (i32.const 1) (i32.const 8)))
    ;; a buffer of 2^31 bytes
    (call $put (call $write (global.get $internal) (i32.const 32) (i32.const 1) (i32.const 8)))
    ;; a buffer that crosses the end of memory
    (call $put (call $write (global.get $internal) (i32.const 40) (i32.const 1) (i32.const 8)))
    ;; two buffers whose lengths add up to 2^32 - 2
    (call $put (call $write (global.get $internal) (i32.const 56) (i32.const 2) (i32.const 8)))
    ;; an empty buffer, and a result pointer that crosses the end
    (call $put (call $write (global.get $internal) (i32.const 48) (i32.const 1) (i32.const 0x1fffe)))
    ;; no iovec at all
    (call $put (call $write (global.get $internal) (i32.const 16) (i32.const 0) (i32.const 8)))

    ;; sock_recv, sock_send
    (call $put
      (call $recv (global.get $internal) (i32.const 16) (i32.const 0x80000000) (i32.const 0)
        (i32.const 8) (i32.const 12)))
    (call $put
      (call $recv (global.get $internal) (i32.const 24) (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 12)))
    (call $put (call $send (global.get $internal) (i32.const 16) (i32.const 0x80000000) (i32.const 0) (i32.const 8)))
    (call $put (call $send (global.get $internal) (i32.const 24) (i32.const 1) (i32.const 0) (i32.const 8)))

    ;; water_dial
    ;; 2^31 iovecs twice
    (call $put (call $dial (i32.const 16) (i32.const 0x80000000) (i32.const 16) (i32.const 0x80000000)))
    ;; an array that crosses the end
    (call $put (call $dial (i32.const 0x1fffc) (i32.const 1) (i32.const 72) (i32.const 1)))
    ;; a buffer that wraps round 2^32
    (call $put (call $dial (i32.const 24) (i32.const 1) (i32.const 72) (i32.const 1)))
    ;; plain pointers and lengths
    (call $put (call $dial (i32.const 512) (i32.const 3) (i32.const 516) (i32.const 14)))
    ;; 257 bytes
    (call $put (call $dial (i32.const 80) (i32.const 1) (i32.const 72) (i32.const 1)))
    ;; no iovecs
    (call $put (call $dial (i32.const 16) (i32.const 0) (i32.const 16) (i32.const 0)))
    ;; 2^31 - 1 empty iovecs, more than memory holds
    (call $put (call $dial (i32.const 88) (i32.const 0x7fffffff) (i32.const 72) (i32.const 1)))

    ;; a record that crosses the end of memory
    (call $put (call $fdstat (global.get $internal) (i32.const 0x1fff0)))

    (call $send_results)
    (i32.const 0)))
