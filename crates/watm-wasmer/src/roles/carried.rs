//! A connection that a transport carries for a plain one, as the application holds it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::channel::link::Link;
use crate::channel::supervisor;
use crate::error::{Outcome, SetupError, TransportError};
use crate::guest::exports::Established;
use crate::host::Ends;
use crate::host::stats::ConnStats;
use crate::roles::conn::{poll_end, wait_ended, wait_for_end};
use crate::roles::dropped;
use crate::roles::pending::{Own, Pending};
use crate::worker::Workers;

/// A plain connection that a transport carries: see [`Dialer::carry`](crate::Dialer::carry).
///
/// The thread of the transport moves the bytes, from one socket through the module to the other.
/// What is left to the application is to wait for the end, or to cut the connection off.
///
/// The connection ends by itself. The end of one direction is passed on as far as the module knows
/// half-close, and the other direction goes on. If the transport fails, or if it loses the network,
/// the plain connection is reset after everything that came before; if the plain connection breaks,
/// the network is ([`TransportError::PlainLost`]). If the plain connection has ended in both
/// directions and the transport does not end, the transport is closed after the drain timeout, and
/// then has the grace period.
///
/// Dropping this value lets the connection go on, and nobody can cut it off any more.
/// [`drain`](crate::drain) waits for the connections that were dropped. The end of the process
/// resets both sides.
///
/// ```no_run
/// use std::net::TcpListener;
/// use watm_wasmer::{Dialer, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let dialer = Dialer::builder(&module).build()?;
/// let (client, address) = TcpListener::bind("127.0.0.1:8080")?.accept()?;
/// let carried = dialer.carry(client, "192.0.2.1:443")?;
/// let end = carried.wait(None);
/// let stats = carried.stats();
/// println!("{address}: {} bytes up, {} down: {end:?}", stats.plain_received, stats.plain_sent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Carried {
    link: Arc<Link>,
    established: Established,
    grace: Duration,
}

impl Carried {
    /// The local address of the network connection below the transport.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrNotAvailable`] if that has no IP address: a dial hook may have
    /// returned a socket of another family.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.established.local_addr()
    }

    /// The address of the peer of the network connection below the transport.
    ///
    /// # Errors
    ///
    /// As [`Carried::local_addr`].
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.established.peer_addr()
    }

    /// Waits, up to `timeout` if there is one, until the transport has ended and all that it wrote
    /// is delivered to both sides. `None` if that takes longer.
    ///
    /// A plain connection that does not close after the end of the transport has the drain timeout
    /// for that, so that it can send and read on; what it still sends is thrown away.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Outcome, TransportError>> {
        wait_for_end(&self.link, timeout)
    }

    /// Is pending until the transport has ended: [`Carried::wait`] for a task. If several tasks poll,
    /// the last is woken.
    ///
    /// # Errors
    ///
    /// How the transport failed.
    pub fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<Result<Outcome, TransportError>> {
        poll_end(&self.link, cx)
    }

    /// How the transport ended, if it has. What it wrote may still be on its way.
    pub fn outcome(&self) -> Option<Result<Outcome, TransportError>> {
        self.link.outcome().cloned()
    }

    /// What the connection has moved so far, and what that took. The numbers are taken one after
    /// the other while the module goes on.
    pub fn stats(&self) -> ConnStats {
        ConnStats::of(&self.link.traffic)
    }

    /// Cuts the connection off: the control pipe tells the transport to end, and both sides are
    /// reset after they have received what came before. Does not wait. At the end of the grace
    /// period, the module is interrupted.
    pub fn abort(&self) {
        if self.link.is_finished() {
            return;
        }
        supervisor::cut(&self.link, Instant::now() + self.grace);
    }

    /// Cuts the connection off as [`Carried::abort`] does, unless it has ended by itself, and waits
    /// until that is done: within the grace period, and a little more for a module that does not
    /// cooperate.
    ///
    /// # Errors
    ///
    /// How the transport failed, if it did: [`TransportError::Interrupted`] if it had to be
    /// interrupted.
    pub fn close(&self) -> Result<Outcome, TransportError> {
        self.abort();
        wait_ended(&self.link, self.grace)
    }
}

impl Carried {
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        dropped::add(&self.link);
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("local", &self.established.local)
            .field("peer", &self.established.peer)
            .field("outcome", &self.link.outcome())
            .finish_non_exhaustive()
    }
}

/// Begins to set up the transport of one connection, both of whose ends are sockets.
pub(super) fn begin<E: From<SetupError>>(
    workers: &Workers,
    ends: Ends,
    own: Own,
) -> Pending<Carried, E> {
    Pending::begin(workers, own, |link, settings| {
        let (link, grace) = (Arc::clone(link), settings.close_grace);
        let make = move |established| Carried {
            link,
            established,
            grace,
        };
        (ends, Box::new(make))
    })
}
