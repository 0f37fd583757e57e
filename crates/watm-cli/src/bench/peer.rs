//! The far end of the measurements, which runs in its own process.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;

use watm_wasmer::{Listener, TransportModule, plain};

use super::process::{Process, await_end_of_input};
use crate::args::{BenchArgs, BenchPart};
use crate::carry::open_files;
use crate::setup;
use crate::terminal::failure::Failure;
use crate::terminal::output;

pub(super) const LOOPBACK: &str = "127.0.0.1:0";
const BUFFER: usize = 64 * 1024;
/// The stack of a thread, in bytes. Its buffer is on the heap.
const STACK: usize = 128 * 1024;

/// What the peer does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sends back what it receives.
    Echo,
    /// Receives and discards.
    Sink,
    /// Sends as long as somebody reads.
    Source,
    /// Receives and sends at once, on two threads.
    Both,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    const ALL: [Self; 4] = [Self::Echo, Self::Sink, Self::Source, Self::Both];
}

/// Where the peer listens: one port for each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports([SocketAddr; Kind::ALL.len()]);

impl Ports {
    pub(super) fn of(&self, kind: Kind) -> SocketAddr {
        self.0[kind as usize]
    }

    fn make(mut listen: impl FnMut(Kind) -> Result<SocketAddr, Failure>) -> Result<Self, Failure> {
        let [echo, sink, source, both] = Kind::ALL.map(&mut listen);
        Ok(Self([echo?, sink?, source?, both?]))
    }

    fn parse<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let [echo, sink, source, both] = Kind::ALL.map(|_| words.next()?.parse().ok());
        Some(Self([echo?, sink?, source?, both?]))
    }

    fn words(&self) -> String {
        self.0.map(|address| address.to_string()).join(" ")
    }
}

/// The peer, as the measuring process sees it.
pub(super) struct Peer {
    _process: Process,
    /// Plain TCP.
    pub(super) raw: Ports,
    /// The same behind the module's listener, if the peer runs one.
    pub(super) module: Option<Ports>,
}

impl Peer {
    pub(super) fn start(paired: bool) -> Result<Self, Failure> {
        let failed = |error| Failure::because("the peer's process did not start", error);
        let part = if paired {
            BenchPart::PairedPeer
        } else {
            BenchPart::Peer
        };
        let mut process = Process::start(part, None).map_err(failed)?;
        let line = process.line().map_err(failed)?;
        let mut words = line.split_whitespace();
        let raw = Ports::parse(&mut words);
        let module = Ports::parse(&mut words);
        match raw {
            Some(raw) if module.is_some() == paired => Ok(Self {
                _process: process,
                raw,
                module,
            }),
            _ => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }
}

/// Runs the peer until standard input ends.
pub(super) fn serve(args: &BenchArgs, paired: bool) -> Result<(), Failure> {
    open_files::raise_limit();
    let raw = Ports::make(|kind| {
        listen(kind).map_err(|error| Failure::because("the peer cannot listen", error))
    })?;
    let mut line = raw.words();
    if paired {
        let module = setup::load(&args.module, &args.load)?;
        let ports = Ports::make(|kind| listen_through(&module, args, kind))?;
        line += &format!(" {}", ports.words());
    }
    output::print(&format!("{line}\n"))?;
    await_end_of_input();
    Ok(())
}

fn listen(kind: Kind) -> io::Result<SocketAddr> {
    let listener = plain::bind(LOOPBACK).map_err(io::Error::other)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || {
                stream.set_nodelay(true)?;
                exchange(kind, &stream)
            });
        }
    });
    Ok(address)
}

fn listen_through(
    module: &TransportModule,
    args: &BenchArgs,
    kind: Kind,
) -> Result<SocketAddr, Failure> {
    let builder = setup::configure(Listener::builder(module), &args.transport)?;
    let listener = builder.bind(LOOPBACK)?;
    let address = listener.local_addr();
    thread::spawn(move || {
        for conn in listener.incoming().flatten() {
            spawn(move || exchange(kind, &conn));
        }
    });
    Ok(address)
}

fn spawn(run: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
        // Most connections end with an error.
        if let Err(error) = run() {
            log::debug!("a connection of the peer ended: {error}");
        }
    });
    if let Err(error) = spawned {
        log::error!("the peer cannot serve a connection: {error}");
    }
}

fn exchange<T: Sync>(kind: Kind, stream: &T) -> io::Result<()>
where
    for<'a> &'a T: Read + Write,
{
    match kind {
        Kind::Echo => receive(stream, |piece| (&mut &*stream).write_all(piece)),
        Kind::Sink => receive(stream, |_| Ok(())),
        Kind::Source => send(stream),
        Kind::Both => thread::scope(|scope| {
            thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, || send(stream))?;
            receive(stream, |_| Ok(()))
        }),
    }
}

/// Receives until the stream ends.
fn receive(mut from: impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buf = vec![0; BUFFER];
    loop {
        match from.read(&mut buf)? {
            0 => return Ok(()),
            len => take(&buf[..len])?,
        }
    }
}

/// Sends until nobody reads any more.
fn send(mut to: impl Write) -> io::Result<()> {
    let buf = vec![0; BUFFER];
    loop {
        to.write_all(&buf)?;
    }
}
