;; fixed_by_pointer: a fixed dialer that passes plain pointers and lengths to water_dial instead of
;; iovec arrays, as some guests do. Read as records, the letters are addresses far outside memory.
;; The result is -EINVAL, which it returns.
(module
  (import "env" "water_dial" (func $water_dial (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 1024) "tcp")
  (data (i32.const 1040) "127.0.0.1:9999 and more text behind it, so that all that is read as records is text as well. ")
  (data (i32.const 1136) "127.0.0.1:9999 and more text behind it, so that all that is read as records is text as well. ")
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_fixed_v1") (param i32) (result i32)
    (call $water_dial (i32.const 1024) (i32.const 3) (i32.const 1040) (i32.const 14)))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
