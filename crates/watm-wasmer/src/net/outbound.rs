//! Write-behind: the guest's small writes collect here and leave in one system call.
//!
//! The worker pushes and flushes; the supervisor flushes what has waited too long because the
//! guest computes. Errors stay here and surface at the guest's next call, for which a worker that
//! sleeps is woken. Knows nothing of guest memory: it is handed slices.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, TryLockError};

use socket2::Socket;
use watm_abi::Errno;

use crate::channel::gate::Room;
use crate::channel::link::{Link, interest};
use crate::channel::supervisor::{self, Age, Delayed};
use crate::channel::sync::lock;
use crate::net::stream;

/// Collected bytes that make a system call worth it.
const ENOUGH: usize = 64 * 1024;
/// Maximum number of bytes collected, and so the largest write that is all or nothing. Guests whose
/// writes follow their reads stay below half of it, since their reads are held back in time.
pub(crate) const WRITE_LIMIT: usize = 256 * 1024;
/// Reads of the other side are held back once so much waits, and go on once so little does.
const HOLDS_BACK: usize = 96 * 1024;
const GOES_ON: usize = 64 * 1024;
/// A buffer that has grown beyond this is given back once it is empty. Not one of ordinary size,
/// which what was sent and what waits have together: it would be made anew for each burst.
const KEPT: usize = WRITE_LIMIT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Open,
    /// Shut down for writing as soon as all is sent.
    Wanted,
    Done,
}

struct State {
    buf: Vec<u8>,
    /// How much of `buf` has left already.
    sent: usize,
    /// Whether the socket may take bytes: cached, cleared by a refusal, set by the reactor.
    writable: bool,
    /// Why nothing leaves any more. What waited then is lost.
    error: Option<Errno>,
    /// Whether the guest knows of the error.
    told: bool,
    closing: Closing,
    /// Counts the times that `buf` became empty.
    generation: u64,
    /// Whether the supervisor looks after this one.
    watched: bool,
}

/// The sending half of a network socket.
pub(crate) struct Outbound {
    pub(crate) socket: Socket,
    link: Arc<Link>,
    state: Mutex<State>,
}

impl Outbound {
    pub(crate) fn new(socket: Socket, link: Arc<Link>) -> Self {
        Self {
            socket,
            link,
            state: Mutex::new(State {
                buf: Vec::new(),
                sent: 0,
                writable: true,
                error: None,
                told: false,
                closing: Closing::Open,
                generation: 0,
                watched: false,
            }),
        }
    }

    /// Takes a write of `total` bytes: whole up to [`WRITE_LIMIT`], in part above it. Returns how
    /// much was taken, and whether some of it waits for a flush. `Again` if there is no room.
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
        let mut taken = 0;
        for slice in slices {
            let mut slice = slice;
            if state.waiting() == 0 && slice.len() >= ENOUGH && state.error.is_none() {
                // Large enough to leave from where it is.
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
        if state.waiting() >= ENOUGH {
            self.flush_locked(&mut state);
        }
        let waits = state.waiting() > 0;
        if waits && !state.watched {
            state.watched = true;
            supervisor::watch(self);
        }
        if taken == 0 {
            // Nothing of this write left: say so at once.
            state.tell()?;
        }
        Ok((taken, waits))
    }

    /// Whether a write of `len` bytes would be taken (or fail at once).
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

    /// Sends what waits, as far as the socket takes it. Returns whether nothing is left to wait
    /// for.
    pub(crate) fn flush(&self) -> bool {
        let mut state = lock(&self.state);
        self.flush_locked(&mut state);
        state.waiting() == 0
    }

    /// The reactor saw the socket take bytes again. Returns whether nothing is left to wait for.
    pub(crate) fn set_writable(&self) -> bool {
        let mut state = lock(&self.state);
        state.writable = true;
        self.flush_locked(&mut state);
        state.waiting() == 0
    }

    /// Shuts down for writing once all is sent.
    pub(crate) fn shutdown_write(&self) -> Result<(), Errno> {
        let mut state = lock(&self.state);
        self.close_locked(&mut state);
        state.tell()
    }

    /// The same for a guest that will not hear of errors any more.
    pub(crate) fn close(&self) {
        self.close_locked(&mut lock(&self.state));
    }

    fn close_locked(&self, state: &mut State) {
        if state.closing == Closing::Open {
            state.closing = Closing::Wanted;
        }
        self.flush_locked(state);
    }

    /// The error that stopped sending, if any.
    pub(crate) fn error(&self) -> Option<Errno> {
        lock(&self.state).error
    }

    /// The error that stopped sending, for the guest, which knows of it from then on.
    pub(crate) fn tell_error(&self) -> Option<Errno> {
        lock(&self.state).tell().err()
    }

    /// The error that stopped sending, as long as the guest, which believes that all it wrote is on
    /// its way, does not know of it.
    pub(crate) fn untold_error(&self) -> Option<Errno> {
        let state = lock(&self.state);
        state.error.filter(|_| !state.told)
    }

    /// The same, for a guest that knows of it from then on.
    pub(crate) fn take_untold_error(&self) -> Option<Errno> {
        let mut state = lock(&self.state);
        if state.told {
            return None;
        }
        state.tell().err()
    }

    /// Whether bytes that the guest believes to be on their way were lost, or will be if nothing
    /// is sent any more.
    pub(crate) fn is_lossy(&self) -> bool {
        let state = lock(&self.state);
        state.waiting() > 0 || state.error.is_some() && !state.told
    }

    fn flush_locked(&self, state: &mut State) {
        while state.waiting() > 0 && state.writable && state.error.is_none() {
            let buf = std::mem::take(&mut state.buf);
            let len = self.send(state, &buf[state.sent..]);
            if state.error.is_some() {
                // What waits can never leave.
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
            // An end of stream would look like a good end: the peer is reset by the drop.
            if !self.link.is_broken() {
                stream::end_on_drop(&self.socket);
                // Fails if the peer has reset the connection, which the next call will say.
                let _ = self.socket.shutdown(Shutdown::Write);
            }
        }
    }

    /// One send; short or 0 if the socket is full or broken, which the state then says.
    fn send(&self, state: &mut State, data: &[u8]) -> usize {
        loop {
            self.link.traffic.system_call();
            match self.socket.send_with_flags(data, libc::MSG_NOSIGNAL) {
                Ok(len) => {
                    self.link
                        .traffic
                        .sent
                        .fetch_add(len as u64, Ordering::Relaxed);
                    return len;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.writable = false;
                    return 0;
                }
                Err(error) => {
                    state.error = Some(Errno::from_io(&error));
                    self.link.note_failure();
                    return 0;
                }
            }
        }
    }
}

/// The room of a socket for which so many bytes wait.
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
        // Whoever holds it is sending, for as long as a fast peer takes what there is.
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Age::Waits(seen.unwrap_or_default()),
        };
        if state.waiting() > 0 && seen == Some(state.generation) {
            // Not only when the socket is known to take bytes: the worker may be too busy with
            // the guest to hear of it.
            state.writable = true;
            self.flush_locked(&mut state);
            // The worker may sleep until there is room, and the socket, which never seemed full to
            // it, will not wake it.
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
        (Arc::new(Outbound::new(socket, Arc::default())), theirs)
    }

    fn push(out: &Arc<Outbound>, data: &[u8]) -> Result<usize, Errno> {
        out.push(data.len(), std::iter::once(data))
            .map(|(taken, _)| taken)
    }

    #[test]
    fn small_writes_leave_together() {
        let (out, mut peer) = pair();
        // Not by the supervisor, should this thread rest between the two.
        lock(&out.state).watched = true;
        assert_eq!(push(&out, b"abc"), Ok(3));
        assert_eq!(push(&out, b"def"), Ok(3));
        assert!(out.flush());
        let mut buf = [0; 16];
        assert_eq!(peer.read(&mut buf).expect("bytes"), 6);
        assert_eq!(&buf[..6], b"abcdef");
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
                // Looked at again, even if it was to be the last time.
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
