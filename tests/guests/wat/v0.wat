;; v0: the oldest version of the interface, marked by _water_v0. Loading refuses it by name.
(module
  (memory (export "memory") 2)
  (func (export "_start"))
  (func (export "_water_v0"))
  (func (export "_water_init") (result i32) (i32.const 0))
  (func (export "_water_dial") (param $caller_fd i32) (result i32) (i32.const -1))
  (func (export "_water_accept") (param $caller_fd i32) (result i32) (i32.const -1))
  (func (export "_water_associate") (result i32) (i32.const -1))
  (func (export "_water_cancel_with") (param $fd i32) (result i32) (i32.const 0))
  (func (export "_water_worker") (result i32) (i32.const 0)))
