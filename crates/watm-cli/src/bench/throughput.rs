//! Measures bytes per second, in one direction and in both at once.

use std::io::{self, Read, Write};
use std::time::Duration;

use watm_wasmer::Conn;

use super::flow::{self, Lane, PIECE};
use super::measure::{self, Pair};
use super::peer::Kind;
use super::report::{Row, Unit};
use super::trouble::Trouble;
use super::{Bench, STALL};
use crate::args::BenchGroup as Group;

/// Below this size, raw TCP takes so long that the volume is reduced.
const SMALL: usize = 1024;
const LESS: usize = 8;
/// A direction with less than this share of the sum is starved.
const STARVED: f64 = 0.02;

/// Throughput in one direction, while the buffers on the way are full or empty.
pub(super) fn one_way(bench: &Bench, kind: Kind, size: usize) -> Result<Vec<Row>, Trouble> {
    let mut raw = bench.raw(kind, STALL)?;
    let mut conn = bench.dial(kind, STALL)?;
    let pair = samples(bench, kind, size, &mut raw, &mut conn)?;
    let _ = conn.close();
    let name = match kind {
        Kind::Sink => "out",
        _ => "in",
    };
    let row = Row::compared(Group::OneWay, name, Unit::BytesPerSecond, &pair, 0.5);
    Ok(vec![row.size(size)])
}

pub(super) fn samples(
    bench: &Bench,
    kind: Kind,
    size: usize,
    plain: &mut (impl Read + Write),
    through: &mut (impl Read + Write),
) -> io::Result<Pair> {
    let volume = bench.effort.volume / if size < SMALL { LESS } else { 1 };
    let rate = |time: Duration| volume as f64 / time.as_secs_f64().max(1e-9);
    let mut pair = Pair::default();
    // The first sample fills the buffers and does not count.
    for sample in 0..=bench.effort.samples {
        let (plain, through) = match kind {
            Kind::Sink => (
                measure::write(plain, volume, size)?,
                measure::write(through, volume, size)?,
            ),
            _ => (
                measure::read(plain, volume, size)?,
                measure::read(through, volume, size)?,
            ),
        };
        if sample > 0 {
            pair.push(rate(plain), rate(through));
        }
    }
    Ok(pair)
}

/// The sum of both directions at once, also compared with the sum of each alone.
pub(super) fn both_ways(bench: &Bench, size: usize) -> Result<Vec<Row>, Trouble> {
    let raw = Directions::make(size, |kind| Ok(bench.raw(kind, PIECE)?))?;
    let conns = Directions::make(size, |kind| bench.dial(kind, PIECE))?;
    let (mut both, mut alone) = (Pair::default(), Pair::default());
    let mut out = Pair::default();
    let window = bench.effort.window;
    for _ in 0..bench.effort.samples {
        alone.push(raw.alone(window)?, conns.alone(window)?);
        let (plain, through) = (raw.both(window)?, conns.both(window)?);
        both.push(plain.iter().sum(), through.iter().sum());
        out.push(plain[0], through[0]);
    }
    note_starvation(bench, size, &both, &out);
    conns.close();
    let row =
        |name, unit, pair: &Pair| Row::compared(Group::BothWays, name, unit, pair, 0.5).size(size);
    Ok(vec![
        row("both", Unit::BytesPerSecond, &both),
        row("both, of each alone", Unit::Share, &both.median_of(&alone)),
    ])
}

/// Adds a note if a module serves only one direction while it has bytes, which the sum hides.
fn note_starvation(bench: &Bench, size: usize, both: &Pair, out: &Pair) {
    let share = out.through.at(0.5) / both.through.at(0.5).max(f64::MIN_POSITIVE);
    let starved = match share {
        share if share < STARVED => "out",
        share if share > 1.0 - STARVED => "in",
        _ => return,
    };
    bench.note(format!(
        "both directions at once, {size} bytes: almost nothing went {starved}"
    ));
}

/// Three connections of the same type.
struct Directions<T> {
    size: usize,
    out: T,
    into: T,
    both: T,
}

impl<T: Sync> Directions<T>
where
    for<'a> &'a T: Read + Write,
{
    fn make(size: usize, open: impl Fn(Kind) -> Result<T, Trouble>) -> Result<Self, Trouble> {
        Ok(Self {
            size,
            out: open(Kind::Sink)?,
            into: open(Kind::Source)?,
            both: open(Kind::Both)?,
        })
    }

    /// The sum of the rates of one direction and then the other.
    fn alone(&self, window: Duration) -> io::Result<f64> {
        let out = flow::rate(vec![Lane::write(&self.out, self.size)], window)?;
        let into = flow::rate(vec![Lane::read(&self.into, self.size)], window)?;
        Ok(out + into)
    }

    /// The rates out and in at the same time.
    fn both(&self, window: Duration) -> io::Result<[f64; 2]> {
        let lanes = [
            Lane::write(&self.both, self.size),
            Lane::read(&self.both, self.size),
        ];
        flow::rates(lanes, window)
    }
}

impl Directions<Conn> {
    fn close(self) {
        for conn in [self.out, self.into, self.both] {
            let _ = conn.close();
        }
    }
}
