//! Ends the process when a case hangs, and names the case.

use std::fmt::Debug;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time limit of a case. Most take milliseconds, and everything that they wait for is bounded.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    /// The running case and its deadline.
    running: Option<(Instant, String)>,
}

static STATE: OnceLock<(Mutex<State>, Condvar)> = OnceLock::new();

/// Watches one case until it is dropped.
pub(crate) struct Watched(());

/// Starts watching. Only one case is watched at a time: tests that run concurrently take turns
/// here.
pub(crate) fn watch(case: &impl Debug) -> Watched {
    let (state, changed) = STATE.get_or_init(|| {
        thread::spawn(look);
        (Mutex::default(), Condvar::new())
    });
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    while state.running.is_some() {
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.running = Some((Instant::now() + LIMIT, format!("{case:?}")));
    Watched(())
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some((state, changed)) = STATE.get() {
            state.lock().unwrap_or_else(PoisonError::into_inner).running = None;
            changed.notify_one();
        }
    }
}

fn look() {
    loop {
        thread::sleep(Duration::from_millis(500));
        let Some((state, _)) = STATE.get() else {
            continue;
        };
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, case)) = &state.running
            && Instant::now() > *until
        {
            #[allow(clippy::print_stderr, reason = "the process is about to end")]
            {
                eprintln!("a case did not end within {LIMIT:?}: {case}");
            }
            std::process::abort();
        }
    }
}
