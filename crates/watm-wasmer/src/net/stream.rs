//! A connected stream socket: what a dial hook returns and what a listener is handed.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

/// Maximum pause between two probes of a peer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A connected stream socket of any family: TCP, or a Unix socket.
///
/// It is the network side of a connection: a dial hook returns one, and [`crate::Acceptor::accept`]
/// takes one. Or it is a plain connection that a transport carries ([`crate::Dialer::carry`]).
///
/// From then on, the runtime controls its `SO_LINGER`. Unless the connection has ended in order,
/// the peer is reset when the socket is closed, even if the process is killed.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Names the socket in the events of the worker's reactor, if that watches it already.
    token: Option<usize>,
}

impl Stream {
    /// A socket that the reactor watches of the worker that it is for.
    pub(crate) fn watched(socket: Socket, token: usize) -> Self {
        let token = Some(token);
        Self { socket, token }
    }

    /// The token of the socket, if the worker's reactor watches it already.
    pub(crate) fn token(&self) -> Option<usize> {
        self.token
    }

    /// The address of this end, for sockets that have an IP address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// The address of the other end, for sockets that have an IP address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()?.as_socket()
    }

    /// See [`reset_on_drop`].
    pub(crate) fn reset_on_drop(&self) {
        reset_on_drop(&self.socket);
    }

    /// See [`end_on_drop`].
    pub(crate) fn end_on_drop(&self) {
        end_on_drop(&self.socket);
    }

    /// The socket, as it is.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Readies the socket for a worker: non-blocking, and without Nagle's delay, since the data
    /// path gathers small writes itself. The system probes the peer after it was idle for
    /// `keepalive`, unless probes were turned on before.
    pub(crate) fn into_worker_socket(self, keepalive: Option<Duration>) -> io::Result<Socket> {
        self.socket.set_nonblocking(true)?;
        // Both fail on sockets that are not TCP, which have neither.
        let _ = self.socket.set_tcp_nodelay(true);
        if let Some(idle) = keepalive
            && !self.socket.keepalive().unwrap_or(true)
        {
            let interval = idle.min(KEEPALIVE_INTERVAL);
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
            let _ = self.socket.set_tcp_keepalive(&keepalive);
        }
        Ok(self.socket)
    }
}

/// Makes the socket reset its peer when it is closed, even if the process ends. Sockets other than
/// TCP just close.
pub(crate) fn reset_on_drop(socket: &Socket) {
    // This fails only for sockets without such an option.
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// Makes the peer see the end of the stream when the socket is closed, after everything that was
/// sent.
pub(crate) fn end_on_drop(socket: &Socket) {
    let _ = socket.set_linger(None);
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Socket::from(stream).into()
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Socket::from(OwnedFd::from(stream)).into()
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self {
            socket,
            token: None,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
