//! Runs a guest with the standard streams of this process. The guest copies one piece of standard
//! input to standard output, writes a line to standard error, and ends.

use watm_tests::{Pair, with_worker};
use watm_wasmer::{Dialer, Stdio};

fn main() {
    let module = with_worker(
        "(drop (call $read (i32.const 0) (i32.const 16384) (i32.const 1024)))
         (drop (call $write (i32.const 1) (i32.const 16384) (i32.load (i32.const 8))))
         (call $text (i32.const 2))
         (drop (call $read (i32.const 0) (i32.const 16384) (i32.const 1024)))
         ;; 0 at the end of the input.
         (i32.sub (i32.const 0) (i32.load (i32.const 8)))",
    );
    let pair = Pair::with(Dialer::builder(&module).stdio(Stdio::Inherit));
    watm_tests::eventually("the guest has ended", || pair.conn.outcome().is_some());
    pair.conn.close().expect("a clean end");
}
