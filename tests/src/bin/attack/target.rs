//! The server behind a service. It sends back what it gets, until it resets all connections.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::case::told;

/// How often a silent connection checks whether it must be reset.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Target {
    address: SocketAddr,
    /// Number of resets of all connections.
    resets: Arc<AtomicUsize>,
}

impl Target {
    /// Serves on a free port until the process ends.
    pub(crate) fn start() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let resets = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&resets);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let resets = Arc::clone(&seen);
                // A reset applies to connections that came before it.
                let before = resets.load(Ordering::Relaxed);
                thread::spawn(move || {
                    // A failed connection has ended.
                    if let Ok(true) = echo(&stream, || resets.load(Ordering::Relaxed) > before) {
                        watm_tests::reset(stream);
                    }
                });
            }
        });
        Ok(Self { address, resets })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Resets every open connection, without an orderly end.
    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

/// Echoes until the end of the stream, or until a reset is due. Returns true in the second case.
fn echo(mut stream: &TcpStream, is_reset: impl Fn() -> bool) -> io::Result<bool> {
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(LOOK))?;
    let mut buf = vec![0; 16 * 1024];
    let mut waiting = 0..0;
    loop {
        if is_reset() {
            return Ok(true);
        }
        let moved = if waiting.is_empty() {
            stream.read(&mut buf).map(|len| waiting = 0..len)
        } else {
            let written = stream.write(&buf[waiting.clone()]);
            written.map(|len| waiting.start += len)
        };
        match moved {
            Ok(()) if waiting == (0..0) => {
                stream.shutdown(std::net::Shutdown::Write)?;
                return Ok(false);
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
