//! Backpressure that guests can bear: while one side of a connection is full, the other has nothing
//! to read.
//!
//! Most guests write what they made of a read at once, and lose it if the write is refused. So a
//! read is let through only if its result will fit, twice over. Knows numbers of bytes alone.

/// The room that one side has for what a guest writes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that a write may have now.
    pub(crate) free: usize,
    /// With less room than this, reads of the other side have to wait.
    pub(crate) low: usize,
    /// Reads that wait go on once there is so much.
    pub(crate) high: usize,
    /// Maximum size of a read that is let through now, in bytes.
    pub(crate) largest_read: usize,
}

impl Room {
    /// Writes to this side never have to wait, since they lead nowhere or fail.
    pub(crate) const UNLIMITED: Self = Self {
        free: usize::MAX,
        low: 0,
        high: 0,
        largest_read: usize::MAX,
    };
}

/// What lets the reads of one side through.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: bool,
}

impl Gate {
    /// Maximum size of the next read, in bytes; 0 if it has to wait for room on the other side.
    pub(crate) fn allowance(&mut self, other: Room) -> usize {
        let mark = if self.closed { other.high } else { other.low };
        self.closed = other.free < mark;
        if self.closed { 0 } else { other.largest_read }
    }

    /// Whether reads had to wait when this was last asked.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_has_closed_waits_for_more_room_than_closed_it() {
        let room = |free| Room {
            free,
            low: 10,
            high: 20,
            largest_read: free / 2,
        };
        let mut gate = Gate::default();
        let allowed = [30, 10, 9, 10, 19, 20, 19, 10, 0].map(|free| gate.allowance(room(free)));
        assert_eq!(allowed, [15, 5, 0, 0, 0, 10, 9, 5, 0]);
        assert!(gate.is_closed());
        assert_eq!(gate.allowance(Room::UNLIMITED), usize::MAX);
        assert!(!gate.is_closed());
    }
}
