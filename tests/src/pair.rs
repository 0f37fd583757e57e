//! Both ends of a connection in one value.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use socket2::{SockRef, Socket};
use watm_wasmer::{Builder, Conn, DialHook, DialOptions, Dialer, Listener, TransportModule};

use crate::{LONG, SHORT, accept_one, listener, tcp_pair, within};

/// A connection through a module, and the plain socket at its other end.
pub struct Pair {
    /// The application's end.
    pub conn: Conn,
    /// The network's end.
    pub peer: TcpStream,
}

impl Pair {
    /// Dials through a module.
    #[track_caller]
    pub fn dial(module: &TransportModule) -> Self {
        Self::with(Dialer::builder(module))
    }

    /// Dials through a module with this configuration.
    #[track_caller]
    pub fn with(builder: Builder<Dialer>) -> Self {
        Self::greeted(builder, |_| {})
    }

    /// Dials while `greet` does the peer's part of the handshake.
    #[track_caller]
    pub fn greeted(builder: Builder<Dialer>, greet: impl FnOnce(&TcpStream) + Send) -> Self {
        Self::over(listener(), builder, greet)
    }

    /// Dials over a connection that takes little until the peer reads. The buffers of an ordinary
    /// connection grow, so a blocked write might still continue.
    #[track_caller]
    pub fn narrow(builder: Builder<Dialer>) -> Self {
        let (listener, address) = listener();
        SockRef::from(&listener)
            .set_recv_buffer_size(16 << 10)
            .expect("a buffer size");
        Self::over((listener, address), builder.dial_hook(Narrow), |_| {})
    }

    #[track_caller]
    fn over(
        (listener, address): (TcpListener, String),
        builder: Builder<Dialer>,
        greet: impl FnOnce(&TcpStream) + Send,
    ) -> Self {
        let dialer = builder.build().expect("a dialer");
        let (conn, peer) = std::thread::scope(|scope| {
            let peer = scope.spawn(|| {
                let peer = accept_one(&listener);
                greet(&peer);
                peer
            });
            let conn = dialer.dial(&address).unwrap_or_else(|error| {
                // Ends the wait of whoever waits for the connection.
                drop(TcpStream::connect(&address));
                panic!("no connection: {error:?}")
            });
            (conn, peer.join().expect("the peer's part"))
        });
        Self {
            conn: bound(conn),
            peer,
        }
    }

    /// Dials with options for this one connection.
    #[track_caller]
    pub fn dial_with(dialer: &Dialer, options: DialOptions) -> Self {
        let (listener, address) = listener();
        let conn = dialer.dial_with(&address, options).expect("a connection");
        Self {
            conn: bound(conn),
            peer: accept_one(&listener),
        }
    }

    /// Accepts a socket through a module with this configuration. The peer is the client.
    #[track_caller]
    pub fn accepted(builder: Builder<Listener>) -> Self {
        let acceptor = builder.acceptor().expect("an acceptor");
        let (client, server) = tcp_pair();
        let conn = acceptor.accept(server).expect("a connection");
        Self {
            conn: bound(conn),
            peer: client,
        }
    }
}

/// A connection through two instances of modules: one dials, the other listens.
pub struct Duo {
    /// The end of the application that dialled.
    pub dialer: Conn,
    /// The end of the application that listens.
    pub listener: Conn,
    /// The listener itself.
    pub accepting: Arc<Listener>,
}

impl Duo {
    /// Both ends through the same module.
    #[track_caller]
    pub fn new(module: &TransportModule) -> Self {
        Self::with(Dialer::builder(module), Listener::builder(module))
    }

    /// Both ends with their configurations.
    #[track_caller]
    pub fn with(dialer: Builder<Dialer>, listener: Builder<Listener>) -> Self {
        let accepting = Arc::new(listener.bind("127.0.0.1:0").expect("a listener"));
        let address = accepting.local_addr().to_string();
        let conn = dialer.build().expect("a dialer").dial(&address);
        let dialer = bound(conn.expect("a connection"));
        let listening = Arc::clone(&accepting);
        let conn = within(SHORT, move || listening.accept());
        let listener = bound(conn.expect("a connection"));
        Self {
            dialer,
            listener,
            accepting,
        }
    }
}

struct Narrow;

impl DialHook for Narrow {
    fn prepare(&self, socket: &Socket, _: SocketAddr) -> io::Result<()> {
        socket.set_send_buffer_size(16 << 10)
    }
}

/// Bounds the waits of a test.
fn bound(conn: Conn) -> Conn {
    conn.set_read_timeout(Some(LONG)).expect("a timeout");
    conn.set_write_timeout(Some(LONG)).expect("a timeout");
    conn
}
