//! A new module for a dialer and a listener that run: connections that are there go on as they are,
//! and new ones use the new module.
//!
//! ```sh
//! cargo run --example live_swap
//! ```
//!
//! It prints:
//!
//! ```text
//! with xor.wasm, 5 bytes take 5 on the wire
//! with handshake.wasm, 5 bytes take 21 on the wire
//! the connection from before goes on
//! a module that is no listener is refused, and nothing changes:
//! with handshake.wasm, 5 bytes take 21 on the wire
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;

use watm_wasmer::{Conn, Dialer, Listener, TransportModule};

fn load(name: &str) -> Result<TransportModule, watm_wasmer::LoadError> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built");
    TransportModule::from_file(Path::new(directory).join(name))
}

fn main() -> Result<(), Box<dyn Error>> {
    let old = load("xor.wasm")?;
    let listener = Listener::builder(&old)
        .config(*b"key")
        .bind("127.0.0.1:0")?;
    let dialer = Dialer::builder(&old).config(*b"key").build()?;

    let first = connect(&dialer, &listener)?;
    exchange(&first)?;
    report("xor.wasm", &first.0);

    // Both ends must agree, so both change. What goes wrong changes nothing: no instance can be
    // made, for example. If the first connections break down, the old module comes back.
    let new = load("handshake.wasm")?;
    listener.replace(Listener::builder(&new))?;
    dialer.replace(Dialer::builder(&new))?;
    let second = connect(&dialer, &listener)?;
    exchange(&second)?;
    report("handshake.wasm", &second.0);

    exchange(&first)?;
    println!("the connection from before goes on");

    let other = load("args.wasm")?;
    if listener.replace(Listener::builder(&other)).is_ok() {
        return Err("a module that is no listener was taken".into());
    }
    println!("a module that is no listener is refused, and nothing changes:");
    let third = connect(&dialer, &listener)?;
    exchange(&third)?;
    report("handshake.wasm", &third.0);
    Ok(())
}

/// Both ends of a new connection.
type Ends = (Conn, Conn);

fn connect(dialer: &Dialer, listener: &Listener) -> Result<Ends, Box<dyn Error>> {
    // The listener runs its handshakes by itself.
    let near = dialer.dial(listener.local_addr())?;
    Ok((near, listener.accept()?))
}

/// Sends five bytes there, and three back.
fn exchange((near, far): &Ends) -> Result<(), Box<dyn Error>> {
    for (mut from, mut to, text) in [(near, far, "hello"), (far, near, "you")] {
        from.write_all(text.as_bytes())?;
        let mut received = vec![0; text.len()];
        to.read_exact(&mut received)?;
        if received != text.as_bytes() {
            return Err("something else arrived".into());
        }
    }
    Ok(())
}

fn report(name: &str, conn: &Conn) {
    println!(
        "with {name}, 5 bytes take {} on the wire",
        conn.stats().sent
    );
}
