;; grow: grows its memory page by page until that fails, and stores to the last byte of every page.
;; Writes the number of pages (one little-endian i32) to the internal descriptor. The memory cap
;; must hold, and all granted memory must be usable.
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
  (func (export "watm_start_v1") (result i32)
    (local $page i32)
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (loop $next
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (i32.store8 (i32.sub (i32.shl (local.get $page) (i32.const 16)) (i32.const 1)) (i32.const 1))
      (br_if $next (i32.lt_u (local.get $page) (memory.size))))
    (i32.store (i32.const 16) (memory.size))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 4))
    (drop (call $write (global.get $internal) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.const 0)))
