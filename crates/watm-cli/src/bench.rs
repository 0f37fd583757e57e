//! `watm bench`: how fast a module is on this machine, beside raw TCP in the same run.
//!
//! ```text
//! alone:   measurer -> dialer -------------------> peer      raw TCP:  measurer -> peer
//! paired:  measurer -> dialer -> listener -> peer
//! ```
//!
//! The peer is a process of its own, as it would be in use. A module whose bytes a plain peer can
//! send back and forth runs alone; any other needs its own listener at the far end, which runs in
//! the peer's process. Each sample of the module stands beside one of raw TCP, taken right before.

mod measure;
mod peer;
mod progress;
mod report;

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use watm_wasmer::{Conn, DialError, Dialer};

use self::measure::Pair;
use self::peer::{Kind, Peer, Ports};
use self::progress::Progress;
use self::report::{Report, Row, Unit};
use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::{open_files, output, setup};

/// Without a byte for this long, a measurement counts as stuck.
const STALL: Duration = Duration::from_secs(30);
/// How long a plain peer has to be understood before the module is paired with itself.
const PROBE: Duration = Duration::from_secs(2);
/// How long a connection has to end. A peer that sends for ever would make a module that waits for
/// its end use up all the time it gets.
const CLOSE: Duration = Duration::from_millis(200);
/// Bytes an application writes or reads at once.
const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 64 * 1024];
const ROUND_TRIPS: [usize; 3] = [4, 64, 1024];

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// Samples of each measurement; the median of them counts.
    samples: usize,
    /// Bytes of a sample.
    volume: usize,
    round_trips: usize,
    dials: usize,
    idle: usize,
}

impl Effort {
    const FULL: Self = Self {
        samples: 9,
        volume: 64 << 20,
        round_trips: 5000,
        dials: 200,
        idle: 200,
    };
    const QUICK: Self = Self {
        samples: 5,
        volume: 8 << 20,
        round_trips: 500,
        dials: 30,
        idle: 50,
    };
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    if args.as_peer {
        return peer::serve(args);
    }
    let module = setup::load(&args.module, &args.load)?;
    open_files::raise_limit();
    let dialer = setup::configure(Dialer::builder(&module), &args.transport)?
        .close_grace(args.transport.close_grace.min(CLOSE))
        .build()?;
    let mut peer = Peer::start(args.paired)?;
    let mut paired = args.paired;
    if !paired && !understands_a_plain_peer(&dialer, &peer.raw) {
        log::info!("a plain peer is not understood, so the module is paired with its own listener");
        paired = true;
        peer = Peer::start(true)?;
    }
    let effort = if args.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let bench = Bench {
        dialer: &dialer,
        raw: peer.raw,
        through: peer.module.unwrap_or(peer.raw),
        effort,
    };
    let rows = bench.all()?;
    let report = Report::new(&args.module, &module, paired, rows);
    let text = if args.json {
        output::json(&report)?
    } else {
        report.text()
    };
    output::print(&text)
}

/// Whether bytes come back as they were sent, and whether bytes that a plain peer makes up are
/// taken. A module with a handshake or a framing of its own fails one or the other.
fn understands_a_plain_peer(dialer: &Dialer, raw: &Ports) -> bool {
    let echoes = || -> io::Result<bool> {
        let conn = dial(dialer, raw, Kind::Echo).map_err(io::Error::other)?;
        conn.set_read_timeout(Some(PROBE))?;
        let sent: Vec<u8> = (0..=255).cycle().take(4096).collect();
        (&conn).write_all(&sent)?;
        let mut back = vec![0; sent.len()];
        io::Read::read_exact(&mut &conn, &mut back)?;
        Ok(back == sent)
    };
    let takes = || -> io::Result<()> {
        let conn = dial(dialer, raw, Kind::Source).map_err(io::Error::other)?;
        conn.set_read_timeout(Some(PROBE))?;
        let mut bytes = vec![0; 256 * 1024];
        io::Read::read_exact(&mut &conn, &mut bytes)
    };
    echoes().unwrap_or(false) && takes().is_ok()
}

fn dial(dialer: &Dialer, ports: &Ports, kind: Kind) -> Result<Conn, DialError> {
    let conn = dialer.dial(&ports.of(kind).to_string())?;
    conn.set_read_timeout(Some(STALL))
        .and_then(|()| conn.set_write_timeout(Some(STALL)))
        .map_err(DialError::Host)?;
    Ok(conn)
}

fn stuck(error: io::Error) -> Failure {
    Failure::because("the measurement was cut off", error)
        .hint("-v shows what the module logs, -vv also what the library does")
}

struct Bench<'a> {
    dialer: &'a Dialer,
    raw: Ports,
    /// Where the module dials to.
    through: Ports,
    effort: Effort,
}

impl Bench<'_> {
    fn all(&self) -> Result<Vec<Row>, Failure> {
        let steps = 2 * SIZES.len() + ROUND_TRIPS.len() + 2;
        let mut progress = Progress::new(steps);
        let mut rows = Vec::new();
        for size in SIZES {
            progress.step(&format!("out, {size} bytes a write"));
            rows.push(self.throughput(Kind::Sink, size)?);
        }
        for size in SIZES {
            progress.step(&format!("in, {size} bytes a read"));
            rows.push(self.throughput(Kind::Source, size)?);
        }
        for size in ROUND_TRIPS {
            progress.step(&format!("round trips of {size} bytes"));
            rows.extend(self.round_trips(size)?);
        }
        progress.step("dialling");
        rows.extend(self.dials()?);
        progress.step("idle connections");
        rows.extend(self.idle()?);
        Ok(rows)
    }

    fn raw(&self, kind: Kind) -> Result<TcpStream, Failure> {
        let connect = || {
            let stream = TcpStream::connect(self.raw.of(kind))?;
            // What an application does that sends messages; one that sends in bulk leaves it to the
            // system to put small writes together, which is the harder thing to compare with.
            stream.set_nodelay(kind == Kind::Echo)?;
            stream.set_read_timeout(Some(STALL))?;
            stream.set_write_timeout(Some(STALL))?;
            Ok(stream)
        };
        connect().map_err(stuck)
    }

    /// Bytes a second in one direction, while the buffers on the way are full (or empty).
    fn throughput(&self, kind: Kind, size: usize) -> Result<Row, Failure> {
        let mut raw = self.raw(kind)?;
        let mut conn = dial(self.dialer, &self.through, kind)?;
        // Writing 64 bytes at a time over raw TCP takes long.
        let volume = self.effort.volume / if size < 1024 { 8 } else { 1 };
        let mut pair = Pair::default();
        // The first sample fills the buffers and does not count.
        for sample in 0..=self.effort.samples {
            let (plain, through) = match kind {
                Kind::Sink => (
                    measure::write(&mut raw, volume, size).map_err(stuck)?,
                    measure::write(&mut conn, volume, size).map_err(stuck)?,
                ),
                _ => (
                    measure::read(&mut raw, volume, size).map_err(stuck)?,
                    measure::read(&mut conn, volume, size).map_err(stuck)?,
                ),
            };
            if sample > 0 {
                let rate = |time: Duration| volume as f64 / time.as_secs_f64().max(1e-9);
                pair.plain.push(rate(plain));
                pair.through.push(rate(through));
            }
        }
        let _ = (raw.shutdown(Shutdown::Both), conn.close());
        let name = match kind {
            Kind::Sink => "out",
            _ => "in",
        };
        Ok(Row::compared(
            name,
            Some(size),
            Unit::BytesPerSecond,
            &pair,
            0.5,
        ))
    }

    fn round_trips(&self, size: usize) -> Result<[Row; 2], Failure> {
        let mut raw = self.raw(Kind::Echo)?;
        let mut conn = dial(self.dialer, &self.through, Kind::Echo)?;
        let mut pair = Pair::default();
        let part = self.effort.round_trips / self.effort.samples;
        for _ in 0..self.effort.samples {
            measure::round_trips(&mut raw, size, part, &mut pair.plain).map_err(stuck)?;
            measure::round_trips(&mut conn, size, part, &mut pair.through).map_err(stuck)?;
        }
        let _ = conn.close();
        let row = |name, part| Row::compared(name, Some(size), Unit::Seconds, &pair, part);
        Ok([row("round trip", 0.5), row("round trip, p99", 0.99)])
    }

    fn dials(&self) -> Result<[Row; 2], Failure> {
        let mut pair = Pair::default();
        for _ in 0..self.effort.dials {
            pair.plain.time(|| self.raw(Kind::Sink))?;
            // Closing is waited for, so that it does not disturb the next sample.
            let conn = pair
                .through
                .time(|| dial(self.dialer, &self.through, Kind::Sink))?;
            let _ = conn.close();
        }
        let row = |name, part| Row::compared(name, None, Unit::Seconds, &pair, part);
        Ok([row("dial", 0.5), row("dial, p99", 0.99)])
    }

    /// What an open connection keeps of this process.
    fn idle(&self) -> Result<Vec<Row>, Failure> {
        // The first connections also pay for what all share.
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(dial(self.dialer, &self.through, Kind::Sink)?);
        }
        let before = measure::usage().map_err(stuck)?;
        for _ in 0..self.effort.idle {
            open.push(dial(self.dialer, &self.through, Kind::Sink)?);
        }
        let after = measure::usage().map_err(stuck)?;
        let each =
            |before: u64, after: u64| after.saturating_sub(before) as f64 / self.effort.idle as f64;
        let row = |name, unit, value| Row::new(name, None, unit, None, value);
        Ok(vec![
            row(
                "idle memory",
                Unit::Bytes,
                each(before.memory, after.memory),
            ),
            row(
                "idle threads",
                Unit::Count,
                each(before.threads, after.threads),
            ),
            row(
                "idle descriptors",
                Unit::Count,
                each(before.descriptors, after.descriptors),
            ),
        ])
    }
}
