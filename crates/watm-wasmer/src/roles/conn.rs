//! A connection through a transport, as the application holds it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::channel::link::{Level, Link, Traffic};
use crate::channel::pipe::{ApplicationEnd, Patience, pipe};
use crate::channel::supervisor;
use crate::error::{End, SetupError, TransportError};
use crate::guest::exports::Established;
use crate::host::{Ends, Internal};
use crate::net::address::{Address, Network};
use crate::net::stream::Stream;
use crate::roles::dropped;
use crate::worker::{MARGIN, Workers};

/// A connection through a transport module.
///
/// Bytes written go through the module and leave on the network as it makes them; what the
/// network brings comes back the same way. It is used like a [`std::net::TcpStream`]: [`Read`]
/// and [`Write`] are there for the value and for a shared reference, so that two threads can use
/// both directions at once.
///
/// When the transport has ended, reads return the remaining bytes, then 0 if it ended well and
/// its error if it did not; writes fail with [`io::ErrorKind::BrokenPipe`] or that error. Errors
/// of the transport carry a [`TransportError`] (see [`io::Error::get_ref`]).
///
/// Dropping a connection closes it like [`Conn::close`], without waiting: what was written is still
/// delivered within the grace period, as long as the process lives. Where that may end soon,
/// [`Conn::close`] waits and tells whether all was delivered, or [`drain`](crate::drain) waits for
/// all that were dropped. A process that ends earlier, or is killed, resets the peers of
/// connections that have not ended.
pub struct Conn {
    end: ApplicationEnd,
    link: Arc<Link>,
    established: Established,
    grace: Duration,
    /// Nanoseconds; 0 for none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    nonblocking: AtomicBool,
    closed: AtomicBool,
}

/// How much a connection has transferred so far, and at what cost: see [`Conn::stats`] and
/// [`Carried::stats`](crate::Carried::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// Bytes received from the network, in the form in which they were on the wire.
    pub received: u64,
    /// Bytes sent to the network, in the form in which they were on the wire.
    pub sent: u64,
    /// Bytes received from the plain connection that is carried; 0 for a [`Conn`].
    pub plain_received: u64,
    /// Bytes sent to the plain connection that is carried; 0 for a [`Conn`].
    pub plain_sent: u64,
    /// Functions of the host that the module has called.
    pub host_calls: u64,
    /// System calls that transferred bytes, polled for readiness, or woke a thread.
    pub system_calls: u64,
    /// How long the module's own code ran since the transport was set up. This and the next two
    /// are 0 unless [`crate::Builder::timing`] is on.
    pub guest_time: Duration,
    /// How long the host worked in calls of the module.
    pub host_time: Duration,
    /// How long the module waited in calls of the host.
    pub asleep: Duration,
}

impl ConnStats {
    pub(super) fn of(traffic: &Traffic) -> Self {
        let count = |from: &AtomicU64| from.load(Ordering::Relaxed);
        let time = |from: &AtomicU64| Duration::from_nanos(count(from));
        Self {
            received: count(&traffic.received),
            sent: count(&traffic.sent),
            plain_received: count(&traffic.plain_received),
            plain_sent: count(&traffic.plain_sent),
            host_calls: count(&traffic.host_calls),
            system_calls: count(&traffic.system_calls),
            guest_time: time(&traffic.guest_time),
            host_time: time(&traffic.host_time),
            asleep: time(&traffic.asleep),
        }
    }
}

impl Conn {
    pub(crate) fn new(
        end: ApplicationEnd,
        link: Arc<Link>,
        established: Established,
        grace: Duration,
    ) -> Self {
        Self {
            end,
            link,
            established,
            grace,
            read_timeout: AtomicU64::new(0),
            write_timeout: AtomicU64::new(0),
            nonblocking: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Shuts down one direction or both.
    ///
    /// After `Write`, the module reads end of stream on its internal descriptor once it has read
    /// all bytes; many modules then end the transport, those that know half-close go on the
    /// other way. After `Read`, reads return 0 and what the module still writes is dropped.
    ///
    /// # Errors
    ///
    /// None at present. The result has the type of [`std::net::TcpStream::shutdown`], so that one
    /// can replace the other.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.end.shutdown_write();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.end.shutdown_read();
        }
        Ok(())
    }

    /// Sets the maximum time that a read waits for bytes; `None`, the default, means no limit. A
    /// read that waited this long fails with [`io::ErrorKind::TimedOut`].
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for a duration of 0.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        store_timeout(&self.read_timeout, timeout)
    }

    /// Sets the maximum time that a write waits for room; `None`, the default, means no limit. A
    /// write that waited this long fails with [`io::ErrorKind::TimedOut`].
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for a duration of 0.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        store_timeout(&self.write_timeout, timeout)
    }

    /// The limit set by [`Conn::set_read_timeout`].
    pub fn read_timeout(&self) -> Option<Duration> {
        load_timeout(&self.read_timeout)
    }

    /// The limit set by [`Conn::set_write_timeout`].
    pub fn write_timeout(&self) -> Option<Duration> {
        load_timeout(&self.write_timeout)
    }

    /// Makes reads and writes return [`io::ErrorKind::WouldBlock`] in place of waiting.
    ///
    /// # Errors
    ///
    /// None at present. The result has the type of [`std::net::TcpStream::set_nonblocking`].
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }

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
    /// As [`Conn::local_addr`].
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.established.peer_addr()
    }

    /// Closes the connection and waits until the transport has ended: within the grace period,
    /// and a little more while a guest that does not cooperate is interrupted.
    ///
    /// What was written before is delivered first, as far as the peer takes it in that time.
    /// Reads return 0 from now on. Closing twice returns the same again.
    ///
    /// # Errors
    ///
    /// How the transport failed, if it did: [`TransportError::Interrupted`] if it had to be
    /// interrupted, [`TransportError::Undelivered`] if it ended but its bytes could not be
    /// delivered.
    pub fn close(&self) -> Result<End, TransportError> {
        self.begin_close();
        wait_ended(&self.link, self.grace)
    }

    /// Ends the connection as one that has failed, in place of a shutdown for writing or a close: a
    /// program that cannot send all that it should does not let the peer take a part for the whole.
    ///
    /// What was written before goes on its way. Then the module's internal descriptor fails with a
    /// connection reset, and in the end the peer is reset, whatever the module makes of it. Reads
    /// return 0 from now on. Does not wait; [`Conn::close`] or a drop bounds the time that it
    /// takes.
    pub fn abort(&self) {
        self.link.set_broken();
        self.end.shutdown_read();
        self.end.shutdown_write();
    }

    /// Waits, up to `timeout` if there is one, until the transport has ended by itself and all that
    /// it wrote is delivered, without closing the connection. `None` if that takes longer; at the
    /// end of the drain timeout it fails with [`TransportError::Undelivered`].
    ///
    /// A program that ends right after a transfer waits here, since bytes that a slow peer has not
    /// taken yet would end with it.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<End, TransportError>> {
        wait_for_end(&self.link, timeout)
    }

    /// How the transport ended, if it has. What it wrote may still be on its way.
    pub fn outcome(&self) -> Option<Result<End, TransportError>> {
        self.link.outcome().cloned()
    }

    /// What the connection has moved so far, and what that took. The numbers are taken one after
    /// the other while the module goes on.
    pub fn stats(&self) -> ConnStats {
        ConnStats::of(&self.link.traffic)
    }

    fn begin_close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            // The level first: the end of stream is what makes the worker look at it.
            self.link.raise(Level::Closing);
            self.end.shutdown_read();
            self.end.shutdown_write();
            if !self.link.is_finished() {
                supervisor::close(&self.link, self.grace);
            }
        }
    }

    fn patience(&self, timeout: &AtomicU64) -> Patience {
        if self.nonblocking.load(Ordering::Relaxed) {
            Patience::None
        } else {
            Patience::Wait(load_timeout(timeout))
        }
    }
}

fn store_timeout(to: &AtomicU64, timeout: Option<Duration>) -> io::Result<()> {
    let nanos = match timeout {
        None => 0,
        Some(Duration::ZERO) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a timeout must not be 0",
            ));
        }
        Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
    };
    to.store(nanos, Ordering::Relaxed);
    Ok(())
}

fn load_timeout(from: &AtomicU64) -> Option<Duration> {
    match from.load(Ordering::Relaxed) {
        0 => None,
        nanos => Some(Duration::from_nanos(nanos)),
    }
}

impl Read for &Conn {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.end.read(buf, self.patience(&self.read_timeout))
    }
}

impl Write for &Conn {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.end.write(buf, self.patience(&self.write_timeout))
    }

    /// Does nothing, since nothing waits for a flush: the module has what was written as soon as it
    /// reads. That is no promise of delivery; [`Conn::close`] and [`Conn::wait`] wait for it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Conn {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Conn {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.begin_close();
        dropped::add(&self.link);
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("local", &self.established.local)
            .field("peer", &self.established.peer)
            .field("outcome", &self.link.outcome())
            .finish_non_exhaustive()
    }
}

/// Sets up one connection of an application, outgoing or (with `incoming`) accepted, and waits.
pub(crate) fn connect(
    workers: &Workers,
    fixed: Option<(Network, Address)>,
    incoming: Option<Stream>,
    config: Option<Arc<[u8]>>,
) -> Result<Conn, SetupError> {
    let worker = workers.next(config);
    let link = Arc::clone(worker.link());
    let (end, internal) = pipe(Arc::clone(&link));
    let established = worker.serve_and_wait(Ends {
        fixed,
        incoming,
        internal: Internal::Pipe(internal),
    })?;
    Ok(Conn::new(
        end,
        link,
        established,
        workers.settings.close_grace,
    ))
}

/// Waits, up to `timeout` if there is one, until a worker has ended by itself. `None` if that takes
/// longer.
pub(super) fn wait_for_end(
    link: &Link,
    timeout: Option<Duration>,
) -> Option<Result<End, TransportError>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if link.wait_finished(deadline) {
        link.final_outcome()
    } else {
        None
    }
}

/// Waits until a worker that was told to end within `grace` has done so.
pub(super) fn wait_ended(link: &Link, grace: Duration) -> Result<End, TransportError> {
    // The supervisor stops the guest at the end of the grace period; what is longer than this can
    // only be the system's (a name being resolved), and the worker ends by itself after it.
    link.wait_finished(Some(Instant::now() + grace + MARGIN));
    link.final_outcome()
        .unwrap_or(Err(TransportError::Interrupted))
}
