//! Warnings that peers can cause at will. A few are logged as warnings, and the others are counted.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::channel::sync::lock;

/// Maximum number of warnings within [`WINDOW`].
const LIMIT: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Warnings(Mutex<Window>);

#[derive(Default)]
struct Window {
    begun: Option<Instant>,
    told: u32,
    withheld: u64,
}

impl Warnings {
    /// Logs a warning, or only an information if there were enough warnings lately.
    pub(crate) fn tell(&self, target: &str, message: fmt::Arguments<'_>) {
        // Logging may be slow, so the lock is released before.
        let admitted = lock(&self.0).admit(Instant::now());
        match admitted {
            None => log::info!(target: target, "{message}"),
            Some(0) => log::warn!(target: target, "{message}"),
            Some(withheld) => log::warn!(
                target: target,
                "{message} ({withheld} more before this were logged as information only)"
            ),
        }
    }
}

impl Window {
    /// The number of warnings that were withheld before this one; `None` if it is withheld too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let goes_on = |begun| now.saturating_duration_since(begun) < WINDOW;
        if !self.begun.is_some_and(goes_on) {
            self.begun = Some(now);
            self.told = 0;
        }
        if self.told == LIMIT {
            self.withheld += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_told_in_a_while_and_the_next_says_how_many_were_not() {
        let mut window = Window::default();
        let start = Instant::now();
        for _ in 0..LIMIT {
            assert_eq!(window.admit(start), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(window.admit(start + WINDOW / 2), None);
        }
        assert_eq!(window.admit(start + WINDOW), Some(5));
        assert_eq!(window.admit(start + WINDOW), Some(0));
    }
}
