//! What is left in the process after many cases.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer;
use crate::remote::Remote;

/// Cases between two looks.
const EVERY: u64 = 200;
/// Cases before the first look: what the runtime makes once is there by then.
const SETTLED: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts a case, and now and then looks whether descriptors or workers of those before are left.
pub(crate) fn look_now_and_then() {
    static CASES: AtomicU64 = AtomicU64::new(0);
    static AT_FIRST: Mutex<Option<usize>> = Mutex::new(None);
    let cases = CASES.fetch_add(1, Ordering::Relaxed);
    if cases < SETTLED || !cases.is_multiple_of(EVERY) {
        return;
    }
    let deadline = Instant::now() + PATIENCE;
    // Asked once each time: the system leaves threads out of a listing while others end, so that a
    // second answer may have more than the first.
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
        // What one oracle has made once, another may not have asked for yet.
        peer::address();
        Remote::dialer();
        descriptors()
    });
    while descriptors() > first && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(
        descriptors() <= first,
        "{} descriptors are open, {first} were after {SETTLED} cases",
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
