;; imported_memory: exports a memory that it imports. The host does not provide it, and loading says
;; so.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (import "env" "memory" (memory 2))
  (export "memory" (memory 0))
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
