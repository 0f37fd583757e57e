// rust_plain: passes both directions through unchanged, like plain, but in Rust.
mod guest;
mod worker;

fn main() {
    guest::register();
}

#[no_mangle]
extern "C" fn watm_start_v1() -> i32 {
    guest::negated(worker::run(|_| {}))
}
