//! Measures how long the guest and the host work, and how long both sleep.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::Host;

impl Host {
    /// Starts to measure how long the guest and the host work, and how long both sleep.
    pub(crate) fn start_timing(&mut self) {
        self.measures.timing = Some(Timing {
            since: Instant::now(),
            asleep: Duration::ZERO,
        });
    }

    /// Called when a host call begins.
    pub(crate) fn enter(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.enter();
        }
        // Nobody else writes it, so the update need not be atomic.
        self.measures.calls += 1;
        let traffic = &self.link.traffic;
        traffic
            .host_calls
            .store(self.measures.calls, Ordering::Relaxed);
        if let Some(timing) = &mut self.measures.timing {
            add(&traffic.guest_time, timing.lap());
        }
    }

    /// Called when a host call ends.
    pub(crate) fn leave(&mut self) {
        if let Some(timing) = &mut self.measures.timing {
            let asleep = std::mem::take(&mut timing.asleep);
            let traffic = &self.link.traffic;
            add(&traffic.host_time, timing.lap().saturating_sub(asleep));
            add(&traffic.asleep, asleep);
        }
    }
}

/// The measurements of a worker.
#[derive(Default)]
pub(super) struct Measures {
    /// Number of host calls so far, including the current one.
    pub(super) calls: u64,
    /// The stopwatch, if it is running.
    timing: Option<Timing>,
}

impl Measures {
    /// Whether the stopwatch is running.
    pub(super) fn times(&self) -> bool {
        self.timing.is_some()
    }

    /// Called when the worker has slept.
    pub(super) fn slept(&mut self, time: Duration) {
        if let Some(timing) = &mut self.timing {
            timing.asleep += time;
        }
    }
}

/// The stopwatch of a worker.
struct Timing {
    /// When the guest or the host began its current work.
    since: Instant,
    /// How long the current host call has slept.
    asleep: Duration,
}

impl Timing {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.since, now))
    }
}

fn add(to: &AtomicU64, time: Duration) {
    to.fetch_add(
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
}
