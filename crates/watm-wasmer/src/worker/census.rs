//! Gives memory back to the system when many connections have ended.
//!
//! The engine keeps the stacks that guests ran on, and the allocator the buffers of connections,
//! for those to come. After thousands of connections at once that would be gigabytes for good.
//! So when at least half of the workers have ended, and many, what they left is given back. A
//! program whose connections come and go evenly never gets here.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::threads;

/// Stack of the thread that gives memory back, in bytes.
const STACK: usize = 64 * 1024;
/// Fewer workers than this leave too little behind.
const MANY: usize = 256;
/// How long after the workers it happens: their threads give their stacks back last of all.
const DELAY: Duration = Duration::from_secs(1);

/// Workers there are, and the most there were since the last time.
static WORKERS: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Whether it is about to happen.
static PENDING: AtomicBool = AtomicBool::new(false);

/// The workers that there are.
pub(crate) fn workers() -> usize {
    WORKERS.load(Ordering::Relaxed)
}

/// One worker; to be dropped when it ends.
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
                // Those that end from now on may call for the next time.
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
    // SAFETY: it may be called at any time from any thread.
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
