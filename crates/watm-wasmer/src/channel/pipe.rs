//! The internal descriptor: two byte rings between the application and the guest.
//!
//! The application's end blocks on condition variables, or leaves the waker of its task, or watches
//! a descriptor ([`Signal`]). The guest's end is polled by the worker, which sleeps in its reactor.
//! Each side is woken only if it waits; a flag, a fence and a second look ensure that no wake-up is
//! missed. The pipe knows nothing of guest memory or of the engine.

use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::channel::gate::Room;
use crate::channel::link::{Level, Link, interest};
use crate::channel::ring::{Consumer, Producer, ring};
use crate::channel::supervisor::{self, Age, Delayed};
use crate::channel::sync::{
    AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, fence, lock,
};
use crate::error::TransportError;

/// Maximum number of bytes in each direction, and the size of the largest write that is all or
/// nothing.
pub(crate) const PIPE_CAPACITY: usize = 128 * 1024;

/// A waiting writer is woken once it has this much room, so that a full pipe does not cost a
/// wake-up for each small read.
const ROOM_WORTH_WAKING: usize = PIPE_CAPACITY / 2;

/// A waiting reader is woken once this many bytes are there, as long as the guest is known to have
/// more to write. Otherwise the reader is woken at once.
const BYTES_WORTH_WAKING: usize = PIPE_CAPACITY / 2;

/// With less room than this towards the application, reads from the other side are held back. They
/// go on once there is enough room to wake a writer.
const TOO_LITTLE_ROOM: usize = PIPE_CAPACITY / 4;

/// What both ends know of one direction.
#[derive(Default)]
struct Direction {
    /// No more bytes will come. The reader sees the end of stream after the last one.
    writer_closed: AtomicBool,
    /// Nobody will read. The application's writes fail; the guest's are dropped.
    reader_closed: AtomicBool,
    /// The application waits for this direction to change.
    application_waits: AtomicBool,
}

/// A wake-up that is owed to the application's reader.
#[derive(Default)]
struct Owed {
    owed: bool,
    /// Counts the owed wake-ups that were delivered.
    generation: u64,
    /// Whether the supervisor watches this pipe.
    watched: bool,
}

/// What the application does with one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

/// A descriptor that an event loop watches. The pipe says what has become of each way; the calls do
/// not overlap for the same way.
pub(crate) trait Signal: Send + Sync {
    /// The application may go on.
    fn set_ready(&self, way: Way);
    /// The application tried in vain.
    fn set_blocked(&self, way: Way);
}

/// One direction as the application's threads and tasks share it.
struct Shared<T> {
    ring: T,
    way: Way,
    /// The last task that found nothing to do.
    task: Option<Waker>,
    /// Threads that sleep until this direction changes. Waking nobody would be a system call, too.
    sleepers: usize,
    signal: Option<Arc<dyn Signal>>,
}

impl<T> Shared<T> {
    fn new(ring: T, way: Way) -> Mutex<Self> {
        Mutex::new(Self {
            ring,
            way,
            task: None,
            sleepers: 0,
            signal: None,
        })
    }

    /// Notes that the application could not go on, and has its task woken when it can, if it is one.
    fn block(&mut self, task: Option<&dyn Wakes>) {
        if let Some(task) = task {
            task.leave_waker(&mut self.task);
        }
        if let Some(signal) = &self.signal {
            signal.set_blocked(self.way);
        }
    }

    /// Notes that the application can go on. Returns the task that is to be woken.
    fn unblock(&mut self) -> Option<Waker> {
        if let Some(signal) = &self.signal {
            signal.set_ready(self.way);
        }
        self.task.take()
    }
}

struct Pipe {
    link: Arc<Link>,
    to_guest: Direction,
    to_application: Direction,
    tx: Mutex<Shared<Producer>>,
    writable: Condvar,
    rx: Mutex<Shared<Consumer>>,
    readable: Condvar,
    owed: Mutex<Owed>,
    /// The room that the sleeping guest waits for, in bytes.
    room_wanted: AtomicUsize,
}

/// The end that a `Conn` holds.
#[derive(Clone)]
pub(crate) struct ApplicationEnd {
    pipe: Arc<Pipe>,
}

/// The end behind the guest's internal descriptor.
pub(crate) struct GuestEnd {
    pipe: Arc<Pipe>,
    rx: Consumer,
    tx: Producer,
    /// The guest was told that no more bytes will come.
    saw_end: bool,
    /// A reader may be asleep although bytes are there: see [`GuestEnd::wake_readers`].
    owes_wake_up: bool,
}

/// A task that may be woken.
pub(crate) trait Wakes {
    /// Leaves a waker in place of the one that is there.
    fn leave_waker(&self, place: &mut Option<Waker>);
}

impl Wakes for Waker {
    fn leave_waker(&self, place: &mut Option<Waker>) {
        match place {
            Some(kept) => kept.clone_from(self),
            none => *none = Some(self.clone()),
        }
    }
}

/// How long a call of the application may wait.
#[derive(Clone, Copy)]
pub(crate) enum Patience<'a> {
    /// Not at all.
    None,
    /// Not at all, but this task is woken when the call may go on. The last task counts.
    Task(&'a dyn Wakes),
    /// Up to this long, or without a limit if the duration is `None`.
    Wait(Option<Duration>),
}

/// Creates the pipe of a connection.
pub(crate) fn pipe(link: Arc<Link>) -> (ApplicationEnd, GuestEnd) {
    let (tx, guest_rx) = ring(PIPE_CAPACITY);
    let (guest_tx, rx) = ring(PIPE_CAPACITY);
    let pipe = Arc::new(Pipe {
        link,
        to_guest: Direction::default(),
        to_application: Direction::default(),
        tx: Shared::new(tx, Way::Write),
        writable: Condvar::new(),
        rx: Shared::new(rx, Way::Read),
        readable: Condvar::new(),
        owed: Mutex::default(),
        room_wanted: AtomicUsize::new(0),
    });
    let application = ApplicationEnd {
        pipe: Arc::clone(&pipe),
    };
    (
        application,
        GuestEnd {
            pipe,
            rx: guest_rx,
            tx: guest_tx,
            saw_end: false,
            owes_wake_up: false,
        },
    )
}

impl Pipe {
    /// Wakes whoever waits for bytes in the application. The caller has published the change that
    /// they wait for.
    fn wake_readers(&self) {
        if was_waiting(&self.to_application.application_waits) {
            self.wake(&self.rx, &self.readable);
        }
    }

    fn wake<T>(&self, side: &Mutex<Shared<T>>, changed: &Condvar) {
        // A thread between its second look and its sleep holds the lock. Wait for it.
        let mut shared = lock(side);
        let (task, has_sleepers) = (shared.unblock(), shared.sleepers > 0);
        drop(shared);
        self.link.traffic.system_call();
        if has_sleepers {
            changed.notify_all();
        }
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Whether a reader sleeps that does not know of the bytes just published.
    fn has_sleeping_reader(&self) -> bool {
        fence(Ordering::SeqCst);
        let waits = &self.to_application.application_waits;
        waits.load(Ordering::Relaxed)
    }

    /// Puts off waking the readers, although bytes are there. Whatever the guest does, the
    /// supervisor soon delivers the wake-up.
    fn owe_wake_up(self: &Arc<Self>) {
        let mut owed = lock(&self.owed);
        owed.owed = true;
        if !owed.watched {
            owed.watched = true;
            supervisor::watch(self);
        }
    }

    fn pay_wake_up(&self, owed: &mut Owed) {
        if owed.owed {
            owed.owed = false;
            owed.generation += 1;
            self.wake_readers();
        }
    }

    fn wake_writers(&self) {
        if was_waiting(&self.to_guest.application_waits) {
            self.wake(&self.tx, &self.writable);
        }
    }
}

/// Whether a thread waits, according to its flag, which is then withdrawn: one wake-up is enough. The
/// caller has published the change that the thread waits for.
fn was_waiting(flag: &AtomicBool) -> bool {
    fence(Ordering::SeqCst);
    // Mostly nobody waits, and a look is cheaper than a swap.
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::AcqRel)
}

impl Delayed for Pipe {
    fn do_older(&self, seen: Option<u64>, last: bool) -> Age {
        let mut owed = lock(&self.owed);
        if seen == Some(owed.generation) {
            self.pay_wake_up(&mut owed);
        }
        if owed.owed {
            return Age::Waits(owed.generation);
        }
        if last {
            owed.watched = false;
        }
        Age::Empty
    }
}

/// Sleeps on `changed`, until `patience` runs out. Returns nothing if there is none.
fn sleep<'a, T>(
    mut guard: MutexGuard<'a, Shared<T>>,
    changed: &Condvar,
    patience: Patience<'_>,
    started: &mut Option<Instant>,
) -> io::Result<Option<MutexGuard<'a, Shared<T>>>> {
    let limit = match patience {
        Patience::None => {
            guard.block(None);
            return Ok(None);
        }
        Patience::Task(task) => {
            guard.block(Some(task));
            return Ok(None);
        }
        Patience::Wait(limit) => limit,
    };
    let left = limit.map(|limit| {
        let now = Instant::now();
        let elapsed = now.duration_since(*started.get_or_insert(now));
        limit.saturating_sub(elapsed)
    });
    if left == Some(Duration::ZERO) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    guard.sleepers += 1;
    let mut woken = match left {
        None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(left) => {
            let waited = changed.wait_timeout(guard, left);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    };
    woken.sleepers -= 1;
    Ok(Some(woken))
}

/// Stages as much of these bytes as there is room for.
fn stage_all(tx: &mut Producer, bufs: &[IoSlice<'_>]) -> usize {
    let mut staged = 0;
    for buf in bufs {
        let len = tx.stage(buf);
        staged += len;
        if len < buf.len() {
            break;
        }
    }
    staged
}

/// What a call without patience returns where a task would wait.
pub(crate) fn or_would_block(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl ApplicationEnd {
    /// Reads as [`ApplicationEnd::poll_read`] does; without patience, it may fail with `WouldBlock`.
    pub(crate) fn read(&self, buf: &mut [u8], patience: Patience<'_>) -> io::Result<usize> {
        or_would_block(self.poll_read(buf, patience))
    }

    /// Writes as [`ApplicationEnd::poll_write`] does; without patience, it may fail with
    /// `WouldBlock`.
    pub(crate) fn write(&self, buf: &[u8], patience: Patience<'_>) -> io::Result<usize> {
        or_would_block(self.poll_write(&[IoSlice::new(buf)], patience))
    }

    /// Reads bytes that the guest wrote. 0 is the end of stream. If the transport ended with an
    /// error, the call returns that error once all bytes are read. It is pending only without the
    /// patience to wait.
    pub(crate) fn poll_read(
        &self,
        buf: &mut [u8],
        patience: Patience<'_>,
    ) -> Poll<io::Result<usize>> {
        let pipe = &*self.pipe;
        let direction = &pipe.to_application;
        let mut rx = lock(&pipe.rx);
        let mut started = None;
        loop {
            if buf.is_empty() || direction.reader_closed.load(Ordering::Acquire) {
                return Poll::Ready(Ok(0));
            }
            let len = rx.ring.read(buf);
            if len > 0 {
                self.after_read(&mut rx.ring);
                return Poll::Ready(Ok(len));
            }
            if direction.writer_closed.load(Ordering::Acquire) {
                if rx.ring.available() > 0 {
                    continue;
                }
                return Poll::Ready(self.failure().map_or(Ok(0), Err));
            }
            direction.application_waits.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if rx.ring.available() > 0
                || direction.writer_closed.load(Ordering::Acquire)
                || direction.reader_closed.load(Ordering::Acquire)
            {
                continue;
            }
            match sleep(rx, &pipe.readable, patience, &mut started)? {
                Some(woken) => rx = woken,
                None => return Poll::Pending,
            }
        }
    }

    /// Writes bytes for the guest, as many as there is room for. It is pending only without the
    /// patience to wait.
    pub(crate) fn poll_write(
        &self,
        bufs: &[IoSlice<'_>],
        patience: Patience<'_>,
    ) -> Poll<io::Result<usize>> {
        let pipe = &*self.pipe;
        let direction = &pipe.to_guest;
        let mut tx = lock(&pipe.tx);
        let mut started = None;
        loop {
            if direction.reader_closed.load(Ordering::Acquire) {
                return Poll::Ready(Err(self.failure().unwrap_or_else(|| {
                    io::Error::new(io::ErrorKind::BrokenPipe, "the transport has ended")
                })));
            }
            if direction.writer_closed.load(Ordering::Acquire) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "the connection was shut down for writing",
                )));
            }
            if bufs.iter().all(|buf| buf.is_empty()) {
                return Poll::Ready(Ok(0));
            }
            let len = stage_all(&mut tx.ring, bufs);
            if len > 0 {
                tx.ring.commit();
                pipe.link.notify(interest::DATA);
                return Poll::Ready(Ok(len));
            }
            direction.application_waits.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if tx.ring.free() > 0
                || direction.reader_closed.load(Ordering::Acquire)
                || direction.writer_closed.load(Ordering::Acquire)
            {
                continue;
            }
            match sleep(tx, &pipe.writable, patience, &mut started)? {
                Some(woken) => tx = woken,
                None => return Poll::Pending,
            }
        }
    }

    /// Sends no more bytes to the guest: it reads the end of stream after the last one.
    pub(crate) fn shutdown_write(&self) {
        self.pipe
            .to_guest
            .writer_closed
            .store(true, Ordering::Release);
        self.pipe.link.notify(interest::DATA);
        self.pipe.wake_writers();
    }

    /// Ends reading by the application. Whatever the guest still writes is dropped.
    pub(crate) fn shutdown_read(&self) {
        self.pipe
            .to_application
            .reader_closed
            .store(true, Ordering::Release);
        self.pipe.link.notify(interest::ROOM);
        self.pipe.wake_readers();
    }

    /// Tells `signal` what becomes of both ways from now on. Until then both are ready.
    pub(crate) fn watch(&self, signal: &Arc<dyn Signal>) {
        lock(&self.pipe.rx).signal = Some(Arc::clone(signal));
        lock(&self.pipe.tx).signal = Some(Arc::clone(signal));
    }

    fn after_read(&self, rx: &mut Consumer) {
        // This orders the room just made before the look at the room the guest wants: one of the
        // two sides sees both.
        fence(Ordering::SeqCst);
        let wanted = self
            .pipe
            .room_wanted
            .load(Ordering::Relaxed)
            .max(ROOM_WORTH_WAKING);
        if PIPE_CAPACITY - rx.available() >= wanted {
            self.pipe.link.notify(interest::ROOM);
        }
    }

    /// The error with which the transport ended, if it did, or the error that it was cut off.
    fn failure(&self) -> Option<io::Error> {
        let link = &self.pipe.link;
        match link.outcome() {
            Some(Err(error)) => Some(error.clone().into()),
            Some(Ok(_)) if link.is_broken() => Some(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection was cut off",
            )),
            _ => None,
        }
    }
}

impl GuestEnd {
    /// Whether a read would not have to wait, because bytes or the end of stream are there.
    pub(crate) fn is_readable(&mut self) -> bool {
        !self.rx.is_empty() || self.at_end()
    }

    /// Whether all bytes have been read and no more will come.
    pub(crate) fn at_end(&mut self) -> bool {
        // Load the flag first: once it is set, all bytes written before are visible.
        self.pipe.to_guest.writer_closed.load(Ordering::Acquire) && self.rx.available() == 0
    }

    /// Number of bytes that can be read now.
    pub(crate) fn available(&mut self) -> usize {
        self.rx.available()
    }

    /// Moves bytes into `buf`. Returns 0 if there are none. Call [`GuestEnd::read_done`]
    /// afterwards.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> usize {
        self.rx.read(buf)
    }

    /// Copies bytes without removing them.
    pub(crate) fn peek(&mut self, offset: usize, buf: &mut [u8]) -> usize {
        self.rx.peek(offset, buf)
    }

    /// Ends one read of the guest, which took `len` bytes. A `len` of 0 means that the guest was
    /// told of the end.
    pub(crate) fn read_done(&mut self, len: usize) {
        if len == 0 {
            self.saw_end = true;
        } else if PIPE_CAPACITY - self.rx.available() >= ROOM_WORTH_WAKING {
            self.pipe.wake_writers();
        }
    }

    /// Whether a write of `len` bytes would be taken: as a whole, or in part above the capacity.
    pub(crate) fn accepts(&mut self, len: usize) -> bool {
        self.discards() || self.tx.fits(len.min(PIPE_CAPACITY))
    }

    /// The room for what the guest writes.
    pub(crate) fn room(&mut self) -> Room {
        if self.discards() || self.is_write_closed() {
            return Room::UNLIMITED;
        }
        let free = self.tx.free();
        Room {
            free,
            low: TOO_LITTLE_ROOM,
            high: ROOM_WORTH_WAKING,
            // The largest message arrives in one piece as long as nothing else is on its way.
            largest_read: if free == PIPE_CAPACITY {
                free
            } else {
                free / 2
            },
        }
    }

    /// Whether written bytes are dropped because nobody reads.
    pub(crate) fn discards(&self) -> bool {
        self.pipe
            .to_application
            .reader_closed
            .load(Ordering::Acquire)
    }

    /// Takes bytes; the application sees them at [`GuestEnd::write_done`].
    pub(crate) fn write(&mut self, data: &[u8]) -> usize {
        if self.discards() {
            data.len()
        } else {
            self.tx.stage(data)
        }
    }

    /// Publishes the bytes of one write to the application and wakes it. With `more`, further bytes
    /// are expected soon and the wake-up may be put off. In that case [`GuestEnd::wake_readers`]
    /// wakes the application at the latest.
    pub(crate) fn write_done(&mut self, more: bool) {
        self.tx.commit();
        if more && PIPE_CAPACITY - self.tx.free() < BYTES_WORTH_WAKING {
            if self.pipe.has_sleeping_reader() {
                self.owes_wake_up = true;
                self.pipe.owe_wake_up();
            }
        } else {
            self.pipe.wake_readers();
        }
    }

    /// Delivers a wake-up that was put off. Call this before the guest sleeps, and whenever the
    /// guest may have written all that it had to write.
    pub(crate) fn wake_readers(&mut self) {
        if std::mem::take(&mut self.owes_wake_up) {
            self.pipe.pay_wake_up(&mut lock(&self.pipe.owed));
        }
    }

    /// Whether the application failed rather than ended: a reset follows its last byte.
    pub(crate) fn is_broken(&self) -> bool {
        self.pipe.link.is_broken()
    }

    /// Whether the guest has already shut down writing.
    pub(crate) fn is_write_closed(&self) -> bool {
        self.pipe
            .to_application
            .writer_closed
            .load(Ordering::Acquire)
    }

    /// Ends writing by the guest: the application reads the end of stream after the last byte.
    pub(crate) fn shutdown_write(&mut self) {
        self.pipe
            .to_application
            .writer_closed
            .store(true, Ordering::Release);
        self.pipe.wake_readers();
    }

    /// Ends reading by the guest: the application's writes fail.
    pub(crate) fn shutdown_read(&mut self) {
        self.pipe
            .to_guest
            .reader_closed
            .store(true, Ordering::Release);
        self.pipe.wake_writers();
    }

    /// Sets how much room the guest will sleep for.
    pub(crate) fn want_room(&self, len: usize) {
        self.pipe
            .room_wanted
            .store(len.min(PIPE_CAPACITY), Ordering::Relaxed);
    }

    /// Whether the embedder closed the connection and the guest has read everything written before.
    pub(crate) fn is_closed_and_drained(&self) -> bool {
        self.saw_end && self.pipe.link.level() >= Level::Closing
    }
}

impl Drop for GuestEnd {
    /// However the guest ended, no thread of the application is left waiting.
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The application must not take this for an ordinary end.
            let error = io::Error::other("the worker panicked");
            self.pipe
                .link
                .set_outcome(Err(TransportError::Host(Arc::new(error))));
        }
        // The order matters: once the application has read the end of stream, its writes fail.
        self.shutdown_read();
        self.shutdown_write();
    }
}

#[cfg(test)]
#[path = "pipe/tests.rs"]
mod tests;
