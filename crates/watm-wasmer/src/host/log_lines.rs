//! Turns what a guest writes to its standard output and error into bounded log lines.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use watm_abi::is_disruptive;

use crate::channel::sync::lock;

/// Maximum number of bytes of a log line. Longer lines are split.
const LINE_LIMIT: usize = 1024;
/// Maximum number of log lines of an instance per second. Further lines are counted but not logged.
const LINES_PER_SECOND: u32 = 200;
/// The same maximum for all instances of a dialer, listener or relay together.
const ALL_LINES_PER_SECOND: u32 = 1000;

/// Where the log lines of all instances of a dialer, listener or relay go.
#[derive(Debug)]
pub(crate) struct LogTarget {
    name: String,
    all: Mutex<Rate>,
}

/// Turns what a guest writes into bounded log lines.
pub(crate) struct LineLogger {
    target: Arc<LogTarget>,
    line: Vec<u8>,
    /// The rate of all streams of the instance.
    rate: Arc<Mutex<Rate>>,
}

/// The number of lines that were logged, and of those that were not.
#[derive(Debug, Default)]
pub(super) struct Rate {
    second: Option<Instant>,
    logged: u32,
    dropped: u64,
}

impl Rate {
    /// Returns whether another line may be logged now. If a new second has begun, also returns how
    /// many lines were not logged in the one before.
    fn admit(&mut self, limit: u32) -> (bool, u64) {
        let now = Instant::now();
        let mut dropped = 0;
        let goes_on = |second| now.duration_since(second) < Duration::from_secs(1);
        if !self.second.is_some_and(goes_on) {
            dropped = std::mem::take(&mut self.dropped);
            self.second = Some(now);
            self.logged = 0;
        }
        let admitted = self.logged < limit;
        if admitted {
            self.logged += 1;
        } else {
            self.dropped += 1;
        }
        (admitted, dropped)
    }
}

impl LogTarget {
    /// The target for the lines of a module.
    pub(crate) fn of(module: &str) -> Self {
        Self {
            name: format!("watm::module::{module}"),
            all: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a line of any instance may be logged now.
    fn admit(&self) -> bool {
        let (admitted, dropped) = lock(&self.all).admit(ALL_LINES_PER_SECOND);
        if dropped > 0 {
            log::warn!(target: &self.name, "{dropped} lines of several instances were dropped");
        }
        admitted
    }
}

impl LineLogger {
    pub(super) fn new(target: &Arc<LogTarget>, rate: &Arc<Mutex<Rate>>) -> Self {
        Self {
            target: Arc::clone(target),
            line: Vec::new(),
            rate: Arc::clone(rate),
        }
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let piece = &rest[..end.unwrap_or(rest.len())];
            let room = LINE_LIMIT - self.line.len();
            if piece.len() > room {
                self.line.extend_from_slice(&piece[..room]);
                rest = &rest[room..];
                self.finish_line();
                continue;
            }
            self.line.extend_from_slice(piece);
            match end {
                Some(end) => {
                    rest = &rest[end + 1..];
                    self.finish_line();
                }
                None => return,
            }
        }
    }

    fn finish_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let (admitted, dropped) = lock(&self.rate).admit(LINES_PER_SECOND);
        self.report(dropped);
        if admitted && self.target.admit() {
            log::info!(target: self.target.name(), "{}", printable(&line));
        }
    }

    fn report(&self, dropped: u64) {
        if dropped > 0 && self.target.admit() {
            log::warn!(target: self.target.name(), "{dropped} more lines were dropped");
        }
    }
}

impl Drop for LineLogger {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.finish_line();
        }
        let dropped = std::mem::take(&mut lock(&self.rate).dropped);
        self.report(dropped);
    }
}

/// The text of a line. Everything that could drive a terminal or forge a second line is escaped.
/// The text is cut where escaping has made it longer than a line may be.
fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(line).chars() {
        if text.len() >= LINE_LIMIT {
            text.push_str("..");
            break;
        }
        if is_disruptive(c) && c != '\t' {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::stdio::{StdStream, Stdio};

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable(b"a\x1b[31mb\tc\r"), "a\\u{1b}[31mb\tc");
        assert_eq!(printable(b"\xff\xc2\x9b"), "\u{fffd}\\u{9b}");
        let reversed = "a\u{202e}b\u{2028}c\u{feff}".as_bytes();
        assert_eq!(printable(reversed), "a\\u{202e}b\\u{2028}c\\u{feff}");
        let longest = printable(&[0x7f; LINE_LIMIT]);
        assert!(longest.len() < LINE_LIMIT + 16, "{longest}");
        assert_eq!(printable(&[b'x'; LINE_LIMIT]).len(), LINE_LIMIT);
    }

    /// A rate whose second lasts as long as the test.
    fn endless() -> Rate {
        Rate {
            second: Some(Instant::now() + Duration::from_secs(3600)),
            ..Rate::default()
        }
    }

    #[test]
    fn a_flood_is_bounded_in_lines_and_memory() {
        let target = Arc::new(LogTarget::of("test"));
        match StdStream::all(Stdio::Log, &target) {
            [_, StdStream::Log(out), StdStream::Log(err)] => {
                assert!(Arc::ptr_eq(&out.rate, &err.rate), "they count together");
            }
            _ => panic!("they are logged"),
        }
        let rate = Arc::new(Mutex::new(endless()));
        let mut loggers = [(); 2].map(|()| LineLogger::new(&target, &rate));
        for _ in 0..500 {
            for logger in &mut loggers {
                logger.write(b"x\n");
            }
        }
        {
            let rate = lock(&rate);
            assert_eq!((rate.logged, rate.dropped), (LINES_PER_SECOND, 800));
        }
        let mut logger = LineLogger::new(&target, &rate);
        logger.write(&vec![b'y'; 100 * LINE_LIMIT]);
        assert!(logger.line.capacity() <= 2 * LINE_LIMIT);
    }

    #[test]
    fn many_instances_together_are_bounded_too() {
        let target = Arc::new(LogTarget::of("test"));
        *lock(&target.all) = endless();
        let mut loggers: Vec<_> = (0..40)
            .map(|_| LineLogger::new(&target, &Arc::default()))
            .collect();
        for logger in &mut loggers {
            // As many lines as one instance may log by itself.
            for _ in 0..LINES_PER_SECOND {
                logger.write(b"x\n");
            }
        }
        // All lines but a thousand were dropped.
        let all = lock(&target.all);
        assert_eq!((all.logged, all.dropped), (ALL_LINES_PER_SECOND, 7000));
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let target = Arc::new(LogTarget::of("test"));
        let mut logger = LineLogger::new(&target, &Arc::default());
        logger.write(b"half a ");
        assert_eq!(logger.line, b"half a ");
        logger.write(b"line\nnext");
        assert_eq!(logger.line, b"next");
        assert_eq!(lock(&logger.rate).logged, 1);
    }

    #[test]
    fn a_rate_admits_so_many_a_second_and_tells_of_the_rest_in_the_next() {
        let mut rate = endless();
        let admitted = (0..500).filter(|_| rate.admit(300).0).count();
        assert_eq!((admitted, rate.dropped), (300, 200));
        rate.second = Instant::now().checked_sub(Duration::from_secs(1));
        assert_eq!(rate.admit(300), (true, 200));
        assert!(rate.second.is_some_and(|second| second <= Instant::now()));
        assert_eq!(rate.admit(300), (true, 0));
    }
}
