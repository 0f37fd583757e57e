//! Plain TCP peers on the loopback interface, well-behaved and otherwise.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::{SHORT, within};

/// A listening socket on a free port. Its queue is long enough for tests that accept nothing.
pub fn listener() -> (TcpListener, String) {
    let port = ReservedPort::new();
    let address = port.address();
    (port.listen(), address)
}

/// The next connection, with bounded reads and writes.
#[track_caller]
pub fn accept_one(listener: &TcpListener) -> TcpStream {
    let listener = listener.try_clone().expect("a clone");
    let (stream, _) = within(SHORT, move || listener.accept().expect("a connection"));
    bound(stream)
}

/// A connection with bounded reads and writes.
#[track_caller]
pub fn connect(address: impl std::net::ToSocketAddrs) -> TcpStream {
    bound(TcpStream::connect(address).expect("a connection"))
}

/// Two ends of one TCP connection.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = connect(address);
    (client, accept_one(&listener))
}

fn bound(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(SHORT)).expect("a timeout");
    stream.set_write_timeout(Some(SHORT)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Closes a connection with a reset instead of an orderly end.
pub fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("an option");
    drop(socket);
}

/// Echoes on any number of connections, until each of them ends. The server runs until the process
/// ends.
pub struct EchoServer {
    address: SocketAddr,
}

impl EchoServer {
    /// Starts a server on a free port.
    pub fn start() -> Self {
        let (listener, _) = listener();
        Self::serve(listener)
    }

    /// Starts a server on a listening socket.
    pub fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                thread::spawn(move || echo(&stream));
            }
        });
        Self { address }
    }

    /// The address of the server.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

fn echo(mut stream: &TcpStream) {
    let mut buf = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..len]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// A port that is reserved and refuses connections, until somebody listens on it.
pub struct ReservedPort {
    socket: Socket,
}

impl ReservedPort {
    /// Takes a free port.
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&SockAddr::from(any)).expect("a free port");
        Self { socket }
    }

    /// Its address.
    pub fn address(&self) -> String {
        let address = self.socket.local_addr().expect("an address");
        address.as_socket().expect("an IP address").to_string()
    }

    /// Starts to listen on the port.
    pub fn listen(self) -> TcpListener {
        self.socket.listen(1024).expect("to listen");
        self.socket.into()
    }
}

impl Default for ReservedPort {
    fn default() -> Self {
        Self::new()
    }
}

/// A listening socket with a full queue, from which nobody accepts. A new connection gets no answer
/// at all, as from a host that drops packets.
pub struct FullBacklog {
    listener: Socket,
    _queued: Vec<Socket>,
}

impl FullBacklog {
    /// Fills the queue.
    pub fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&SockAddr::from(any)).expect("a free port");
        listener.listen(0).expect("to listen");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            match socket.connect_timeout(&address, Duration::from_millis(200)) {
                Ok(()) => queued.push(socket),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => panic!("the queue cannot be filled: {error}"),
            }
            assert!(queued.len() < 1000, "the queue never fills");
        }
        Self {
            listener,
            _queued: queued,
        }
    }

    /// The address of the listening socket.
    pub fn address(&self) -> String {
        let address = self.listener.local_addr().expect("an address");
        address.as_socket().expect("an IP address").to_string()
    }
}

impl Default for FullBacklog {
    fn default() -> Self {
        Self::new()
    }
}
