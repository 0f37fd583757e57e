//! A connected stream socket: what a dial hook returns and what a listener is handed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Socket, TcpKeepalive};

use crate::channel::sync::lock;

/// Maximum pause between two probes of a peer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A connected stream socket of any family: TCP, or a Unix socket.
///
/// It is the network side of a connection: a dial hook returns one, and [`crate::Acceptor::accept`]
/// takes one. Or it is a plain connection that a transport carries ([`crate::Dialer::carry`]).
///
/// A hook can read and write, for example to ask an upstream proxy. These calls wait whether or not
/// the socket itself blocks, and until the deadline of the attempt if
/// [`DialAttempt`](crate::DialAttempt) made the stream.
///
/// From then on, the runtime controls its `SO_LINGER`. Unless the connection has ended in order,
/// the peer is reset when the socket is closed, even if the process is killed.
///
/// ```
/// use std::io;
/// use std::os::unix::net::UnixStream;
/// use watm_wasmer::{DialAttempt, DialHook, Stream};
///
/// /// Asks a program of this machine for its connections.
/// struct Broker(&'static str);
///
/// impl DialHook for Broker {
///     fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
///         use io::Write;
///
///         let mut stream = Stream::from(UnixStream::connect(self.0)?);
///         writeln!(stream, "{}", attempt.address())?;
///         // A Unix socket has no address that means anything to others.
///         Ok(stream.with_addrs(None, attempt.address().parse().ok()))
///     }
/// }
/// # let (near, _far) = UnixStream::pair()?;
/// # assert_eq!(Stream::from(near).peer_addr(), None);
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Names the socket in the events of the worker's reactor, if that watches it already.
    token: Option<usize>,
    /// Until when its reads and writes wait.
    deadline: Option<Instant>,
    /// What it says its addresses are, in place of those of the socket.
    addrs: Option<Box<[Option<SocketAddr>; 2]>>,
    /// What is read before the bytes of the socket.
    unread: Mutex<Vec<u8>>,
}

impl Stream {
    fn new(socket: Socket, token: Option<usize>) -> Self {
        Self {
            socket,
            token,
            deadline: None,
            addrs: None,
            unread: Mutex::default(),
        }
    }

    /// Sets until when reads and writes of this value wait.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Sets the addresses that connections report as their own and as that of their peer, for a
    /// hook that connects through something else.
    pub fn with_addrs(mut self, local: Option<SocketAddr>, peer: Option<SocketAddr>) -> Self {
        self.set_addrs(local, peer);
        self
    }

    pub(crate) fn set_addrs(&mut self, local: Option<SocketAddr>, peer: Option<SocketAddr>) {
        self.addrs = Some(Box::new([local, peer]));
    }

    /// Puts bytes in front of those that the socket has yet to bring: what was read too early, or
    /// what the other side is to read first. They come before what was put there earlier.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use watm_wasmer::{Stream, pair};
    ///
    /// let (mut client, server) = pair()?;
    /// client.write_all(b"GET / HTTP/1.1\r\n")?;
    /// let mut server = Stream::from(server);
    /// // What does the client speak?
    /// let mut start = [0; 4];
    /// server.read_exact(&mut start)?;
    /// // Whoever gets the stream reads all of it.
    /// let mut server = server.with_unread(start);
    /// let mut line = [0; 16];
    /// server.read_exact(&mut line)?;
    /// assert_eq!(&line, b"GET / HTTP/1.1\r\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_unread(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes = bytes.into();
        bytes.append(&mut self.take_unread());
        self.unread = bytes.into();
        self
    }

    /// What is read before the bytes of the socket.
    pub(crate) fn take_unread(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.unread))
    }

    /// Waits until the socket is ready for `flags`.
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            let left = self
                .deadline
                .map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no answer within the connect timeout",
                ));
            }
            let timeout = left.and_then(|left| left.try_into().ok());
            match poll(&mut [PollFd::new(&self.socket, flags)], timeout.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tries a call until it has not to wait.
    fn until_ready(
        &self,
        flags: PollFlags,
        mut call: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            self.wait(flags)?;
            match call(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// A socket that the reactor watches of the worker that it is for.
    pub(crate) fn watched(socket: Socket, token: usize) -> Self {
        Self::new(socket, Some(token))
    }

    /// The token of the socket, if the worker's reactor watches it already.
    pub(crate) fn token(&self) -> Option<usize> {
        self.token
    }

    /// The address of this end, for sockets that have an IP address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let of_socket = || self.socket.local_addr().ok()?.as_socket();
        self.addrs.as_ref().map_or_else(of_socket, |addrs| addrs[0])
    }

    /// The address of the other end, for sockets that have an IP address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let of_socket = || self.socket.peer_addr().ok()?.as_socket();
        self.addrs.as_ref().map_or_else(of_socket, |addrs| addrs[1])
    }

    /// See [`reset_on_drop`].
    pub(crate) fn reset_on_drop(&self) {
        reset_on_drop(&self.socket);
    }

    /// See [`end_on_drop`].
    pub(crate) fn end_on_drop(&self) {
        end_on_drop(&self.socket);
    }

    /// Another descriptor of the same socket, without what was put in front of its bytes.
    #[cfg(feature = "front")]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.socket.try_clone()?, None))
    }

    #[cfg(feature = "front")]
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
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
        Self::new(socket, None)
    }
}

impl From<OwnedFd> for Stream {
    /// The descriptor has to be that of a connected stream socket.
    fn from(fd: OwnedFd) -> Self {
        Socket::from(fd).into()
    }
}

impl From<Stream> for OwnedFd {
    /// What was put in front of the bytes of the socket is lost: see [`Stream::with_unread`].
    fn from(stream: Stream) -> Self {
        stream.socket.into()
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut unread = lock(&self.unread);
        if unread.is_empty() {
            drop(unread);
            return self.until_ready(PollFlags::IN, |mut socket| socket.read(buf));
        }
        let len = unread.len().min(buf.len());
        buf[..len].copy_from_slice(&unread[..len]);
        unread.drain(..len);
        Ok(len)
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.until_ready(PollFlags::OUT, |mut socket| socket.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
