//! The far end of the route: an ordinary TCP server that knows nothing about modules.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::LOOPBACK;
use crate::carry::accept::{Closer, PlainListener};
use crate::terminal::failure::Failure;

pub(super) struct Sink {
    local: SocketAddr,
    client: Receiver<TcpStream>,
    closer: Closer,
}

impl Sink {
    /// Listens for one client.
    pub(super) fn start() -> io::Result<Self> {
        let (mut listener, closer) = PlainListener::bind(&[LOOPBACK]).map_err(io::Error::other)?;
        let local = listener.local_addrs()[0];
        let (sender, client) = bounded(1);
        thread::Builder::new()
            .name("watm-demo-sink".into())
            .spawn(move || match listener.accept() {
                Ok(Some(stream)) => {
                    let _ = sender.send(stream);
                }
                Ok(None) => {}
                Err(error) => log::error!("the sink cannot accept connections: {error}"),
            })?;
        Ok(Self {
            local,
            client,
            closer,
        })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits up to `stall` for the client, which then has `stall` for each read and write.
    pub(super) fn client(&self, stall: Duration) -> Result<TcpStream, Failure> {
        let stream = self.client.recv_timeout(stall).map_err(|_| {
            Failure::new("the module dialled, but its listener did not set up a connection").hint(
                "use -v to see what the module logs, or -vv to see also what the library does",
            )
        })?;
        stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_nodelay(true))
            .and_then(|()| stream.set_read_timeout(Some(stall)))
            .and_then(|()| stream.set_write_timeout(Some(stall)))
            .map_err(|error| Failure::because("the sink cannot start", error))?;
        Ok(stream)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.closer.close();
    }
}
