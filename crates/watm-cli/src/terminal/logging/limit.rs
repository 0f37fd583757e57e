//! Bounds how many lines of one kind are logged, so that what happens a million times does not fill
//! the disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

const WINDOW: Duration = Duration::from_secs(10);
/// Maximum number of kinds that are remembered. More than a program and its modules have.
const KINDS: usize = 4096;

/// A logger that leaves out lines beyond a limit.
pub(super) struct Limited<L> {
    inner: L,
    /// Maximum number of lines of a kind within the window; 0 for no limit.
    limit: u32,
    kinds: Mutex<Kinds>,
}

/// Where a line comes from.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    target: String,
    module: Option<&'static str>,
    line: Option<u32>,
    level: Level,
}

#[derive(Default)]
struct Kinds {
    windows: HashMap<Kind, Window>,
    /// When the first window ends of which lines were left out.
    due: Option<Instant>,
}

struct Window {
    begun: Instant,
    logged: u32,
    left_out: u64,
}

/// What was left out of a window that is over.
struct LeftOut {
    kind: Kind,
    lines: u64,
}

impl Kinds {
    /// Whether another line of this kind may be logged.
    fn admit(&mut self, kind: Kind, limit: u32, now: Instant) -> bool {
        if self.windows.len() >= KINDS && !self.windows.contains_key(&kind) {
            self.windows
                .retain(|_, window| window.is_open(now) || window.left_out > 0);
            if self.windows.len() >= KINDS {
                return false;
            }
        }
        let window = self.windows.entry(kind).or_insert(Window {
            begun: now,
            logged: 0,
            left_out: 0,
        });
        if !window.is_open(now) && window.left_out == 0 {
            window.begun = now;
            window.logged = 0;
        }
        if window.logged < limit {
            window.logged += 1;
            return true;
        }
        window.left_out += 1;
        let end = window.begun + WINDOW;
        self.due = Some(self.due.map_or(end, |due| due.min(end)));
        false
    }

    /// What was left out of windows that are over, or of all.
    fn settle(&mut self, now: Instant, all: bool) -> Vec<LeftOut> {
        if !all && self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut over = Vec::new();
        self.due = None;
        for (kind, window) in &mut self.windows {
            if window.left_out == 0 {
                continue;
            }
            if window.is_open(now) && !all {
                let end = window.begun + WINDOW;
                self.due = Some(self.due.map_or(end, |due| due.min(end)));
                continue;
            }
            over.push(LeftOut {
                kind: kind.clone(),
                lines: std::mem::take(&mut window.left_out),
            });
        }
        over
    }
}

impl Window {
    fn is_open(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) < WINDOW
    }
}

impl<L: Log> Limited<L> {
    pub(super) fn new(inner: L, limit: u32) -> Self {
        Self {
            inner,
            limit,
            kinds: Mutex::default(),
        }
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what was left out, a line for each kind.
    fn tell(&self, left_out: Vec<LeftOut>) {
        for LeftOut { kind, lines } in left_out {
            let place = match (kind.module, kind.line) {
                (Some(module), Some(line)) => format!(" (of {module}, line {line})"),
                _ => String::new(),
            };
            let mut record = Record::builder();
            let record = record.level(kind.level).target(&kind.target);
            let seconds = WINDOW.as_secs();
            self.inner.log(
                &record
                    .args(format_args!(
                        "{lines} more lines like these within {seconds} s were left out{place}"
                    ))
                    .build(),
            );
        }
    }
}

impl<L: Log> Log for Limited<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.inner.enabled(record.metadata()) {
            return;
        }
        // Whoever asks for details wants all of them.
        if self.limit == 0 || record.level() > LevelFilter::Info {
            return self.inner.log(record);
        }
        let kind = Kind {
            target: record.target().to_owned(),
            module: record.module_path_static(),
            line: record.line(),
            level: record.level(),
        };
        let now = Instant::now();
        let mut kinds = self.kinds();
        let left_out = kinds.settle(now, false);
        let is_admitted = kinds.admit(kind, self.limit, now);
        // Writing may be slow, so the lock is released before.
        drop(kinds);
        self.tell(left_out);
        if is_admitted {
            self.inner.log(record);
        }
    }

    /// Says what was left out lately, at the end of the program.
    fn flush(&self) {
        let left_out = self.kinds().settle(Instant::now(), true);
        self.tell(left_out);
        self.inner.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: u32) -> Kind {
        Kind {
            target: "t".to_owned(),
            module: None,
            line: Some(line),
            level: Level::Warn,
        }
    }

    #[test]
    fn each_kind_has_its_limit_and_what_was_left_out_is_told_once() {
        let mut kinds = Kinds::default();
        let start = Instant::now();
        for _ in 0..3 {
            assert!(kinds.admit(kind(1), 3, start));
        }
        for _ in 0..5 {
            assert!(!kinds.admit(kind(1), 3, start + WINDOW / 2));
        }
        assert!(
            kinds.admit(kind(2), 3, start),
            "another line is not concerned"
        );
        assert!(kinds.settle(start + WINDOW / 2, false).is_empty());
        let over = kinds.settle(start + WINDOW, false);
        assert_eq!(over.iter().map(|over| over.lines).collect::<Vec<_>>(), [5]);
        assert!(kinds.settle(start + WINDOW * 2, false).is_empty());
        assert!(kinds.admit(kind(1), 3, start + WINDOW), "a new window");
    }

    #[test]
    fn at_the_end_everything_is_told() {
        let mut kinds = Kinds::default();
        let start = Instant::now();
        assert!(kinds.admit(kind(1), 1, start));
        assert!(!kinds.admit(kind(1), 1, start));
        assert_eq!(kinds.settle(start, true).len(), 1);
        assert!(kinds.settle(start, true).is_empty());
    }

    #[test]
    fn the_memory_of_kinds_is_bounded() {
        let mut kinds = Kinds::default();
        let start = Instant::now();
        for line in 0..2 * KINDS as u32 {
            kinds.admit(kind(line), 1, start);
        }
        assert_eq!(kinds.windows.len(), KINDS);
        assert!(kinds.admit(kind(u32::MAX), 1, start + WINDOW));
        assert_eq!(kinds.windows.len(), 1);
    }
}
