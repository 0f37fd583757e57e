//! Looks for work for a moment before sleeping.
//!
//! A core that never halts answers much sooner than one that has to be woken, and whoever hands
//! over work need not wake anybody. This only pays when work comes within microseconds. So only
//! workers whose last sleeps were that short do it, and only while there are cores that nobody
//! needs. The number of such workers at a time is bounded, and each gives its core away to whoever
//! wants it. An idle connection never does it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time for which a worker looks for work.
pub(super) const LIMIT: Duration = Duration::from_micros(20);
/// Maximum duration of a short sleep, which looking a little longer could have avoided. Waking up
/// alone takes some tens of microseconds.
const SHORT: Duration = Duration::from_micros(60);
/// Number of consecutive short sleeps that make a worker look for work.
const ENOUGH: u8 = 2;
/// If giving the core away takes this long, somebody else needs it.
const TAKEN: Duration = Duration::from_micros(5);

/// Number of workers that are looking for work.
static LOOKING: AtomicUsize = AtomicUsize::new(0);

/// What a worker has learnt about the duration of its sleeps.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    /// Number of short sleeps since the last long one, or since looking was in vain.
    short: u8,
}

impl Spin {
    /// Whether to look for work before the next sleep.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.short >= ENOUGH
    }

    /// Called when looking for work has found none.
    pub(crate) fn was_in_vain(&mut self) {
        self.short = 0;
    }

    /// Records how long a sleep took.
    pub(crate) fn slept(&mut self, time: Duration) {
        self.short = if time < SHORT {
            self.short.saturating_add(1)
        } else {
            0
        };
    }
}

/// A worker that looks for work, again and again for a moment.
pub(crate) struct Looking {
    _place: Place,
    start: Instant,
    before: Instant,
}

impl Looking {
    /// Begins to look, unless too many others are looking as well.
    pub(crate) fn start() -> Option<Self> {
        let place = Place::take()?;
        let start = Instant::now();
        Some(Self {
            _place: place,
            start,
            before: start,
        })
    }

    /// Gives the core to whoever wants it. Returns whether to look once more.
    pub(crate) fn goes_on(&mut self) -> bool {
        thread::yield_now();
        let now = Instant::now();
        let before = std::mem::replace(&mut self.before, now);
        now - self.start < LIMIT && now - before < TAKEN
    }
}

/// One of the places for workers that look for work.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        static PLACES: OnceLock<usize> = OnceLock::new();
        // Leave one core to whoever brings the work.
        let places =
            *PLACES.get_or_init(|| thread::available_parallelism().map_or(0, |n| n.get() - 1));
        if LOOKING.fetch_add(1, Ordering::Relaxed) < places {
            Some(Self)
        } else {
            LOOKING.fetch_sub(1, Ordering::Relaxed);
            None
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LOOKING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_sleeps_in_a_row_make_it_worth_looking() {
        let mut spin = Spin::default();
        assert!(!spin.is_worth_it());
        spin.slept(Duration::from_micros(10));
        assert!(!spin.is_worth_it());
        spin.slept(Duration::from_micros(10));
        assert!(spin.is_worth_it());
        spin.slept(Duration::from_millis(1));
        assert!(!spin.is_worth_it(), "an idle connection does not");
    }

    #[test]
    fn looking_in_vain_ends_and_is_not_done_again_at_once() {
        let mut spin = Spin { short: ENOUGH };
        while spin.is_worth_it() {
            // Another test may occupy the place.
            if let Some(mut looking) = Looking::start() {
                while looking.goes_on() {}
                spin.was_in_vain();
            }
        }
        assert_eq!(spin.short, 0);
    }

    #[test]
    fn no_more_look_than_there_are_places() {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        let places: Vec<Place> = (0..cores).filter_map(|_| Place::take()).collect();
        assert!(places.len() < cores);
    }
}
