//! Measures what a piece of code takes on its own thread: the peak of its memory, and processor
//! time.
//!
//! The measuring program installs the [`Meter`] as its global allocator. The meter passes every
//! request on to the system's allocator and counts bytes per thread, so that other threads do not
//! change any number.
//!
//!
//! ```
//! #[global_allocator]
//! static METER: watm_meter::Meter = watm_meter::Meter;
//!
//! let measurement = watm_meter::Measurement::begin();
//! drop(vec![1_u8; 1 << 20]);
//! assert!(measurement.peak() >= 1 << 20);
//! ```

#![deny(missing_docs)]

mod allocator;
pub use allocator::Meter;

use std::time::Duration;

/// A measurement in progress, on the thread that began it.
///
/// A thread can run only one measurement at a time: a second one restarts the peak of the first.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Live bytes at the start.
    live: i64,
    /// The thread's processor time at the start.
    processor: Duration,
}

impl Measurement {
    /// Begins to measure what the calling thread does.
    pub fn begin() -> Self {
        Self {
            live: allocator::begin(),
            processor: processor_time(),
        }
    }

    /// Maximum number of bytes that this thread has held at once since the start, minus what it
    /// held then. Always 0 if the [`Meter`] is not the global allocator: see [`is_installed`].
    ///
    /// Bytes that another thread frees still count.
    pub fn peak(&self) -> u64 {
        u64::try_from(allocator::peak() - self.live).unwrap_or(0)
    }

    /// Processor time that this thread has used since the start, in user mode and in the kernel.
    pub fn processor(&self) -> Duration {
        processor_time().saturating_sub(self.processor)
    }
}

/// Whether the [`Meter`] is the global allocator of this program.
pub fn is_installed() -> bool {
    let measurement = Measurement::begin();
    // Keeps the optimiser from removing the allocation.
    drop(std::hint::black_box(vec![0_u8; 4096]));
    measurement.peak() >= 4096
}

/// The processor time of the calling thread.
fn processor_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}
