//! Arrays of buffers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_abi_oracle::{IovecCase, iovecs};

fuzz_target!(|case: IovecCase| {
    let _ = iovecs(&case);
});
