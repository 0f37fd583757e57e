//! Taking samples, and what they say together.

use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Samples of raw TCP, and of the module beside them.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) plain: Quantiles,
    pub(super) through: Quantiles,
}

/// Samples of one thing.
#[derive(Debug, Default)]
pub(super) struct Quantiles(Vec<f64>);

impl Quantiles {
    pub(super) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Runs something and keeps how many seconds it took.
    pub(super) fn time<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = run();
        self.push(started.elapsed().as_secs_f64());
        result
    }

    /// The sample that this part of all (0 to 1) does not exceed; 0 if there is none.
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

/// What this process uses now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Resident memory in bytes.
    pub(super) memory: u64,
    pub(super) threads: u64,
    pub(super) descriptors: u64,
}

pub(super) fn usage() -> io::Result<Usage> {
    let status = fs::read_to_string("/proc/self/status")?;
    let number = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
            .and_then(|number| number.parse::<u64>().ok())
            .ok_or_else(|| io::Error::other(format!("/proc/self/status has no {name}")))
    };
    Ok(Usage {
        memory: number("VmRSS:")? * 1024,
        threads: number("Threads:")?,
        descriptors: fs::read_dir("/proc/self/fd")?.count() as u64,
    })
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
        let usage = usage().expect("Linux tells");
        assert!(usage.memory > 100_000 && usage.threads >= 1 && usage.descriptors >= 3);
    }
}
