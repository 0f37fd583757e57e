//! Plain TCP beside transports: connecting and listening in the way that the roles do.
//!
//! This is for programs that forward the connections of a [`Listener`](crate::Listener) to a
//! server, or that dial for the connections that they accept, and that look at the bytes on the way
//! or choose the other side themselves. No module is involved. A program that only carries bytes
//! needs none of this: [`Server`](crate::Server) accepts, connects and carries by itself.
//!
//! ```no_run
//! use std::time::Duration;
//! use watm_wasmer::plain::{self, Connector};
//!
//! let listener = plain::bind(":8080")?;
//! let connector = Connector::new();
//! let server = connector.connect("server.example:80", Duration::from_secs(10))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::channel::link::Link;
use crate::error::ListenError;
pub use crate::net::accept_errors::AcceptErrors;
pub use crate::net::address::canonical;
use crate::net::address::{Address, ListenAddress, Network, resolve};
use crate::net::connect::Outgoing;
use crate::net::reactor::Reactor;

/// Maximum number of connections that wait at a listening socket to be accepted. The system may
/// have a lower limit (`net.core.somaxconn`).
pub(crate) const BACKLOG: i32 = 1024;

/// Connects to addresses, and remembers which address of a name worked last.
///
/// A name may stand for several addresses. Both families take turns. Another address is tried every
/// 250 milliseconds, or as soon as one fails. The first that connects is used, and the others are
/// closed (RFC 8305, "Happy Eyeballs"). It is tried first the next time: for ten minutes, and for
/// the 256 names that were used last.
///
/// Clones share their memory.
///
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
/// use watm_wasmer::plain::{self, Connector};
///
/// let server = plain::bind("127.0.0.1:0")?;
/// let address = server.local_addr()?.to_string();
/// let connector = Connector::new();
/// match connector.connect(&address, Duration::from_secs(10)) {
///     Ok(stream) => {
///         // It is non-blocking, as an event loop needs it.
///         stream.set_nonblocking(false)?;
///     }
///     Err(error) if error.kind() == ErrorKind::TimedOut => println!("no answer"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Connector {
    outgoing: Outgoing,
}

impl Connector {
    /// Creates a connector that remembers nothing yet.
    pub fn new() -> Self {
        Self {
            outgoing: Outgoing::within(Duration::ZERO),
        }
    }

    /// Connects to `address` (`host:port` or `[v6]:port`, see [`Address`](crate::Address)), within
    /// `timeout` over all addresses that a name stands for. The system decides how long it takes to
    /// look the name up.
    ///
    /// The stream is non-blocking.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if it is no address, [`io::ErrorKind::TimedOut`] if nothing
    /// has answered in time, or else what the system said of the last address that failed.
    pub fn connect(&self, address: &str, timeout: Duration) -> io::Result<TcpStream> {
        let address = Address::parse(address)?;
        let mut outgoing = self.outgoing.clone();
        outgoing.timeout = timeout;
        let link = Link::default();
        let mut reactor = Reactor::new(&link)?;
        let stream = outgoing.connect(Network::Tcp, &address, false, &link, &mut reactor)?;
        // No worker owns this socket, so it ends like any other.
        stream.end_on_drop();
        Ok(stream.into_socket().into())
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// Listens on `address`, as listeners and relays do: `host:port` or `[v6]:port`, or `:port` or
/// `*:port` for all addresses of this machine, of both families (see
/// [`ListenAddress`](crate::ListenAddress)). Port 0 lets the system choose.
///
/// [`ListenSocket::open`](crate::ListenSocket::open) also takes Unix sockets and inherited ones.
///
/// All addresses are one socket of IPv6 that takes IPv4 too: its clients of IPv4 have mapped
/// addresses (`::ffff:192.0.2.1`). On a machine without IPv6 it is one of IPv4. A name that stands
/// for several addresses listens on the first that works.
///
/// # Errors
///
/// [`ListenError::Bind`] if it is no address, or one that cannot be listened on.
///
/// ```
/// use watm_wasmer::{Listener, TransportModule, plain};
///
/// // With the rights to bind to a low port, before the program gives them up.
/// let socket = plain::bind(":0")?;
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).listen(socket)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn bind(address: &str) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Bind {
        address: address.to_owned(),
        source,
    };
    let wanted = ListenAddress::parse(address).map_err(failed)?;
    if wanted.unix().is_some() || wanted.inherited().is_some() {
        let message = "it is no address of TCP; `ListenSocket::open` takes it";
        return Err(failed(io::Error::new(io::ErrorKind::Unsupported, message)));
    }
    let Some(host) = wanted.host() else {
        return bind_all(wanted.port(), bind_to).map_err(failed);
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in resolve(host, wanted.port()).map_err(failed)? {
        match bind_to(candidate, false) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Listens on all addresses of both families, or of IPv4 if the system has no IPv6.
fn bind_all(
    port: u16,
    bind_to: impl Fn(SocketAddr, bool) -> io::Result<TcpListener>,
) -> io::Result<TcpListener> {
    match bind_to((Ipv6Addr::UNSPECIFIED, port).into(), true) {
        Err(error) if is_without_ipv6(&error) => {
            bind_to((Ipv4Addr::UNSPECIFIED, port).into(), false)
        }
        result => result,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// Listens on one address. An IPv6 socket accepts IPv4 as well if `both` is set, or if that is the
/// default of the system.
fn bind_to(address: SocketAddr, both: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if both {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The number of bytes sent over a socket that the peer's system has not acknowledged yet. The end
/// of the stream counts as one byte. 0 if the system cannot tell.
///
/// ```
/// use std::io::Write;
/// use std::time::Duration;
/// use watm_wasmer::{pair, plain};
///
/// let (mut client, _server) = pair()?;
/// client.write_all(b"goodbye")?;
/// // The end of the process would take what the peer's system does not have yet.
/// for _ in 0..500 {
///     if plain::unacknowledged(&client) == 0 {
///         break;
///     }
///     std::thread::sleep(Duration::from_millis(10));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn unacknowledged(socket: &impl AsFd) -> usize {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let fd = socket.as_fd().as_raw_fd();
        let mut bytes: libc::c_int = 0;
        // SAFETY: `socket` keeps the descriptor open. TIOCOUTQ writes one int, to `bytes`.
        let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 {
            return usize::try_from(bytes).unwrap_or(0);
        }
    }
    let _ = socket;
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const LIMIT: Duration = Duration::from_secs(20);

    fn local(listener: &TcpListener) -> SocketAddr {
        listener.local_addr().expect("an address")
    }

    #[test]
    fn all_addresses_are_those_of_both_families() {
        for address in [":0", "*:0"] {
            let listener = bind(address).expect("a listener");
            let port = local(&listener).port();
            assert!(local(&listener).ip().is_unspecified());
            let connector = Connector::new();
            let clients = ["127.0.0.1", "[::1]"].into_iter().filter(|host| {
                // A machine without IPv6 has no such address.
                *host != "[::1]" || local(&listener).is_ipv6()
            });
            for host in clients {
                let client = connector.connect(&format!("{host}:{port}"), LIMIT);
                let client = client.expect("a connection");
                let (mut accepted, _) = listener.accept().expect("the client");
                accepted.write_all(b"x").expect("room");
                client.set_nonblocking(false).expect("an option");
                (&client).read_exact(&mut [0]).expect("a byte");
            }
            let taken = bind(&format!("*:{port}")).expect_err("in use");
            assert!(matches!(
                taken,
                ListenError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse
            ));
        }
    }

    #[test]
    fn a_stream_that_is_dropped_ends_in_order_behind_what_was_written() {
        let listener = bind("127.0.0.1:0").expect("a listener");
        let stream = Connector::new().connect(&local(&listener).to_string(), LIMIT);
        (&stream.expect("a connection"))
            .write_all(b"all of it")
            .expect("room");
        let mut received = Vec::new();
        let (mut accepted, _) = listener.accept().expect("the client");
        accepted.read_to_end(&mut received).expect("an end");
        assert_eq!(received, b"all of it");
    }

    #[test]
    fn a_machine_without_ipv6_listens_on_ipv4_alone() {
        for code in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            let listener = bind_all(0, |address, both| {
                if address.is_ipv6() {
                    return Err(io::Error::from_raw_os_error(code));
                }
                bind_to(address, both)
            });
            assert!(local(&listener.expect("a listener")).is_ipv4());
        }
        let error = bind_all(0, |_, _| {
            Err(io::Error::from_raw_os_error(libc::EADDRINUSE))
        });
        assert_eq!(error.expect_err("in use").kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn more_clients_than_the_standard_library_lets_in_wait_to_be_accepted() {
        // As many as the system allows, which may be fewer.
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok())
            .unwrap_or(128);
        let listener = bind("127.0.0.1:0").expect("a listener");
        let count = most.min(200);
        let _clients: Vec<_> = (0..count)
            .map(|_| TcpStream::connect_timeout(&local(&listener), LIMIT).expect("a connection"))
            .collect();
    }

    #[test]
    fn a_zone_is_part_of_an_address() {
        #[cfg(target_os = "linux")]
        {
            let Ok(listener) = bind("[::1%lo]:0") else {
                return; // A machine without IPv6.
            };
            let address = format!("[::1%lo]:{}", local(&listener).port());
            Connector::new()
                .connect(&address, LIMIT)
                .expect("a connection");
        }
        let error = bind("[fe80::1%no-such]:0").expect_err("no such interface");
        let source = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert!(source.contains("no-such"), "{source}");
        let error = Connector::new().connect("[fe80::1%no-such]:80", LIMIT);
        let error = error.expect_err("no such interface");
        assert!(error.to_string().contains("no-such"), "{error}");
    }
}
