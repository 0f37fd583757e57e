//! An address policy: a module that chooses its own remote reaches what the policy allows.
//!
//! ```sh
//! cargo run --example address_policy -- [MODULE]
//! ```
//!
//! The module must be a fixed dialer whose configuration is `NETWORK ADDRESS`. It prints, where
//! `[..]` is what differs from run to run:
//!
//! ```text
//! no policy: denied, 127.0.0.1:[..]
//! the loopback network: connected, and 5 bytes came back
//! the same without this port: denied, 127.0.0.1:[..]
//! everything: connected, and 5 bytes came back
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;

use watm_wasmer::{AddressPolicy, DialError, FixedDialer, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/fixed.wasm"
);

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| DEFAULT.to_owned());
    let module = TransportModule::from_file(file)?;
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    thread::spawn(move || {
        for stream in server.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });

    let loopback = || -> Result<AddressPolicy, Box<dyn Error>> {
        Ok(AddressPolicy::deny_all().allow("127.0.0.0/8".parse()?))
    };
    let this_port = format!("*:{}", address.port()).parse()?;
    for (name, policy) in [
        ("no policy", AddressPolicy::default()),
        ("the loopback network", loopback()?),
        ("the same without this port", loopback()?.deny(this_port)),
        ("everything", AddressPolicy::allow_all()),
    ] {
        let dialer = FixedDialer::builder(&module)
            .config(format!("tcp {address}"))
            .policy(policy)
            .build()?;
        match dialer.dial() {
            Ok(mut conn) => {
                conn.write_all(b"hello")?;
                let mut answer = [0; 5];
                conn.read_exact(&mut answer)?;
                conn.close()?;
                println!("{name}: connected, and {} bytes came back", answer.len());
            }
            Err(DialError::Denied { address }) => println!("{name}: denied, {address}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
