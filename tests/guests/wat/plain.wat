;; plain: a small correct pass-through module, written by hand, with all four roles, two pages of
;; memory and pieces of 4 KiB. Like the TinyGo library's worker, it polls for reading, reads until
;; EAGAIN, writes the whole piece again on EAGAIN, and ends at the first end of stream. dial_fixed
;; reads "host:port" from /conf/watm.cfg.
(module
  (import "env" "water_dial" (func $water_dial (param i32 i32 i32 i32) (result i32)))
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "env" "water_accept" (func $water_accept (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))

  ;; Memory: 0 an iovec, 8 a result, 16 the control byte, 32 and 40 the iovecs of water_dial, 64
  ;; three subscriptions, 256 three events, 512 strings, 1024 the address, 4096 the piece.
  (memory (export "memory") 2)
  (data (i32.const 512) "tcp")
  (data (i32.const 520) "watm.cfg")

  (global $source (mut i32) (i32.const -1))
  (global $remote (mut i32) (i32.const -1))
  (global $control (mut i32) (i32.const -1))

  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param $fd i32) (result i32)
    (global.set $control (local.get $fd))
    (i32.const 0))

  (func $connected (param $source i32) (param $remote i32) (result i32)
    (global.set $source (local.get $source))
    (global.set $remote (local.get $remote))
    (local.get $remote))

  (func (export "watm_dial_v1") (param $internal i32) (result i32)
    (call $connected (local.get $internal) (call $water_dial_fixed)))

  (func (export "watm_dial_fixed_v1") (param $internal i32) (result i32)
    (local $length i32)
    (local.set $length (call $read_address))
    (if (i32.lt_s (local.get $length) (i32.const 0)) (then (return (local.get $length))))
    (i32.store (i32.const 32) (i32.const 512))
    (i32.store (i32.const 36) (i32.const 3))
    (i32.store (i32.const 40) (i32.const 1024))
    (i32.store (i32.const 44) (local.get $length))
    (call $connected (local.get $internal)
      (call $water_dial (i32.const 32) (i32.const 1) (i32.const 40) (i32.const 1))))

  (func (export "watm_accept_v1") (param $internal i32) (result i32)
    (call $connected (local.get $internal) (call $water_accept)))

  (func (export "watm_associate_v1") (result i32)
    (local $source i32)
    (local $remote i32)
    (local.set $source (call $water_accept))
    (if (i32.lt_s (local.get $source) (i32.const 0)) (then (return (local.get $source))))
    (local.set $remote (call $water_dial_fixed))
    (if (i32.lt_s (local.get $remote) (i32.const 0)) (then (return (local.get $remote))))
    (drop (call $connected (local.get $source) (local.get $remote)))
    (i32.const 0))

  ;; Reads the configuration up to the first blank or control character to 1024. Returns its length,
  ;; or a negative errno. Tries every preopened directory instead of comparing names.
  (func $read_address (result i32)
    (local $fd i32)
    (local $errno i32)
    (local $length i32)
    (local.set $fd (i32.const 3))
    (block $opened
      (loop $next
        (br_if $opened (i32.eqz
          (call $path_open (local.get $fd) (i32.const 0) (i32.const 520) (i32.const 8) (i32.const 0)
            (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))))
        (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $fd) (i32.const 16))))
      (return (i32.const -44)))
    (local.set $fd (i32.load (i32.const 8)))
    (local.set $errno (call $read (local.get $fd) (i32.const 1024) (i32.const 256)))
    (drop (call $fd_close (local.get $fd)))
    (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $length) (i32.load (i32.const 8))))
        (br_if $end (i32.le_u (i32.load8_u (i32.add (i32.const 1024) (local.get $length))) (i32.const 32)))
        (local.set $length (i32.add (local.get $length) (i32.const 1)))
        (br $next)))
    (local.get $length))

  ;; Do one read or write through the iovec at 0, with the count at 8. Both return the errno.
  (func $read (param $fd i32) (param $buffer i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))

  (func $write (param $fd i32) (param $buffer i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))

  ;; Returns 0 for no more for now, 1 for the end of the stream, or a negative errno.
  (func $pump (param $from i32) (param $to i32) (result i32)
    (local $errno i32)
    (local $length i32)
    (loop $next
      (local.set $errno (call $read (local.get $from) (i32.const 4096) (i32.const 4096)))
      (if (i32.eq (local.get $errno) (i32.const 6)) (then (return (i32.const 0))))
      (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
      (local.set $length (i32.load (i32.const 8)))
      (if (i32.eqz (local.get $length)) (then (return (i32.const 1))))
      (loop $again
        (local.set $errno (call $write (local.get $to) (i32.const 4096) (local.get $length)))
        (br_if $again (i32.eq (local.get $errno) (i32.const 6))))
      (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
      (if (i32.ne (i32.load (i32.const 8)) (local.get $length)) (then (return (i32.const -29))))
      (br $next))
    (unreachable))

  (func $subscribe (param $slot i32) (param $fd i32)
    (i64.store (local.get $slot) (i64.extend_i32_u (local.get $fd)))
    (i32.store8 offset=8 (local.get $slot) (i32.const 1))
    (i32.store offset=16 (local.get $slot) (local.get $fd)))

  ;; Returns 0, or the negative errno of the call or of any slot, reported or not.
  (func $wait (result i32)
    (local $errno i32)
    (local $slot i32)
    (call $subscribe (i32.const 64) (global.get $control))
    (call $subscribe (i32.const 112) (global.get $source))
    (call $subscribe (i32.const 160) (global.get $remote))
    (memory.fill (i32.const 256) (i32.const 0) (i32.const 96))
    (local.set $errno (call $poll_oneoff (i32.const 64) (i32.const 256) (i32.const 3) (i32.const 8)))
    (local.set $slot (i32.const 256))
    (block $done
      (loop $next
        (br_if $done (local.get $errno))
        (br_if $done (i32.eq (local.get $slot) (i32.const 352)))
        (local.set $errno (i32.load16_u offset=8 (local.get $slot)))
        (local.set $slot (i32.add (local.get $slot) (i32.const 32)))
        (br $next)))
    (i32.sub (i32.const 0) (local.get $errno)))

  (func (export "watm_start_v1") (result i32)
    (local $result i32)
    (local.set $result (i32.or (i32.or
      (call $set_flags (global.get $control) (i32.const 4))
      (call $set_flags (global.get $source) (i32.const 4)))
      (call $set_flags (global.get $remote) (i32.const 4))))
    (if (local.get $result) (then (return (i32.sub (i32.const 0) (local.get $result)))))
    (loop $next
      (local.set $result (call $wait))
      (if (local.get $result) (then (return (local.get $result))))
      (local.set $result (call $read (global.get $control) (i32.const 16) (i32.const 1)))
      (if (i32.eqz (local.get $result)) (then (return (i32.const -11))))
      (if (i32.ne (local.get $result) (i32.const 6)) (then (return (i32.sub (i32.const 0) (local.get $result)))))
      (local.set $result (call $pump (global.get $source) (global.get $remote)))
      (if (i32.eqz (local.get $result))
        (then (local.set $result (call $pump (global.get $remote) (global.get $source)))))
      (if (i32.lt_s (local.get $result) (i32.const 0)) (then (return (local.get $result))))
      (br_if $next (i32.eqz (local.get $result))))
    (i32.const 0)))
