//! What a host remembers of how its guest uses its streams: what the guest has met there, how it
//! reads, and how it writes.
//!
//! Knows numbers of descriptors and results of calls. Must never know how bytes move.

use std::time::Duration;

use watm_abi::Errno;

use crate::host::descriptor::{Abort, Call};
use crate::host::record::PATIENCE;

/// Number of bytes that a guest may read from one side in a row while the other side waits.
pub(super) const FAIR_SHARE: u32 = 256 * 1024;

/// What a guest reads from or writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// A plain connection. The link knows why it broke, and the network is not lost with it.
    Plain,
    Other,
}

/// What the guest has read or been told about its streams.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// One of them has come to its end.
    end: bool,
    /// A read or a write of one of them failed.
    failure: bool,
    /// Why a connection broke.
    lost: Option<Errno>,
}

impl Learnt {
    /// Records the result of a read of `asked` bytes.
    pub(super) fn note_read(&mut self, result: &Call<u32>, asked: u32, of: StreamKind) {
        self.end |= *result == Ok(0) && asked > 0;
        self.note_failure(result, of);
    }

    /// Records the result of a read or a write if it failed.
    pub(super) fn note_failure(&mut self, result: &Call<u32>, of: StreamKind) {
        let Err(Abort::Errno(errno)) = result else {
            return;
        };
        self.failure |= *errno != Errno::Again;
        if of == StreamKind::Plain {
            return;
        }
        // Not EPIPE: the peer had already ended, and only what was sent to it later is lost.
        if matches!(
            errno,
            Errno::Connreset
                | Errno::Connaborted
                | Errno::Timedout
                | Errno::Hostunreach
                | Errno::Netunreach
                | Errno::Netdown
                | Errno::Netreset
        ) {
            self.lost = Some(*errno);
        }
    }

    /// Called when the guest has a new connection, or its transport is set up. A connection that
    /// broke before no longer matters.
    pub(super) fn forget_loss(&mut self) {
        self.lost = None;
    }

    /// Why a connection broke, if that still matters.
    pub(super) fn lost(&self) -> Option<Errno> {
        self.lost
    }

    /// Whether a stream has come to its end, and none has failed.
    pub(super) fn has_ended_in_order(&self) -> bool {
        self.end && !self.failure
    }
}

/// How a guest reads from its two sides, and what this means for the next read.
pub(super) struct Reads {
    /// The two streams, if exactly two are open. Reads of each wait for room on the other.
    pair: Option<[u32; 2]>,
    streak: Streak,
    /// Changes when the guest writes or polls.
    turn: u32,
    /// The descriptor on which a read within a record is under way.
    within_record: Option<u32>,
    /// How long a read within a record waits.
    pub(super) patience: Duration,
    /// Whether the guest's last read of the network left bytes behind.
    more_to_read: bool,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            pair: None,
            streak: Streak::default(),
            turn: 0,
            within_record: None,
            patience: PATIENCE,
            more_to_read: false,
        }
    }
}

impl Reads {
    /// Called when a stream was opened, closed or renumbered.
    pub(super) fn set_pair(&mut self, pair: Option<[u32; 2]>) {
        self.pair = pair;
    }

    /// The other one of two streams.
    pub(super) fn counterpart(&self, fd: u32) -> Option<u32> {
        match self.pair? {
            [one, other] if one == fd => Some(other),
            [other, one] if one == fd => Some(other),
            _ => None,
        }
    }

    /// Changes when the guest writes or polls.
    pub(super) fn turn(&self) -> u32 {
        self.turn
    }

    /// Called when the guest does something other than read.
    pub(super) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Called when the guest polls, and so neglects nobody.
    pub(super) fn look_around(&mut self) {
        self.begin_streak();
        self.next_turn();
    }

    /// Records that the guest has read `len` bytes.
    pub(super) fn note(&mut self, fd: u32, len: u32) {
        self.streak.read(fd, len);
    }

    /// Whether the guest has read its share of one stream without looking at another.
    pub(super) fn has_fair_share(&self, fd: u32) -> bool {
        self.streak.fd == fd && self.streak.len >= FAIR_SHARE
    }

    /// Counts from 0 again.
    pub(super) fn begin_streak(&mut self) {
        self.streak = Streak::default();
    }

    /// Called before a read within a record, with its descriptor, and after it.
    pub(super) fn set_within_record(&mut self, fd: Option<u32>) {
        self.within_record = fd;
    }

    /// Whether a read within a record is under way on this descriptor.
    pub(super) fn is_within_record(&self, fd: u32) -> bool {
        self.within_record == Some(fd)
    }

    /// Called after a read of the network.
    pub(super) fn set_more_to_read(&mut self, more: bool) {
        self.more_to_read = more;
    }

    /// Whether the guest's last read of the network left bytes behind.
    pub(super) fn has_more_to_read(&self) -> bool {
        self.more_to_read
    }
}

/// What a guest has read from one descriptor without looking at another.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    fd: u32,
    len: u32,
}

impl Streak {
    fn read(&mut self, fd: u32, len: u32) {
        if self.fd == fd {
            self.len = self.len.saturating_add(len);
        } else {
            *self = Self { fd, len };
        }
    }
}

/// What has happened to a guest's writes.
#[derive(Default)]
pub(super) struct Writes {
    /// Whether some write-behind buffer may hold bytes.
    pub(super) unsent: bool,
    /// The descriptor whose write the previous call refused, if it did.
    refused: Option<u32>,
    /// Whether the guest has polled for room to write, and so can handle a refused write.
    pub(super) polls_for_room: bool,
}

impl Writes {
    /// Called when a write is refused.
    pub(super) fn refuse(&mut self, fd: u32) {
        self.refused = Some(fd);
    }

    /// Called at the start of any call except a write.
    pub(super) fn forget_refused(&mut self) {
        self.refused = None;
    }

    /// Called at the start of a write. Returns the descriptor whose write the previous call
    /// refused, if it did.
    pub(super) fn take_refused(&mut self) -> Option<u32> {
        self.refused.take()
    }
}
