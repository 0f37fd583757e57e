// rust_panic: the worker panics. The panic writes a line to standard error, then traps.
mod guest;

fn main() {
    guest::register();
}

#[no_mangle]
extern "C" fn watm_start_v1() -> i32 {
    panic!("the worker panics on purpose");
}
