//! Waits that end: with what was waited for, or with a message.

use std::panic::{Location, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

/// For what takes milliseconds: long enough for a machine that is busy with other things.
pub const SHORT: Duration = Duration::from_secs(30);

/// For what moves many bytes.
pub const LONG: Duration = Duration::from_secs(100);

/// Runs `f` on a thread of its own and returns what it returns.
///
/// # Panics
///
/// If it takes longer than `limit`, at the place of the call; and with the panic of `f`.
#[track_caller]
pub fn within<T: Send + 'static>(limit: Duration, f: impl FnOnce() -> T + Send + 'static) -> T {
    let caller = Location::caller();
    let (sender, receiver) = bounded(1);
    let name = thread::current().name().unwrap_or("bounded").to_owned();
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || {
            let _ = sender.send(f());
        })
        .expect("a thread");
    match receiver.recv_timeout(limit) {
        Ok(value) => {
            let _ = thread.join();
            value
        }
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("it sends what it returns"),
        },
        Err(RecvTimeoutError::Timeout) => {
            panic!("what began at {caller} did not end within {limit:?}")
        }
    }
}

/// Looks again and again until `condition` holds.
///
/// # Panics
///
/// If it does not within [`SHORT`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < SHORT,
            "it did not come about within {SHORT:?} that {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}
