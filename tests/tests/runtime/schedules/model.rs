//! What a pass-through module owes its two sides: a queue of bytes each way, and an end of each.
//!
//! The model knows no sockets and no threads. It is told what was called and what came back, and
//! panics if that could not be.

use std::io::{Error, ErrorKind};

use watm_tests::Pattern;

/// A module that has at most this much under way in one direction certainly looks at the other:
/// both the pipe to the application and the one to the network take it, and a piece of the module.
const NEVER_STUCK: u64 = 64 * 1024;

/// The lengths of frames, over and over: up to the longest that the module takes.
const FRAMES: [usize; 8] = [1, 1000, 0, 65_536, 63, 16_385, 2, 1025];

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that holds the `Conn`.
    Application,
    /// The one that holds the plain socket.
    Peer,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Application, Self::Peer];

    pub(super) fn other(self) -> Self {
        match self {
            Self::Application => Self::Peer,
            Self::Peer => Self::Application,
        }
    }
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It is non-blocking.
    Not,
    /// Some milliseconds.
    Briefly,
    /// Until it has something.
    Long,
}

/// What a module makes of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// The first end of either stream ends the transport, and what is under way the other way is
    /// lost.
    EndsAtOnce,
    /// Each stream ends by itself.
    HalfCloses,
    /// Whole frames, strictly in turns, this side first; otherwise as `EndsAtOnce`.
    TakesTurns(Side),
}

/// The bytes of a stream and a position in it. A byte follows from its place, so that a writer and
/// a reader need no storage between them.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pattern: Pattern,
    framed: bool,
    position: u64,
}

impl Stream {
    fn new(seed: u64, framed: bool) -> Self {
        Self {
            pattern: Pattern::new(seed),
            framed,
            position: 0,
        }
    }

    /// Takes the next bytes: of a framed stream, lengths and bodies in turn.
    fn take(&mut self, len: usize) -> Vec<u8> {
        if !self.framed {
            self.position += len as u64;
            return self.pattern.take(len);
        }
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let (index, at) = frame_at(self.position);
            let body = FRAMES[index % FRAMES.len()];
            let left = len - bytes.len();
            let before = bytes.len();
            if at < 4 {
                let header = (body as u32).to_be_bytes();
                bytes.extend(header[at..].iter().take(left));
            } else {
                bytes.extend(self.pattern.take(left.min(4 + body - at)));
            }
            self.position += (bytes.len() - before) as u64;
        }
        bytes
    }

    /// Checks that these are the next bytes.
    #[track_caller]
    fn check(&mut self, found: &[u8]) {
        let start = self.position;
        let expected = self.take(found.len());
        if let Some(at) = found.iter().zip(&expected).position(|(a, b)| a != b) {
            panic!(
                "byte {} of the stream is {:#04x}, expected {:#04x}",
                start + at as u64,
                found[at],
                expected[at]
            );
        }
    }
}

/// The frame that a position of a framed stream lies in, and the place within it.
fn frame_at(position: u64) -> (usize, usize) {
    let mut left = position;
    for index in 0.. {
        let len = 4 + FRAMES[index % FRAMES.len()] as u64;
        if left < len {
            return (index, left as usize);
        }
        left -= len;
    }
    unreachable!("every position lies in a frame")
}

/// The position behind so many frames.
fn behind_frames(count: usize) -> u64 {
    (0..count)
        .map(|index| 4 + FRAMES[index % FRAMES.len()] as u64)
        .sum()
}

/// One direction, named after its writer.
#[derive(Debug)]
struct Direction {
    sent: Stream,
    received: Stream,
    /// The writer has shut it down.
    ended: bool,
    /// The reader was told of the end.
    end_seen: bool,
    /// It may end before all has arrived, and the writer may be refused.
    may_lose: bool,
    /// The reader is gone.
    unread: bool,
}

impl Direction {
    fn new(seed: u64, framed: bool) -> Self {
        Self {
            sent: Stream::new(seed, framed),
            received: Stream::new(seed, framed),
            ended: false,
            end_seen: false,
            may_lose: false,
            unread: false,
        }
    }

    fn under_way(&self) -> u64 {
        self.sent.position - self.received.position
    }
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Model {
    manner: Manner,
    by_application: Direction,
    by_peer: Direction,
    /// The peer has gone while bytes were on their way to it: what is told of that is free.
    broken: bool,
}

impl Model {
    pub(super) fn new(manner: Manner) -> Self {
        let framed = matches!(manner, Manner::TakesTurns(_));
        Self {
            manner,
            by_application: Direction::new(1, framed),
            by_peer: Direction::new(2, framed),
            broken: false,
        }
    }

    fn by(&self, writer: Side) -> &Direction {
        match writer {
            Side::Application => &self.by_application,
            Side::Peer => &self.by_peer,
        }
    }

    fn by_mut(&mut self, writer: Side) -> &mut Direction {
        match writer {
            Side::Application => &mut self.by_application,
            Side::Peer => &mut self.by_peer,
        }
    }

    // ---- what there is to do ------------------------------------------------------------------

    /// How many bytes this side has written.
    pub(super) fn written(&self, writer: Side) -> u64 {
        self.by(writer).sent.position
    }

    /// The next bytes that this side has to write.
    pub(super) fn next(&self, writer: Side, len: usize) -> Vec<u8> {
        self.by(writer).sent.clone().take(len)
    }

    /// Whether the manner of the module allows an end at any time.
    pub(super) fn may_end(&self) -> bool {
        !matches!(self.manner, Manner::TakesTurns(_))
    }

    /// Whether this side reads no more.
    pub(super) fn is_gone(&self, reader: Side) -> bool {
        self.by(reader.other()).unread
    }

    /// Whether the connection is in no good order, so that how it ends is free.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// How far this side's stream arrives, if everybody reads and nobody writes any more.
    fn arrives(&self, writer: Side) -> u64 {
        let sent = self.by(writer).sent.position;
        let Manner::TakesTurns(first) = self.manner else {
            return sent;
        };
        let own = frame_at(sent).0;
        let others = frame_at(self.by(writer.other()).sent.position).0;
        let turns = others + usize::from(writer == first);
        behind_frames(own.min(turns))
    }

    /// Whether this side must get something, a byte or the end, if it waits.
    pub(super) fn is_due(&self, reader: Side) -> bool {
        let direction = self.by(reader.other());
        let stuck = self.by(reader).under_way() > NEVER_STUCK && !self.by(reader).unread;
        !stuck && !self.broken && !direction.may_lose && !self.is_settled(reader)
    }

    /// Whether this side has all that it must ever get as things stand.
    pub(super) fn is_settled(&self, reader: Side) -> bool {
        let direction = self.by(reader.other());
        if direction.unread || direction.end_seen {
            return true;
        }
        if direction.ended || direction.may_lose {
            // Whatever is lost, the end comes.
            return false;
        }
        direction.received.position == self.arrives(reader.other())
    }

    /// How long both streams are as soon as both have the same number of whole frames, of which
    /// `longer` has one more.
    pub(super) fn turns_end(&self, longer: Option<Side>) -> [u64; 2] {
        let whole = Side::BOTH.map(|side| {
            let (count, at) = frame_at(self.by(side).sent.position);
            count + usize::from(at > 0)
        });
        let most = whole[0].max(whole[1]);
        Side::BOTH.map(|side| behind_frames(most + usize::from(longer == Some(side))))
    }

    // ---- what has happened --------------------------------------------------------------------

    /// A write took so many bytes.
    #[track_caller]
    pub(super) fn wrote(&mut self, writer: Side, len: usize, of: usize) {
        assert!(len > 0 && len <= of, "a write of {of} bytes took {len}");
        assert!(
            !self.by(writer).ended,
            "{writer:?} wrote {len} bytes behind its end"
        );
        let _ = self.by_mut(writer).sent.take(len);
        if writer == Side::Application && self.by_application.unread {
            // They reach a socket that nobody holds any more, which answers with a reset.
            self.breaks();
        }
    }

    /// A write failed.
    #[track_caller]
    pub(super) fn write_failed(&self, writer: Side, wait: Wait, error: &Error) {
        let direction = self.by(writer);
        if self.broken {
            return;
        }
        if direction.ended {
            // Afterwards the peer may have met a reset as well, since nobody takes its bytes.
            let free = writer == Side::Peer && direction.may_lose;
            assert!(
                error.kind() == ErrorKind::BrokenPipe || free,
                "{writer:?} wrote behind its end: {error:?}"
            );
        } else if error.kind() == refusal(writer, wait) {
            assert!(
                writer == Side::Peer || direction.under_way() > 0 || direction.may_lose,
                "there was no room although nothing was under way: {error:?}"
            );
        } else {
            let told = match writer {
                Side::Application => error.kind() == ErrorKind::BrokenPipe,
                Side::Peer => matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ),
            };
            assert!(
                told && direction.may_lose,
                "{writer:?} could not write: {error:?}"
            );
        }
    }

    /// A read returned these bytes; none is the end.
    #[track_caller]
    pub(super) fn read(&mut self, reader: Side, found: &[u8]) {
        let writer = reader.other();
        let limit = self.arrives(writer);
        let direction = self.by_mut(writer);
        if direction.unread {
            assert!(found.is_empty(), "{reader:?} had closed");
        } else if found.is_empty() {
            let (got, sent) = (direction.received.position, direction.sent.position);
            assert!(
                direction.may_lose || direction.ended && got == sent,
                "{reader:?} was told of an end at byte {got} of {sent}"
            );
            direction.end_seen = true;
        } else {
            assert!(
                !direction.end_seen,
                "{reader:?} got {} bytes behind the end",
                found.len()
            );
            direction.received.check(found);
            let got = direction.received.position;
            assert!(
                got <= limit,
                "{reader:?} got {got} bytes where {limit} can be"
            );
        }
    }

    /// A read failed.
    #[track_caller]
    pub(super) fn read_failed(&mut self, reader: Side, wait: Wait, error: &Error) {
        if error.kind() == refusal(reader, wait) {
            assert!(
                wait != Wait::Long,
                "{reader:?} waited in vain at byte {} of {}: {self:?}",
                self.by(reader.other()).received.position,
                self.by(reader.other()).sent.position,
            );
            assert!(
                !self.by(reader.other()).end_seen,
                "{reader:?} had to wait behind the end"
            );
            return;
        }
        assert!(self.broken, "{reader:?} could not read: {error:?}");
        self.by_mut(reader.other()).end_seen = true;
    }

    /// This side shut down writing.
    pub(super) fn shut_down(&mut self, writer: Side) {
        self.by_mut(writer).ended = true;
        if self.manner != Manner::HalfCloses {
            // The module looks at the other stream no more, or it has seen the end of that one and
            // looks at this one no more.
            let other = self.by_mut(writer.other());
            other.may_lose |= !other.end_seen;
        }
    }

    /// This side closed: it writes no more and reads no more.
    pub(super) fn closed(&mut self, side: Side) {
        self.shut_down(side);
        let other = self.by_mut(side.other());
        let lost = other.under_way() > 0 && !other.end_seen;
        other.may_lose |= !other.end_seen;
        other.unread = true;
        if side == Side::Peer && lost {
            // What the application does not read is dropped by the host, but the peer's own system
            // answers unread bytes with a reset.
            self.breaks();
        }
    }

    /// A reset has gone to the module, which overtakes what the peer had sent.
    fn breaks(&mut self) {
        self.broken = true;
        self.by_peer.may_lose = true;
    }
}

/// How a call that must not wait longer says so.
fn refusal(side: Side, wait: Wait) -> ErrorKind {
    match (side, wait) {
        (Side::Application, Wait::Briefly | Wait::Long) => ErrorKind::TimedOut,
        _ => ErrorKind::WouldBlock,
    }
}
