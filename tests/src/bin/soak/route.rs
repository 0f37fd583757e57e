//! A connection from one end to the other, through one, two or three instances of a module, in each
//! of the roles.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use watm_tests::{LONG, accept_one, built, connect, listener, reset, within};
use watm_wasmer::{
    AddressEntry, AddressPolicy, Builder, Conn, Dialer, FixedDialer, Listener, Outcome, Relay,
    ServerHandle, TransportError, TransportModule,
};

/// The instances on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A dialer, then a plain peer.
    Dial,
    /// The same, but the module chooses the address.
    DialFixed,
    /// A plain client, then a listener.
    Listen,
    /// A dialer and a listener.
    Both,
    /// A plain client, a relay, a plain peer.
    Relay,
    /// A dialer, a relay, a plain peer.
    Chain,
}

impl Route {
    /// Whether an even number of instances handles the bytes, so that each undoes the work of
    /// another.
    pub(crate) fn is_even(self) -> bool {
        matches!(self, Self::Both | Self::Chain)
    }
}

/// One end of a connection.
pub(crate) enum End {
    Conn(Conn),
    Plain(TcpStream),
}

/// Both ends, and what is between them.
pub(crate) struct Ends {
    pub(crate) a: End,
    pub(crate) b: End,
    _listener: Option<Listener>,
    relay: Option<ServerHandle>,
}

/// Opens a connection.
pub(crate) fn open(route: Route, name: &str, config: &str) -> Ends {
    let module = built(name);
    let dial = |address: &str| {
        let dialer = configured(Dialer::builder(&module), config).build();
        bound(
            dialer
                .expect("a dialer")
                .dial(address)
                .expect("a connection"),
        )
    };
    match route {
        Route::Dial => {
            let (peer, address) = listener();
            let a = dial(&address);
            Ends::of(a, End::Plain(accept_one(&peer)))
        }
        Route::DialFixed => {
            let (peer, address) = listener();
            let allowed: AddressEntry = "127.0.0.1".parse().expect("an address");
            let dialer = FixedDialer::builder(&module)
                .policy(AddressPolicy::deny_all().allow(allowed))
                .config(if config.is_empty() {
                    address
                } else {
                    format!("{config}\n{address}")
                })
                .build();
            let a = dialer.expect("a dialer").dial().expect("a connection");
            Ends::of(bound(a), End::Plain(accept_one(&peer)))
        }
        Route::Listen => {
            let (listener, address) = listen(&module, config);
            let client = connect(address);
            accepted(End::Plain(client), listener)
        }
        Route::Both => {
            let (listener, address) = listen(&module, config);
            let a = dial(&address);
            accepted(a, listener)
        }
        Route::Relay => {
            let (peer, relay) = relay(&module, config);
            let client = connect(relay.local_addr());
            let b = End::Plain(accept_one(&peer));
            Ends {
                relay: Some(relay),
                ..Ends::of(End::Plain(client), b)
            }
        }
        Route::Chain => {
            let (peer, relay) = relay(&module, config);
            let a = dial(&relay.local_addr().to_string());
            let b = End::Plain(accept_one(&peer));
            Ends {
                relay: Some(relay),
                ..Ends::of(a, b)
            }
        }
    }
}

fn configured<R>(builder: Builder<R>, config: &str) -> Builder<R> {
    if config.is_empty() {
        builder
    } else {
        builder.config(config)
    }
}

fn listen(module: &TransportModule, config: &str) -> (Listener, String) {
    let listener = configured(Listener::builder(module), config).bind("127.0.0.1:0");
    let listener = listener.expect("a listener");
    let address = listener.local_addr().to_string();
    (listener, address)
}

fn accepted(a: End, listener: Listener) -> Ends {
    let (conn, listener) = within(LONG, move || (listener.accept(), listener));
    Ends {
        _listener: Some(listener),
        ..Ends::of(a, bound(conn.expect("a connection")))
    }
}

fn relay(module: &TransportModule, config: &str) -> (std::net::TcpListener, ServerHandle) {
    let (peer, address) = listener();
    let relay = configured(Relay::builder(module), config)
        .remote(address)
        .bind("127.0.0.1:0");
    (peer, relay.expect("a relay").spawn().expect("a thread"))
}

fn bound(conn: Conn) -> End {
    conn.set_read_timeout(Some(LONG)).expect("a timeout");
    conn.set_write_timeout(Some(LONG)).expect("a timeout");
    End::Conn(conn)
}

impl Ends {
    fn of(a: End, b: End) -> Self {
        Self {
            a,
            b,
            _listener: None,
            relay: None,
        }
    }

    /// Splits the two ends. What is between them runs until the returned guard is dropped.
    pub(crate) fn split(self) -> (End, End, impl Drop) {
        let guard = OnTheWay {
            _listener: self._listener,
            _relay: self.relay,
        };
        (self.a, self.b, guard)
    }
}

struct OnTheWay {
    _listener: Option<Listener>,
    _relay: Option<ServerHandle>,
}

impl Drop for OnTheWay {
    fn drop(&mut self) {}
}

impl End {
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub(crate) fn shutdown_write(&self) {
        let _ = match self {
            Self::Conn(conn) => conn.shutdown(Shutdown::Write),
            Self::Plain(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Closes it in order: what was written is delivered.
    pub(crate) fn close(self) -> Result<Option<Outcome>, TransportError> {
        match self {
            Self::Conn(conn) => conn.close().map(Some),
            Self::Plain(_) => Ok(None),
        }
    }

    /// Resets it if possible, and drops it otherwise.
    pub(crate) fn reset(self) {
        match self {
            Self::Conn(_) => {}
            Self::Plain(stream) => reset(stream),
        }
    }
}

impl Read for &End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Conn(conn) => (&*conn).read(buf),
            End::Plain(stream) => (&*stream).read(buf),
        }
    }
}

impl Write for &End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            End::Conn(conn) => (&*conn).write(buf),
            End::Plain(stream) => (&*stream).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
