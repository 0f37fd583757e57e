//! Address policy entries around an address, compared with a model for each form of the address.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{PolicyCase, policy};

fuzz_target!(|case: PolicyCase| {
    let _ = policy(&case);
});
