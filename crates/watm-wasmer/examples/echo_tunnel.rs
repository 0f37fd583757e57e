//! A tunnel with a module on both ends: a listener that echoes, and a dialer that checks the echo.
//!
//! ```sh
//! cargo run --example echo_tunnel -- [MODULE [BYTES]]
//! ```
//!
//! It prints, where `[..]` is what differs from run to run:
//!
//! ```text
//! the listener is at 127.0.0.1:[..]
//! 1000000 bytes came back as they were sent
//! on the wire: 1000000 bytes sent, 1000000 received
//! the dialer's transport has completed
//! the listener's transport has completed
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::thread;

use watm_wasmer::{Dialer, Listener, Outcome, TransportModule};

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
    let size: usize = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;

    // Compiled once, for as many connections of any role as there will be.
    let module = TransportModule::from_file(file)?;

    let listener = Listener::builder(&module).config(KEY).bind("127.0.0.1:0")?;
    let address = listener.local_addr().to_string();
    println!("the listener is at {address}");
    let server = thread::spawn(move || echo(&listener));

    let dialer = Dialer::builder(&module).config(KEY).build()?;
    let conn = dialer.dial(&address)?;
    let sent: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    let mut received = vec![0; size];
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
    println!("{size} bytes came back as they were sent");

    let stats = conn.stats();
    println!(
        "on the wire: {} bytes sent, {} received",
        stats.sent, stats.received
    );
    println!("the dialer's transport has {}", conn.close()?);
    let end = server.join().map_err(|_| "the server panicked")??;
    println!("the listener's transport has {end}");
    Ok(())
}

/// Sends everything back on the first connection, until its client ends it.
fn echo(listener: &Listener) -> Result<Outcome, Failure> {
    let conn = listener.accept()?;
    io::copy(&mut &conn, &mut &conn)?;
    Ok(conn.close()?)
}
