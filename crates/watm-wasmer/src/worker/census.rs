//! Gives memory back to the system after many connections have ended.
//!
//! The engine keeps the stacks that guests ran on, and the allocator keeps the buffers of
//! connections, both for later connections. After thousands of simultaneous connections, gigabytes
//! would stay in use for good. So memory is given back once at least half of the workers have
//! ended, and there were many of them. A program whose connections come and go evenly never gets
//! here.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::threads;

/// Stack of the thread that gives memory back, in bytes.
const STACK: usize = 64 * 1024;
/// A smaller number of workers leaves too little behind.
const MANY: usize = 256;
/// Delay after the workers have ended. Their threads give their stacks back last of all.
const DELAY: Duration = Duration::from_secs(1);

/// Current number of workers, and the peak since memory was last given back.
static WORKERS: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Whether memory is about to be given back.
static PENDING: AtomicBool = AtomicBool::new(false);

/// The current number of workers.
pub(crate) fn workers() -> usize {
    WORKERS.load(Ordering::Relaxed)
}

/// One worker. It must be dropped when the worker ends.
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        let workers = WORKERS.fetch_add(1, Ordering::Relaxed) + 1;
        PEAK.fetch_max(workers, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let workers = WORKERS.fetch_sub(1, Ordering::Relaxed) - 1;
        if is_worth_it(workers, PEAK.load(Ordering::Relaxed))
            && !PENDING.swap(true, Ordering::Relaxed)
        {
            let spawned = threads::spawn("watm-census", STACK, || {
                thread::sleep(DELAY);
                // Workers that end from now on count for the next time.
                PEAK.store(WORKERS.load(Ordering::Relaxed), Ordering::Relaxed);
                PENDING.store(false, Ordering::Relaxed);
                give_back();
            });
            if spawned.is_err() {
                PENDING.store(false, Ordering::Relaxed);
            }
        }
    }
}

fn is_worth_it(workers: usize, peak: usize) -> bool {
    workers <= peak / 2 && peak - workers >= MANY
}

fn give_back() {
    wasmer::sys::vm::drain_stack_pool();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call this function at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_worth_it_when_many_of_most_have_ended() {
        assert!(!is_worth_it(0, 0));
        assert!(!is_worth_it(0, MANY - 1));
        assert!(is_worth_it(0, MANY));
        assert!(!is_worth_it(1, MANY));
        assert!(!is_worth_it(900, 1000));
        assert!(!is_worth_it(501, 1000));
        assert!(is_worth_it(500, 1000));
    }
}
