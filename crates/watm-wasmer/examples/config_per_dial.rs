//! A configuration for each dial: one dialer, and a key of its own for every connection.
//!
//! ```sh
//! cargo run --example config_per_dial -- [MODULE [TEXT]]
//! ```
//!
//! The module reads its configuration as the file `/conf/watm.cfg`. The server is plain TCP, so it
//! sees what goes over the wire. It prints:
//!
//! ```text
//! the dialer's key: 09 09 00 0d 03
//! the key one: 07 0b 09 03 01
//! the key two: 1c 12 03 18 18
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;

use watm_wasmer::{DialOptions, Dialer, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/xor.wasm"
);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| DEFAULT.to_owned());
    let text = arguments.next().unwrap_or_else(|| "hello".to_owned());
    let module = TransportModule::from_file(file)?;
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?.to_string();

    let dialer = Dialer::builder(&module).config(*b"all").build()?;
    for (name, options) in [
        ("the dialer's key", DialOptions::new()),
        ("the key one", DialOptions::new().config("one")),
        ("the key two", DialOptions::new().config("two")),
    ] {
        let mut conn = dialer.dial_with(&address, options)?;
        let (mut peer, _) = server.accept()?;
        conn.write_all(text.as_bytes())?;
        conn.close()?;
        let mut wire = Vec::new();
        peer.read_to_end(&mut wire)?;
        let hex: Vec<String> = wire.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{name}: {}", hex.join(" "));
    }
    Ok(())
}
