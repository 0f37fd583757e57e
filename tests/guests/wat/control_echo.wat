;; control_echo: the worker polls only the control descriptor, and returns -ECANCELED once it is
;; readable, without reading it.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
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
    (local $errno i32)
    (i32.store8 (i32.const 72) (i32.const 1))
    (i32.store (i32.const 80) (global.get $control))
    (local.set $errno (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))
    (if (i32.eqz (local.get $errno)) (then (local.set $errno (i32.load16_u (i32.const 136)))))
    (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
    (if (i32.ne (i32.load (i32.const 8)) (i32.const 1)) (then (return (i32.const -29))))
    (i32.const -11)))
