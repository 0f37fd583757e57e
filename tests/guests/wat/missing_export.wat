;; missing_export: has no watm_ctrlpipe_v1. Loading names the function and its expected signature.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
