//! What plain clients say to a proxy, whole and in pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{GreetingCase, greeting};

fuzz_target!(|case: GreetingCase| {
    let _ = greeting(&case);
});
