;; open_path: opens files on request of the application. A request is one write of at most 1 KiB: a
;; letter, the descriptor of the directory as one digit, and the path, which is used as it is. The
;; letters: r opens for reading, w creates and opens for writing, n truncates an existing file and
;; opens it for writing. r reads up to 1 KiB. w and n write "written" to the file. The answer is two
;; little-endian i32s, the errno of path_open and the number of bytes that follow, and then the
;; bytes that r has read. If the read or write fails, its negated errno replaces the number of
;; bytes. Returns 0 at the end of the requests.
(module
  (import "env" "water_dial_fixed" (func $water_dial_fixed (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "written")

  (global $internal (mut i32) (i32.const -1))
  (func (export "_initialize"))
  (func (export "watm_init_v1") (result i32) (i32.const 0))
  (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
  (func (export "watm_dial_v1") (param $internal i32) (result i32)
    (global.set $internal (local.get $internal))
    (call $water_dial_fixed))

  ;; Returns the errno of one call. The count is at 8.
  (func $read (param $fd i32) (param $buffer i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $write (param $fd i32) (param $buffer i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $buffer))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))

  ;; The request is at 1024 and has `$length` bytes. The answer goes to 4096.
  (func $answer (param $length i32)
    (local $letter i32)
    (local $directory i32)
    (local $file i32)
    (local $errno i32)
    (local.set $letter (i32.load8_u (i32.const 1024)))
    (local.set $directory (i32.sub (i32.load8_u (i32.const 1025)) (i32.const 48)))
    (i32.store (i32.const 4100) (i32.const 0))
    (local.set $errno
      (if (result i32) (i32.eq (local.get $letter) (i32.const 114)) ;; r: the rights to read
        (then
          (call $path_open (local.get $directory) (i32.const 1) (i32.const 1026)
            (i32.sub (local.get $length) (i32.const 2)) (i32.const 0)
            (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))
        (else ;; w and n: the rights to write; O_CREAT or O_TRUNC
          (call $path_open (local.get $directory) (i32.const 1) (i32.const 1026)
            (i32.sub (local.get $length) (i32.const 2))
            (select (i32.const 1) (i32.const 8) (i32.eq (local.get $letter) (i32.const 119)))
            (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))))
    (i32.store (i32.const 4096) (local.get $errno))
    (if (local.get $errno) (then (return)))
    (local.set $file (i32.load (i32.const 8)))
    (if (i32.eq (local.get $letter) (i32.const 114))
      (then
        (local.set $errno (call $read (local.get $file) (i32.const 4104) (i32.const 1024))))
      (else
        (local.set $errno (call $write (local.get $file) (i32.const 16) (i32.const 7)))))
    (if (local.get $errno)
      (then (i32.store (i32.const 4100) (i32.sub (i32.const 0) (local.get $errno))))
      (else
        (if (i32.eq (local.get $letter) (i32.const 114))
          (then (i32.store (i32.const 4100) (i32.load (i32.const 8)))))))
    (drop (call $fd_close (local.get $file))))

  (func (export "watm_start_v1") (result i32)
    (local $errno i32)
    (loop $next
      (local.set $errno (call $read (global.get $internal) (i32.const 1024) (i32.const 1024)))
      (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return (i32.const 0))))
      (call $answer (i32.load (i32.const 8)))
      (local.set $errno (call $write (global.get $internal) (i32.const 4096)
        (i32.add (i32.const 8) (select (i32.load (i32.const 4100)) (i32.const 0)
          (i32.gt_s (i32.load (i32.const 4100)) (i32.const 0))))))
      (if (local.get $errno) (then (return (i32.sub (i32.const 0) (local.get $errno)))))
      (br $next))
    (unreachable)))
