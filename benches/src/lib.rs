//! What the benchmarks share: the modules they run, peers on loopback, and what they are compared
//! with.

mod calls;
pub use calls::{Call, Calls};

mod raw_relay;
pub use raw_relay::raw_relay;

pub mod records;

mod socket_pair;
pub use socket_pair::{NOWHERE, SocketPairs};

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use watm_wasmer::TransportModule;

/// Loads one of the modules that the tests use, by the name of its file in `tests/guests/built`.
///
/// # Errors
///
/// Those of [`TransportModule::from_file`].
pub fn module(name: &str) -> Result<TransportModule, watm_wasmer::LoadError> {
    TransportModule::from_file(path_of(name))
}

/// The file of such a module.
pub fn path_of(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/built");
    Path::new(directory).join(name).with_extension("wasm")
}

/// What a peer does with each connection.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Sends back what it receives.
    Echo,
    /// Receives and drops.
    Sink,
    /// Sends zeros for as long as they are taken.
    Source,
    /// A sink and a source at once.
    Both,
}

/// Connections that a [`greeter`] keeps open.
const HELD: usize = 256;

/// Starts a peer on loopback, with a thread a connection, for the rest of the process.
///
/// # Errors
///
/// Those of binding a socket.
pub fn peer(kind: Peer) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(kind, stream));
        }
    });
    Ok(address)
}

/// Starts a peer that accepts, on one thread, sends a byte and does nothing more. Who waits for the
/// byte before the next connection does not fill the queue of the system, which would then drop
/// connections.
///
/// # Errors
///
/// Those of binding a socket.
pub fn greeter() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut held = VecDeque::new();
        for mut stream in listener.incoming().flatten() {
            // One that is gone already is no loss.
            let _ = stream.write_all(b"!");
            held.push_back(stream);
            // The oldest was closed at the other end long ago.
            held.drain(..held.len().saturating_sub(HELD));
        }
    });
    Ok(address)
}

fn serve(kind: Peer, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Peer::Both = kind {
        let source = stream.try_clone()?;
        thread::spawn(move || serve(Peer::Source, source));
        return serve(Peer::Sink, stream);
    }
    let mut buf = vec![0; 64 * 1024];
    loop {
        let len = match kind {
            Peer::Source => buf.len(),
            _ => stream.read(&mut buf)?,
        };
        match kind {
            _ if len == 0 => return Ok(()),
            Peer::Sink => {}
            _ => stream.write_all(&buf[..len])?,
        }
    }
}
