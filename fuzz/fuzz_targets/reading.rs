//! Modules that declare a thing many times, or refer to a large one from many places: what reading
//! them takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_meter::Meter;
use watm_wasmer_oracle::{ReadingCase, reading};

/// What the oracle measures with.
#[global_allocator]
static METER: Meter = Meter;

fuzz_target!(|case: ReadingCase| {
    let _ = reading(&case);
});
