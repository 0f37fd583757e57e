//! `watm relay` in its own process, compared with a relay that only copies.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::clients::{self, RELAY, Served};
use super::peer::Kind;
use super::report::Row;
use super::trouble::Trouble;
use super::{Bench, PROBE, STALL, connect, latency};
use crate::args::BenchGroup as Group;

/// The size of their messages, in bytes.
const MESSAGE: usize = 64;

pub(super) fn relay(bench: &Bench) -> Result<Vec<Row>, Trouble> {
    if !bench.relays {
        return left_out(bench, "the module is not a relay");
    }
    // Both sides are plain here. The module must leave the bytes unchanged, or undo its changes on
    // the way back.
    let (plain_relay, relay) = Served::both(bench, &RELAY, Kind::Echo)?;
    if !echoes(relay.at) {
        return left_out(
            bench,
            "a plain client and a plain server do not understand the module",
        );
    }
    let (mut plain, mut through) = (client(plain_relay.at)?, client(relay.at)?);
    let pair = latency::samples(bench, MESSAGE, &mut plain, &mut through)?;
    let names = ["relay, round trip", "relay, round trip, p99"];
    let mut rows: Vec<Row> = latency::rows(Group::Relay, names, &pair)
        .map(|row| row.size(MESSAGE).connections(1))
        .into();
    rows.extend(clients::all(bench, &RELAY)?);
    Ok(rows)
}

fn client(relay: SocketAddr) -> io::Result<TcpStream> {
    connect(relay, Kind::Echo, STALL)
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
