//! The server that a service leads to: it sends back what it gets, until it resets all.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::case::told;

/// How often a connection on which nothing comes looks whether it is to be reset.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Target {
    address: SocketAddr,
    /// How often all were reset.
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
                // Those that came before a reset are meant by it.
                let before = resets.load(Ordering::Relaxed);
                thread::spawn(move || {
                    // One that fails has ended.
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

    /// Resets every connection that there is, without an end of what was sent before.
    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

/// Echoes until the end of the stream, or until it is to be reset: then it returns true.
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
