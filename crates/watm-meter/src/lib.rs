//! Measures what a piece of code takes on its own thread: bytes of memory at the peak, and
//! processor time.
//!
//! A program that measures installs the [`Meter`] as its global allocator. The meter passes every
//! request on to the system's allocator and counts bytes for each thread, so that what other
//! threads do meanwhile changes no number.
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

/// A piece of code that is being measured, on the thread that began it.
///
/// One measurement at a time is right for a thread: a second one would begin its peak anew.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Bytes that were live at the start.
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

    /// The most bytes that this thread has held at the same time since the start, beyond what it
    /// held then. Always 0 if the [`Meter`] is not the global allocator: see [`is_installed`].
    ///
    /// Bytes that another thread frees still count.
    pub fn peak(&self) -> u64 {
        u64::try_from(allocator::peak() - self.live).unwrap_or(0)
    }

    /// The processor time that this thread has used since the start, in user mode and in the
    /// system.
    pub fn processor(&self) -> Duration {
        processor_time().saturating_sub(self.processor)
    }
}

/// Whether the [`Meter`] is the global allocator of this program.
pub fn is_installed() -> bool {
    let measurement = Measurement::begin();
    // The optimiser must not leave the allocation out.
    drop(std::hint::black_box(vec![0_u8; 4096]));
    measurement.peak() >= 4096
}

/// The processor time of the calling thread.
fn processor_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}
