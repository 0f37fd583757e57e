;; no_wasi: imports only water_dial_fixed, and nothing from WASI. It has neither _start nor
;; _initialize. It loads and dials, and its worker returns 0 at once.
(module
  (import "env" "water_dial_fixed" (func $dial_fixed (result i32)))
  (memory (export "memory") 2)
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $dial_fixed))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
