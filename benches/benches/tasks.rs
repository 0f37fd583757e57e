//! The same bytes through the same module, for a thread that blocks and for a task of tokio: out and
//! in with 64 KiB at a time, and round trips of 64 bytes. The task runs on an executor with one
//! thread, which is this one, or with two of its own. Beside both, the same over plain TCP, with the
//! socket of the standard library and that of tokio: what an executor costs by itself.
//!
//! They take turns of a fraction of a second, each with a new connection: where the system puts the
//! threads of a connection changes the times twofold on a machine with few cores, which measurements
//! one after the other would show as a difference. A line has medians over all turns; the ratio is
//! the median of the ratios of the turns to those of the thread beside them.
//!
//! `cargo bench --bench tasks [-- [WORK] [--quick]]`, where WORK is `out`, `in` or `round_trip`.

use std::future::Future;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use watm_benches::{Peer, module, peer};
use watm_wasmer::{AsyncConn, Dialer};

/// Bytes of one read or write.
const PIECE: usize = 64 * 1024;
/// Bytes per iteration.
const VOLUME: usize = 1 << 20;
/// Bytes of a round trip.
const MESSAGE: usize = 64;
/// How often each takes its turn, and how long a turn is. `--quick` has a tenth of the turns.
const TURNS: usize = 60;
const TURN: Duration = Duration::from_millis(60);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is done with a connection, and how many bytes that moves in one iteration.
#[derive(Clone, Copy)]
enum Work {
    Out,
    In,
    RoundTrip,
}

impl Work {
    const ALL: [(Self, &str, Peer); 3] = [
        (Self::Out, "out", Peer::Sink),
        (Self::In, "in", Peer::Source),
        (Self::RoundTrip, "round_trip", Peer::Echo),
    ];

    /// Bytes of one read or write, and how many of them an iteration has.
    fn pieces(self) -> (usize, usize) {
        match self {
            Self::Out | Self::In => (PIECE, VOLUME / PIECE),
            Self::RoundTrip => (MESSAGE, 1),
        }
    }

    /// Does it on this thread for a turn. Returns the time of one iteration.
    fn block(self, mut conn: impl Read + Write) -> Duration {
        let (size, pieces) = self.pieces();
        let mut data = vec![7; size];
        let mut turn = Turn::new(pieces);
        while turn.goes_on() {
            if !matches!(self, Self::In) {
                conn.write_all(black_box(&data)).expect("the peer reads");
            }
            if !matches!(self, Self::Out) {
                conn.read_exact(black_box(&mut data))
                    .expect("the peer writes");
            }
        }
        turn.iteration()
    }

    /// Does it in a task for a turn. Returns the time of one iteration.
    async fn run(self, mut conn: impl AsyncRead + AsyncWrite + Unpin) -> Duration {
        let (size, pieces) = self.pieces();
        let mut data = vec![7; size];
        let mut turn = Turn::new(pieces);
        while turn.goes_on() {
            if !matches!(self, Self::In) {
                let written = conn.write_all(black_box(&data)).await;
                written.expect("the peer reads");
            }
            if !matches!(self, Self::Out) {
                let read = conn.read_exact(black_box(&mut data)).await;
                read.expect("the peer writes");
            }
        }
        turn.iteration()
    }
}

/// Runs `future` as a task of the executor, not on this thread if the executor has its own.
fn on<T: Send + 'static>(
    executor: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    let task = executor.spawn(future);
    executor.block_on(task).expect("the task ends")
}

/// The time of one turn. The first tenth of it warms up and does not count.
struct Turn {
    started: Instant,
    counted: Instant,
    pieces: usize,
    done: usize,
}

impl Turn {
    fn new(pieces: usize) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            counted: now,
            pieces,
            done: 0,
        }
    }

    /// Whether another piece is to be moved. The clock is read once in an iteration.
    fn goes_on(&mut self) -> bool {
        let is_whole = self.done.is_multiple_of(self.pieces);
        self.done += 1;
        if !is_whole {
            return true;
        }
        let now = Instant::now();
        let elapsed = now - self.started;
        if elapsed < TURN / 10 {
            self.counted = now;
            self.done = 1;
        }
        elapsed < TURN
    }

    fn iteration(&self) -> Duration {
        let iterations = (self.done - 1) / self.pieces;
        self.counted.elapsed() / u32::try_from(iterations.max(1)).unwrap_or(u32::MAX)
    }
}

/// Who takes a turn, by name: those over plain TCP, then those through the module. Each group begins
/// with the thread that the others are compared with.
const NAMES: [[&str; 3]; 2] = [
    ["tcp_thread", "tcp_one_thread", "tcp_two_threads"],
    ["thread", "one_thread", "two_threads"],
];

struct Course {
    dialer: Dialer,
    executors: [Runtime; 2],
}

impl Course {
    /// The times of all, in the order of [`NAMES`].
    fn turn(&self, work: Work, peer: SocketAddr) -> Result<[[Duration; 3]; 2]> {
        let plain = std::net::TcpStream::connect(peer)?;
        plain.set_nodelay(true)?;
        let mut tcp = [work.block(&plain), Duration::ZERO, Duration::ZERO];
        drop(plain);
        let mut module = [
            work.block(&self.dialer.dial(peer)?),
            Duration::ZERO,
            Duration::ZERO,
        ];
        for (at, executor) in self.executors.iter().enumerate() {
            let plain = executor.block_on(TcpStream::connect(peer))?;
            plain.set_nodelay(true)?;
            tcp[at + 1] = on(executor, work.run(plain));
            let conn = AsyncConn::from(self.dialer.dial(peer)?);
            module[at + 1] = on(executor, work.run(conn));
        }
        Ok([tcp, module])
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_quick = args.iter().any(|arg| arg == "--quick");
    let turns = if is_quick { TURNS / 10 } else { TURNS };
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let course = Course {
        dialer: Dialer::builder(&module("plain16k")?).build()?,
        executors: [
            Builder::new_current_thread().enable_io().build()?,
            Builder::new_multi_thread()
                .worker_threads(2)
                .enable_io()
                .build()?,
        ],
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "median us per MiB or round trip, and median ratio to the thread, of {turns} turns"
    )?;
    for (work, name, kind) in Work::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| *wanted == name) {
            continue;
        }
        let peer = peer(kind)?;
        let times: Vec<_> = (0..turns)
            .map(|_| course.turn(work, peer))
            .collect::<Result<_>>()?;
        for (group, names) in NAMES.iter().enumerate() {
            for (at, who) in names.iter().enumerate() {
                let micros = times.iter().map(|time| time[group][at].as_secs_f64() * 1e6);
                let ratios = times
                    .iter()
                    .map(|time| time[group][at].as_secs_f64() / time[group][0].as_secs_f64());
                let (micros, ratio) = (median(micros.collect()), median(ratios.collect()));
                writeln!(out, "{name:<12} {who:<16} {micros:>9.1} {ratio:>6.2}")?;
            }
        }
    }
    Ok(())
}
