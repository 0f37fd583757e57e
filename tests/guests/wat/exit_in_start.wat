;; exit_in_start: the worker ends with proc_exit(0). This is not a clean end of a connection,
;; whatever the code.
(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param i32) (result i32) (call $water_dial_fixed))
  (func (export "watm_start_v1") (result i32)
    (call $proc_exit (i32.const 0))
    (unreachable)))
