//! `watm relay` in its own process, compared with a relay that only copies.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::flow::{self, Lane};
use super::latency;
use super::measure::Pair;
use super::peer::Kind;
use super::process::Process;
use super::report::{Group, Row, Unit};
use super::trouble::Trouble;
use super::{Bench, PROBE, connect};
use crate::args::BenchPart;

/// Clients that use one relay at once.
const CLIENTS: usize = 16;
/// The size of their messages, in bytes.
const MESSAGE: usize = 64;

pub(super) fn relay(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    if !bench.relays {
        return left_out(bench, "the module is not a relay");
    }
    // Both sides are plain here. The module must leave the bytes unchanged, or undo its changes on
    // the way back.
    let target = bench.raw.of(Kind::Echo);
    let (_plain_relay, plain) = Process::listening(BenchPart::PlainRelay, target)?;
    let (_relay, through) = Process::listening(BenchPart::Relay, target)?;
    if !echoes(through) {
        return left_out(
            bench,
            "a plain client and a plain server do not understand the module",
        );
    }
    let (mut plain, mut through) = (clients(plain)?, clients(through)?);
    let pair = latency::samples(bench, MESSAGE, &mut plain[0], &mut through[0])?;
    let names = ["relay, round trip", "relay, round trip, p99"];
    let mut rows: Vec<Row> = latency::rows(Group::Relay, names, &pair)
        .map(|row| row.size(MESSAGE).connections(1))
        .into();
    let mut pair = Pair::default();
    for _ in 0..bench.effort.samples {
        pair.push(trips(bench, &plain)?, trips(bench, &through)?);
    }
    let row = Row::compared(
        Group::Relay,
        "relay, round trips",
        Unit::PerSecond,
        &pair,
        0.5,
    );
    rows.push(row.size(MESSAGE).connections(CLIENTS));
    Ok(rows)
}

fn left_out(bench: &Bench, why: &str) -> Result<Vec<Row>, Trouble> {
    bench.note(format!("relay: left out: {why}"));
    Ok(Vec::new())
}

fn echoes(relay: SocketAddr) -> bool {
    let echoes = || -> io::Result<bool> {
        let client = connect(relay, Kind::Echo, PROBE)?;
        let sent: [u8; MESSAGE] = std::array::from_fn(|index| index as u8);
        let mut back = [0; MESSAGE];
        (&client).write_all(&sent)?;
        (&client).read_exact(&mut back)?;
        Ok(back == sent)
    };
    echoes().unwrap_or(false)
}

fn clients(relay: SocketAddr) -> io::Result<Vec<TcpStream>> {
    (0..CLIENTS)
        .map(|_| connect(relay, Kind::Echo, super::STALL))
        .collect()
}

/// Round trips per second of all clients together, with a thread for each.
fn trips(bench: &Bench, clients: &[TcpStream]) -> io::Result<f64> {
    let lanes = clients
        .iter()
        .map(|client| Lane::round_trips(client, MESSAGE));
    flow::rate(lanes.collect(), bench.effort.window)
}
