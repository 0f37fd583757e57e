//! Takes samples and evaluates them.

use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long the number of threads must stay the same, and how often to check.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLE_LOOKS: usize = 20;
/// Ticks of processor time per second, in what Linux tells of a process.
const TICKS: f64 = 100.0;

/// Samples of raw TCP and of the module, taken in turn.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) plain: Quantiles,
    pub(super) through: Quantiles,
}

impl Pair {
    pub(super) fn push(&mut self, plain: f64, through: f64) {
        self.plain.push(plain);
        self.through.push(through);
    }

    /// The medians as shares of the medians of `whole`.
    pub(super) fn median_of(&self, whole: &Self) -> Self {
        let share = |part: &Quantiles, whole: &Quantiles| {
            Quantiles(vec![part.at(0.5) / whole.at(0.5).max(f64::MIN_POSITIVE)])
        };
        Self {
            plain: share(&self.plain, &whole.plain),
            through: share(&self.through, &whole.through),
        }
    }
}

/// Samples of one thing.
#[derive(Debug, Default)]
pub(super) struct Quantiles(Vec<f64>);

impl Quantiles {
    pub(super) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Runs something and records how many seconds it took.
    pub(super) fn time<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = run();
        self.push(started.elapsed().as_secs_f64());
        result
    }

    /// The quantile `part`, from 0 to 1, or 0 without samples.
    pub(super) fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let index = (last as f64 * part).round() as usize;
        sorted.get(index).copied().unwrap_or_default()
    }
}

/// How long writing `volume` bytes takes, `size` at a time.
pub(super) fn write(to: &mut impl Write, volume: usize, size: usize) -> io::Result<Duration> {
    let data = vec![7; size];
    let started = Instant::now();
    for _ in 0..volume / size {
        to.write_all(black_box(&data))?;
    }
    Ok(started.elapsed())
}

/// How long reading `volume` bytes takes, with a buffer of `size`.
pub(super) fn read(from: &mut impl Read, volume: usize, size: usize) -> io::Result<Duration> {
    let mut data = vec![0; size];
    let started = Instant::now();
    for _ in 0..volume / size {
        from.read_exact(black_box(&mut data))?;
    }
    Ok(started.elapsed())
}

pub(super) fn round_trips(
    through: &mut (impl Read + Write),
    size: usize,
    count: usize,
    into: &mut Quantiles,
) -> io::Result<()> {
    let mut data = vec![7; size];
    for _ in 0..count {
        into.time(|| {
            through.write_all(&data)?;
            through.read_exact(black_box(&mut data))
        })?;
    }
    Ok(())
}

/// What a process uses now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Resident memory in bytes.
    pub(super) memory: f64,
    pub(super) threads: f64,
    pub(super) descriptors: f64,
    /// Ranges of memory, of which a process may have 65,530 by default.
    pub(super) mappings: f64,
}

impl Usage {
    /// The usage of this process.
    pub(super) fn now() -> io::Result<Self> {
        Self::of("self")
    }

    /// The usage of a process: its number, or "self".
    pub(super) fn of(process: &str) -> io::Result<Self> {
        let directory = Path::new("/proc").join(process);
        let status = fs::read_to_string(directory.join("status"))?;
        let maps = fs::read_to_string(directory.join("maps"))?;
        let number = |name| number(&status, name).map(|number| number as f64);
        Ok(Self {
            memory: number("VmRSS:")? * 1024.0,
            threads: number("Threads:")?,
            descriptors: fs::read_dir(directory.join("fd"))?.count() as f64,
            mappings: maps.lines().count() as f64,
        })
    }

    /// The usage after the threads of closed connections have ended: when it no longer changes.
    pub(super) fn settled() -> io::Result<Self> {
        Self::settled_of("self")
    }

    /// The same of a process, which may also be starting threads.
    pub(super) fn settled_of(process: &str) -> io::Result<Self> {
        settle(
            SETTLE,
            SETTLE_LOOKS,
            || Self::of(process),
            |now, last| now.threads == last.threads && now.descriptors == last.descriptors,
        )
    }

    /// What is used beyond what was used before, divided by `count`.
    pub(super) fn since(self, before: Self, count: f64) -> Self {
        Self {
            memory: (self.memory - before.memory) / count,
            threads: (self.threads - before.threads) / count,
            descriptors: (self.descriptors - before.descriptors) / count,
            mappings: (self.mappings - before.mappings) / count,
        }
    }
}

/// Looks again after each pause until nothing changes, but no more often than `looks`. Returns what
/// the last look saw.
pub(super) fn settle<T>(
    pause: Duration,
    looks: usize,
    look: impl Fn() -> io::Result<T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> io::Result<T> {
    let mut last = look()?;
    for _ in 0..looks {
        thread::sleep(pause);
        let now = look()?;
        let same = is_same(&now, &last);
        last = now;
        if same {
            break;
        }
    }
    Ok(last)
}

/// The processor time that a process has used so far, in seconds.
pub(super) fn processor_time(process: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks(&stat)
        .map(|ticks| ticks as f64 / TICKS)
        .ok_or_else(|| io::Error::other(format!("/proc/{process}/stat has another form")))
}

/// The ticks that a process has run, for itself and in the system.
fn ticks(stat: &str) -> Option<u64> {
    // The name before the last bracket may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The number after a name at the start of a line.
fn number(text: &str, name: &str) -> io::Result<u64> {
    let mut rests = text.lines().filter_map(|line| line.strip_prefix(name));
    rests
        .find_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc does not have {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples = Quantiles(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(samples.at(0.0), 1.0);
        assert_eq!(samples.at(0.5), 3.0);
        assert_eq!(samples.at(0.99), 5.0);
        assert_eq!(Quantiles::default().at(0.5), 0.0);
    }

    #[test]
    fn a_process_uses_something() {
        let usage = Usage::now().expect("Linux reports it");
        assert!(usage.memory > 1e5 && usage.threads >= 1.0 && usage.descriptors >= 3.0);
        assert!(usage.mappings > 10.0);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a ) 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 120 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(ticks("7 (a) S 1"), None);
        processor_time(std::process::id()).expect("Linux reports it");
    }
}
