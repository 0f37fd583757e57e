//! The check of what a module imports and exports.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_abi_oracle::{InterfaceCase, interface_check};

fuzz_target!(|case: InterfaceCase| {
    let _ = interface_check(&case);
});
