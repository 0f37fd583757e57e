//! A dial hook: it decides where connections go, and sees each socket before it connects.
//!
//! This one has a table of names of its own and refuses all others. The same place serves to dial
//! through a proxy, or to mark or protect a socket.
//!
//! ```sh
//! cargo run --example dial_hook -- [MODULE]
//! ```
//!
//! It prints, where `[..]` is what differs from run to run:
//!
//! ```text
//! asked for server.example:443
//! a socket is about to connect to 127.0.0.1:[..]
//! the server got: hello
//! asked for elsewhere.example:443
//! no connection to elsewhere.example:443: it is not in the table
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use socket2::Socket;
use watm_wasmer::{DialAttempt, DialHook, Dialer, Network, Stream, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/plain.wasm"
);

/// Knows where each address that may be dialled really is.
struct Table(HashMap<String, String>);

impl DialHook for Table {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        println!("asked for {}", attempt.address());
        match self.0.get(attempt.address()) {
            Some(address) => attempt.connect_to(Network::Tcp, address),
            None => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it is not in the table",
            )),
        }
    }

    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        println!("a socket is about to connect to {remote}");
        socket.set_recv_buffer_size(256 * 1024)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| DEFAULT.to_owned());
    let module = TransportModule::from_file(file)?;

    // The server is plain TCP here, and has no module.
    let server = TcpListener::bind("127.0.0.1:0")?;
    let table = HashMap::from([(
        "server.example:443".to_owned(),
        server.local_addr()?.to_string(),
    )]);
    let server = thread::spawn(move || -> io::Result<String> {
        let (mut stream, _) = server.accept()?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });

    let dialer = Dialer::builder(&module).dial_hook(Table(table)).build()?;
    let mut conn = dialer.dial("server.example:443")?;
    conn.write_all(b"hello")?;
    conn.close()?;
    let text = server.join().map_err(|_| "the server panicked")??;
    println!("the server got: {text}");

    match dialer.dial("elsewhere.example:443") {
        Ok(conn) => {
            conn.close()?;
            Err("it was not refused".into())
        }
        Err(error) => {
            let reason = error.source().map(ToString::to_string);
            println!("{error}: {}", reason.unwrap_or_default());
            Ok(())
        }
    }
}
