;; recursion: the worker calls itself until the stack is exhausted. The result must be a trap, not a
;; crash of the host.
(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func $deeper (param $depth i64) (result i64)
    (i64.add (call $deeper (i64.add (local.get $depth) (i64.const 1))) (local.get $depth)))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $water_dial_fixed))
  (func (export "watm_start_v1") (result i32)
    (drop (call $deeper (i64.const 0)))
    (i32.const 0)))
