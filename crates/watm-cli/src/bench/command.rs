//! `watm dial` as users run it, in its own process between a plain client and the peer, compared
//! with a relay that only copies: one client at a time. Also the time it takes to start.

use std::time::{Duration, Instant};

use super::clients::{DIAL, Served};
use super::measure::{Pair, Quantiles};
use super::peer::Kind;
use super::process::Process;
use super::report::{Row, Unit};
use super::trouble::Trouble;
use super::{Bench, STALL, connect, latency, throughput};
use crate::args::{BenchGroup as Group, BenchPart};

const SIZES: [usize; 2] = [1024, 64 * 1024];
/// Message size of a round trip, in bytes.
const MESSAGE: usize = 64;
/// How long a command has to start and carry its first byte.
const START: Duration = Duration::from_secs(30);

pub(super) fn one_way(bench: &Bench, kind: Kind) -> Result<Vec<Row>, Trouble> {
    let (plain_relay, command) = Served::both(bench, &DIAL, kind)?;
    let name = match kind {
        Kind::Sink => "command, out",
        _ => "command, in",
    };
    let mut rows = Vec::new();
    for size in SIZES {
        let mut plain = connect(plain_relay.at, kind, STALL)?;
        let mut through = connect(command.at, kind, STALL)?;
        let pair = throughput::samples(bench, kind, size, &mut plain, &mut through)?;
        rows.push(row(name, Unit::BytesPerSecond, &pair).size(size));
    }
    Ok(rows)
}

pub(super) fn round_trips(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let kind = Kind::Echo;
    let (plain_relay, command) = Served::both(bench, &DIAL, kind)?;
    let mut plain = connect(plain_relay.at, kind, STALL)?;
    let mut through = connect(command.at, kind, STALL)?;
    let pair = latency::samples(bench, MESSAGE, &mut plain, &mut through)?;
    let names = ["command, round trip", "command, round trip, p99"];
    let rows = latency::rows(Group::Command, names, &pair);
    Ok(rows.map(|row| row.size(MESSAGE)).into())
}

/// The time from starting the command until a byte has come back.
pub(super) fn cold_start(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let mut samples = Quantiles::default();
    // The first start fills the system's caches and does not count.
    for sample in 0..=bench.effort.starts {
        let started = Instant::now();
        let target = bench.through.of(Kind::Echo);
        let mut command = Process::start(BenchPart::DialStdio, Some(target))?;
        command.write(b"x")?;
        command.byte(started + START)?;
        if sample > 0 {
            samples.push(started.elapsed().as_secs_f64());
        }
    }
    let row = Row::new(Group::SetUp, "cold start", Unit::Seconds, samples.at(0.5));
    Ok(vec![row])
}

fn row(name: &'static str, unit: Unit, pair: &Pair) -> Row {
    Row::compared(Group::Command, name, unit, pair, 0.5)
}
