//! The string arguments of `water_dial`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_abi_oracle::{DialStringCase, dial_strings};

fuzz_target!(|case: DialStringCase| {
    let _ = dial_strings(&case);
});
