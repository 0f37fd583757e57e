//! Many clients of one command at once, compared with a relay that only copies.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::flow::{self, Lane, PIECE};
use super::latency::{self, PAUSE};
use super::measure::{Pair, Quantiles, Usage, processor_time, settle};
use super::peer::Kind;
use super::process::Process;
use super::report::{Row, Unit};
use super::trouble::Trouble;
use super::{Bench, STALL, connect};
use crate::args::{BenchGroup as Group, BenchPart};

/// The first clients, which also allocate what all of them share.
const FIRST: usize = 8;
/// Bytes of a message.
const MESSAGE: usize = 64;
/// Bytes per write or read of bulk traffic.
const BULK: usize = 64 * 1024;
const GIGABYTE: f64 = 1e9;
/// How long a process must be idle to have carried everything, and how often to look.
const ARRIVAL: Duration = Duration::from_millis(50);
const ARRIVAL_LOOKS: usize = 100;

/// A command that has clients, and what its measurements are called.
pub(super) struct Command {
    group: Group,
    part: BenchPart,
    round_trips: &'static str,
    first_byte: [&'static str; 2],
    /// Memory of a new and of a used client, threads, descriptors, mappings.
    resources: [&'static str; 5],
    both: [&'static str; 2],
}

pub(super) const RELAY: Command = Command {
    group: Group::Relay,
    part: BenchPart::Relay,
    round_trips: "relay, round trips",
    first_byte: ["relay, first byte", "relay, first byte, p99"],
    resources: [
        "relay, memory, new",
        "relay, memory, used",
        "relay, threads",
        "relay, descriptors",
        "relay, mappings",
    ],
    both: ["relay, both", "relay, processor"],
};

pub(super) const DIAL: Command = Command {
    group: Group::Command,
    part: BenchPart::Dial,
    round_trips: "command, round trips",
    first_byte: ["command, first byte", "command, first byte, p99"],
    resources: [
        "command, memory, new",
        "command, memory, used",
        "command, threads",
        "command, descriptors",
        "command, mappings",
    ],
    both: ["command, both", "command, processor"],
};

/// All measurements of many clients.
pub(super) fn all(bench: &Bench, command: &Command) -> Result<Vec<Row>, Trouble> {
    let mut rows = first_byte(bench, command)?;
    rows.extend(round_trips(bench, command)?);
    rows.extend(both_ways(bench, command)?);
    Ok(rows)
}

/// The time from connecting until a byte has come back.
fn first_byte(bench: &Bench, command: &Command) -> Result<Vec<Row>, Trouble> {
    let (plain, through) = Served::both(bench, command, Kind::Echo)?;
    let mut pair = Pair::default();
    for _ in latency::turns(bench, bench.effort.dials) {
        thread::sleep(PAUSE);
        pair.plain.time(|| plain.client())?;
        thread::sleep(PAUSE);
        pair.through.time(|| through.client())?;
    }
    let rows = latency::rows(command.group, command.first_byte, &pair);
    Ok(rows.map(|row| row.connections(1)).into())
}

/// Round trips of all clients together, and the resources of the process for each client.
fn round_trips(bench: &Bench, command: &Command) -> Result<Vec<Row>, Trouble> {
    let (plain, through) = Served::both(bench, command, Kind::Echo)?;
    let (plain, through) = (Clients::of(bench, plain)?, Clients::of(bench, through)?);
    let mut pair = Pair::default();
    for _ in 0..bench.effort.samples {
        pair.push(plain.round_trips(bench)?, through.round_trips(bench)?);
    }
    let row = Row::compared(
        command.group,
        command.round_trips,
        Unit::PerSecond,
        &pair,
        0.5,
    );
    let mut rows = vec![row.size(MESSAGE).connections(bench.clients)];
    let (plain, through) = (plain.resources()?, through.resources()?);
    for (index, name) in command.resources.into_iter().enumerate() {
        let unit = if index < 2 { Unit::Bytes } else { Unit::Count };
        let row = Row::new(command.group, name, unit, through[index]).beside(plain[index]);
        rows.push(row.connections(bench.clients));
    }
    Ok(rows)
}

/// Bulk traffic of all clients in both directions, and the processor time that it takes.
fn both_ways(bench: &Bench, command: &Command) -> Result<Vec<Row>, Trouble> {
    let (plain, through) = Served::both(bench, command, Kind::Both)?;
    let (mut plain, mut through) = (Bulk::of(bench, plain)?, Bulk::of(bench, through)?);
    for _ in 0..bench.effort.samples {
        plain.carry(bench)?;
        through.carry(bench)?;
    }
    let [rate, processor] = command.both;
    let (plain_time, through_time) = (plain.processor()?, through.processor()?);
    let pair = Pair {
        plain: plain.rates,
        through: through.rates,
    };
    let rows = [
        Row::compared(command.group, rate, Unit::BytesPerSecond, &pair, 0.5),
        Row::new(
            command.group,
            processor,
            Unit::SecondsPerGigabyte,
            through_time,
        )
        .beside(plain_time),
    ];
    Ok(rows
        .map(|row| row.size(BULK).connections(bench.clients))
        .into())
}

/// A process that serves clients.
pub(super) struct Served {
    process: Process,
    pub(super) at: SocketAddr,
}

impl Served {
    /// The plain relay, and the command.
    pub(super) fn both(
        bench: &Bench,
        command: &Command,
        kind: Kind,
    ) -> Result<(Self, Self), Trouble> {
        let target = match command.part {
            // Both of its sides are plain.
            BenchPart::Relay => bench.raw.of(kind),
            _ => bench.through.of(kind),
        };
        let plain = Self::start(BenchPart::PlainRelay, bench.raw.of(kind))?;
        Ok((plain, Self::start(command.part, target)?))
    }

    fn start(part: BenchPart, target: SocketAddr) -> io::Result<Self> {
        let (process, at) = Process::listening(part, target)?;
        Ok(Self { process, at })
    }

    /// A client that has had its first round trip.
    fn client(&self) -> io::Result<TcpStream> {
        let client = connect(self.at, Kind::Echo, STALL)?;
        (&client).write_all(&[7])?;
        (&client).read_exact(&mut [0])?;
        Ok(client)
    }

    /// The processor time of the process so far, in seconds, once what is on its way has arrived.
    fn processor_time(&self) -> io::Result<f64> {
        settle(
            ARRIVAL,
            ARRIVAL_LOOKS,
            || processor_time(self.process.id()),
            |now, last| now == last,
        )
    }

    /// What the process uses once its pool of instances is full again.
    fn usage(&self) -> io::Result<Usage> {
        Usage::settled_of(&self.process.id().to_string())
    }
}

/// The clients that exchange messages, and what their process uses without them and while they are
/// new.
struct Clients {
    /// Ends before its clients, which would otherwise look like failures to it.
    served: Served,
    clients: Vec<TcpStream>,
    _first: Vec<TcpStream>,
    before: Usage,
    new: Usage,
}

impl Clients {
    fn of(bench: &Bench, served: Served) -> io::Result<Self> {
        let open = |count| -> io::Result<Vec<_>> { (0..count).map(|_| served.client()).collect() };
        let first = open(FIRST)?;
        let before = served.usage()?;
        let clients = open(bench.clients)?;
        let new = served.usage()?;
        Ok(Self {
            served,
            clients,
            _first: first,
            before,
            new,
        })
    }

    /// Round trips per second of all clients together, with a thread for each.
    fn round_trips(&self, bench: &Bench) -> io::Result<f64> {
        let lanes = self
            .clients
            .iter()
            .map(|client| Lane::round_trips(client, MESSAGE));
        flow::rate(lanes.collect(), bench.effort.window)
    }

    /// For each client: memory when it is new, then everything after it was used.
    fn resources(&self) -> io::Result<[f64; 5]> {
        let count = self.clients.len() as f64;
        let new = self.new.since(self.before, count);
        let used = self.served.usage()?.since(self.before, count);
        Ok([
            new.memory,
            used.memory,
            used.threads,
            used.descriptors,
            used.mappings,
        ])
    }
}

/// Clients that send and receive as much as they can.
struct Bulk {
    /// Ends before its clients, as that of [`Clients`].
    served: Served,
    clients: Vec<TcpStream>,
    /// Bytes per second of all of them.
    rates: Quantiles,
    /// Bytes in all samples, and the processor time of the process before them, in seconds.
    moved: u64,
    before: f64,
}

impl Bulk {
    fn of(bench: &Bench, served: Served) -> io::Result<Self> {
        let client = |_| connect(served.at, Kind::Both, PIECE);
        let clients = (0..bench.clients).map(client).collect::<io::Result<_>>()?;
        let before = served.processor_time()?;
        Ok(Self {
            served,
            clients,
            rates: Quantiles::default(),
            moved: 0,
            before,
        })
    }

    fn carry(&mut self, bench: &Bench) -> io::Result<()> {
        let lanes = self
            .clients
            .iter()
            .flat_map(|client| [Lane::write(client, BULK), Lane::read(client, BULK)]);
        let flow = flow::run(lanes.collect(), bench.effort.window)?;
        self.rates.push(flow.rates.iter().sum());
        self.moved += flow.moved;
        Ok(())
    }

    /// Seconds of processor time for a gigabyte.
    fn processor(&self) -> io::Result<f64> {
        let time = self.served.processor_time()? - self.before;
        Ok(time / (self.moved as f64 / GIGABYTE).max(f64::MIN_POSITIVE))
    }
}
