//! `watm bench`: measures how fast a module is on this machine, compared with raw TCP in the same
//! run.
//!
//! ```text
//! alone:   measurer -> dialer -------------------> peer      raw TCP:  measurer -> peer
//! paired:  measurer -> dialer -> listener -> peer
//! command: measurer -> `watm dial` or `watm relay` -> peer   copying:  measurer -> plain relay -> peer
//! ```
//!
//! The peer runs in its own process, as it would in use, and so do the command's own modes. A
//! module whose bytes a plain peer understands runs alone. Any other module needs its own listener
//! at the far end, which runs in the peer's process. Each sample of the module follows one of raw
//! TCP.

mod clients;
mod command;
mod cost;
mod flow;
mod latency;
mod measure;
mod part;
mod peer;
mod plot;
mod process;
mod progress;
mod relay;
mod report;
mod scale;
mod steps;
mod svg;
mod throughput;
mod trouble;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use watm_wasmer::{Builder, Conn, Dialer, Role, TransportModule};

use self::peer::{Kind, Peer, Ports};
use self::plot::Plot;
use self::progress::Progress;
use self::report::{Report, Row};
use self::steps::Step;
use self::trouble::Trouble;
use crate::args::{BenchArgs, BenchGroup};
use crate::carry::open_files;
use crate::setup;
use crate::terminal::failure::Failure;
use crate::terminal::output;

/// A measurement that moves no byte for this long is stuck.
const STALL: Duration = Duration::from_secs(30);
/// How long to try a plain peer before the module is paired with its own listener.
const PROBE: Duration = Duration::from_secs(2);
/// How long a connection has to end. A module that waits for the end of a peer that sends forever
/// would use up all the time it gets.
const CLOSE: Duration = Duration::from_millis(200);

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// Samples of each measurement, of which the median counts.
    samples: usize,
    /// Bytes of a sample.
    volume: usize,
    /// Duration of a sample whose duration is fixed.
    window: Duration,
    round_trips: usize,
    dials: usize,
    /// Starts of the command.
    starts: usize,
    idle: usize,
    /// Connections that are opened and closed.
    churn: usize,
    /// Time for opening and closing them: some modules have to be interrupted each time.
    churn_limit: Duration,
    /// Connections that are open while others are dialled.
    open: usize,
    /// Connections that transfer at once.
    together: usize,
}

impl Effort {
    const FULL: Self = Self {
        samples: 9,
        volume: 64 << 20,
        window: Duration::from_millis(300),
        round_trips: 5000,
        dials: 200,
        starts: 9,
        idle: 200,
        churn: 10_000,
        churn_limit: Duration::from_secs(40),
        open: 1000,
        together: 1000,
    };
    const QUICK: Self = Self {
        samples: 5,
        volume: 8 << 20,
        window: Duration::from_millis(60),
        round_trips: 500,
        dials: 30,
        starts: 5,
        idle: 50,
        churn: 500,
        churn_limit: Duration::from_secs(2),
        open: 100,
        together: 50,
    };
    const GLANCE: Self = Self {
        samples: 1,
        volume: 1 << 20,
        window: Duration::from_millis(20),
        round_trips: 50,
        dials: 4,
        starts: 1,
        idle: 20,
        churn: 20,
        churn_limit: Duration::from_secs(1),
        open: 20,
        together: 12,
    };

    fn of(args: &BenchArgs) -> Self {
        match args {
            BenchArgs { glance: true, .. } => Self::GLANCE,
            BenchArgs { quick: true, .. } => Self::QUICK,
            _ => Self::FULL,
        }
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    if let Some(part) = args.part {
        return part::run(args, part);
    }
    let plot = args.plot.as_deref().map(Plot::at).transpose()?;
    let module = setup::load(&args.module, &args.load)?;
    open_files::raise_limit();
    let builder = configure(&module, args)?;
    let dialer = builder.clone().build()?;
    let mut peer = Peer::start(args.paired)?;
    let mut paired = args.paired;
    if !paired && !understands_a_plain_peer(&dialer, &peer.raw) {
        log::info!(
            "the module does not understand a plain peer, so it is paired with its own listener"
        );
        paired = true;
        peer = Peer::start(true)?;
    }
    let bench = Bench {
        dialer,
        timed: builder.clone().timing(true).build()?,
        builder,
        raw: peer.raw,
        through: peer.module.unwrap_or(peer.raw),
        effort: Effort::of(args),
        relays: module.has_role(Role::Relay),
        clients: usize::from(args.clients),
        notes: RefCell::default(),
    };
    if args.load.no_cache {
        bench.note("cold start: the module is compiled each time (--no-cache)".to_owned());
    }
    let rows = bench.all(&args.only)?;
    let report = Report::new(&args.module, &module, paired, rows, bench.notes.take());
    if let Some(plot) = plot {
        plot.write(&report)?;
    }
    if args.json {
        output::json(&report)
    } else {
        output::print(&report.text())
    }
}

fn configure(module: &TransportModule, args: &BenchArgs) -> Result<Builder<Dialer>, Failure> {
    let builder = setup::configure(Dialer::builder(module), &args.transport)?;
    Ok(builder.close_grace(args.transport.close_grace.min(CLOSE)))
}

/// Whether bytes come back as they were sent, and whether the module accepts the bytes of a plain
/// peer. A module with its own handshake or framing fails one of these.
fn understands_a_plain_peer(dialer: &Dialer, raw: &Ports) -> bool {
    let echoes = || -> Result<bool, Trouble> {
        let conn = dial(dialer, raw.of(Kind::Echo), PROBE)?;
        let sent: Vec<u8> = (0..=255).cycle().take(4096).collect();
        (&conn).write_all(&sent)?;
        let mut back = vec![0; sent.len()];
        io::Read::read_exact(&mut &conn, &mut back)?;
        Ok(back == sent)
    };
    let takes = || -> Result<(), Trouble> {
        let conn = dial(dialer, raw.of(Kind::Source), PROBE)?;
        let mut bytes = vec![0; 256 * 1024];
        Ok(io::Read::read_exact(&mut &conn, &mut bytes)?)
    };
    echoes().unwrap_or(false) && takes().is_ok()
}

/// Dials. Reads and writes then wait for at most `patience`.
fn dial(dialer: &Dialer, to: SocketAddr, patience: Duration) -> Result<Conn, Trouble> {
    let conn = dialer.dial(to.to_string())?;
    conn.set_read_timeout(Some(patience))?;
    conn.set_write_timeout(Some(patience))?;
    Ok(conn)
}

/// Like [`dial`], over plain TCP.
fn connect(to: SocketAddr, kind: Kind, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    // Applications that send messages set this. Those that send in bulk let the system combine
    // small writes, which is harder to compete with.
    stream.set_nodelay(kind == Kind::Echo)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

struct Bench {
    /// For dialers with other settings.
    builder: Builder<Dialer>,
    dialer: Dialer,
    /// Its connections measure the time of guest and host.
    timed: Dialer,
    raw: Ports,
    /// Where the module dials.
    through: Ports,
    effort: Effort,
    /// Whether the module is a relay.
    relays: bool,
    /// Clients that use a command at once.
    clients: usize,
    notes: RefCell<Vec<String>>,
}

impl Bench {
    /// The measurements of these groups, or all if there are none.
    fn all(&self, only: &[BenchGroup]) -> Result<Vec<Row>, Failure> {
        let mut steps = steps::all();
        steps.retain(|step| only.is_empty() || only.contains(&step.group));
        let mut progress = Progress::new(steps.len());
        let mut rows = Vec::new();
        for Step {
            group: _,
            what,
            optional,
            run,
        } in steps
        {
            progress.step(&what);
            match run(self) {
                Ok(more) => rows.extend(more),
                Err(trouble) if optional => self.note(format!("{what}: left out: {trouble}")),
                Err(trouble) => return Err(trouble.into()),
            }
        }
        rows.sort_by_key(|row: &Row| row.group);
        Ok(rows)
    }

    /// Adds a note to the report.
    fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    fn raw(&self, kind: Kind, patience: Duration) -> io::Result<TcpStream> {
        connect(self.raw.of(kind), kind, patience)
    }

    /// Dials with a given dialer.
    fn dial_by(&self, dialer: &Dialer, kind: Kind) -> Result<Conn, Trouble> {
        dial(dialer, self.through.of(kind), STALL)
    }

    fn dial(&self, kind: Kind, patience: Duration) -> Result<Conn, Trouble> {
        dial(&self.dialer, self.through.of(kind), patience)
    }

    fn dial_timed(&self, kind: Kind, patience: Duration) -> Result<Conn, Trouble> {
        dial(&self.timed, self.through.of(kind), patience)
    }
}
