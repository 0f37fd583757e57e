//! `watm bench`: how fast a module is on this machine, beside raw TCP in the same run.
//!
//! ```text
//! alone:   measurer -> dialer -------------------> peer      raw TCP:  measurer -> peer
//! paired:  measurer -> dialer -> listener -> peer
//! command: measurer -> `watm dial` or `watm relay` -> peer   copying:  measurer -> plain relay -> peer
//! ```
//!
//! The peer is a process of its own, as it would be in use, and so are the command's own modes. A
//! module whose bytes a plain peer can send back and forth runs alone; any other needs its own
//! listener at the far end, which runs in the peer's process. Each sample of the module stands
//! beside one of raw TCP, taken right before.

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
use crate::args::BenchArgs;
use crate::carry::open_files;
use crate::setup;
use crate::terminal::failure::Failure;
use crate::terminal::output;

/// Without a byte for this long, a measurement counts as stuck.
const STALL: Duration = Duration::from_secs(30);
/// How long a plain peer has to be understood before the module is paired with itself.
const PROBE: Duration = Duration::from_secs(2);
/// How long a connection has to end. A peer that sends for ever would make a module that waits for
/// its end use up all the time it gets.
const CLOSE: Duration = Duration::from_millis(200);

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// Samples of each measurement; the median of them counts.
    samples: usize,
    /// Bytes of a sample.
    volume: usize,
    /// Time of a sample where that is what is fixed.
    window: Duration,
    round_trips: usize,
    dials: usize,
    /// Starts of the command.
    starts: usize,
    idle: usize,
    /// Connections that are opened and closed.
    churn: usize,
    /// What opening and closing may take: some modules have to be interrupted each time.
    churn_limit: Duration,
    /// Connections that are open while others are dialled.
    open: usize,
    /// Connections that carry at once.
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
        log::info!("a plain peer is not understood, so the module is paired with its own listener");
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
        notes: RefCell::default(),
    };
    if args.load.no_cache {
        bench.note("cold start: the module is compiled each time (--no-cache)".to_owned());
    }
    let rows = bench.all()?;
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

/// Whether bytes come back as they were sent, and whether bytes that a plain peer makes up are
/// taken. A module with a handshake or a framing of its own fails one or the other.
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

/// Dials; reads and writes then wait for `patience` at most.
fn dial(dialer: &Dialer, to: SocketAddr, patience: Duration) -> Result<Conn, Trouble> {
    let conn = dialer.dial(&to.to_string())?;
    conn.set_read_timeout(Some(patience))?;
    conn.set_write_timeout(Some(patience))?;
    Ok(conn)
}

/// The same over plain TCP.
fn connect(to: SocketAddr, kind: Kind, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    // What an application does that sends messages; one that sends in bulk leaves it to the
    // system to put small writes together, which is the harder thing to compare with.
    stream.set_nodelay(kind == Kind::Echo)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

struct Bench {
    /// For dialers that do something more.
    builder: Builder<Dialer>,
    dialer: Dialer,
    /// Its connections say whose time it is.
    timed: Dialer,
    raw: Ports,
    /// Where the module dials to.
    through: Ports,
    effort: Effort,
    /// Whether the module is a relay.
    relays: bool,
    notes: RefCell<Vec<String>>,
}

impl Bench {
    fn all(&self) -> Result<Vec<Row>, Failure> {
        let steps = steps::all();
        let mut progress = Progress::new(steps.len());
        let mut rows = Vec::new();
        for Step {
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

    /// Says something about the measurement that its numbers do not.
    fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    fn raw(&self, kind: Kind, patience: Duration) -> io::Result<TcpStream> {
        connect(self.raw.of(kind), kind, patience)
    }

    /// Dials with a dialer of one's own.
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
