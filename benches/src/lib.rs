//! What the benchmarks share: their modules, peers on loopback, and baselines.

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

/// Loads a test module by its file name in `tests/guests/built`.
///
/// # Errors
///
/// Those of [`TransportModule::from_file`].
pub fn module(name: &str) -> Result<TransportModule, watm_wasmer::LoadError> {
    TransportModule::from_file(path_of(name))
}

/// The path of such a module.
pub fn path_of(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/built");
    Path::new(directory).join(name).with_extension("wasm")
}

/// What a peer does with each connection.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Sends back what it receives.
    Echo,
    /// Receives and discards.
    Sink,
    /// Sends zeros for as long as the connection takes them.
    Source,
    /// A sink and a source at once.
    Both,
}

/// Number of connections that a [`greeter`] keeps open.
const HELD: usize = 256;

/// Starts a peer on loopback for the rest of the process, with one thread per connection.
///
/// # Errors
///
/// Fails if no socket can be bound.
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

/// Starts a peer whose only thread accepts each connection and sends it one byte. A client should
/// wait for this byte before it opens the next connection. Otherwise the system's queue overflows
/// and drops connections.
///
/// # Errors
///
/// Fails if no socket can be bound.
pub fn greeter() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut held = VecDeque::new();
        for mut stream in listener.incoming().flatten() {
            // The client may have left already.
            let _ = stream.write_all(b"!");
            held.push_back(stream);
            // The other end closed the oldest ones long ago.
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
