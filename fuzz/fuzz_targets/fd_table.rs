//! Sequences of operations on the descriptor table.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_abi_oracle::{FdTableCase, fd_table};

fuzz_target!(|case: FdTableCase| {
    let _ = fd_table(&case);
});
