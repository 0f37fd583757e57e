//! The program of the README: it dials, sends a few bytes and waits until they are delivered.
//!
//! ```sh
//! cargo run --example readme -- [ADDRESS [MODULE]]
//! ```
//!
//! Without an address it dials a listener of its own. It prints:
//!
//! ```text
//! the listener got: hello
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{Read, Write};
use std::thread::{self, JoinHandle};

use watm_wasmer::{Dialer, Listener, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/xor.wasm"
);

/// Threads hand it on as well.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let file = arguments.next().unwrap_or_else(|| DEFAULT.to_owned());
    let key = *b"a key that both ends have";
    let (address, server) = match address {
        Some(address) => (address, None),
        None => {
            let (address, server) = listen(&file, &key)?;
            (address, Some(server))
        }
    };

    // From here on it is what the README says.
    let module = TransportModule::from_file(file)?;
    let dialer = Dialer::builder(&module).config(key).build()?;
    let mut conn = dialer.dial(&address)?;
    conn.write_all(b"hello")?;
    conn.close()?; // waits for delivery and reports whether it succeeded

    if let Some(server) = server {
        let text = server.join().map_err(|_| "the listener panicked")??;
        println!("the listener got: {text}");
    }
    Ok(())
}

/// Receives one connection. Returns the address, and what came once it has ended.
fn listen(
    file: &str,
    key: &[u8],
) -> Result<(String, JoinHandle<Result<String, Failure>>), Failure> {
    let module = TransportModule::from_file(file)?;
    let listener = Listener::builder(&module).config(key).bind("127.0.0.1:0")?;
    let address = listener.local_addr().to_string();
    let server = thread::spawn(move || {
        let mut conn = listener.accept()?;
        let mut text = String::new();
        conn.read_to_string(&mut text)?;
        conn.close()?;
        Ok(text)
    });
    Ok((address, server))
}
