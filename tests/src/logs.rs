//! Log lines, captured by target, so that tests can wait for what a module logs.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::SHORT;

/// A captured line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// What it says.
    pub text: String,
}

struct Capture {
    lines: Mutex<Option<HashMap<String, Vec<Line>>>>,
    changed: Condvar,
}

static CAPTURE: Capture = Capture {
    lines: Mutex::new(None),
    changed: Condvar::new(),
};

/// The lines of one target of the runtime. Capturing begins with the first value of this type, so
/// create it before the lines that it should capture.
#[derive(Clone, Debug)]
pub struct Logs {
    target: String,
}

impl Logs {
    /// The lines of a module, which it has written to its standard streams.
    pub fn of_module(name: &str) -> Self {
        Self::of_target(&format!("watm::module::{name}"))
    }

    /// The lines of a target.
    pub fn of_target(target: &str) -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            log::set_logger(&CAPTURE).expect("there is no other logger");
            log::set_max_level(LevelFilter::Debug);
        });
        Self {
            target: target.to_owned(),
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<Line> {
        let lines = CAPTURE.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .as_ref()
            .and_then(|lines| lines.get(&self.target))
            .cloned()
            .unwrap_or_default()
    }

    /// The texts of the lines so far.
    pub fn texts(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.text).collect()
    }

    /// Waits until `find` finds something in the lines.
    ///
    /// # Panics
    ///
    /// Panics if it does not in time.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Line]) -> Option<T>) -> T {
        let deadline = Instant::now() + SHORT;
        let mut guard = CAPTURE.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let lines = guard.as_ref().and_then(|lines| lines.get(&self.target));
            let lines = lines.map_or(&[][..], Vec::as_slice);
            if let Some(found) = find(lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = &lines[lines.len().saturating_sub(20)..];
                let last = format!("{last:?}");
                drop(guard);
                panic!(
                    "{} never logged {what}; the last lines: {last}",
                    self.target
                );
            }
            let waited = CAPTURE.changed.wait_timeout(guard, left);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line that begins with `start`, and returns the rest of that line.
    #[track_caller]
    pub fn after(&self, start: &str) -> String {
        self.wait(&format!("a line that begins with {start:?}"), |lines| {
            lines
                .iter()
                .find_map(|line| line.text.strip_prefix(start).map(str::to_owned))
        })
    }

    /// Waits for `count` lines that begin with `start`, and returns the rest of each.
    #[track_caller]
    pub fn all_after(&self, start: &str, count: usize) -> Vec<String> {
        let what = format!("{count} lines that begin with {start:?}");
        self.wait(&what, |lines| {
            let found = lines
                .iter()
                .filter_map(|line| line.text.strip_prefix(start));
            let found: Vec<_> = found.map(str::to_owned).collect();
            (found.len() >= count).then_some(found)
        })
    }
}

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("watm")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = Line {
            level: record.level(),
            text: record.args().to_string(),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.get_or_insert_default();
        lines
            .entry(record.target().to_owned())
            .or_default()
            .push(line);
        self.changed.notify_all();
    }

    fn flush(&self) {}
}
