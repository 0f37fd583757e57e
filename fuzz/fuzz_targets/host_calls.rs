//! Every host function, with arbitrary arguments on arbitrary memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{HostCallCase, host_calls};

fuzz_target!(|case: HostCallCase| {
    let _ = host_calls(&case);
});
