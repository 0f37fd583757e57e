//! The cost of carrying: calls per megabyte, and the time of the module and of the host.

use std::time::Duration;

use watm_wasmer::{Conn, ConnStats};

use super::measure::{self, Quantiles};
use super::peer::Kind;
use super::report::{Row, Unit};
use super::trouble::Trouble;
use super::{Bench, STALL};
use crate::args::BenchGroup as Group;

/// Bytes per write or read.
const SIZE: usize = 16 * 1024;
const MEGABYTE: f64 = 1e6;

pub(super) fn calls(bench: &Bench, kind: Kind) -> Result<Vec<Row>, Trouble> {
    let conn = bench.dial(kind, STALL)?;
    let [mut system, mut host] = [Quantiles::default(), Quantiles::default()];
    let megabytes = bench.effort.volume as f64 / MEGABYTE;
    carry(bench, kind, &conn, |before, after| {
        system.push((after.system_calls - before.system_calls) as f64 / megabytes);
        host.push((after.host_calls - before.host_calls) as f64 / megabytes);
    })?;
    let names = match kind {
        Kind::Sink => ["system calls, out", "host calls, out"],
        _ => ["system calls, in", "host calls, in"],
    };
    let row = |(name, samples): (_, Quantiles)| {
        Row::new(Group::Cost, name, Unit::PerMegabyte, samples.at(0.5)).size(SIZE)
    };
    Ok(names.into_iter().zip([system, host]).map(row).collect())
}

/// Uses a separate connection, since reading the clock takes time too. The shares are those of all
/// samples together, so that they add up.
pub(super) fn times(bench: &Bench, kind: Kind) -> Result<Vec<Row>, Trouble> {
    let conn = bench.dial_timed(kind, STALL)?;
    let mut times = [Duration::ZERO; 3];
    carry(bench, kind, &conn, |before, after| {
        times[0] += after.guest_time.saturating_sub(before.guest_time);
        times[1] += after.host_time.saturating_sub(before.host_time);
        times[2] += after.asleep.saturating_sub(before.asleep);
    })?;
    let all: Duration = times.iter().sum();
    let names = match kind {
        Kind::Sink => [
            "time in guest, out",
            "time in host, out",
            "time asleep, out",
        ],
        _ => ["time in guest, in", "time in host, in", "time asleep, in"],
    };
    let row = |(name, time): (_, Duration)| {
        let share = time.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
        Row::new(Group::Cost, name, Unit::Share, share).size(SIZE)
    };
    Ok(names.into_iter().zip(times).map(row).collect())
}

/// Takes samples of carrying, and passes the statistics before and after each one to `sample`.
fn carry(
    bench: &Bench,
    kind: Kind,
    mut conn: &Conn,
    mut sample: impl FnMut(ConnStats, ConnStats),
) -> Result<(), Trouble> {
    let volume = bench.effort.volume;
    // The first sample fills the buffers and does not count.
    for taken in 0..=bench.effort.samples {
        let before = conn.stats();
        match kind {
            Kind::Sink => measure::write(&mut conn, volume, SIZE)?,
            _ => measure::read(&mut conn, volume, SIZE)?,
        };
        if taken > 0 {
            sample(before, conn.stats());
        }
    }
    let _ = conn.close();
    Ok(())
}
