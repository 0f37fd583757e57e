//! Everything that two guests can do with files in the same directories.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_wasmer_oracle::{FileCase, files};

fuzz_target!(|case: FileCase| {
    let _ = files(&case);
});
