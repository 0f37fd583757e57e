//! Waiting for a transport to end by itself.
//!
//! A connection tells its end to whoever reads or writes. When one direction has ended and the
//! other is idle, nobody does, so the outcome is looked at again and again, after growing pauses.

use std::time::{Duration, Instant};

use watm_wasmer::Conn;

/// The pauses between two looks: short at first, since most ends come at once.
pub(crate) struct Pauses {
    next: Duration,
}

impl Pauses {
    const LONGEST: Duration = Duration::from_millis(64);

    pub(crate) fn new() -> Self {
        Self {
            next: Duration::from_millis(1),
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }
}

/// Looks again and again until `look` says that it is over, or `patience` is. `look` gets the pause
/// that it may spend waiting.
pub(crate) fn look_until(patience: Duration, mut look: impl FnMut(Duration) -> bool) {
    let deadline = Instant::now() + patience;
    let mut pauses = Pauses::new();
    while Instant::now() < deadline && !look(pauses.next()) {}
}

/// Waits until the transport has ended by itself and what it wrote is delivered, `patience` is
/// over, or `given_up` says so.
pub(crate) fn await_end(conn: &Conn, patience: Duration, given_up: impl Fn() -> bool) {
    look_until(patience, |pause| {
        given_up() || conn.wait(Some(pause)).is_some()
    });
}
