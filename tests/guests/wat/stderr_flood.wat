;; stderr_flood: writes 100,000 lines with control characters, NUL and invalid UTF-8 to standard
;; error, then 1 MiB without a newline, and returns 0. Log lines must be bounded and sanitized, and
;; must not stop the connection.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $dial_fixed))

  (data (i32.const 16) "\40\00\00\00\2e\00\00\00") ;; an iovec: the 46 bytes at 64
  (data (i32.const 24) "\00\00\01\00\00\00\01\00") ;; an iovec: 64 KiB at 64 KiB
  (data (i32.const 64) "\1b[31mflood\1b[0m \07\08\0c\7f \00 \ff\fe\c3\28 \e2\82 \1b]0;title\07 end\0d\0a")

  (func (export "watm_start_v1") (result i32)
    (local $count i32)
    (loop $next
      (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8)))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $count) (i32.const 100000))))
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 65536))
    (local.set $count (i32.const 0))
    (loop $next
      (drop (call $write (i32.const 2) (i32.const 24) (i32.const 1) (i32.const 8)))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $count) (i32.const 16))))
    (i32.const 0)))
