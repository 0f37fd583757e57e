//! Dials that are given up: a deadline for each, and a token that cancels many.
//!
//! ```sh
//! cargo run --example cancel -- [MODULE]
//! ```
//!
//! The module waits for an answer of the server in its handshake. It prints:
//!
//! ```text
//! a silent server: the transport was not set up within 200ms
//! 3 dials that are under way: the dial was cancelled
//! a dial that begins later: the dial was cancelled
//! with another token and a server that answers: hello
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use watm_wasmer::{CancelToken, DialError, DialOptions, Dialer, Listener, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/handshake.wasm"
);

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1);
    let module = TransportModule::from_file(file.as_deref().unwrap_or(DEFAULT))?;
    let dialer = Dialer::builder(&module).build()?;

    // The system takes connections for it, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?;

    // The deadline counts for all: the name, the network and the module's handshake.
    let options = DialOptions::new().timeout(Duration::from_millis(200));
    match dialer.dial_with(address, options) {
        Err(error @ DialError::TimedOut { .. }) => println!("a silent server: {error}"),
        other => return Err(format!("it is not silent: {other:?}").into()),
    }

    let token = CancelToken::new();
    let dials: Vec<_> = (0..3)
        .map(|_| dialer.begin(address, DialOptions::new().cancel(&token)))
        .collect();
    // Any thread cancels: that of a window which the user closes, for example.
    let canceller = token.clone();
    let cancelling = thread::spawn(move || canceller.cancel());
    for dial in dials {
        expect_cancelled(dial.wait())?;
    }
    println!("3 dials that are under way: {}", DialError::Cancelled);
    cancelling.join().map_err(|_| "the canceller panicked")?;

    // The token stays as it is, so that no dial slips through.
    expect_cancelled(dialer.dial_with(address, DialOptions::new().cancel(&token)))?;
    println!("a dial that begins later: {}", DialError::Cancelled);

    let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
    let token = CancelToken::new();
    let options = DialOptions::new()
        .cancel(&token)
        .timeout(Duration::from_secs(10));
    let mut conn = dialer.dial_with(listener.local_addr(), options)?;
    // A connection that is set up goes on, whatever becomes of its token and its deadline.
    token.cancel();
    conn.write_all(b"hello")?;
    let mut peer = listener.accept()?;
    let mut text = [0; 5];
    peer.read_exact(&mut text)?;
    println!(
        "with another token and a server that answers: {}",
        String::from_utf8_lossy(&text)
    );
    conn.close()?;
    Ok(())
}

fn expect_cancelled<T>(result: Result<T, DialError>) -> Result<(), Box<dyn Error>> {
    match result {
        Err(DialError::Cancelled) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("a dial was not cancelled".into()),
    }
}
