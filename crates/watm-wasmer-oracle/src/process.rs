//! Checks that many cases leave nothing behind in the process.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer;
use crate::remote::Remote;

/// Number of cases between two checks.
const EVERY: u64 = 200;
/// Number of cases before the first check. By then the runtime has made everything that it makes
/// once.
const SETTLED: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts a case. Now and then, checks that earlier cases have left no descriptors or workers
/// behind.
pub(crate) fn look_now_and_then() {
    static CASES: AtomicU64 = AtomicU64::new(0);
    static AT_FIRST: Mutex<Option<usize>> = Mutex::new(None);
    let cases = CASES.fetch_add(1, Ordering::Relaxed);
    if cases < SETTLED || !cases.is_multiple_of(EVERY) {
        return;
    }
    let deadline = Instant::now() + PATIENCE;
    // One look per round, which the assertion uses. A second look may show more, because the system
    // may omit threads from a listing while others end.
    let mut left = workers();
    while left > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
        left = workers();
    }
    assert_eq!(left, 0, "workers are left after {cases} cases");
    let Ok(mut at_first) = AT_FIRST.lock() else {
        return;
    };
    let first = *at_first.get_or_insert_with(|| {
        // One oracle may not yet have asked for what another one makes once.
        peer::address();
        Remote::dialer();
        descriptors()
    });
    while descriptors() > first && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(
        descriptors() <= first,
        "{} descriptors are open, but only {first} after {SETTLED} cases",
        descriptors()
    );
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn workers() -> usize {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim_end() == "watm-worker")
        .count()
}
