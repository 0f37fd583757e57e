//! What connections cost the process, and that they give it back. Each test measures a whole
//! process. So each runs in its own process, and they take turns.

mod bounds;
mod idle;
mod leaks;
mod shortages;
mod spares;
mod tasks;

use watm_tests::{eventually, open_descriptors, resident_bytes, threads};

/// What the process uses now.
#[derive(Debug)]
pub(crate) struct Uses {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
    pub(crate) resident: u64,
}

/// The threads of the runtime except its supervisor. The supervisor stays once it exists, and may
/// exist for a while before it has its name.
pub(crate) fn passing_threads() -> usize {
    threads("watm-").saturating_sub(threads("watm-supervisor"))
}

impl Uses {
    pub(crate) fn now() -> Self {
        Self {
            threads: passing_threads(),
            descriptors: open_descriptors(),
            resident: resident_bytes(),
        }
    }

    /// Checks that threads and descriptors are as before, and memory almost.
    #[track_caller]
    pub(crate) fn expect_back(&self, growth: u64) {
        eventually("no thread is left over", || {
            passing_threads() <= self.threads
        });
        eventually("no descriptor is left over", || {
            open_descriptors() <= self.descriptors
        });
        let now = Self::now();
        let grown = now.resident.saturating_sub(self.resident);
        assert!(
            grown <= growth,
            "{} more KiB are in use: {self:?}, {now:?}",
            grown / 1024
        );
    }
}

pub(crate) const MEBIBYTE: u64 = 1 << 20;

/// How much memory may grow because the allocator still holds it.
pub(crate) const SLACK: u64 = 4 * MEBIBYTE;
