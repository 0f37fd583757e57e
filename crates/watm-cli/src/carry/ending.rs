//! Waits for a transport to end by itself.
//!
//! A connection reports its end to whoever reads or writes. If one direction has ended and the
//! other is idle, nobody does. The outcome is then checked repeatedly, with growing pauses.

use std::time::{Duration, Instant};

use watm_wasmer::Conn;

/// The pauses between checks. They are short at first, since most ends come at once.
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

/// Calls `check` until it returns true or `patience` is over. `check` gets the pause that it may
/// spend waiting.
pub(crate) fn check_until(patience: Duration, mut check: impl FnMut(Duration) -> bool) {
    let deadline = Instant::now() + patience;
    let mut pauses = Pauses::new();
    while Instant::now() < deadline && !check(pauses.next()) {}
}

/// Waits until the transport has ended by itself and its output is delivered, `patience` is over,
/// or `given_up` returns true.
pub(crate) fn await_end(conn: &Conn, patience: Duration, given_up: impl Fn() -> bool) {
    check_until(patience, |pause| {
        given_up() || conn.wait(Some(pause)).is_some()
    });
}
