// rust_panic: a worker that panics: a line on standard error, then a trap.
mod guest;

fn main() {
    guest::register();
}

#[no_mangle]
extern "C" fn watm_start_v1() -> i32 {
    panic!("the worker panics on purpose");
}
