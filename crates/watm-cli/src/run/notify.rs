//! Tells systemd how the command is, as `sd_notify(3)` says. Without systemd, nothing is told.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::monitor::Summary;

/// How often the status is looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Notifier {
    /// How often the manager wants to hear that the main loop works.
    watchdog: Option<Duration>,
    next_ping: Instant,
    /// The last status that was told.
    told: Option<Summary>,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self {
            // Twice as often as it has to be.
            watchdog: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            next_ping: Instant::now(),
            told: None,
        }
    }

    /// How often [`Notifier::tick`] is to be called.
    pub(super) fn period(&self) -> Duration {
        self.watchdog.map_or(LOOK, |period| period.min(LOOK))
    }

    /// Everything runs.
    pub(super) fn ready(&mut self, summary: Summary) {
        self.told = Some(summary);
        notify(&[NotifyState::Ready, NotifyState::Status(&status(summary))]);
    }

    /// The file is read again. What follows is [`Notifier::ready`] or [`Notifier::reload_failed`].
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => log::debug!("the clock has no time: {error}"),
        }
    }

    /// The file cannot be used, and everything runs on as before.
    pub(super) fn reload_failed(&mut self, summary: Summary, reason: &str) {
        // The status stays until the numbers change.
        self.told = Some(summary);
        let status = format!("{}; the last reload failed: {reason}", status(summary));
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    pub(super) fn stopping(&self) {
        notify(&[
            NotifyState::Stopping,
            NotifyState::Status("ending the connections"),
        ]);
    }

    /// The main loop works.
    pub(super) fn ping(&mut self) {
        let now = Instant::now();
        if let Some(period) = self.watchdog
            && now + self.period() / 2 >= self.next_ping
        {
            self.next_ping = now + period;
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// The main loop works, and these are its numbers.
    pub(super) fn tick(&mut self, summary: Summary) {
        self.ping();
        if self.told != Some(summary) {
            self.told = Some(summary);
            notify(&[NotifyState::Status(&status(summary))]);
        }
    }
}

fn status(summary: Summary) -> String {
    let Summary {
        tunnels,
        connections,
    } = summary;
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let of = plural(tunnels as u64);
    let open = plural(connections);
    format!("{tunnels} tunnel{of}, {connections} connection{open}")
}

fn notify(state: &[NotifyState<'_>]) {
    // A manager that does not listen is no reason to end.
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("the service manager was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_counts() {
        let summary = |tunnels, connections| Summary {
            tunnels,
            connections,
        };
        assert_eq!(status(summary(1, 0)), "1 tunnel, 0 connections");
        assert_eq!(status(summary(2, 1)), "2 tunnels, 1 connection");
    }
}
