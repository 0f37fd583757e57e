//! The guest's standard streams: log lines of the module, or the host's own streams.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use watm_abi::Errno;

use crate::link::lock;

/// Bytes of a log line at most; longer lines are cut into several.
const LINE_LIMIT: usize = 1024;
/// Log lines of one stream of an instance per second at most; more are counted, not logged.
const LINES_PER_SECOND: u32 = 200;
/// Log lines of all instances of a dialer, listener or relay together, likewise.
const ALL_LINES_PER_SECOND: u32 = 1000;

/// What a module's standard streams are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stdio {
    /// Standard output and error become log lines at level `info`, with the target
    /// `watm::module::NAME`; standard input is empty. Lines are cut at 1,024 bytes, control
    /// characters are escaped, and beyond 200 lines a second, or 1,000 of all
    /// instances of the dialer, listener or relay, the rest is only counted.
    #[default]
    Log,
    /// The host's own standard streams.
    Inherit,
    /// Output is dropped, standard input is empty.
    Null,
}

/// One standard stream of one guest.
pub(crate) enum StdStream {
    Empty,
    Null,
    Log(LineLogger),
    HostInput,
    HostOutput,
    HostError,
}

impl StdStream {
    /// The three streams of a guest.
    pub(crate) fn all(stdio: Stdio, target: &Arc<LogTarget>) -> [Self; 3] {
        match stdio {
            Stdio::Log => {
                let log = || Self::Log(LineLogger::new(Arc::clone(target)));
                [Self::Empty, log(), log()]
            }
            Stdio::Inherit => [Self::HostInput, Self::HostOutput, Self::HostError],
            Stdio::Null => [Self::Empty, Self::Null, Self::Null],
        }
    }

    /// Whether a read would not have to wait.
    pub(crate) fn is_readable(&self) -> bool {
        !matches!(self, Self::HostInput)
            || is_ready(libc::STDIN_FILENO, libc::POLLIN, Duration::ZERO)
    }

    /// Reads; `Again` if the host's standard input has nothing within a short while.
    pub(crate) fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, Errno> {
        match self {
            Self::Empty => Ok(0),
            Self::HostInput if is_ready(libc::STDIN_FILENO, libc::POLLIN, wait) => {
                // SAFETY: the pointer and the length are those of a slice that can be written.
                moved(unsafe {
                    libc::read(libc::STDIN_FILENO, into.as_mut_ptr().cast(), into.len())
                })
            }
            Self::HostInput => Err(Errno::Again),
            _ => Err(Errno::Badf),
        }
    }

    /// Writes a part or all; `Again` if the host's stream takes nothing within a short while.
    pub(crate) fn write(&mut self, data: &[u8], wait: Duration) -> Result<usize, Errno> {
        match self {
            Self::Null => Ok(data.len()),
            Self::Log(logger) => {
                logger.write(data);
                Ok(data.len())
            }
            Self::HostOutput => write_host(libc::STDOUT_FILENO, data, wait),
            Self::HostError => write_host(libc::STDERR_FILENO, data, wait),
            Self::Empty | Self::HostInput => Err(Errno::Badf),
        }
    }

    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Empty | Self::HostInput)
    }
}

/// Bytes that a pipe takes without blocking once it takes any.
const PIECE: usize = 512;

fn write_host(fd: libc::c_int, data: &[u8], wait: Duration) -> Result<usize, Errno> {
    if !is_ready(fd, libc::POLLOUT, wait) {
        return Err(Errno::Again);
    }
    let piece = &data[..data.len().min(PIECE)];
    // SAFETY: the pointer and the length are those of a slice.
    moved(unsafe { libc::write(fd, piece.as_ptr().cast(), piece.len()) })
}

/// The result of a read or write; an interruption by a signal is no more than a try again.
fn moved(len: libc::ssize_t) -> Result<usize, Errno> {
    usize::try_from(len).map_err(|_| match Errno::from_io(&io::Error::last_os_error()) {
        Errno::Intr => Errno::Again,
        errno => errno,
    })
}

/// Whether a stream of the host is ready, or becomes so within a short while.
fn is_ready(fd: libc::c_int, events: libc::c_short, wait: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let wait = libc::c_int::try_from(wait.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to one pollfd, which lives here.
    unsafe { libc::poll(&raw mut poll, 1, wait) > 0 }
}

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
    rate: Rate,
}

/// How many lines were logged, and how many were not.
#[derive(Debug, Default)]
struct Rate {
    second: Option<Instant>,
    logged: u32,
    dropped: u64,
}

impl Rate {
    /// Whether another line may be logged now; and how many were not in the second before, if a
    /// new one has begun.
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
    /// The target of a module's lines.
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
    pub(crate) fn new(target: Arc<LogTarget>) -> Self {
        Self {
            target,
            line: Vec::new(),
            rate: Rate::default(),
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
        let (admitted, dropped) = self.rate.admit(LINES_PER_SECOND);
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
        self.report(self.rate.dropped);
    }
}

/// The text of a line, with all that could drive a terminal or forge a second line escaped.
fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(line).chars() {
        if c.is_control() && c != '\t' {
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

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable(b"a\x1b[31mb\tc\r"), "a\\u{1b}[31mb\tc");
        assert_eq!(printable(b"\xff\xc2\x9b"), "\u{fffd}\\u{9b}");
    }

    #[test]
    fn a_flood_is_bounded_in_lines_and_memory() {
        let mut logger = LineLogger::new(LogTarget::of("test").into());
        for _ in 0..1000 {
            logger.write(b"x\n");
        }
        assert!(logger.rate.logged <= LINES_PER_SECOND && logger.rate.dropped >= 500);
        logger.write(&vec![b'y'; 100 * LINE_LIMIT]);
        assert!(logger.line.capacity() <= 2 * LINE_LIMIT);
    }

    #[test]
    fn many_instances_together_are_bounded_too() {
        let target = Arc::new(LogTarget::of("test"));
        let begun = Instant::now();
        let mut loggers: Vec<_> = (0..40)
            .map(|_| LineLogger::new(Arc::clone(&target)))
            .collect();
        for logger in &mut loggers {
            // As many as one may by itself.
            for _ in 0..LINES_PER_SECOND {
                logger.write(b"x\n");
            }
        }
        // All but a thousand for each second that it took were dropped.
        let seconds = 1 + begun.elapsed().as_secs();
        let all = lock(&target.all);
        if seconds == 1 {
            assert_eq!((all.logged, all.dropped), (ALL_LINES_PER_SECOND, 7000));
        }
        assert!(all.logged <= ALL_LINES_PER_SECOND);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut logger = LineLogger::new(LogTarget::of("test").into());
        logger.write(b"half a ");
        assert_eq!(logger.line, b"half a ");
        logger.write(b"line\nnext");
        assert_eq!(logger.line, b"next");
        assert_eq!(logger.rate.logged, 1);
    }

    #[test]
    fn a_rate_admits_so_many_a_second_and_tells_of_the_rest_in_the_next() {
        let mut rate = Rate::default();
        let admitted = (0..500).filter(|_| rate.admit(300).0).count();
        assert_eq!((admitted, rate.dropped), (300, 200));
        rate.second = rate.second.map(|second| second - Duration::from_secs(1));
        assert_eq!(rate.admit(300), (true, 200));
        assert_eq!(rate.admit(300), (true, 0));
    }
}
