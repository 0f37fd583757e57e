//! What concerns the process as a whole.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::border::{call, given, handle_count};
use crate::status::{watm_error, watm_status};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The version of the library, such as `0.1.0`. It lives as long as the process.
#[unsafe(no_mangle)]
pub extern "C" fn watm_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// How many handles there are of all kinds, errors included: what was made and not freed yet. For
/// tests that look for leaks.
#[unsafe(no_mangle)]
pub extern "C" fn watm_handle_count() -> usize {
    handle_count()
}

/// Waits, up to a time in milliseconds, until all connections that were freed have delivered what
/// was written to them and have ended. `*left` is how many have not.
///
/// A program whose last connections were freed rather than closed calls this before it ends, since
/// the end of the process resets their peers.
#[unsafe(no_mangle)]
pub extern "C" fn watm_drain(
    milliseconds: u64,
    left: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut *mut watm_error>,
) -> watm_status {
    call(error, || {
        let left = given("the place for the number", left)?;
        left.write(watm_wasmer::drain(Duration::from_millis(milliseconds)));
        Ok(())
    })
}
