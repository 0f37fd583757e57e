//! How long the guest and the host work, and how long both sleep.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::Host;

impl Host {
    /// Starts measuring how long the guest and the host work and how long both sleep.
    pub(crate) fn start_timing(&mut self) {
        self.timing = Some(Timing {
            since: Instant::now(),
            asleep: Duration::ZERO,
        });
    }

    /// A host call begins.
    pub(crate) fn enter(&mut self) {
        // Nobody else writes it, so this need not be one step.
        self.calls += 1;
        let traffic = &self.link.traffic;
        traffic.host_calls.store(self.calls, Ordering::Relaxed);
        if let Some(timing) = &mut self.timing {
            add(&traffic.guest_time, timing.lap());
        }
    }

    /// A host call ends.
    pub(crate) fn leave(&mut self) {
        if let Some(timing) = &mut self.timing {
            let asleep = std::mem::take(&mut timing.asleep);
            let traffic = &self.link.traffic;
            add(&traffic.host_time, timing.lap().saturating_sub(asleep));
            add(&traffic.asleep, asleep);
        }
    }
}

/// The stop-watch of a worker.
pub(super) struct Timing {
    /// When the guest or the host began what it does now.
    since: Instant,
    /// How long this host call has slept.
    pub(super) asleep: Duration,
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
