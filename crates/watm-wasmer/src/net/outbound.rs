//! Write-behind: the guest's small writes collect here and leave in one system call. If a guest has
//! written no more than once before each of its last flushes, a write leaves at once: there is
//! nothing to wait for.
//!
//! The worker pushes and flushes. If bytes wait too long because the guest computes, the supervisor
//! flushes them. An error stays here and surfaces at the guest's next call; a sleeping worker is
//! woken for it. This file knows nothing of guest memory: it is handed slices.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;
use watm_abi::Errno;

use crate::channel::gate::Room;
use crate::channel::link::{Link, Side, interest};
use crate::channel::supervisor::{self, Age, Delayed};
use crate::channel::sync::lock;
use crate::net::stream;

/// Number of collected bytes that are worth a system call.
const ENOUGH: usize = 64 * 1024;
/// Maximum number of bytes collected, and so the largest write that is all or nothing. A guest that
/// writes in response to its reads stays below half of it, because its reads are held back in time.
pub(crate) const WRITE_LIMIT: usize = 256 * 1024;
/// Reads from the other side are held back once `HOLDS_BACK` bytes wait. They go on once only
/// `GOES_ON` bytes wait.
const HOLDS_BACK: usize = 96 * 1024;
const GOES_ON: usize = 64 * 1024;
/// A buffer that has grown beyond this size is freed once it is empty. A buffer of ordinary size is
/// kept, as otherwise each burst would allocate it again. It holds both the bytes that were sent
/// and those that wait.
const KEPT: usize = WRITE_LIMIT;

/// Number of flushes in a row with a single write before them, after which the first write after a
/// flush leaves at once.
const ALONE: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Open,
    /// Shut down for writing as soon as everything is sent.
    Wanted,
    Done,
}

struct State {
    buf: Vec<u8>,
    /// Number of bytes of `buf` that have already left.
    sent: usize,
    /// Whether the socket may take bytes. This is cached: a refusal clears it, and the reactor sets
    /// it.
    writable: bool,
    /// Why nothing leaves any more. The bytes that waited at that point are lost.
    error: Option<Errno>,
    /// Whether the guest knows of the error.
    told: bool,
    closing: Closing,
    /// Counts how often `buf` became empty.
    generation: u64,
    /// Number of writes since the last flush.
    writes: u32,
    /// Number of flushes in a row that had a single write before them.
    alone: u8,
    /// Whether the supervisor watches this one.
    watched: bool,
}

/// The sending half of a socket.
pub(crate) struct Outbound {
    pub(crate) socket: Socket,
    side: Side,
    link: Arc<Link>,
    /// The system has reported to a read or a write that the connection has failed, or would do so.
    lost: AtomicBool,
    state: Mutex<State>,
}

impl Outbound {
    pub(crate) fn new(socket: Socket, side: Side, link: Arc<Link>) -> Self {
        Self {
            socket,
            side,
            link,
            lost: AtomicBool::new(false),
            state: Mutex::new(State {
                buf: Vec::new(),
                sent: 0,
                writable: true,
                error: None,
                told: false,
                closing: Closing::Open,
                generation: 0,
                writes: 0,
                alone: 0,
                watched: false,
            }),
        }
    }

    /// Takes a write of `total` bytes: as a whole up to [`WRITE_LIMIT`], in part above it. Returns
    /// how much was taken, and whether a flush has to follow. Fails with `Again` if there is no
    /// room.
    pub(crate) fn push<'a>(
        self: &Arc<Self>,
        total: usize,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(usize, bool), Errno> {
        let mut state = lock(&self.state);
        state.tell()?;
        if state.closing != Closing::Open {
            return Err(Errno::Pipe);
        }
        if state.waiting() + total > WRITE_LIMIT {
            self.flush_locked(&mut state);
            state.tell()?;
            let waiting = state.waiting();
            if waiting > 0 && waiting + total > WRITE_LIMIT {
                return Err(Errno::Again);
            }
        }
        let leaves_at_once = state.begin_write();
        let mut taken = 0;
        for slice in slices {
            let mut slice = slice;
            // A message in several buffers is put together, so that it leaves as a whole.
            let is_worth_it = slice.len() >= ENOUGH || leaves_at_once && slice.len() == total;
            if is_worth_it && state.waiting() == 0 && state.error.is_none() {
                // Sent from where it is.
                let len = self.send(&mut state, slice);
                taken += len;
                slice = &slice[len..];
            }
            let room = WRITE_LIMIT - state.waiting().min(WRITE_LIMIT);
            let part = &slice[..slice.len().min(room)];
            state.append(part);
            taken += part.len();
            if part.len() < slice.len() {
                break;
            }
        }
        if leaves_at_once || state.waiting() >= ENOUGH {
            self.flush_locked(&mut state);
        }
        let waits = state.waiting() > 0;
        if waits && !state.watched {
            state.watched = true;
            supervisor::watch(self);
        }
        if taken >= ENOUGH && !waits {
            // It needs no flush, and says nothing of the writes that do.
            state.writes = 0;
        }
        if taken == 0 {
            // Nothing of this write was taken: report the error at once.
            state.tell()?;
        }
        // The flush also tells how many writes came before it.
        Ok((taken, waits || leaves_at_once))
    }

    /// Whether a write of `len` bytes would be taken, or fail at once.
    pub(crate) fn accepts(&self, len: usize) -> bool {
        let state = lock(&self.state);
        let waiting = state.waiting();
        state.error.is_some()
            || state.closing != Closing::Open
            || waiting == 0 && state.writable
            || waiting + len <= WRITE_LIMIT
    }

    /// The room for what the guest writes.
    pub(crate) fn room(&self) -> Room {
        let state = lock(&self.state);
        if state.error.is_some() || state.closing != Closing::Open {
            return Room::UNLIMITED;
        }
        room(state.waiting())
    }

    /// Sends the waiting bytes, as far as the socket takes them. Returns whether nothing waits any
    /// more.
    pub(crate) fn flush(&self) -> bool {
        let mut state = lock(&self.state);
        state.end_writes();
        self.flush_locked(&mut state);
        state.waiting() == 0
    }

    /// Notes that the reactor saw the socket take bytes again. Returns whether nothing waits any
    /// more.
    pub(crate) fn set_writable(&self) -> bool {
        let mut state = lock(&self.state);
        state.writable = true;
        self.flush_locked(&mut state);
        state.waiting() == 0
    }

    /// Shuts down for writing once everything is sent.
    pub(crate) fn shutdown_write(&self) -> Result<(), Errno> {
        let mut state = lock(&self.state);
        self.close_locked(&mut state);
        state.tell()
    }

    /// Like [`Outbound::shutdown_write`], for a guest that will not hear of errors any more.
    pub(crate) fn close(&self) {
        self.close_locked(&mut lock(&self.state));
    }

    fn close_locked(&self, state: &mut State) {
        if state.closing == Closing::Open {
            state.closing = Closing::Wanted;
        }
        self.flush_locked(state);
    }

    /// Whether nothing more is sent, because all has left and the end of the stream after it, or
    /// because nothing can.
    pub(crate) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.closing == Closing::Done || state.error.is_some()
    }

    /// Whether this is a plain connection on the application's side.
    pub(crate) fn is_plain(&self) -> bool {
        self.side == Side::Application
    }

    /// Notes that the system has reported a failure of the connection.
    pub(crate) fn set_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Whether the connection has failed. This asks the system, and leaves the error for the next
    /// read or write: the system tells it once.
    pub(crate) fn is_lost(&self) -> bool {
        if self.lost.load(Ordering::Relaxed) {
            return true;
        }
        self.link.traffic.system_call();
        let mut asked = [PollFd::new(&self.socket, PollFlags::empty())];
        // What waits in the socket's queue of messages is an error too, but does not end it.
        let failed = PollFlags::ERR | PollFlags::HUP;
        let is_lost = poll(&mut asked, Some(&Timespec::default())).is_ok()
            && asked[0].revents().contains(failed);
        if is_lost {
            self.set_lost();
        }
        is_lost
    }

    /// The error that stopped sending, if any.
    pub(crate) fn error(&self) -> Option<Errno> {
        lock(&self.state).error
    }

    /// The error that stopped sending, to be passed to the guest. It counts as told from then on.
    pub(crate) fn tell_error(&self) -> Option<Errno> {
        lock(&self.state).tell().err()
    }

    /// The error that stopped sending, as long as the guest does not know of it. Until then, the
    /// guest believes that everything it wrote is on its way.
    pub(crate) fn untold_error(&self) -> Option<Errno> {
        let state = lock(&self.state);
        state.error.filter(|_| !state.told)
    }

    /// Like [`Outbound::untold_error`], but the guest counts as told from then on.
    pub(crate) fn take_untold_error(&self) -> Option<Errno> {
        let mut state = lock(&self.state);
        if state.told {
            return None;
        }
        state.tell().err()
    }

    /// Whether bytes that the guest believes to be on their way are lost, or will be lost if
    /// nothing more is sent.
    pub(crate) fn is_lossy(&self) -> bool {
        let state = lock(&self.state);
        state.waiting() > 0 || state.error.is_some() && !state.told
    }

    fn flush_locked(&self, state: &mut State) {
        while state.waiting() > 0 && state.writable && state.error.is_none() {
            let buf = std::mem::take(&mut state.buf);
            let len = self.send(state, &buf[state.sent..]);
            if state.error.is_some() {
                // The waiting bytes can never leave.
                state.sent = 0;
                break;
            }
            state.buf = buf;
            state.sent += len;
            if state.sent == state.buf.len() {
                state.buf.clear();
                state.buf.shrink_to(KEPT);
                state.sent = 0;
                state.generation += 1;
            }
        }
        if state.closing == Closing::Wanted && (state.waiting() == 0 || state.error.is_some()) {
            state.closing = Closing::Done;
            // An end of stream would look like an orderly end. Dropping the socket resets the peer.
            if !self.link.is_broken() {
                stream::end_on_drop(&self.socket);
                // This fails if the peer has reset the connection. The next call reports that.
                let _ = self.socket.shutdown(Shutdown::Write);
            }
        }
    }

    /// Sends once. The result is short or 0 if the socket is full or broken; the state then says
    /// which.
    fn send(&self, state: &mut State, data: &[u8]) -> usize {
        loop {
            self.link.traffic.system_call();
            match self.socket.send_with_flags(data, libc::MSG_NOSIGNAL) {
                Ok(len) => {
                    self.link.traffic.sent_to(self.side, len);
                    return len;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.writable = false;
                    return 0;
                }
                Err(error) => {
                    let errno = Errno::from_io(&error);
                    state.error = Some(errno);
                    self.set_lost();
                    if self.side == Side::Application {
                        self.link.lose_plain(errno);
                    }
                    self.link.note_failure();
                    return 0;
                }
            }
        }
    }
}

/// The room of a socket that has this many bytes waiting.
pub(crate) fn room(waiting: usize) -> Room {
    let free = WRITE_LIMIT.saturating_sub(waiting);
    Room {
        free,
        low: WRITE_LIMIT - HOLDS_BACK,
        high: WRITE_LIMIT - GOES_ON,
        largest_read: free / 2,
    }
}

impl Delayed for Outbound {
    fn do_older(&self, seen: Option<u64>, last: bool) -> Age {
        // Whoever holds the lock is sending, for as long as a fast peer takes what there is.
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Age::Waits(seen.unwrap_or_default()),
        };
        if state.waiting() > 0 && seen == Some(state.generation) {
            // Do this even if the socket is not known to take bytes: the worker may be too busy
            // with the guest to hear of it.
            state.writable = true;
            self.flush_locked(&mut state);
            // The worker may sleep until there is room. The socket never seemed full to it, so no
            // event of the socket will wake it.
            self.link.notify(interest::ROOM);
        }
        if state.waiting() == 0 {
            if last {
                state.watched = false;
            }
            Age::Empty
        } else {
            Age::Waits(state.generation)
        }
    }
}

impl State {
    /// Tells the guest of the error, if there is one.
    fn tell(&mut self) -> Result<(), Errno> {
        self.told |= self.error.is_some();
        self.error.map_or(Ok(()), Err)
    }

    /// Counts a write. Returns whether it leaves at once.
    fn begin_write(&mut self) -> bool {
        self.writes = self.writes.saturating_add(1);
        self.writes == 1 && self.alone >= ALONE
    }

    /// Counts the writes before a flush.
    fn end_writes(&mut self) {
        self.alone = match std::mem::take(&mut self.writes) {
            0 => return,
            1 => self.alone.saturating_add(1),
            _ => 0,
        };
    }

    fn waiting(&self) -> usize {
        self.buf.len() - self.sent
    }

    fn append(&mut self, data: &[u8]) {
        if self.error.is_some() || data.is_empty() {
            return;
        }
        if self.sent > 0 && self.buf.len() + data.len() > WRITE_LIMIT {
            self.buf.drain(..self.sent);
            self.sent = 0;
        }
        self.buf.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Arc<Outbound>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a mode");
        let socket = Socket::from(std::os::fd::OwnedFd::from(ours));
        (
            Arc::new(Outbound::new(socket, Side::Network, Arc::default())),
            theirs,
        )
    }

    fn push(out: &Arc<Outbound>, data: &[u8]) -> Result<usize, Errno> {
        out.push(data.len(), std::iter::once(data))
            .map(|(taken, _)| taken)
    }

    #[test]
    fn small_writes_leave_together() {
        let (out, mut peer) = pair();
        // Keep the supervisor from sending, in case this thread pauses between the two writes.
        lock(&out.state).watched = true;
        assert_eq!(push(&out, b"abc"), Ok(3));
        assert_eq!(push(&out, b"def"), Ok(3));
        assert!(out.flush());
        let mut buf = [0; 16];
        assert_eq!(peer.read(&mut buf).expect("bytes"), 6);
        assert_eq!(&buf[..6], b"abcdef");
    }

    #[test]
    fn a_write_that_is_always_alone_leaves_at_once() {
        let (out, mut peer) = pair();
        peer.set_nonblocking(true).expect("a mode");
        // Keep the supervisor from sending.
        lock(&out.state).watched = true;
        let mut buf = [0; 16];
        let mut arrives = |peer: &mut UnixStream| peer.read(&mut buf).ok();
        for _ in 0..ALONE {
            assert_eq!(push(&out, b"abc"), Ok(3));
            assert_eq!(arrives(&mut peer), None);
            assert!(out.flush());
            assert_eq!(arrives(&mut peer), Some(3));
        }
        // Also a message in several buffers, as a whole.
        let parts: [&[u8]; 2] = [b"abc", b"de"];
        assert_eq!(out.push(5, parts.into_iter()), Ok((5, true)));
        assert_eq!(arrives(&mut peer), Some(5));
        // A second one, for once, and then all of them wait for the flush.
        assert_eq!(push(&out, b"fg"), Ok(2));
        assert_eq!(arrives(&mut peer), None);
        assert!(out.flush());
        assert_eq!(arrives(&mut peer), Some(2));
        assert_eq!(push(&out, b"h"), Ok(1));
        assert_eq!(arrives(&mut peer), None);
    }

    #[test]
    fn what_does_not_leave_at_once_waits() {
        let (out, mut peer) = pair();
        lock(&out.state).alone = ALONE;
        let piece = vec![7; 8192];
        let mut taken = 0;
        while lock(&out.state).waiting() == 0 {
            taken += push(&out, &piece).expect("room");
            lock(&out.state).writes = 0;
        }
        assert!(!out.flush(), "the socket is full");
        let mut buf = vec![0; 1 << 20];
        let mut got = 0;
        while got < taken {
            got += peer.read(&mut buf).expect("bytes");
            out.set_writable();
        }
        assert_eq!(got, taken);
    }

    #[test]
    fn a_write_is_taken_whole_or_not_at_all() {
        let (out, mut peer) = pair();
        let piece = vec![7; 60_000];
        let mut taken = 0;
        loop {
            match push(&out, &piece) {
                Ok(len) => {
                    assert_eq!(len, piece.len());
                    taken += len;
                }
                Err(error) => {
                    assert_eq!(error, Errno::Again);
                    break;
                }
            }
        }
        assert!(!out.accepts(piece.len()));
        let mut got = 0;
        let mut buf = vec![0; 1 << 20];
        while got < taken {
            out.set_writable();
            got += peer.read(&mut buf).expect("bytes");
        }
        assert_eq!(got, taken);
        assert!(out.accepts(piece.len()));
    }

    #[test]
    fn the_supervisor_never_waits_for_one_that_is_sending() {
        let (out, _peer) = pair();
        let sending = lock(&out.state);
        let (told, heard) = std::sync::mpsc::channel();
        let looked_at = Arc::clone(&out);
        std::thread::spawn(move || {
            for seen in [None, Some(7)] {
                // The supervisor looks again, even if this was meant to be the last look.
                let age = looked_at.do_older(seen, true);
                let _ = told.send(matches!(age, Age::Waits(at) if at == seen.unwrap_or_default()));
            }
        });
        for _ in 0..2 {
            let waits = heard.recv_timeout(std::time::Duration::from_secs(20));
            assert_eq!(waits, Ok(true));
        }
        drop(sending);
        assert!(matches!(out.do_older(None, true), Age::Empty));
    }

    #[test]
    fn what_waits_leaves_before_the_end_of_stream() {
        let (out, mut peer) = pair();
        push(&out, b"bye").expect("room");
        out.shutdown_write().expect("a shutdown");
        assert_eq!(push(&out, b"more"), Err(Errno::Pipe));
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("the end");
        assert_eq!(all, b"bye");
    }

    #[test]
    fn an_error_surfaces_at_the_next_call() {
        let (out, peer) = pair();
        drop(peer);
        assert_eq!(push(&out, b"abc"), Ok(3));
        assert!(out.flush(), "what can never leave does not wait");
        assert_eq!(push(&out, b"abc"), Err(Errno::Pipe));
        assert!(out.accepts(1), "a write that fails at once does not wait");
    }

    #[test]
    fn an_error_that_nobody_was_told_of_is_a_loss() {
        let (out, peer) = pair();
        drop(peer);
        assert!(!out.is_lossy());
        push(&out, b"abc").expect("room");
        assert!(out.is_lossy(), "it has not left yet");
        out.close();
        assert!(out.is_lossy(), "it will never leave");
        assert!(out.link.take_failure());
        assert!(!out.link.take_failure());
        assert_eq!(out.untold_error(), Some(Errno::Pipe));
        assert_eq!(out.tell_error(), Some(Errno::Pipe));
        assert!(!out.is_lossy(), "the guest knows");
    }

    #[test]
    fn bytes_leave_by_themselves_while_the_guest_computes() {
        let (out, mut peer) = pair();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .expect("a timeout");
        push(&out, b"now").expect("room");
        let mut buf = [0; 8];
        assert_eq!(peer.read(&mut buf).expect("bytes without a flush"), 3);
    }
}
