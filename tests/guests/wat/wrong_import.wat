;; wrong_import: imports water_dial as a function of a pointer and a length. Loading names both
;; signatures.
(module
  (import "env" "water_dial" (func $dial (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_fixed_v1") (param i32) (result i32) (call $dial (i32.const 0) (i32.const 0)))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
