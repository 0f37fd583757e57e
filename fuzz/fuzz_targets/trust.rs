//! Keys, signatures and manifests, changed or made up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{TrustCase, trust};

fuzz_target!(|case: TrustCase| {
    let _ = trust(&case);
});
