;; draft_v1: the later draft that is also called v1. It exports watm_userpipe_v1. Its role functions
;; take a network type where v1 takes the internal descriptor or nothing. Loading refuses it by
;; name.
(module
  (memory (export "memory") 2)
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_userpipe_v1") (param $user_fd i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param $network_type i32) (result i32) (i32.const -52))
  (func (export "watm_accept_v1") (param $network_type i32) (result i32) (i32.const -52))
  (func (export "watm_associate_v1") (param $network_type i32) (result i32) (i32.const -52))
  (func (export "watm_start_v1") (result i32) (i32.const 0)))
