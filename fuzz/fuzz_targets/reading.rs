//! Memory and time that reading takes for modules that declare a thing many times, or refer to a
//! large one from many places.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watm_meter::Meter;
use watm_wasmer_oracle::{ReadingCase, reading};

/// The reading oracle measures with this.
#[global_allocator]
static METER: Meter = Meter;

fuzz_target!(|case: ReadingCase| {
    let _ = reading(&case);
});
