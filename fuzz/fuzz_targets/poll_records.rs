//! Subscriptions that a guest passes, and events that it gets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_abi_oracle::{PollCase, poll_records};

fuzz_target!(|case: PollCase| {
    let _ = poll_records(&case);
});
