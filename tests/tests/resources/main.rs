//! What connections cost the process, and that they give it back. Each test measures the whole
//! process, so it has one of its own, and they take turns.

mod bounds;
mod idle;
mod leaks;
mod shortages;
mod stocks;

use watm_tests::{eventually, open_descriptors, resident_bytes, threads};

/// What the process uses now.
#[derive(Debug)]
pub(crate) struct Uses {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
    pub(crate) resident: u64,
}

/// The threads of the runtime but for its supervisor, which stays once it is there, and which may
/// be there for a while before it has its name.
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

    /// That threads and descriptors are as before, and memory nearly.
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
            "{} KiB more are in use: {self:?}, {now:?}",
            grown / 1024
        );
    }
}

pub(crate) const MEBIBYTE: u64 = 1 << 20;

/// What memory may grow by that only the allocator still holds.
pub(crate) const SLACK: u64 = 4 * MEBIBYTE;
