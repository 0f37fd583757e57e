//! Everything that can be done with files, by two guests that were given the same directories.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{FileCase, files};

fuzz_target!(|case: FileCase| {
    let _ = files(&case);
});
