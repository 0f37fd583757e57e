//! The program's peers: plain TCP clients and servers. Their waits are bounded too.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use sha2::{Digest, Sha256};
use socket2::{Domain, SockRef, Socket, Type};

use crate::process::LIMIT;

/// A plain TCP server that runs `serve` for each client.
pub(crate) struct Server {
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").expect("a listener"), serve)
    }

    /// The same, at an address that refused connections before.
    pub(crate) fn start_on(
        free: FreeAddress,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        free.socket.listen(128).expect("to listen");
        Self::serve(free.socket.into(), serve)
    }

    fn serve(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("an address").to_string();
        let serve = std::sync::Arc::new(serve);
        // This thread ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = limited(client.expect("a client"));
                let serve = std::sync::Arc::clone(&serve);
                thread::spawn(move || serve(client));
            }
        });
        Self { address }
    }

    /// Echoes on a listening socket.
    pub(crate) fn echo_on(listener: TcpListener) -> Self {
        Self::serve(listener, echo)
    }

    /// Echoes, and ends each connection when its client does.
    pub(crate) fn echo() -> Self {
        Self::start(echo)
    }
}

pub(crate) fn echo(client: TcpStream) {
    let _ = std::io::copy(&mut &client, &mut &client);
    let _ = client.shutdown(Shutdown::Write);
}

/// An address on which nobody listens. The system does not give it to anybody who asks for a free
/// one, but somebody may ask for this one explicitly.
pub(crate) struct FreeAddress {
    socket: Socket,
    pub(crate) address: String,
}

pub(crate) fn free_address() -> FreeAddress {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|bound| bound.as_socket());
    let address = address.expect("an address").to_string();
    FreeAddress { socket, address }
}

/// An address that never answers. Its accept queue is full, until this is dropped.
pub(crate) struct HangingAddress {
    _listener: Socket,
    _queued: Vec<Socket>,
    pub(crate) address: String,
}

pub(crate) fn hanging_address() -> HangingAddress {
    let FreeAddress { socket, address } = free_address();
    socket.listen(1).expect("to listen");
    let remote: SocketAddr = address.parse().expect("an address");
    let mut queued = Vec::new();
    loop {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let is_queued = client
            .connect_timeout(&remote.into(), Duration::from_millis(300))
            .is_ok();
        if !is_queued {
            break;
        }
        queued.push(client);
        assert!(queued.len() < 100, "the queue never fills");
    }
    HangingAddress {
        _listener: socket,
        _queued: queued,
        address,
    }
}

pub(crate) fn connect(address: &str) -> TcpStream {
    limited(TcpStream::connect(address).expect("a connection"))
}

fn limited(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.set_write_timeout(Some(LIMIT)).expect("a timeout");
    stream
}

/// Ends a connection with a reset instead of an end of stream.
pub(crate) fn reset(stream: TcpStream) {
    let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("an option");
}

#[track_caller]
pub(crate) fn round_trip(mut stream: &TcpStream, message: &[u8]) {
    stream.write_all(message).expect("written");
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, message);
}

/// Bytes in which no two pieces are equal.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Writes on a separate thread, so that the test can read at the same time.
pub(crate) fn write_aside(mut to: impl Write + Send + 'static, bytes: Vec<u8>) -> Receiver<bool> {
    let (sender, done) = bounded(1);
    thread::spawn(move || {
        let written = to.write_all(&bytes).is_ok();
        drop(to);
        let _ = sender.send(written);
    });
    done
}
