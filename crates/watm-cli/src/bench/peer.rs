//! The far end of the measurements: this program again, as a process of its own. It ends when its
//! standard input does, so it never outlives who started it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;

use watm_wasmer::Listener;

use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::{open_files, output, setup};

const LOOPBACK: &str = "127.0.0.1:0";
const BUFFER: usize = 64 * 1024;
/// What a thread of the peer needs beside its buffer, which is on the heap.
const STACK: usize = 128 * 1024;

/// What the peer does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sends back what it receives.
    Echo,
    /// Receives and drops.
    Sink,
    /// Sends for as long as it is taken.
    Source,
}

/// Where the peer listens, a port for each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    echo: SocketAddr,
    sink: SocketAddr,
    source: SocketAddr,
}

impl Ports {
    pub(super) fn of(&self, kind: Kind) -> SocketAddr {
        match kind {
            Kind::Echo => self.echo,
            Kind::Sink => self.sink,
            Kind::Source => self.source,
        }
    }

    fn make(mut listen: impl FnMut(Kind) -> Result<SocketAddr, Failure>) -> Result<Self, Failure> {
        Ok(Self {
            echo: listen(Kind::Echo)?,
            sink: listen(Kind::Sink)?,
            source: listen(Kind::Source)?,
        })
    }

    fn parse<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut next = || words.next()?.parse().ok();
        Some(Self {
            echo: next()?,
            sink: next()?,
            source: next()?,
        })
    }
}

/// The peer, as the measuring process sees it.
pub(super) struct Peer {
    _process: Process,
    /// Plain TCP.
    pub(super) raw: Ports,
    /// The module's listener before the same, if the peer runs it.
    pub(super) module: Option<Ports>,
}

struct Process(Child);

impl Peer {
    /// Starts this program once more, with the same options.
    pub(super) fn start(paired: bool) -> Result<Self, Failure> {
        let failed = |error| Failure::because("cannot start the peer's process", error);
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(std::env::args_os().skip(1)).arg("--as-peer");
        if paired && !std::env::args_os().any(|arg| arg == "--paired") {
            command.arg("--paired");
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut process = Process(child);
        let mut line = String::new();
        if let Some(stdout) = process.0.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(failed)?;
        }
        let mut words = line.split_whitespace();
        let raw = Ports::parse(&mut words);
        let module = Ports::parse(&mut words);
        match raw {
            Some(raw) if module.is_some() == paired => Ok(Self {
                _process: process,
                raw,
                module,
            }),
            // It has said why on standard error.
            _ => Err(Failure::new("the peer's process did not start")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Dropping its standard input would do, but a peer that is stuck must not stay.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the peer until standard input ends.
pub(super) fn serve(args: &BenchArgs) -> Result<(), Failure> {
    open_files::raise_limit();
    let raw = Ports::make(|kind| listen(kind).map_err(cannot_listen))?;
    let mut line = format!("{} {} {}", raw.echo, raw.sink, raw.source);
    if args.paired {
        let module = setup::load(&args.module, &args.load)?;
        let ports = Ports::make(|kind| {
            let builder = setup::configure(Listener::builder(&module), &args.transport)?;
            let listener = builder.bind(LOOPBACK)?;
            let address = listener.local_addr();
            thread::spawn(move || {
                for conn in listener.incoming() {
                    spawn(move || exchange(kind, conn));
                }
            });
            Ok(address)
        })?;
        line += &format!(" {} {} {}", ports.echo, ports.sink, ports.source);
    }
    output::print(&format!("{line}\n"))?;
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    Ok(())
}

fn cannot_listen(error: io::Error) -> Failure {
    Failure::because("the peer cannot listen", error)
}

fn listen(kind: Kind) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || {
                stream.set_nodelay(true)?;
                exchange(kind, stream)
            });
        }
    });
    Ok(address)
}

fn spawn(run: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
        // A connection that ends in an error is what ends most of them.
        if let Err(error) = run() {
            log::debug!("a connection of the peer ended: {error}");
        }
    });
    if let Err(error) = spawned {
        log::error!("the peer cannot serve a connection: {error}");
    }
}

fn exchange(kind: Kind, mut stream: impl Read + Write) -> io::Result<()> {
    let mut buf = vec![0; BUFFER];
    loop {
        let len = match kind {
            Kind::Source => buf.len(),
            Kind::Echo | Kind::Sink => stream.read(&mut buf)?,
        };
        match kind {
            _ if len == 0 => return Ok(()),
            Kind::Sink => {}
            Kind::Echo | Kind::Source => stream.write_all(&buf[..len])?,
        }
    }
}
