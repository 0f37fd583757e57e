//! A load test: one process holds thousands of open connections at once, each with verified
//! traffic. Then all are closed, and everything that they used must be back. The peer runs in a
//! separate process. See tests/README.md.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use watm_tests::{
    LONG, Pattern, open_descriptors, path_of, raise_descriptors, resident_bytes, threads,
};
use watm_wasmer::{Conn, Dialer, TransportModule};

/// Descriptors that one connection needs: its socket, and two for its worker's poll.
const DESCRIPTORS: u64 = 3;
/// Other descriptors that the process needs.
const SPARE_DESCRIPTORS: u64 = 64;
/// Maximum number of mappings per connection: memory, two stacks, and the guards of each.
const MAPPINGS: u64 = 10;
/// Number of threads that open, use and close connections.
const HANDS: usize = 16;
/// Maximum growth of memory from one cycle to the next.
const GROWTH: u64 = 16 << 20;

/// Holds thousands of connections open at the same time, uses each, closes all.
#[derive(Debug, Parser)]
struct Args {
    /// Connections that are open at the same time
    #[arg(long, default_value_t = 5000)]
    connections: usize,

    /// Messages that each sends and gets back
    #[arg(long, default_value_t = 5)]
    rounds: u64,

    /// Bytes of a message
    #[arg(long, default_value_t = 8192)]
    bytes: usize,

    /// How often all are opened and closed
    #[arg(long, default_value_t = 2)]
    cycles: u32,

    /// The module; plain.wasm of the tests by default
    #[arg(long)]
    module: Option<std::path::PathBuf>,

    /// Be the peer
    #[arg(long, hide = true)]
    peer: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = if args.peer { serve() } else { run(&args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("load: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let wanted = args.connections as u64;
    check_limits(wanted)?;
    let path = args.module.clone().unwrap_or_else(|| path_of("plain"));
    let module = TransportModule::from_file(path).map_err(|error| error.to_string())?;
    let peer = Peer::start()?;
    let dialer = Dialer::builder(&module).build();
    let dialer = dialer.map_err(|error| error.to_string())?;
    // What is created once per process is not counted.
    drop(
        dialer
            .dial(&peer.address)
            .map_err(|error| error.to_string())?,
    );
    wait_for_workers(0)?;

    let mut left = Vec::new();
    for cycle in 1..=args.cycles {
        let before = Uses::now();
        let started = Instant::now();
        let conns = open(&dialer, &peer.address, args.connections)?;
        let took = started.elapsed();
        let open = Uses::now();
        println!(
            "cycle {cycle}: {wanted} connections open after {took:.1?}; each takes {} KiB resident, {:.2} threads, {:.2} descriptors, {:.2} mappings",
            open.resident.saturating_sub(before.resident) / wanted / 1024,
            per(open.threads - before.threads, wanted),
            per(open.descriptors - before.descriptors, wanted),
            per(open.mappings - before.mappings, wanted),
        );
        let started = Instant::now();
        converse(&conns, args)?;
        let (took, used) = (started.elapsed(), Uses::now());
        let bytes = 2 * wanted * args.rounds * args.bytes as u64;
        println!(
            "cycle {cycle}: {} MiB verified in {took:.1?}, {:.0} MB/s; {} MiB resident, {} KiB for each connection that was used",
            bytes >> 20,
            bytes as f64 / took.as_secs_f64() / 1e6,
            used.resident >> 20,
            used.resident.saturating_sub(before.resident) / wanted / 1024,
        );
        let started = Instant::now();
        drop(conns);
        wait_for_workers(0)?;
        let took = started.elapsed();
        // What many connections leave behind is given back a second after they end.
        thread::sleep(Duration::from_secs(2));
        let after = Uses::now();
        println!(
            "cycle {cycle}: all closed after {took:.1?}; left over: {} threads, {} descriptors, {} mappings, {} MiB resident",
            after.threads.saturating_sub(before.threads),
            after.descriptors.saturating_sub(before.descriptors),
            after.mappings.saturating_sub(before.mappings),
            after.resident >> 20,
        );
        if after.descriptors > before.descriptors {
            return Err(format!("descriptors are left over: {before:?}, {after:?}"));
        }
        left.push(after.resident);
    }
    match left[..] {
        [first, .., last] if last > first + GROWTH => Err(format!(
            "memory grows from cycle to cycle: {} MiB, {} MiB",
            first >> 20,
            last >> 20
        )),
        _ => Ok(()),
    }
}

/// Raises the limits as far as possible. Reports those that are still too low.
fn check_limits(connections: u64) -> Result<(), String> {
    let descriptors = connections * DESCRIPTORS + SPARE_DESCRIPTORS;
    let allowed = raise_descriptors();
    if allowed < descriptors {
        return Err(format!(
            "{connections} connections need {descriptors} descriptors and the limit is {allowed}: raise it with `ulimit -Hn`"
        ));
    }
    for (path, needed, what) in [
        (
            "/proc/sys/vm/max_map_count",
            connections * MAPPINGS + 1000,
            "mappings",
        ),
        (
            "/proc/sys/kernel/threads-max",
            2 * connections + 100,
            "threads, the peer's included",
        ),
    ] {
        let allowed = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if allowed.is_some_and(|allowed: u64| allowed < needed) {
            return Err(format!(
                "{connections} connections need up to {needed} {what} and {path} is {}: raise it with sysctl",
                allowed.unwrap_or(0)
            ));
        }
    }
    Ok(())
}

/// What the process uses now.
#[derive(Debug)]
struct Uses {
    resident: u64,
    threads: usize,
    descriptors: usize,
    mappings: usize,
}

impl Uses {
    fn now() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self {
            resident: resident_bytes(),
            threads: threads(""),
            descriptors: open_descriptors(),
            mappings: maps.lines().count(),
        }
    }
}

fn per(count: usize, connections: u64) -> f64 {
    count as f64 / connections as f64
}

fn open(dialer: &Dialer, address: &str, count: usize) -> Result<Vec<Conn>, String> {
    let conns = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                let conns = &conns;
                scope.spawn(move || -> Result<(), String> {
                    for _ in (hand..count).step_by(HANDS) {
                        let conn = dialer.dial(address).map_err(|error| error.to_string())?;
                        conn.set_read_timeout(Some(LONG)).map_err(told)?;
                        conn.set_write_timeout(Some(LONG)).map_err(told)?;
                        if let Ok(mut conns) = conns.lock() {
                            conns.push(conn);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        finish(hands)
    })?;
    conns
        .into_inner()
        .map_err(|_| "a thread panicked".to_owned())
}

/// Each connection sends messages and gets them back. Each thread handles a share of the
/// connections.
fn converse(conns: &[Conn], args: &Args) -> Result<(), String> {
    thread::scope(|scope| {
        let part = conns.len().div_ceil(HANDS);
        let hands: Vec<_> = conns
            .chunks(part)
            .enumerate()
            .map(|(hand, conns)| {
                scope.spawn(move || -> Result<(), String> {
                    let mut message = vec![0; args.bytes];
                    for round in 0..args.rounds {
                        // All write before any reads, so that all are busy at once.
                        let seed = |index: usize| ((hand << 32) + index) as u64 ^ round << 56;
                        for (index, mut conn) in conns.iter().enumerate() {
                            Pattern::new(seed(index)).fill(&mut message);
                            conn.write_all(&message).map_err(told)?;
                        }
                        for (index, mut conn) in conns.iter().enumerate() {
                            conn.read_exact(&mut message).map_err(told)?;
                            Pattern::new(seed(index)).check(&message);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        finish(hands)
    })
}

fn finish(hands: Vec<thread::ScopedJoinHandle<'_, Result<(), String>>>) -> Result<(), String> {
    hands.into_iter().try_for_each(|hand| {
        hand.join()
            .unwrap_or_else(|_| Err("a thread panicked, see above".into()))
    })
}

fn told(error: io::Error) -> String {
    error.to_string()
}

fn wait_for_workers(count: usize) -> Result<(), String> {
    let deadline = Instant::now() + LONG;
    loop {
        let left = threads("watm-worker");
        if left <= count {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("{left} workers are left after {LONG:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The peer's process, which ends when this is dropped.
struct Peer {
    process: Child,
    address: String,
}

impl Peer {
    fn start() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(told)?;
        let mut process = Command::new(program)
            .arg("--peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let mut address = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut address).map_err(told)?;
        }
        let address = address.trim().to_owned();
        if address.is_empty() {
            return Err("the peer did not start".into());
        }
        Ok(Self { process, address })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Echoes on one thread per connection, until standard input ends.
fn serve() -> Result<(), String> {
    raise_descriptors();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(told)?;
    println!("{}", listener.local_addr().map_err(told)?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let started = thread::Builder::new()
                .stack_size(32 * 1024)
                .spawn(move || echo(&stream));
            if let Err(error) = started {
                eprintln!("load: the peer has no thread: {error}");
            }
        }
    });
    let _ = io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn echo(mut stream: &TcpStream) {
    let mut buf = vec![0; 8192];
    while let Ok(len @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..len]).is_err() {
            return;
        }
    }
}
