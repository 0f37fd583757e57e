//! A VPN program: each socket of a transport has to go around the tunnel that the program itself is,
//! or the transport would carry its own packets.
//!
//! On Android that is `VpnService.protect(fd)`, which a program calls through JNI. On Linux it is a
//! mark that the rules of the routing know: `Builder::mark`, for processes that may. Here, the
//! system's part is a table of descriptors. A socket that is not protected must not connect.
//!
//! ```sh
//! cargo run --example protect -- [MODULE]
//! ```
//!
//! It prints, where `[..]` is what differs from run to run:
//!
//! ```text
//! protected 1 socket before it connected
//! the server got: around the tunnel
//! without protection: no connection to 127.0.0.1:[..]: the system does not protect the socket
//! ```

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use watm_wasmer::socket2::Socket;
use watm_wasmer::{DialHook, Dialer, TransportModule};

/// The module of those who name none.
const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/guests/built/plain.wasm"
);

/// What the system does for a VPN program: `VpnService.protect`, which fails once the VPN is off.
trait Vpn: Send + Sync {
    fn protect(&self, socket: RawFd) -> bool;
}

/// Protects each socket before it connects. The connection itself is made as without a hook.
struct Protect(Arc<dyn Vpn>);

impl DialHook for Protect {
    fn prepare(&self, socket: &Socket, _: SocketAddr) -> io::Result<()> {
        if self.0.protect(socket.as_raw_fd()) {
            return Ok(());
        }
        Err(io::Error::other("the system does not protect the socket"))
    }
}

/// Stands for the system.
#[derive(Default)]
struct System {
    protected: Mutex<Vec<RawFd>>,
}

impl Vpn for System {
    fn protect(&self, socket: RawFd) -> bool {
        let mut protected = self
            .protected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        protected.push(socket);
        true
    }
}

/// A system whose VPN is off.
struct Off;

impl Vpn for Off {
    fn protect(&self, _: RawFd) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| DEFAULT.to_owned());
    let module = TransportModule::from_file(file)?;

    // The server is plain TCP here, and has no module.
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let server = thread::spawn(move || -> io::Result<String> {
        let (mut stream, _) = server.accept()?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });

    let system = Arc::new(System::default());
    let protect = Protect(Arc::clone(&system) as Arc<dyn Vpn>);
    let dialer = Dialer::builder(&module).dial_hook(protect).build()?;
    let mut conn = dialer.dial(address)?;
    let protected = system.protected.lock().map_or(0, |sockets| sockets.len());
    println!("protected {protected} socket before it connected");
    conn.write_all(b"around the tunnel")?;
    conn.close()?;
    let text = server.join().map_err(|_| "the server panicked")??;
    println!("the server got: {text}");

    let off = Dialer::builder(&module).dial_hook(Protect(Arc::new(Off)));
    match off.build()?.dial(address) {
        Ok(_) => Err("it connected".into()),
        Err(error) => {
            println!("without protection: {}", io::Error::from(error));
            Ok(())
        }
    }
}
