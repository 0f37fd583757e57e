//! A relay and its counters: plain clients on one side, a listener with the module on the other.
//!
//! ```sh
//! cargo run --example relay_counters -- [MODULE [CONNECTIONS]]
//! ```
//!
//! It prints, where `[..]` is what differs from run to run:
//!
//! ```text
//! relaying from 127.0.0.1:[..] to 127.0.0.1:[..]
//! client 1: 1000 bytes came back
//! client 2: 1000 bytes came back
//! client 3: 1000 bytes came back
//! all connections of the relay have ended: true
//! accepted 3, active 0, refused 0, completed 3, failed 0, cut 0
//! received 6000 bytes, sent 6000 bytes
//! the listener has echoed 3 connections
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use watm_wasmer::{Listener, Relay, TransportModule};

/// What both ends must have in common, for a module that needs a key.
const KEY: &[u8] = b"a key that both ends have";
/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/xor.wasm"
);

/// Threads hand it on as well.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| DEFAULT.to_owned());
    let connections: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let module = TransportModule::from_file(file)?;

    let listener = Listener::builder(&module).config(KEY).bind("127.0.0.1:0")?;
    let remote = listener.local_addr().to_string();
    let server = thread::spawn(move || echo(&listener, connections));

    let relay = Relay::builder(&module)
        .config(KEY)
        .remote(&remote)
        .connection_limit(100)
        .bind("127.0.0.1:0")?
        .spawn()?;
    println!("relaying from {} to {remote}", relay.local_addr());

    for client in 1..=connections {
        // What the application sends to the relay is plain; the relay's module wraps it.
        let mut stream = TcpStream::connect(relay.local_addr())?;
        let mut echo = [0; 1000];
        stream.write_all(&[b'x'; 1000])?;
        stream.read_exact(&mut echo)?;
        println!("client {client}: {} bytes came back", echo.len());
    }

    // No more connections, and time for those that are open to come to their own end.
    let ended = relay.drain(Duration::from_secs(10));
    println!("all connections of the relay have ended: {ended}");
    let stats = relay.stats();
    println!(
        "accepted {}, active {}, refused {}, completed {}, failed {}, cut {}",
        stats.accepted, stats.active, stats.refused, stats.completed, stats.failed, stats.cut
    );
    println!(
        "received {} bytes, sent {} bytes",
        stats.received, stats.sent
    );
    relay.shutdown();
    let echoed = server.join().map_err(|_| "the server panicked")??;
    println!("the listener has echoed {echoed} connections");
    Ok(())
}

/// Sends everything back, on a number of connections one after the other.
fn echo(listener: &Listener, connections: usize) -> Result<usize, Failure> {
    for _ in 0..connections {
        let conn = listener.accept()?;
        io::copy(&mut &conn, &mut &conn)?;
        conn.close()?;
    }
    Ok(connections)
}
