//! One end of a connection in memory, and the way from there to a socket.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{self, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::pipe::{Pipe, Signal};
use crate::error::{Error, Result};
use crate::stream::Io;

/// How long a test waits for what does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a connection: the network of a transport, or its peer.
///
/// It reads and writes like a blocking socket. A read or write that waits for 30 seconds fails with
/// [`TimedOut`](io::ErrorKind::TimedOut), so that no test hangs. Dropping it ends both directions.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
///
/// let (mut near, mut far) = testing::wire();
/// near.write_all(b"hello")?;
/// near.shutdown_write();
/// let mut received = String::new();
/// far.read_to_string(&mut received)?;
/// assert_eq!(received, "hello");
///
/// far.reset();
/// let lost = near.read(&mut [0]).expect_err("it was reset");
/// assert_eq!(lost.kind(), std::io::ErrorKind::ConnectionReset);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Wire {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    signal: Arc<Signal>,
    piece: usize,
}

impl Wire {
    /// Two ends. The first end's outgoing direction holds `there` bytes, the other one `back`.
    pub(super) fn pair(there: usize, back: usize, piece: usize) -> (Wire, Wire) {
        let (there, back) = (Pipe::new(there), Pipe::new(back));
        let end = |incoming: &Arc<Pipe>, outgoing: &Arc<Pipe>| {
            let signal = Arc::default();
            incoming.watch(&signal);
            outgoing.watch(&signal);
            let (incoming, outgoing) = (incoming.clone(), outgoing.clone());
            Wire {
                incoming,
                outgoing,
                signal,
                piece: piece.max(1),
            }
        };
        (end(&back, &there), end(&there, &back))
    }

    /// An end whose bytes go through a socket, for a transport that talks to a real peer.
    ///
    /// Ends of streams pass in both directions. A transport that fails ends its stream too, since
    /// std cannot reset a socket. Two threads move the bytes.
    ///
    /// # Errors
    ///
    /// That of the system if the socket cannot be shared.
    pub fn over_tcp(socket: TcpStream) -> io::Result<Wire> {
        let (near, far) = super::wire();
        let (far, reader) = (Arc::new(far), socket.try_clone()?);
        let sender = far.clone();
        thread::spawn(move || send(&sender, &socket));
        thread::spawn(move || receive(&reader, &far));
        Ok(near)
    }

    /// Ends the outgoing stream: the other end reads all bytes, and then the end.
    pub fn shutdown_write(&self) {
        self.outgoing.end(Ok(()));
    }

    /// Ends both directions with [`Error::CONNRESET`]: the other end reads all bytes first. What it
    /// writes fails.
    pub fn reset(&self) {
        self.fail(Error::CONNRESET);
        self.incoming.abandon(Error::CONNRESET);
    }

    /// The other end reads all bytes, and then this error.
    pub(super) fn fail(&self, error: Error) {
        self.outgoing.end(Err(error));
    }

    /// Raises `signal` at each change of either direction.
    pub(super) fn watch(&self, signal: &Arc<Signal>) {
        self.incoming.watch(signal);
        self.outgoing.watch(signal);
    }

    pub(super) fn piece(&self) -> usize {
        self.piece
    }

    pub(super) fn is_readable(&self) -> bool {
        self.incoming.is_readable()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.outgoing.is_writable()
    }

    fn blocking<V>(&self, call: impl Fn() -> Option<V>) -> Result<V> {
        self.signal.wait_for(Some(Instant::now() + PATIENCE), call)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A panic must not look like an end.
        self.outgoing.end(if thread::panicking() {
            Err(Error::IO)
        } else {
            Ok(())
        });
        self.incoming.abandon(Error::PIPE);
    }
}

impl Io for Wire {
    fn try_read(&self, buffer: &mut [u8]) -> Result<usize> {
        let length = buffer.len().min(self.piece);
        self.incoming.read(&mut buffer[..length])
    }

    fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        self.outgoing.write(&bytes[..bytes.len().min(self.piece)])
    }

    fn wait_readable(&self) -> Result<()> {
        self.blocking(|| self.is_readable().then_some(()))
    }

    fn wait_writable(&self) -> Result<()> {
        self.blocking(|| self.is_writable().then_some(()))
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait_readable()?;
        Ok(self.try_read(buffer)?)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait_writable()?;
        Ok(self.try_write(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("is_readable", &self.is_readable())
            .field("is_writable", &self.is_writable())
            .finish_non_exhaustive()
    }
}

/// From the transport to the socket, until either ends.
fn send(far: &Wire, mut socket: &TcpStream) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let piece = far
            .signal
            .wait_for(None, || match far.incoming.read(&mut buffer) {
                Err(Error::AGAIN) => None,
                result => Some(result),
            });
        let sent = match piece.and_then(|result| result) {
            Ok(0) => break,
            Ok(length) => socket.write_all(&buffer[..length]),
            Err(error) => Err(error.into()),
        };
        if sent.is_err() {
            far.incoming.abandon(Error::PIPE);
            let _ = socket.shutdown(net::Shutdown::Both);
            return;
        }
    }
    let _ = socket.shutdown(net::Shutdown::Write);
}

/// From the socket to the transport, until either ends.
fn receive(mut socket: &TcpStream, far: &Wire) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let mut piece = match socket.read(&mut buffer) {
            Ok(0) => return far.shutdown_write(),
            Ok(length) => &buffer[..length],
            Err(error) => return far.fail(error.into()),
        };
        while !piece.is_empty() {
            let written = far
                .signal
                .wait_for(None, || match far.outgoing.write(piece) {
                    Err(Error::AGAIN) => None,
                    result => Some(result),
                });
            match written.and_then(|result| result) {
                Ok(length) => piece = &piece[length..],
                Err(_) => {
                    let _ = socket.shutdown(net::Shutdown::Read);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_read_what_the_other_writes() {
        let (mut near, mut far) = super::super::wire_in_pieces(2);
        near.write_all(b"there").expect("room");
        far.write_all(b"back").expect("room");
        let (mut there, mut back) = ([0; 5], [0; 4]);
        far.read_exact(&mut there).expect("bytes");
        near.read_exact(&mut back).expect("bytes");
        assert_eq!((&there, &back), (b"there", b"back"));
    }

    #[test]
    fn a_reset_breaks_both_directions() {
        let (near, mut far) = super::super::wire();
        near.reset();
        assert_eq!(
            far.read(&mut [0]).expect_err("reset").kind(),
            io::ErrorKind::ConnectionReset
        );
        assert_eq!(
            far.write(b"x").expect_err("reset").kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn a_socket_passes_bytes_and_ends() {
        let server = net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(server.local_addr().expect("bound")).expect("listening");
        let mut wire = Wire::over_tcp(socket).expect("a clone");
        let (mut peer, _) = server.accept().expect("a connection");
        wire.write_all(b"there").expect("room");
        wire.shutdown_write();
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("the end");
        assert_eq!(text, "there");
        peer.write_all(b"back").expect("room");
        drop(peer);
        text.clear();
        wire.read_to_string(&mut text).expect("the end");
        assert_eq!(text, "back");
    }
}
