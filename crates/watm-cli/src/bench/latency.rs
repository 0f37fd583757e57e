//! Measures round trips and dialling.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::measure::{self, Pair};
use super::peer::Kind;
use super::report::{Row, Unit};
use super::trouble::Trouble;
use super::{Bench, STALL};
use crate::args::BenchGroup as Group;

/// The number of dials that are timed, however long they take.
const LEAST: usize = 5;
/// Instances kept ready, and how many of them are replaced per second.
const SPARE: usize = 4;
const REFILL_RATE: u32 = 1000;
/// Between a new connection and the next, so that the end of one does not disturb the other.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn round_trips(bench: &Bench, size: usize) -> Result<Vec<Row>, Trouble> {
    let mut raw = bench.raw(Kind::Echo, STALL)?;
    let mut conn = bench.dial(Kind::Echo, STALL)?;
    let pair = samples(bench, size, &mut raw, &mut conn)?;
    let _ = conn.close();
    let names = ["round trip", "round trip, p99"];
    let rows = rows(Group::RoundTrips, names, &pair);
    Ok(rows.map(|row| row.size(size)).into())
}

/// The times of round trips of messages of `size`.
pub(super) fn samples(
    bench: &Bench,
    size: usize,
    plain: &mut (impl Read + Write),
    through: &mut (impl Read + Write),
) -> io::Result<Pair> {
    let mut pair = Pair::default();
    let part = bench.effort.round_trips / bench.effort.samples;
    for _ in 0..bench.effort.samples {
        measure::round_trips(plain, size, part, &mut pair.plain)?;
        measure::round_trips(through, size, part, &mut pair.through)?;
    }
    Ok(pair)
}

/// The median and the 99th percentile.
pub(super) fn rows(group: Group, names: [&'static str; 2], pair: &Pair) -> [Row; 2] {
    let [median, p99] = names;
    [
        Row::compared(group, median, Unit::Seconds, pair, 0.5),
        Row::compared(group, p99, Unit::Seconds, pair, 0.99),
    ]
}

pub(super) fn dial(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let mut pair = Pair::default();
    time_dials(bench, bench.effort.dials, &mut pair)?;
    Ok(rows(Group::SetUp, ["dial", "dial, p99"], &pair).into())
}

/// Dials with a pool of instances. Each sample waits until the pool is full again. So does its
/// baseline, since the cores are then asleep.
pub(super) fn dial_with_spare(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let dialer = bench.builder.clone().spare_instances(SPARE);
    let dialer = dialer
        .spare_refill_rate(REFILL_RATE)
        .build()
        .map_err(io::Error::other)?;
    let mut pair = Pair::default();
    thread::sleep(PAUSE * SPARE as u32);
    for _ in turns(bench, bench.effort.dials) {
        thread::sleep(PAUSE);
        pair.plain.time(|| bench.raw(Kind::Sink, STALL))?;
        thread::sleep(PAUSE);
        let conn = pair.through.time(|| bench.dial_by(&dialer, Kind::Sink))?;
        let _ = conn.close();
    }
    let names = [
        "dial with a spare instance",
        "dial with a spare instance, p99",
    ];
    Ok(rows(Group::SetUp, names, &pair).into())
}

/// Turns of something that may take long: `count`, or fewer once the time is up.
pub(super) fn turns(bench: &Bench, count: usize) -> impl Iterator<Item = usize> {
    let (started, limit) = (Instant::now(), bench.effort.churn_limit);
    (0..count).take_while(move |turn| *turn < LEAST || started.elapsed() <= limit)
}

/// Dials and closes connections one after the other: `count` of them, or fewer if that takes long.
pub(super) fn time_dials(bench: &Bench, count: usize, into: &mut Pair) -> Result<(), Trouble> {
    for _ in turns(bench, count) {
        into.plain.time(|| bench.raw(Kind::Sink, STALL))?;
        // Waits for the close, so that it does not disturb the next sample.
        let conn = into.through.time(|| bench.dial(Kind::Sink, STALL))?;
        let _ = conn.close();
    }
    Ok(())
}
