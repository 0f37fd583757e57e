//! Plain TCP beside transports: connecting in the way that the roles do.
//!
//! For programs that pass on to a server what comes out of a [`Listener`](crate::Listener), or dial
//! for what they accept. No module has a part in it.
//!
//! ```no_run
//! use std::time::Duration;
//! use watm_wasmer::plain::Connector;
//!
//! let connector = Connector::new();
//! let server = connector.connect("server.example:80", Duration::from_secs(10))?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::address::Network;
use crate::connect::Outgoing;
use crate::link::Link;
use crate::reactor::Reactor;

/// Connects to addresses, and remembers which of several worked last.
///
/// A name may stand for several addresses. Both families take turns; another address is tried
/// beside those under way every 250 milliseconds, or at once when one fails; the first that
/// connects is used, and the others are closed (RFC 8305, "Happy Eyeballs"). What worked is tried
/// first the next time, for ten minutes and for the 256 names that were used last.
///
/// Clones share what they remember.
#[derive(Clone)]
pub struct Connector {
    outgoing: Outgoing,
}

impl Connector {
    /// A connector that remembers nothing yet.
    pub fn new() -> Self {
        Self {
            outgoing: Outgoing::within(Duration::ZERO),
        }
    }

    /// Connects to `address` (`host:port` or `[v6]:port`; an IPv6 address may have a zone, as in
    /// `[fe80::1%eth0]:80`), within `timeout` over all addresses that a name stands for. The system
    /// decides how long it takes to look the name up.
    ///
    /// The stream is non-blocking.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if it is no address, [`io::ErrorKind::TimedOut`] if nothing
    /// has answered in time, or else what the system said of the last address that failed.
    pub fn connect(&self, address: &str, timeout: Duration) -> io::Result<TcpStream> {
        let mut outgoing = self.outgoing.clone();
        outgoing.timeout = timeout;
        let link = Link::default();
        let mut reactor = Reactor::new(&link)?;
        let stream = outgoing.connect(Network::Tcp, address, false, &link, &mut reactor)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_zone_is_part_of_an_address() {
        #[cfg(target_os = "linux")]
        {
            let Ok(listener) = TcpListener::bind("[::1]:0") else {
                return; // A machine without IPv6.
            };
            let port = listener.local_addr().expect("an address").port();
            let connected = Connector::new().connect(&format!("[::1%lo]:{port}"), LIMIT);
            connected.expect("a connection");
        }
        let error = Connector::new().connect("[fe80::1%no-such]:80", LIMIT);
        let error = error.expect_err("no such interface");
        assert!(error.to_string().contains("no-such"), "{error}");
    }
}
