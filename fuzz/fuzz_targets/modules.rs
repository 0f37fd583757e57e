//! Generated modules with the interface's imports and exports.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{ModuleCase, modules};

fuzz_target!(|case: ModuleCase| {
    let _ = modules(&case);
});
