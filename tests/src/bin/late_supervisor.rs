//! Dials for the first time while the process cannot start a thread, and again when it can. The
//! thread that keeps time for all connections is started once per process, so this is a separate
//! program. It succeeds if the second dial is bounded in time.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use watm_tests::{eventually, listener, threads, wat};
use watm_wasmer::Dialer;

fn main() {
    let module = wat("loop_dial");
    let (_listener, address) = listener();
    let limit = Duration::from_millis(100);
    let dialer = Dialer::builder(&module).setup_timeout(limit).build();
    let dialer = dialer.expect("a dialer");
    // Room for small allocations, but not for a thread's stack.
    let before = limit_memory(Some(size_of_process() + 128 * 1024));
    dialer
        .dial(&address)
        .expect_err("there is no thread for it");
    limit_memory(before);
    dialer.dial(&address).expect_err("it never ends by itself");
    eventually("its worker was stopped", || threads("watm-worker") == 0);
}

/// Limits the address space. Returns the previous limit.
fn limit_memory(bytes: Option<u64>) -> Option<u64> {
    let before = getrlimit(Resource::As);
    let now = Rlimit {
        current: bytes,
        ..before
    };
    setrlimit(Resource::As, now).expect("to set the limit");
    before.current
}

fn size_of_process() -> u64 {
    let sizes = std::fs::read_to_string("/proc/self/statm").expect("the sizes");
    let pages: u64 = sizes
        .split_whitespace()
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    // SAFETY: `sysconf` only returns a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).expect("a size")
}
