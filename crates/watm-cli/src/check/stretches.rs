//! How long a module computed between its calls to the host, and which of these stretches are
//! pauses. A collector of garbage makes pauses: now and then, both directions wait for much longer
//! than the module's work on its bytes takes.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// A pause is longer than so many times the median of the stretches like it.
const TIMES: u64 = 10;
/// And it is longer than this. Nobody feels less, and a machine interrupts a module for as long.
pub(super) const FLOOR: Duration = Duration::from_micros(200);
/// What takes longer is felt by whoever waits.
pub(super) const LONG: Duration = Duration::from_millis(100);
/// Times are counted in classes: so many for each power of 2, as bits.
const BITS: u32 = 5;

/// The stretches so far. What a run of any length needs stays the same.
#[derive(Default)]
pub(super) struct Stretches {
    /// Those after calls that moved less than 1 byte, 2 bytes, 4 bytes, 8 bytes and so on. The work
    /// on 64 KiB is no pause only because that on 64 bytes is done so soon.
    kinds: Vec<Times>,
}

/// How often something took how long, in classes of nanoseconds.
#[derive(Default)]
struct Times {
    classes: Vec<Class>,
    longest: Duration,
}

#[derive(Clone, Copy, Default)]
struct Class {
    count: u64,
    total: Duration,
}

/// What the stretches of a run were. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Pauses {
    /// Stretches of computing between two calls to the host, and the median of their times.
    pub(super) stretches: u64,
    pub(super) median: f64,
    pub(super) longest: f64,
    pub(super) pauses: u64,
    /// The time of all pauses.
    pub(super) total: f64,
    /// The time of all stretches, and that of the run.
    pub(super) computed: f64,
    pub(super) run: f64,
    /// What part of these two the pauses were, from 0 to 1.
    pub(super) share_of_computed: f64,
    pub(super) share_of_run: f64,
    /// Stretches of more than [`LONG`], whether they are pauses or not.
    pub(super) over_100_ms: u64,
}

impl Stretches {
    /// Adds a stretch after a call that moved so many bytes.
    pub(super) fn add(&mut self, moved: u32, stretch: Duration) {
        let kind = (u32::BITS - moved.leading_zeros()) as usize;
        if kind >= self.kinds.len() {
            self.kinds.resize_with(kind + 1, Times::default);
        }
        self.kinds[kind].add(stretch);
    }

    /// What they were, in a run that took so long.
    pub(super) fn pauses(&self, run: Duration) -> Pauses {
        let mut all = Times::default();
        let mut pauses = Class::default();
        for kind in &self.kinds {
            let usual = nanoseconds(kind.median()).saturating_mul(TIMES);
            pauses.join(kind.over(usual.max(nanoseconds(FLOOR))));
            all.join(kind);
        }
        let Class { count, total } = all.over(0);
        let share = |of: Duration| match of.as_secs_f64() {
            0.0 => 0.0,
            of => (pauses.total.as_secs_f64() / of).min(1.0),
        };
        Pauses {
            stretches: count,
            median: all.median().as_secs_f64(),
            longest: all.longest.as_secs_f64(),
            pauses: pauses.count,
            total: pauses.total.as_secs_f64(),
            computed: total.as_secs_f64(),
            run: run.as_secs_f64(),
            share_of_computed: share(total),
            share_of_run: share(run),
            over_100_ms: all.over(nanoseconds(LONG)).count,
        }
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        let class = class(nanoseconds(time));
        self.reach(class + 1);
        self.classes[class].join(Class {
            count: 1,
            total: time,
        });
        self.longest = self.longest.max(time);
    }

    fn join(&mut self, other: &Self) {
        self.reach(other.classes.len());
        for (class, other) in self.classes.iter_mut().zip(&other.classes) {
            class.join(*other);
        }
        self.longest = self.longest.max(other.longest);
    }

    fn reach(&mut self, classes: usize) {
        if self.classes.len() < classes {
            self.classes.resize(classes, Class::default());
        }
    }

    /// The longest time of the class that the median is in.
    fn median(&self) -> Duration {
        let half = self.over(0).count.div_ceil(2);
        let mut seen = 0;
        let class = self.classes.iter().position(|class| {
            seen += class.count;
            seen >= half
        });
        Duration::from_nanos(class.map_or(0, last_of))
    }

    /// Those of so many nanoseconds and more. A class counts as a whole, or, if the limit is in the
    /// middle of it, not at all.
    fn over(&self, limit: u64) -> Class {
        let first = limit.checked_sub(1).map_or(0, |last| class(last) + 1);
        let classes = self.classes.get(first..).unwrap_or_default();
        classes.iter().fold(Class::default(), |mut all, class| {
            all.join(*class);
            all
        })
    }
}

impl Class {
    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The class of a number of nanoseconds. Those in a class differ by less than 1/32.
fn class(nanoseconds: u64) -> usize {
    let power = nanoseconds.max(1).ilog2().saturating_sub(BITS);
    // Below 64, each number has a class of its own.
    ((u64::from(power) << BITS) + (nanoseconds >> power)) as usize
}

/// The largest number in a class.
fn last_of(class: usize) -> u64 {
    let class = class as u64;
    let power = (class >> BITS).saturating_sub(1);
    let first = class - (power << BITS);
    (first << power) | ((1 << power) - 1)
}

impl fmt::Display for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_secs_f64;
        match self.pauses {
            0 => f.write_str("none")?,
            count => write!(
                f,
                "{count} of {:.1?} together, {:.1} % of the module's computing and {:.1} % of the run",
                time(self.total),
                100.0 * self.share_of_computed,
                100.0 * self.share_of_run
            )?,
        }
        write!(
            f,
            "; it computed for {:.1?} between two calls, at most, and for {:.1?} in the median",
            time(self.longest),
            time(self.median)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Stretches: how many, after how many bytes, how long.
    fn run(stretches: &[(u64, u32, Duration)], took: Duration) -> Pauses {
        let mut all = Stretches::default();
        for (count, moved, stretch) in stretches {
            for _ in 0..*count {
                all.add(*moved, *stretch);
            }
        }
        all.pauses(took)
    }

    fn is_close(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected / 1e6
    }

    #[test]
    fn a_collector_shows_as_pauses_with_their_time_and_their_shares() {
        let collection = Duration::from_millis(3);
        let stretches = [(6000, 64, MICROSECOND * 2), (4, 64, collection)];
        let pauses = run(&stretches, Duration::from_millis(48));
        assert_eq!((pauses.stretches, pauses.pauses), (6004, 4));
        assert!(is_close(pauses.total, 0.012), "{pauses:?}");
        assert!(is_close(pauses.computed, 0.024), "{pauses:?}");
        assert!(is_close(pauses.share_of_computed, 0.5), "{pauses:?}");
        assert!(is_close(pauses.share_of_run, 0.25), "{pauses:?}");
        assert_eq!((pauses.longest, pauses.over_100_ms), (0.003, 0));
        let median = 2e-6..2e-6 * 33.0 / 32.0;
        assert!(median.contains(&pauses.median), "{pauses:?}");
        assert_eq!(
            pauses.to_string(),
            "4 of 12.0ms together, 50.0 % of the module's computing and 25.0 % of the run; it \
             computed for 3.0ms between two calls, at most, and for 2.0µs in the median"
        );
    }

    #[test]
    fn what_a_module_does_each_time_is_no_pause_however_long_it_takes() {
        let pauses = run(&[(1000, 9, LONG * 2)], Duration::from_secs(300));
        assert_eq!((pauses.pauses, pauses.total), (0, 0.0), "{pauses:?}");
        assert_eq!((pauses.share_of_computed, pauses.over_100_ms), (0.0, 1000));
        assert!(is_close(pauses.computed, 200.0), "{pauses:?}");
    }

    #[test]
    fn the_work_on_many_bytes_is_no_pause_beside_that_on_few() {
        let piece = MICROSECOND * 900;
        let stretches = [(5000, 0, MICROSECOND), (50, 65536, piece)];
        assert_eq!(run(&stretches, LONG).pauses, 0);
        let stretches = [(5000, 0, MICROSECOND), (50, 0, piece)];
        assert_eq!(run(&stretches, LONG).pauses, 50);
    }

    #[test]
    fn what_is_short_is_no_pause_however_little_the_module_does_otherwise() {
        let pauses = run(&[(1000, 1, MICROSECOND / 10), (10, 1, FLOOR)], LONG);
        assert_eq!(pauses.pauses, 0, "{pauses:?}");
        let pauses = run(
            &[(1000, 1, MICROSECOND / 10), (10, 1, FLOOR * 34 / 32)],
            LONG,
        );
        assert_eq!(pauses.pauses, 10, "{pauses:?}");
    }

    #[test]
    fn a_run_without_a_stretch_has_no_pauses() {
        let pauses = run(&[], Duration::ZERO);
        assert_eq!((pauses.stretches, pauses.pauses), (0, 0));
        assert_eq!((pauses.median, pauses.share_of_run), (0.0, 0.0));
        assert!(pauses.to_string().starts_with("none; "), "{pauses}");
    }

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        let edges = (0..64).map(|power| 1_u64 << power);
        for number in edges.flat_map(|edge| [edge - 1, edge, edge + 1, edge + edge / 3]) {
            let class = class(number);
            assert!(number <= last_of(class), "{number}");
            assert!(class == 0 || number > last_of(class - 1), "{number}");
            assert!(last_of(class) - number <= number / 32, "{number}");
        }
        assert_eq!(last_of(class(u64::MAX)), u64::MAX);
    }

    #[test]
    fn the_longest_possible_stretch_is_counted() {
        let pauses = run(&[(1, u32::MAX, Duration::MAX)], Duration::MAX);
        assert_eq!((pauses.stretches, pauses.pauses), (1, 0));
    }
}
