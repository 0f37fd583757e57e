;; A module that is signed: it offers the role dialer alone, and dials nothing.
(module
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (i32.const -1))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
