//! The server that a service leads to: it sends back what it gets, until it resets all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::case::told;

pub(crate) struct Target {
    address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Target {
    /// Serves on a free port until the process ends.
    pub(crate) fn start() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let streams = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&streams);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(copy) = stream.try_clone() {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(copy);
                }
                thread::spawn(move || echo(&stream));
            }
        });
        Ok(Self { address, streams })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Resets every connection that there is.
    pub(crate) fn reset(&self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.drain(..) {
            // The reset follows when the thread that echoes has let go of it as well, for which it
            // has to wake up. One that has ended already needs neither.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn echo(mut stream: &TcpStream) {
    let mut buf = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..len]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}
