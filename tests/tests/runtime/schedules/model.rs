//! What a pass-through module owes its two sides: a queue of bytes in each direction, and an end of
//! each.
//!
//! The model knows no sockets and no threads. It learns what was called and what came back, and
//! panics if that is not possible.

use std::io::{Error, ErrorKind};

use watm_tests::Pattern;

/// With no more than this in flight in one direction, a module certainly serves the other. The pipe
/// to the application and the one to the network both hold this much, and so does a piece of the
/// module.
const NEVER_STUCK: u64 = 64 * 1024;

/// A cycle of frame lengths, up to the longest that the module takes.
const FRAMES: [usize; 8] = [1, 1000, 0, 65_536, 63, 16_385, 2, 1025];

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The side that holds the `Conn`.
    Application,
    /// The side that holds the plain socket.
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
    /// It does not wait.
    Not,
    /// A few milliseconds.
    Briefly,
    /// Until there is something.
    Long,
}

/// How a module treats the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// The first end of either stream ends the transport, and loses what is in flight in the other
    /// direction.
    EndsAtOnce,
    /// Each stream ends by itself.
    HalfCloses,
    /// Whole frames, strictly in turns, this side first. Otherwise like `EndsAtOnce`.
    TakesTurns(Side),
}

/// The bytes of a stream and a position in it. The position determines each byte, so that a writer
/// and a reader need no storage between them.
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

    /// Takes the next bytes. In a framed stream, lengths and bodies alternate.
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

/// The frame that contains a position of a framed stream, and the offset within it.
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

/// The position after this many frames.
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
    /// The reader has been told of the end.
    end_seen: bool,
    /// The direction may end before everything has arrived, and the writer may be refused.
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
    /// The peer has gone while bytes were on their way to it, so any report of that is correct.
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

    /// Number of bytes that this side has written.
    pub(super) fn written(&self, writer: Side) -> u64 {
        self.by(writer).sent.position
    }

    /// The next bytes that this side must write.
    pub(super) fn next(&self, writer: Side, len: usize) -> Vec<u8> {
        self.by(writer).sent.clone().take(len)
    }

    /// Whether the module may end at any time.
    pub(super) fn may_end(&self) -> bool {
        !matches!(self.manner, Manner::TakesTurns(_))
    }

    /// Whether this side no longer reads.
    pub(super) fn is_gone(&self, reader: Side) -> bool {
        self.by(reader.other()).unread
    }

    /// Whether the connection is broken, so that any end is correct.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// How far this side's stream arrives if everybody reads and nobody writes any more.
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

    /// Whether this side must get something, bytes or the end, if it waits.
    pub(super) fn is_due(&self, reader: Side) -> bool {
        let direction = self.by(reader.other());
        let stuck = self.by(reader).under_way() > NEVER_STUCK && !self.by(reader).unread;
        !stuck && !self.broken && !direction.may_lose && !self.is_settled(reader)
    }

    /// Whether this side has everything that it must get in the current state.
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

    /// The lengths at which both streams have the same number of whole frames. If `longer` is set,
    /// that side has one more frame.
    pub(super) fn turns_end(&self, longer: Option<Side>) -> [u64; 2] {
        let whole = Side::BOTH.map(|side| {
            let (count, at) = frame_at(self.by(side).sent.position);
            count + usize::from(at > 0)
        });
        let most = whole[0].max(whole[1]);
        Side::BOTH.map(|side| behind_frames(most + usize::from(longer == Some(side))))
    }

    // ---- what has happened --------------------------------------------------------------------

    /// A write took `len` bytes.
    #[track_caller]
    pub(super) fn wrote(&mut self, writer: Side, len: usize, of: usize) {
        assert!(len > 0 && len <= of, "a write of {of} bytes took {len}");
        assert!(
            !self.by(writer).ended,
            "{writer:?} wrote {len} bytes after its end"
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
            // After that, the peer may also have met a reset, because nobody takes its bytes.
            let free = writer == Side::Peer && direction.may_lose;
            assert!(
                error.kind() == ErrorKind::BrokenPipe || free,
                "{writer:?} wrote after its end: {error:?}"
            );
        } else if error.kind() == refusal(writer, wait) {
            assert!(
                writer == Side::Peer || direction.under_way() > 0 || direction.may_lose,
                "there was no room although nothing was in flight: {error:?}"
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

    /// A read returned these bytes. No bytes means the end.
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
                "{reader:?} got {} bytes after the end",
                found.len()
            );
            direction.received.check(found);
            let got = direction.received.position;
            assert!(
                got <= limit,
                "{reader:?} got {got} bytes, but at most {limit} are possible"
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
                "{reader:?} had to wait after the end"
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
            // The module no longer reads the other stream. Or it has seen the other stream's end
            // and no longer reads this one.
            let other = self.by_mut(writer.other());
            other.may_lose |= !other.end_seen;
        }
    }

    /// This side closed: it neither writes nor reads any more.
    pub(super) fn closed(&mut self, side: Side) {
        self.shut_down(side);
        let other = self.by_mut(side.other());
        let lost = other.under_way() > 0 && !other.end_seen;
        other.may_lose |= !other.end_seen;
        other.unread = true;
        if side == Side::Peer && lost {
            // The host drops what the application does not read. But the peer's own system answers
            // unread bytes with a reset.
            self.breaks();
        }
    }

    /// A reset has gone to the module. It overtakes what the peer has sent.
    fn breaks(&mut self) {
        self.broken = true;
        self.by_peer.may_lose = true;
    }
}

/// The error of a call that may not wait any longer.
fn refusal(side: Side, wait: Wait) -> ErrorKind {
    match (side, wait) {
        (Side::Application, Wait::Briefly | Wait::Long) => ErrorKind::TimedOut,
        _ => ErrorKind::WouldBlock,
    }
}
