//! How long the guest and the host work, and how long both sleep.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::Host;

impl Host {
    /// Starts measuring how long the guest and the host work and how long both sleep.
    pub(crate) fn start_timing(&mut self) {
        self.measures.timing = Some(Timing {
            since: Instant::now(),
            asleep: Duration::ZERO,
        });
    }

    /// A host call begins.
    pub(crate) fn enter(&mut self) {
        // Nobody else writes it, so this need not be one step.
        self.measures.calls += 1;
        let traffic = &self.link.traffic;
        traffic
            .host_calls
            .store(self.measures.calls, Ordering::Relaxed);
        if let Some(timing) = &mut self.measures.timing {
            add(&traffic.guest_time, timing.lap());
        }
    }

    /// A host call ends.
    pub(crate) fn leave(&mut self) {
        if let Some(timing) = &mut self.measures.timing {
            let asleep = std::mem::take(&mut timing.asleep);
            let traffic = &self.link.traffic;
            add(&traffic.host_time, timing.lap().saturating_sub(asleep));
            add(&traffic.asleep, asleep);
        }
    }
}

/// What is measured of a worker.
#[derive(Default)]
pub(super) struct Measures {
    calls: u64,
    /// The stop-watch, if it runs.
    timing: Option<Timing>,
}

impl Measures {
    /// Whether the stop-watch runs.
    pub(super) fn times(&self) -> bool {
        self.timing.is_some()
    }

    /// The worker has slept.
    pub(super) fn slept(&mut self, time: Duration) {
        if let Some(timing) = &mut self.timing {
            timing.asleep += time;
        }
    }
}

/// The stop-watch of a worker.
struct Timing {
    /// When the guest or the host began what it does now.
    since: Instant,
    /// How long this host call has slept.
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
