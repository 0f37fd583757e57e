//! Many connections: the resources of an idle one, what closed ones leave behind, and the
//! performance while a thousand are open.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use watm_wasmer::Conn;

use super::flow::{self, Lane, PIECE};
use super::latency::time_dials;
use super::measure::{Pair, Usage};
use super::peer::Kind;
use super::report::{Row, Unit};
use super::trouble::Trouble;
use super::{Bench, STALL};
use crate::args::BenchGroup as Group;
use crate::carry::open_files;

/// The first connections also allocate what all connections share.
const FIRST: usize = 8;
/// The number of connections after which no more is retained for later ones.
const SETTLED: usize = 100;
/// Descriptors per connection, including the raw TCP connection beside it. The peer needs no more.
const DESCRIPTORS: u64 = 5;
/// Descriptors for everything else.
const OTHER_DESCRIPTORS: u64 = 100;
/// The number of connections that many are compared with.
const FEW: usize = 10;
/// The number of writing threads, which is the same for few and for many connections.
const DRIVERS: usize = 8;
/// Bytes per write.
const WRITE: usize = 16 * 1024;

/// The resources of this process that an open connection takes.
pub(super) fn idle(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let count = bench.affordable("idle connections", bench.effort.idle);
    let mut open = open(bench, FIRST)?;
    let before = Usage::settled()?;
    for _ in 0..count {
        open.push(bench.dial(Kind::Sink, STALL)?);
    }
    let each = Usage::now()?.since(before, count as f64);
    let names = ["idle memory", "idle threads", "idle descriptors"];
    Ok(usage_rows(Group::Idle, names, each).into())
}

/// What opened and closed connections leave behind.
pub(super) fn left(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    open_and_close(bench, SETTLED)?;
    let before = Usage::settled()?;
    let closed = open_and_close(bench, bench.effort.churn)?;
    if closed < bench.effort.churn {
        let limit = bench.effort.churn_limit;
        bench.note(format!(
            "closing: stopped after {closed} connections, which took {limit:?}"
        ));
    }
    let left = Usage::settled()?.since(before, 1.0);
    let names = ["left memory", "left threads", "left descriptors"];
    let rows = usage_rows(Group::Many, names, left);
    Ok(rows.map(|row| row.connections(closed)).into())
}

/// Opens and closes connections one after the other. Returns how many there was time for.
fn open_and_close(bench: &Bench, count: usize) -> Result<usize, Trouble> {
    let started = Instant::now();
    for closed in 0..count {
        if started.elapsed() > bench.effort.churn_limit {
            return Ok(closed);
        }
        let _ = bench.dial(Kind::Sink, STALL)?.close();
    }
    Ok(count)
}

fn usage_rows(group: Group, names: [&'static str; 3], usage: Usage) -> [Row; 3] {
    let [memory, threads, descriptors] = names;
    [
        Row::new(group, memory, Unit::Bytes, usage.memory),
        Row::new(group, threads, Unit::Count, usage.threads),
        Row::new(group, descriptors, Unit::Count, usage.descriptors),
    ]
}

/// Dialling while few and while many connections are open.
pub(super) fn dials(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let (mut few, mut many) = (Pair::default(), Pair::default());
    let count = bench.affordable("dialling beside many", bench.effort.open);
    // Half before and half after, since the speed of the machine may change meanwhile.
    time_dials(bench, bench.effort.dials / 2, &mut few)?;
    let open = (open_raw(bench, count)?, open(bench, count)?);
    time_dials(bench, bench.effort.dials, &mut many)?;
    drop(open);
    Usage::settled()?;
    time_dials(bench, bench.effort.dials.div_ceil(2), &mut few)?;
    let row = |name, unit, pair: &Pair| Row::compared(Group::Many, name, unit, pair, 0.5);
    Ok(vec![
        row("dial, few open", Unit::Seconds, &few).connections(1),
        row("dial, many open", Unit::Seconds, &many).connections(count),
    ])
}

/// All connections transferring at once.
pub(super) fn together(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    let count = bench.affordable("many at once", bench.effort.together);
    let raw = open_raw(bench, count)?;
    let conns = open(bench, count)?;
    for conn in &conns {
        conn.set_write_timeout(Some(PIECE))?;
    }
    let (mut few, mut many) = (Pair::default(), Pair::default());
    let window = bench.effort.window;
    let run = |lanes| flow::rate(lanes, window);
    for _ in 0..bench.effort.samples {
        few.push(run(lanes(&raw[..FEW]))?, run(lanes(&conns[..FEW]))?);
        many.push(run(lanes(&raw))?, run(lanes(&conns))?);
    }
    drop(conns);
    Usage::settled()?;
    let row = |name, unit, pair: &Pair, connections| {
        Row::compared(Group::Many, name, unit, pair, 0.5)
            .size(WRITE)
            .connections(connections)
    };
    let share = many.median_of(&few);
    Ok(vec![
        row("out, few at once", Unit::BytesPerSecond, &few, FEW),
        row("out, many at once", Unit::BytesPerSecond, &many, count),
        row("out, many of few", Unit::Share, &share, count),
    ])
}

/// Splits the connections among a few threads.
fn lanes<'a, T: Sync>(over: &'a [T]) -> Vec<Lane<'a>>
where
    &'a T: Write,
{
    let drivers = DRIVERS.min(over.len());
    let share = |driver| over.iter().skip(driver).step_by(drivers).collect();
    (0..drivers)
        .map(|driver| Lane::write_in_turns(share(driver), WRITE))
        .collect()
}

fn open(bench: &Bench, count: usize) -> Result<Vec<Conn>, Trouble> {
    (0..count).map(|_| bench.dial(Kind::Sink, STALL)).collect()
}

fn open_raw(bench: &Bench, count: usize) -> Result<Vec<TcpStream>, Trouble> {
    let open = || Ok(bench.raw(Kind::Sink, PIECE)?);
    (0..count).map(|_| open()).collect()
}

impl Bench {
    /// The number of connections that there are descriptors for.
    fn affordable(&self, what: &str, wanted: usize) -> usize {
        let limit = open_files::limit();
        let most = affordable(limit, wanted);
        if most < wanted {
            self.note(format!(
                "{what}: {most} connections instead of {wanted}, since this process may have at \
                 most {limit} open files (see `ulimit -Hn`)"
            ));
        }
        most
    }
}

fn affordable(limit: u64, wanted: usize) -> usize {
    let most = limit.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    wanted.min(most.max(FEW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_of_descriptors_means_fewer_connections() {
        assert_eq!(affordable(20_000, 1000), 1000);
        assert_eq!(affordable(1024, 1000), 184);
        assert_eq!(affordable(64, 1000), FEW);
    }
}
