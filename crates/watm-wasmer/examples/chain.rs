//! A chain: two modules on each end, where the network below one is the other.
//!
//! The upper module shakes hands; the lower one encrypts all that, so the wire shows nothing of the
//! handshake. The same works for padding inside encryption, or for a cover around both.
//!
//! ```sh
//! cargo run --example chain -- [UPPER LOWER]
//! ```
//!
//! It prints:
//!
//! ```text
//! 1000000 bytes came back as they were sent
//! the wire begins with 36, not with the handshake's 57
//! the dialer's transport has completed
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;

use watm_wasmer::{Acceptor, Dialer, Listener, TransportModule};

/// What both ends must have in common, for modules that need a key.
const KEY: &[u8] = b"a key that both ends have";
/// The modules of those who name none.
const UPPER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/handshake.wasm"
);
const LOWER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/xor.wasm"
);

/// Threads hand it on as well.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let upper = arguments.next();
    let upper = TransportModule::from_file(upper.as_deref().unwrap_or(UPPER))?;
    let lower = arguments.next();
    let lower = TransportModule::from_file(lower.as_deref().unwrap_or(LOWER))?;

    let sockets = TcpListener::bind("127.0.0.1:0")?;
    let address = sockets.local_addr()?;
    let server = Server {
        below: Listener::builder(&lower).config(KEY).acceptor()?,
        above: Listener::builder(&upper).config(KEY).acceptor()?,
    };
    let serving = thread::spawn(move || server.echo(&sockets));

    // The dialer of the lower module makes the connections of the upper one.
    let below = Dialer::builder(&lower).config(KEY).build()?;
    let dialer = Dialer::builder(&upper)
        .config(KEY)
        .dial_hook(below)
        .build()?;
    let conn = dialer.dial(address)?;
    let sent: Vec<u8> = (0..1_000_000).map(|i| (i % 251) as u8).collect();
    let mut received = vec![0; sent.len()];
    // Both directions at the same time: the echo comes back while there is more to send.
    thread::scope(|scope| {
        let writer = scope.spawn(|| (&conn).write_all(&sent));
        (&conn).read_exact(&mut received)?;
        writer
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })?;
    if received != sent {
        return Err("the echo differs from what was sent".into());
    }
    println!("{} bytes came back as they were sent", sent.len());
    let end = conn.close()?;
    let first = serving.join().map_err(|_| "the server panicked")??;
    println!("the wire begins with {first:02x}, not with the handshake's 57");
    println!("the dialer's transport has {end}");
    Ok(())
}

/// The listening side of a chain.
struct Server {
    below: Acceptor,
    above: Acceptor,
}

impl Server {
    /// Sends everything back on the first connection. Returns the first byte of the wire.
    fn echo(&self, sockets: &TcpListener) -> Result<u8, Failure> {
        let (socket, _) = sockets.accept()?;
        let mut first = [0; 1];
        socket.peek(&mut first)?;
        // The lower module unwraps what comes from the network, and the upper one what that is.
        let stream = self.below.unwrap_below(socket)?;
        let conn = self.above.accept(stream)?;
        io::copy(&mut &conn, &mut &conn)?;
        conn.close()?;
        Ok(first[0])
    }
}
