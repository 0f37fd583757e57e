//! The guest's standard streams: log lines of the module, or the host's own streams.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_abi::Errno;

/// Bytes of a log line at most; longer lines are cut into several.
const LINE_LIMIT: usize = 1024;
/// Log lines of one module instance per second at most; more are counted, not logged.
const LINES_PER_SECOND: u32 = 200;

/// What a module's standard streams are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stdio {
    /// Standard output and error become log lines at level `info`, with the target
    /// `watm::module::NAME`; standard input is empty. Lines are cut at 1,024 bytes, control
    /// characters are escaped, and beyond 200 lines a second the rest is only counted.
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
    pub(crate) fn all(stdio: Stdio, target: &Arc<str>) -> [Self; 3] {
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
        !matches!(self, Self::HostInput) || host_input_is_readable(Duration::ZERO)
    }

    /// Reads; `Again` if the host's standard input has nothing within a short while.
    pub(crate) fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, Errno> {
        match self {
            Self::Empty => Ok(0),
            Self::HostInput if host_input_is_readable(wait) => io::stdin()
                .lock()
                .read(into)
                .map_err(|error| Errno::from_io(&error)),
            Self::HostInput => Err(Errno::Again),
            _ => Err(Errno::Badf),
        }
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        fn all(mut to: impl Write, data: &[u8]) -> Result<(), Errno> {
            to.write_all(data)
                .and_then(|()| to.flush())
                .map_err(|error| Errno::from_io(&error))
        }
        match self {
            Self::Null => Ok(()),
            Self::Log(logger) => {
                logger.write(data);
                Ok(())
            }
            Self::HostOutput => all(io::stdout().lock(), data),
            Self::HostError => all(io::stderr().lock(), data),
            Self::Empty | Self::HostInput => Err(Errno::Badf),
        }
    }

    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Empty | Self::HostInput)
    }
}

fn host_input_is_readable(wait: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: libc::STDIN_FILENO,
        events: libc::POLLIN,
        revents: 0,
    };
    let wait = libc::c_int::try_from(wait.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to one pollfd, which lives here.
    unsafe { libc::poll(&raw mut poll, 1, wait) > 0 }
}

/// Turns what a guest writes into bounded log lines.
pub(crate) struct LineLogger {
    target: Arc<str>,
    line: Vec<u8>,
    second: Instant,
    logged: u32,
    dropped: u64,
}

impl LineLogger {
    pub(crate) fn new(target: Arc<str>) -> Self {
        Self {
            target,
            line: Vec::new(),
            second: Instant::now(),
            logged: 0,
            dropped: 0,
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
        if self.admit() {
            log::info!(target: &self.target, "{}", printable(&line));
        }
    }

    /// Whether another line may be logged now.
    fn admit(&mut self) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.report_dropped();
            self.second = Instant::now();
            self.logged = 0;
        }
        let admitted = self.logged < LINES_PER_SECOND;
        if admitted {
            self.logged += 1;
        } else {
            self.dropped += 1;
        }
        admitted
    }

    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            log::warn!(target: &self.target, "{} more lines were dropped", self.dropped);
            self.dropped = 0;
        }
    }
}

impl Drop for LineLogger {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.finish_line();
        }
        self.report_dropped();
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
        let mut logger = LineLogger::new("watm::module::test".into());
        for _ in 0..1000 {
            logger.write(b"x\n");
        }
        assert!(logger.logged <= LINES_PER_SECOND && logger.dropped >= 500);
        logger.write(&vec![b'y'; 100 * LINE_LIMIT]);
        assert!(logger.line.capacity() <= 2 * LINE_LIMIT);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut logger = LineLogger::new("watm::module::test".into());
        logger.write(b"half a ");
        assert_eq!(logger.line, b"half a ");
        logger.write(b"line\nnext");
        assert_eq!(logger.line, b"next");
        assert_eq!(logger.logged, 1);
    }
}
