//! Configuration files that are damaged, or are none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{ConfigCase, config};

fuzz_target!(|case: ConfigCase| {
    let _ = config(&case);
});
