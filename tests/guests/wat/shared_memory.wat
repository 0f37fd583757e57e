;; shared_memory: has a shared memory (threads proposal). The host may refuse it or treat it as
;; unshared. Either way it must not crash.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (memory (export "memory") 2 2 shared)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
