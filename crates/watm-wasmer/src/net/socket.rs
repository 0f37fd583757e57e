//! A socket behind a descriptor: non-blocking, with cached readiness, read ahead and write-behind.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use watm_abi::Errno;

use crate::channel::gate::Room;
use crate::channel::link::{Link, Side};
use crate::net::outbound::Outbound;
use crate::net::plain::unacknowledged;
use crate::net::reactor::{Reactor, Readiness};
use crate::net::stream::{self, Stream};

/// Maximum number of bytes read ahead. Reads that are at least this large bypass the buffer.
const READ_AHEAD: usize = 64 * 1024;

/// Maximum number of reads in a row that discard bytes, so that a peer that sends without end does
/// not keep the worker busy.
const DISCARD_ROUNDS: usize = 16;

pub(crate) struct NetStream {
    out: Arc<Outbound>,
    side: Side,
    link: Arc<Link>,
    /// Names the socket in the reactor's events.
    pub(crate) token: usize,
    /// Whether a read may find something: cached, cleared by a refusal, set by the reactor.
    readable: bool,
    /// The reactor has seen the peer's end: no event will announce it again.
    ended: bool,
    /// The peer has sent urgent data: a short read says nothing any more.
    urgent: bool,
    /// The peer has ended: a read has found that, and no other will find anything.
    end: bool,
    /// The guest reads nothing more, though the peer may go on sending.
    deaf: bool,
    error: Option<Errno>,
    /// The system has reported a failure to a read. What was not acknowledged by then never will
    /// be.
    failed: bool,
    /// The guest has read why nothing leaves over a plain connection any more.
    failure_read: bool,
    /// Allocated by the first small read, and never filled beyond what comes: a page that nothing
    /// has come for costs nothing.
    buf: Vec<u8>,
    start: usize,
    len: usize,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
}

impl NetStream {
    /// Takes a connected socket over and has the reactor watch it, unless it already does.
    pub(crate) fn new(
        stream: Stream,
        side: Side,
        keepalive: Option<Duration>,
        link: Arc<Link>,
        reactor: &mut Reactor,
    ) -> io::Result<Self> {
        let (local, peer) = (stream.local_addr(), stream.peer_addr());
        let token = stream.token();
        let unread = stream.take_unread();
        let socket = stream.into_worker_socket(keepalive)?;
        let token = token.map_or_else(|| reactor.watch(socket.as_raw_fd()), Ok)?;
        link.traffic.received_from(side, unread.len());
        Ok(Self {
            out: Arc::new(Outbound::new(socket, side, Arc::clone(&link))),
            side,
            link,
            token,
            readable: true,
            ended: false,
            urgent: false,
            end: false,
            deaf: false,
            error: None,
            failed: false,
            failure_read: false,
            start: 0,
            len: unread.len(),
            buf: unread,
            local,
            peer,
        })
    }

    /// The half that knows whether the connection has failed.
    pub(crate) fn outbound(&self) -> &Arc<Outbound> {
        &self.out
    }

    /// Whether it is a plain connection on the application's side, not one of the network.
    pub(crate) fn is_plain(&self) -> bool {
        self.side == Side::Application
    }

    /// Takes in what the reactor saw. Returns whether nothing waits to be sent.
    pub(crate) fn apply(&mut self, readiness: Readiness) -> bool {
        self.readable |= readiness.readable;
        self.ended |= readiness.ended;
        self.urgent |= readiness.urgent;
        !readiness.writable || self.out.set_writable()
    }

    /// Bytes that a read would find without a system call.
    pub(crate) fn buffered(&self) -> usize {
        self.len
    }

    /// Whether the next read probably finds bytes.
    pub(crate) fn has_more(&self) -> bool {
        self.len > 0 || self.readable && !self.has_ended() && self.error.is_none()
    }

    /// Whether the guest finds no more bytes in the socket.
    fn has_ended(&self) -> bool {
        self.end || self.deaf
    }

    /// Whether a read would not have to wait; looks into the socket if that is not known.
    pub(crate) fn poll_read(&mut self) -> bool {
        // What the guest waits for may never come, since what it wrote was lost: it reads why. But
        // first what did come.
        let is_empty = self.len == 0 && !self.has_ended() && self.error.is_none();
        let failed = is_empty && self.failure_to_send().is_some();
        self.readable |= failed;
        if is_empty && self.readable {
            self.fill();
            self.count(self.len);
        }
        self.len > 0 || self.has_ended() || self.error.is_some() || failed
    }

    /// Whether all was read and the peer sends no more.
    pub(crate) fn at_end(&self) -> bool {
        self.has_ended() && self.len == 0
    }

    /// Reads into `into`. 0 is the end of stream, `Again` says that nothing is there.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.len == 0 {
            if into.len() >= READ_AHEAD && self.has_more() {
                return match self.receive(into.len(), |mut socket| socket.read(into)) {
                    Some(len) => {
                        self.count(len);
                        Ok(len)
                    }
                    None => self.nothing(),
                };
            }
            if !self.poll_read() {
                return Err(Errno::Again);
            }
        }
        let len = self.peek(0, into);
        if len == 0 {
            return self.nothing();
        }
        self.start += len;
        self.len -= len;
        Ok(len)
    }

    /// Copies buffered bytes that start `offset` bytes behind the next one.
    pub(crate) fn peek(&self, offset: usize, into: &mut [u8]) -> usize {
        let from = &self.buf[self.start..self.start + self.len];
        let from = from.get(offset..).unwrap_or_default();
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        len
    }

    /// Reads nothing more. A plain client does not notice: the system would reset one that goes on
    /// sending, under what is on its way to it.
    pub(crate) fn shutdown_read(&mut self) {
        self.len = 0;
        if self.is_plain() {
            self.deaf = true;
            self.discard();
        } else {
            let _ = self.out.socket.shutdown(Shutdown::Read);
            self.end = true;
        }
    }

    /// Whether the guest reads nothing more of a plain connection.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Looks at what has become of the peer, for a guest that does not look itself. A failure is
    /// noted. What comes for a guest that reads nothing more is thrown away. Returns whether not all
    /// of that was.
    pub(crate) fn look(&mut self) -> bool {
        if self.deaf {
            self.discard();
        } else {
            self.poll_read();
        }
        self.look_for_reset();
        self.deaf && self.has_bytes_to_discard()
    }

    /// Asks the system for a failure that came after the peer's end, where no read finds it.
    fn look_for_reset(&mut self) {
        if self.end && !self.failed && !self.has_failed() {
            self.link.traffic.system_call();
            if let Ok(Some(error)) = self.out.socket.take_error() {
                self.fail(Errno::from_io(&error));
            }
        }
    }

    /// Makes the next read return this error, which was returned to nobody.
    pub(crate) fn put_back(&mut self, error: Errno) {
        if error != Errno::Again {
            self.error = Some(error);
            self.end = false;
        }
    }

    /// The error that the next read would return, if it would.
    pub(crate) fn peek_error(&self) -> Result<(), Errno> {
        match self.error {
            Some(error) if self.len == 0 => Err(error),
            None if self.len == 0 && !self.has_ended() => {
                self.failure_to_send().map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }

    /// Takes a write, as [`Outbound::push`] does.
    pub(crate) fn write<'a>(
        &self,
        total: usize,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(usize, bool), Errno> {
        self.out.push(total, slices)
    }

    /// Whether a write of `len` bytes would be taken, or fail at once.
    pub(crate) fn accepts(&self, len: usize) -> bool {
        self.out.accepts(len)
    }

    /// The room for what the guest writes.
    pub(crate) fn room(&self) -> Room {
        self.out.room()
    }

    /// Sends what waits, as far as the socket takes it. Returns whether nothing is left to wait
    /// for.
    pub(crate) fn flush(&self) -> bool {
        self.out.flush()
    }

    /// Whether nothing leaves any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.out.error().is_some()
    }

    /// Whether nothing more is sent, because all has left or nothing can.
    pub(crate) fn is_write_over(&self) -> bool {
        self.out.is_over()
    }

    /// Shuts down for writing once all is sent.
    pub(crate) fn shutdown_write(&self) -> Result<(), Errno> {
        self.out.shutdown_write()
    }

    /// The same for a guest that will not hear of errors any more.
    pub(crate) fn close(&self) {
        self.out.close();
    }

    /// Makes the peer see a reset when this is dropped.
    pub(crate) fn reset_on_drop(&self) {
        stream::reset_on_drop(&self.out.socket);
    }

    /// Whether bytes that the guest believes to be on their way were lost, or will be if nothing
    /// is sent any more.
    pub(crate) fn is_lossy(&self) -> bool {
        self.out.is_lossy()
    }

    /// After a shutdown for writing: whether the socket can be closed without harm to what was
    /// written. What the peer still sends is thrown away, since closing over unread bytes resets
    /// the connection under those on their way. If this `waits_for_peer`, the peer may go on
    /// sending until it closes by itself, unless the connection has failed.
    ///
    /// If it has, closing resets the peer and drops what the peer's system does not have yet. Then
    /// the end of a peer says nothing: it may have ended long ago and still be receiving.
    pub(crate) fn is_delivered(&mut self, waits_for_peer: bool) -> bool {
        let peer_finished = self.discard();
        if !self.out.flush() {
            return false;
        }
        let is_broken = self.link.is_broken();
        if is_broken {
            self.look_for_reset();
        }
        if self.failed || self.has_failed() || peer_finished && !is_broken {
            return true;
        }
        (is_broken || !waits_for_peer) && !self.unacknowledged()
    }

    /// Whether no event tells when this is delivered: it waits for an acknowledgement, or not all
    /// that came has been thrown away.
    pub(crate) fn needs_looks(&self, waits_for_peer: bool) -> bool {
        !waits_for_peer || self.link.is_broken() || self.has_bytes_to_discard()
    }

    fn has_bytes_to_discard(&self) -> bool {
        self.readable && !self.end && self.error.is_none()
    }

    /// Throws away what the peer still sends, a bounded part of it at once. Returns whether the
    /// peer has finished too.
    fn discard(&mut self) -> bool {
        self.len = 0;
        for _ in 0..DISCARD_ROUNDS {
            if !self.has_bytes_to_discard() {
                break;
            }
            self.fill();
            self.len = 0;
        }
        self.end || self.error.is_some()
    }

    /// Whether bytes left that the peer's system has not acknowledged. After a shutdown for
    /// writing, the end of stream itself, which counts as one, is not waited for: its
    /// acknowledgement is often delayed, and a lost end does no harm.
    fn unacknowledged(&self) -> bool {
        let end = if self.link.is_broken() { 0 } else { 1 };
        unacknowledged(&self.out.socket) > end
    }

    fn nothing(&mut self) -> Result<usize, Errno> {
        if let Some(error) = self.error {
            // Told once; afterwards the stream is at its end.
            self.error = None;
            self.end = true;
            return Err(error);
        }
        if self.has_ended() {
            return Ok(0);
        }
        if self.is_plain() {
            let failure = self.failure_to_send();
            self.failure_read |= failure.is_some();
            return Err(failure.unwrap_or(Errno::Again));
        }
        Err(self.out.take_untold_error().unwrap_or(Errno::Again))
    }

    /// Why nothing leaves any more, if the guest does not know. It is not told when it writes to a
    /// plain connection, so it reads it there.
    fn failure_to_send(&self) -> Option<Errno> {
        if self.is_plain() {
            self.out.error().filter(|_| !self.failure_read)
        } else {
            self.out.untold_error()
        }
    }

    /// Fills the empty buffer with one system call.
    fn fill(&mut self) {
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        buf.reserve_exact(READ_AHEAD);
        self.start = 0;
        let received = self.receive(READ_AHEAD, |socket| {
            socket.recv(&mut buf.spare_capacity_mut()[..READ_AHEAD])
        });
        self.len = received.unwrap_or(0);
        // SAFETY: `recv` initialises as many bytes as it returns, from the start of the spare
        // capacity, which is the start of `buf`. If nothing came, the length is 0.
        unsafe { buf.set_len(self.len) };
        self.buf = buf;
    }

    /// Receives once, into a buffer with this much room. Returns the number of bytes, which is
    /// never 0, or `None` if nothing came; the state then says why.
    fn receive(
        &mut self,
        room: usize,
        mut receive: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Option<usize> {
        loop {
            self.link.traffic.system_call();
            match receive(&self.out.socket) {
                Ok(0) => {
                    self.end = true;
                    self.link.set_side_ended(self.side);
                    // The system tells a reset to one call alone. If that was a send, what is read
                    // here looks like an ordinary end.
                    let error = self.out.tell_error();
                    self.error = error.filter(|error| *error != Errno::Pipe);
                    return None;
                }
                Ok(len) => {
                    // A short read has emptied the socket; more, or the end, is a new event,
                    // unless the event of the end came before, or urgent data cut it short.
                    self.readable = len == room || self.ended || self.urgent;
                    return Some(len);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return None;
                }
                Err(error) => {
                    let errno = Errno::from_io(&error);
                    self.fail(errno);
                    self.error = Some(errno);
                    return None;
                }
            }
        }
    }

    /// Notes that the system has reported a failure.
    fn fail(&mut self, errno: Errno) {
        self.failed = true;
        self.link.set_side_ended(self.side);
        self.out.set_lost();
        if self.is_plain() {
            self.link.lose_plain(errno);
        }
    }

    /// Counts bytes that came for the guest.
    fn count(&self, len: usize) {
        self.link.traffic.received_from(self.side, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Reactor, NetStream, UnixStream) {
        let link = Arc::new(Link::default());
        let mut reactor = Reactor::new(&link).expect("a reactor");
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let net =
            NetStream::new(ours.into(), Side::Network, None, link, &mut reactor).expect("a stream");
        (reactor, net, theirs)
    }

    fn wait(reactor: &mut Reactor, net: &mut NetStream) {
        let limit = Some(std::time::Duration::from_secs(20));
        reactor
            .wait(limit, |token, readiness| {
                assert_eq!(token, net.token);
                net.apply(readiness);
            })
            .expect("a wait");
    }

    #[test]
    fn an_end_that_was_seen_while_the_socket_connected_is_found() {
        let link = Arc::new(Link::default());
        let mut reactor = Reactor::new(&link).expect("a reactor");
        let (ours, mut peer) = UnixStream::pair().expect("a pair");
        let token = reactor.watch(ours.as_raw_fd()).expect("a token");
        peer.write_all(b"bye").expect("room");
        drop(peer);
        let limit = Duration::from_secs(20);
        let happened = reactor.wait_for(&[token], limit).expect("a wait");
        assert_eq!(happened, [token]);
        let stream = Stream::watched(OwnedFd::from(ours).into(), token);
        let mut net =
            NetStream::new(stream, Side::Network, None, link, &mut reactor).expect("a stream");
        let mut buf = [0; 16];
        assert_eq!(net.read(&mut buf), Ok(3));
        if net.read(&mut buf) == Err(Errno::Again) {
            // No other event will come.
            wait(&mut reactor, &mut net);
            assert_eq!(net.read(&mut buf), Ok(0));
        }
        assert!(net.at_end());
    }

    #[test]
    fn the_end_is_found_although_its_event_came_with_the_last_bytes() {
        let (mut reactor, mut net, mut peer) = pair();
        let mut buf = [0; 16];
        assert_eq!(net.read(&mut buf), Err(Errno::Again));
        wait(&mut reactor, &mut net);
        peer.write_all(b"bye").expect("room");
        drop(peer);
        wait(&mut reactor, &mut net);
        assert_eq!(net.read(&mut buf), Ok(3));
        assert_eq!(net.read(&mut buf), Ok(0));
        assert!(net.at_end());
    }

    #[test]
    fn a_read_that_is_known_to_fail_asks_nobody() {
        let (mut reactor, mut net, mut peer) = pair();
        let mut buf = [0; 16];
        assert_eq!(net.read(&mut buf), Err(Errno::Again));
        peer.write_all(b"x").expect("room");
        // The reactor has not reported it yet.
        assert_eq!(net.read(&mut buf), Err(Errno::Again));
        assert!(!net.poll_read());
        wait(&mut reactor, &mut net);
        assert!(net.poll_read());
        assert_eq!(net.read(&mut buf), Ok(1));
    }

    #[test]
    fn a_guest_that_waits_for_an_answer_to_what_was_lost_reads_why() {
        let (mut reactor, mut net, peer) = pair();
        let mut buf = [0; 16];
        assert_eq!(net.read(&mut buf), Err(Errno::Again));
        wait(&mut reactor, &mut net);
        peer.shutdown(Shutdown::Read).expect("it is open");
        wait(&mut reactor, &mut net);
        assert_eq!(net.read(&mut buf), Err(Errno::Again));
        assert!(!net.poll_read());
        let taken = net.out.push(3, std::iter::once(&b"abc"[..]));
        assert_eq!(taken, Ok((3, true)));
        assert!(net.out.flush(), "what can never leave does not wait");
        (&peer).write_all(b"xyz").expect("room");
        assert!(net.poll_read());
        assert_eq!(net.read(&mut buf), Ok(3), "what came comes first");
        assert!(net.poll_read());
        assert_eq!(net.peek_error(), Err(Errno::Pipe));
        assert_eq!(net.read(&mut buf), Err(Errno::Pipe));
        assert!(!net.poll_read(), "it is told once");
        assert_eq!(net.read(&mut buf), Err(Errno::Again));
    }

    #[test]
    fn large_reads_go_around_the_buffer() {
        let (_reactor, mut net, mut peer) = pair();
        peer.write_all(&[7; 1000]).expect("room");
        let mut large = vec![0; READ_AHEAD];
        assert_eq!(net.read(&mut large), Ok(1000));
        assert_eq!(net.buf.capacity(), 0);
    }
}
