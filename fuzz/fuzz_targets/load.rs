//! Files that are not modules, or almost, and damaged artifacts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{LoadCase, load};

fuzz_target!(|case: LoadCase| {
    let _ = load(&case);
});
