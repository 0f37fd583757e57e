;; ret_wrong_fd: watm_dial_v1 returns a number that the host never assigned.
(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (i32.const 12345))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
