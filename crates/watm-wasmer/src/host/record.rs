//! Guests that assume that a whole record has arrived once its beginning has.
//!
//! They read the head of a record from a non-blocking descriptor. Then they read the body, in the
//! size that the head gives. If a read in between is refused, they lose their place, and with it
//! the connection. Over a real network, records arrive in pieces all the time. So a read within a
//! record waits for a while, as if the descriptor were blocking. This file knows only the sizes of
//! reads.

use std::time::Duration;

/// Maximum size of a head, in bytes. Guests that take whatever comes read into larger buffers.
const HEAD_LIMIT: u32 = 64;

/// How long a read within a record waits for the peer. Segments that were lost twice still arrive
/// in time.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How a guest has read from one descriptor.
#[derive(Debug, Default)]
pub(super) struct Records {
    habit: Habit,
    /// The turn in which the record began. This number changes when the guest does anything but
    /// read.
    turn: u32,
    /// Size that the first read of the record asked for, in bytes.
    head: u32,
    /// Number of bytes of the record that were read.
    len: u32,
    /// Number of bytes that the last read asked for and did not get.
    missing: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Habit {
    #[default]
    Unknown,
    /// It has read a head and a body of different sizes, both completely.
    Records,
    /// It takes whatever comes, or it was refused within a record and could cope with that.
    Other,
}

impl Records {
    /// Whether a read of `asked` bytes is within a record. Such a read waits and is not held back.
    pub(super) fn continues(&self, turn: u32, asked: u32) -> bool {
        if self.habit == Habit::Other || turn != self.turn || self.len == 0 {
            return false;
        }
        let is_small = self.head <= HEAD_LIMIT;
        if self.missing > 0 {
            // The rest of the head tells nothing: the buffer may be one that takes whatever comes.
            let is_in_body = self.len + self.missing > self.head;
            return is_small
                && asked == self.missing
                && (is_in_body || self.habit == Habit::Records);
        }
        is_small && asked != self.head
    }

    /// Records that a read of `asked` bytes got `len` bytes.
    pub(super) fn read(&mut self, turn: u32, asked: u32, len: u32) {
        let is_rest = self.missing > 0 && asked == self.missing;
        if self.missing > 0 && !(is_rest && turn == self.turn) {
            // The guest went on without the rest, or did something else first.
            self.habit = Habit::Other;
        }
        if turn != self.turn || self.head == 0 || (!is_rest && asked == self.head) {
            (self.turn, self.head, self.len) = (turn, asked, 0);
        } else if !is_rest && len == asked && self.habit == Habit::Unknown {
            self.habit = Habit::Records;
        }
        self.len = self.len.saturating_add(len);
        self.missing = asked.saturating_sub(len);
    }

    /// Records that a read of `asked` bytes was refused. A guest that goes on after that within a
    /// record can cope with it.
    pub(super) fn refused(&mut self, turn: u32, asked: u32) {
        if self.missing > 0 || self.continues(turn, asked) {
            self.habit = Habit::Other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each read is (turn, asked, got). Returns whether each would have waited.
    fn waits(reads: &[(u32, u32, u32)]) -> Vec<bool> {
        let mut records = Records::default();
        reads
            .iter()
            .map(|&(turn, asked, got)| {
                let waits = records.continues(turn, asked);
                records.read(turn, asked, got);
                waits
            })
            .collect()
    }

    #[test]
    fn what_follows_a_head_waits() {
        // A salt, a head and a body, then a head and a body in each turn.
        let reads = [
            (1, 32, 32),
            (1, 18, 18),
            (1, 900, 900),
            (2, 18, 18),
            (2, 70, 70),
        ];
        assert_eq!(waits(&reads), [false, true, true, false, true]);
    }

    #[test]
    fn the_rest_of_a_body_waits_and_that_of_a_head_once_there_were_records() {
        let reads = [(1, 18, 18), (1, 900, 100), (1, 800, 300), (1, 500, 500)];
        assert_eq!(waits(&reads), [false, true, true, true]);
        let reads = [
            (1, 18, 10),
            (1, 8, 8),
            (1, 900, 900),
            (2, 18, 3),
            (2, 15, 15),
        ];
        assert_eq!(waits(&reads), [false, false, true, false, true]);
    }

    #[test]
    fn guests_that_take_what_comes_never_wait() {
        for reads in [
            // One read and one write in turns, or reads until nothing is left.
            [
                (1, 4096, 4096),
                (2, 4096, 100),
                (3, 4096, 4096),
                (4, 4096, 7),
            ],
            [(1, 4096, 4096), (1, 4096, 4096), (1, 4096, 9), (1, 4087, 1)],
            // Into the rest of a buffer.
            [(1, 4096, 100), (1, 3996, 50), (2, 3946, 10), (3, 3936, 1)],
            [(1, 64, 10), (1, 54, 4), (1, 50, 3), (1, 47, 1)],
            // Byte by byte.
            [(1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)],
        ] {
            assert_eq!(waits(&reads), [false; 4], "{reads:?}");
        }
    }

    #[test]
    fn a_guest_that_was_refused_within_a_record_and_goes_on_can_bear_it() {
        let mut records = Records::default();
        records.read(1, 18, 18);
        assert!(records.continues(1, 900));
        records.refused(1, 900);
        for turn in [1, 2] {
            records.read(turn, 900, 900);
            records.read(turn, 18, 18);
            assert!(!records.continues(turn, 900));
        }
    }

    #[test]
    fn a_refusal_between_records_is_none_within_one() {
        let mut records = Records::default();
        // In the very first turn.
        records.read(0, 18, 18);
        records.read(0, 900, 900);
        records.refused(0, 18);
        assert!(!records.continues(0, 18));
        records.read(1, 18, 18);
        records.read(1, 900, 900);
        // In the same turn, and in the next.
        records.refused(1, 18);
        records.refused(2, 18);
        records.read(3, 18, 18);
        assert!(records.continues(3, 900));
    }
}
