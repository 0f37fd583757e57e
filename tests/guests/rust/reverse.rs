// rust_reverse: reverses the bytes of every piece that it reads, like reverse, but in Rust.
mod guest;
mod worker;

fn main() {
    guest::register();
}

#[no_mangle]
extern "C" fn watm_start_v1() -> i32 {
    guest::negated(worker::run(<[u8]>::reverse))
}
