//! A connection through a transport, as the application holds it.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::channel::link::{Level, Link};
use crate::channel::pipe::{ApplicationEnd, Patience, Signal, Wakes, or_would_block, pipe};
use crate::channel::supervisor;
use crate::error::{Outcome, SetupError, TransportError};
use crate::guest::exports::Established;
use crate::host::stats::ConnStats;
use crate::host::{Ends, Internal};
use crate::net::address::{Address, Network};
use crate::net::readiness::Readiness;
use crate::net::stream::Stream;
use crate::roles::dropped;
use crate::roles::halves::{ReadHalf, WriteHalf, halves};
use crate::roles::pending::{Own, Pending};
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
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::time::Duration;
/// use watm_wasmer::{Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let mut conn = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// let mut peer = listener.accept()?;
///
/// conn.set_read_timeout(Some(Duration::from_millis(10)))?;
/// let nothing = conn.read(&mut [0; 16]).expect_err("the peer says nothing");
/// assert_eq!(nothing.kind(), ErrorKind::TimedOut);
///
/// conn.write_all(b"hello")?;
/// // Waits until the peer's system has all of it.
/// conn.close()?;
/// let mut request = Vec::new();
/// peer.read_to_end(&mut request)?;
/// assert_eq!(request, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Conn {
    end: ApplicationEnd,
    link: Arc<Link>,
    established: Established,
    grace: Duration,
    /// Nanoseconds; 0 for none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    read_deadline: Deadline,
    write_deadline: Deadline,
    nonblocking: AtomicBool,
    closed: AtomicBool,
    /// What event loops watch, if one asked for it.
    signal: OnceLock<Arc<Readiness>>,
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
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
            nonblocking: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            signal: OnceLock::new(),
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

    /// Sets until when reads wait for bytes; `None`, the default, means no limit. From then on, a
    /// read that finds nothing fails with [`io::ErrorKind::TimedOut`]. Unlike a timeout, it bounds
    /// many reads together, such as those of a whole message. The earlier of both counts.
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.read_deadline.set(deadline);
    }

    /// Sets until when writes wait for room; `None`, the default, means no limit. From then on, a
    /// write that finds no room fails with [`io::ErrorKind::TimedOut`].
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.write_deadline.set(deadline);
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
    pub fn close(&self) -> Result<Outcome, TransportError> {
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
    ///
    /// ```
    /// use std::io::{self, Read};
    /// use watm_wasmer::Conn;
    ///
    /// /// Sends a file, or lets the peer know that it does not have all of it.
    /// fn send(mut file: impl Read, conn: &Conn) -> io::Result<()> {
    ///     if let Err(error) = io::copy(&mut file, &mut &*conn) {
    ///         conn.abort();
    ///         return Err(error);
    ///     }
    ///     conn.close()?;
    ///     Ok(())
    /// }
    /// ```
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
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Outcome, TransportError>> {
        wait_for_end(&self.link, timeout)
    }

    /// How the transport ended, if it has. What it wrote may still be on its way.
    pub fn outcome(&self) -> Option<Result<Outcome, TransportError>> {
        self.link.outcome().cloned()
    }

    /// Reads as [`Read`] does, but never waits: if there is nothing, the task of `cx` is woken when
    /// there is. Timeouts do not apply. If several tasks read, the last that polled is woken.
    ///
    /// # Errors
    ///
    /// As a read.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.read_for(cx.waker(), buf)
    }

    /// Reads for a task.
    pub(super) fn read_for(&self, task: &dyn Wakes, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.end.poll_read(buf, Patience::Task(task))
    }

    /// Writes as [`Write`] does, but never waits: if there is no room, the task of `cx` is woken
    /// when there is. Timeouts do not apply. If several tasks write, the last that polled is woken.
    ///
    /// # Errors
    ///
    /// As a write.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Writes several buffers as [`Conn::poll_write`] does one.
    ///
    /// # Errors
    ///
    /// As a write.
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_for(cx.waker(), bufs)
    }

    /// Writes for a task.
    pub(super) fn write_for(
        &self,
        task: &dyn Wakes,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.end.poll_write(bufs, Patience::Task(task))
    }

    /// A descriptor for event loops, such as epoll or poll: readable while a read may go on, and
    /// writable while a write may. There is nothing to read from it or to write to it.
    ///
    /// It says what the last call learnt. Reads and writes that do not wait
    /// ([`Conn::set_nonblocking`], [`Conn::poll_read`]) and find nothing to do clear it until that
    /// changes; it is ready at first. So it works for loops that look at levels and for those that
    /// look at edges, which go on until [`io::ErrorKind::WouldBlock`] as with a socket. The feature
    /// `mio` makes the connection an event source of mio, in the same way.
    ///
    /// The first call takes two descriptors and each takes one for what it returns. Without a call,
    /// nothing is paid.
    ///
    /// # Errors
    ///
    /// Those of the system, if it has no descriptors left.
    pub fn readiness(&self) -> io::Result<OwnedFd> {
        self.signal()?.descriptor()
    }

    pub(super) fn signal(&self) -> io::Result<&Readiness> {
        if let Some(signal) = self.signal.get() {
            return Ok(signal);
        }
        let made = Arc::new(Readiness::new()?);
        let signal = self.signal.get_or_init(|| {
            let signal: Arc<dyn Signal> = made.clone();
            self.end.watch(&signal);
            made
        });
        Ok(signal)
    }

    /// Closes as [`Conn::close`] does, and is pending until that is done. If several tasks poll, the
    /// last is woken.
    ///
    /// # Errors
    ///
    /// As [`Conn::close`].
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Result<Outcome, TransportError>> {
        self.begin_close();
        self.poll_wait(cx)
    }

    /// Is pending until the transport has ended by itself: [`Conn::wait`] for a task. If several
    /// tasks poll, the last is woken.
    ///
    /// # Errors
    ///
    /// How the transport failed.
    pub fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<Result<Outcome, TransportError>> {
        poll_end(&self.link, cx)
    }

    /// Splits the connection into a half for reading and one for writing, for a thread each. See
    /// [`WriteHalf`] for what becomes of a half that is dropped.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        halves(self)
    }

    /// What the connection has moved so far, and what that took. The numbers are taken one after
    /// the other while the module goes on.
    pub fn stats(&self) -> ConnStats {
        ConnStats::of(&self.link.traffic)
    }

    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn begin_close(&self) {
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

    fn patience(&self, timeout: &AtomicU64, deadline: &Deadline) -> Patience<'static> {
        if self.nonblocking.load(Ordering::Relaxed) {
            return Patience::None;
        }
        let left = deadline
            .get()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let limits = [load_timeout(timeout), left];
        Patience::Wait(limits.into_iter().flatten().min())
    }
}

/// A point in time, or none, that is read without a lock.
#[derive(Default)]
struct Deadline(AtomicU64);

/// What deadlines count from, in nanoseconds. Earlier ones have passed anyway.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

impl Deadline {
    fn set(&self, at: Option<Instant>) {
        let nanos = at.map_or(0, |at| {
            let since = at.saturating_duration_since(origin());
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
        });
        self.0.store(nanos, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            nanos => origin().checked_add(Duration::from_nanos(nanos)),
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
        self.end
            .read(buf, self.patience(&self.read_timeout, &self.read_deadline))
    }
}

impl Write for &Conn {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.end.write(
            buf,
            self.patience(&self.write_timeout, &self.write_deadline),
        )
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let patience = self.patience(&self.write_timeout, &self.write_deadline);
        or_would_block(self.end.poll_write(bufs, patience))
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

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
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

/// Begins to set up one connection of an application: outgoing, or (with `incoming`) accepted.
pub(super) fn begin<E: From<SetupError>>(
    workers: &Workers,
    fixed: Option<(Network, Address)>,
    incoming: Option<Stream>,
    own: Own,
) -> Pending<Conn, E> {
    Pending::begin(workers, own, |link, settings| {
        let grace = settings.close_grace;
        let (end, internal) = pipe(Arc::clone(link));
        let link = Arc::clone(link);
        let ends = Ends {
            fixed,
            incoming,
            internal: Internal::Pipe(internal),
        };
        let make = move |established| Conn::new(end, link, established, grace);
        (ends, Box::new(make))
    })
}

/// Waits, up to `timeout` if there is one, until a worker has ended by itself. `None` if that takes
/// longer.
pub(super) fn wait_for_end(
    link: &Link,
    timeout: Option<Duration>,
) -> Option<Result<Outcome, TransportError>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if link.wait_finished(deadline) {
        link.final_outcome()
    } else {
        None
    }
}

/// Is pending until a worker has ended by itself.
pub(super) fn poll_end(link: &Link, cx: &mut Context<'_>) -> Poll<Result<Outcome, TransportError>> {
    if !link.is_finished() {
        link.tasks.add_polled(cx.waker());
        if !link.is_finished() {
            return Poll::Pending;
        }
    }
    let outcome = link.final_outcome();
    Poll::Ready(outcome.unwrap_or(Err(TransportError::Interrupted)))
}

/// Waits until a worker that was told to end within `grace` has done so.
pub(super) fn wait_ended(link: &Link, grace: Duration) -> Result<Outcome, TransportError> {
    // The supervisor stops the guest at the end of the grace period; what is longer than this can
    // only be the system's (a name being resolved), and the worker ends by itself after it.
    link.wait_finished(Some(Instant::now() + grace + MARGIN));
    link.final_outcome()
        .unwrap_or(Err(TransportError::Interrupted))
}
