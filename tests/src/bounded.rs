//! Bounded waits, which end with a result or with a message.

use std::panic::{Location, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

/// Limit for what takes milliseconds. It is long enough for a busy machine.
pub const SHORT: Duration = Duration::from_secs(30);

/// Limit for what moves many bytes.
pub const LONG: Duration = Duration::from_secs(100);

/// Runs `f` on a separate thread and returns its result.
///
/// # Panics
///
/// Panics at the place of the call if `f` takes longer than `limit`. Also passes on the panic of
/// `f`.
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

/// Checks repeatedly until `condition` holds.
///
/// # Panics
///
/// Panics if that takes longer than [`SHORT`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < SHORT,
            "this did not happen within {SHORT:?}: {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}
