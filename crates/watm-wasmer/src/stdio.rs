//! The guest's standard streams: log lines of the module, or the host's own streams.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{RecvFlags, SendFlags};
use watm_abi::{Errno, is_disruptive};

use crate::channel::sync::lock;

/// Bytes of a log line at most; longer lines are cut into several.
const LINE_LIMIT: usize = 1024;
/// Log lines of an instance per second at most; more are counted, not logged.
const LINES_PER_SECOND: u32 = 200;
/// Log lines of all instances of a dialer, listener or relay together, likewise.
const ALL_LINES_PER_SECOND: u32 = 1000;

/// What a module's standard streams are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stdio {
    /// Standard output and error become log lines at level `info`, with the target
    /// `watm::module::NAME`; standard input is empty. Lines are cut at 1,024 bytes, control
    /// characters are escaped, and beyond 200 lines a second, or 1,000 of all instances of the
    /// dialer, listener or relay, the rest is only counted. Modules see that it is no terminal, so
    /// that most write standard output in whole buffers.
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
                let rate = Arc::default();
                let log = || Self::Log(LineLogger::new(target, &rate));
                [Self::Empty, log(), log()]
            }
            Stdio::Inherit => [Self::HostInput, Self::HostOutput, Self::HostError],
            Stdio::Null => [Self::Empty, Self::Null, Self::Null],
        }
    }

    /// Whether a read would not have to wait.
    pub(crate) fn is_readable(&self) -> bool {
        !matches!(self, Self::HostInput)
            || is_ready(io::stdin().as_fd(), PollFlags::IN, Duration::ZERO)
    }

    /// Reads; `Again` if the host's standard input has nothing within a short while.
    pub(crate) fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, Errno> {
        match self {
            Self::Empty => Ok(0),
            Self::HostInput => read_host(io::stdin().as_fd(), into, wait),
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
            Self::HostOutput => write_host(io::stdout().as_fd(), data, wait),
            Self::HostError => write_host(io::stderr().as_fd(), data, wait),
            Self::Empty | Self::HostInput => Err(Errno::Badf),
        }
    }

    /// Whether a person may sit at the other end.
    pub(crate) fn is_terminal(&self) -> bool {
        match self {
            Self::HostInput => io::stdin().is_terminal(),
            Self::HostOutput => io::stdout().is_terminal(),
            Self::HostError => io::stderr().is_terminal(),
            Self::Empty | Self::Null | Self::Log(_) => false,
        }
    }

    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Empty | Self::HostInput)
    }
}

/// Bytes of one write at most: a pipe takes them at once when it takes any.
const PIECE: usize = 4096;
/// How long a guest rests when a stream is ready and takes nothing nevertheless: there is no event to
/// wait for then, and without a rest it would spin.
const HINDERED: Duration = Duration::from_millis(5);

/// How a stream of the host is used without ever waiting in the call. It may be readier for one guest
/// than for two, and a terminal is ready for less than a line.
enum Way {
    /// A pipe or a device, opened once more: the flag that says so is the application's on its own.
    Reopened(OwnedFd),
    Socket,
    /// A file, which does not wait for anybody; or something that cannot be opened again.
    AsItIs,
}

impl Way {
    fn to(stream: BorrowedFd<'_>, access: OFlags) -> io::Result<Self> {
        Ok(
            match FileType::from_raw_mode(rustix::fs::fstat(stream)?.st_mode) {
                FileType::Fifo | FileType::CharacterDevice => {
                    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
                    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                    rustix::fs::open(path, flags, Mode::empty())
                        .map_or(Self::AsItIs, Self::Reopened)
                }
                FileType::Socket => Self::Socket,
                _ => Self::AsItIs,
            },
        )
    }
}

fn read_host(stream: BorrowedFd<'_>, into: &mut [u8], wait: Duration) -> Result<usize, Errno> {
    if !is_ready(stream, PollFlags::IN, wait) {
        return Err(Errno::Again);
    }
    let read = || match Way::to(stream, OFlags::RDONLY)? {
        Way::Reopened(stream) => Ok(rustix::io::read(stream, into)?),
        Way::Socket => Ok(rustix::net::recv(stream, into, RecvFlags::DONTWAIT)?.0),
        Way::AsItIs => Ok(rustix::io::read(stream, into)?),
    };
    moved(read())
}

fn write_host(stream: BorrowedFd<'_>, data: &[u8], wait: Duration) -> Result<usize, Errno> {
    if !is_ready(stream, PollFlags::OUT, wait) {
        return Err(Errno::Again);
    }
    let piece = &data[..data.len().min(PIECE)];
    let write = || match Way::to(stream, OFlags::WRONLY)? {
        Way::Reopened(stream) => Ok(rustix::io::write(stream, piece)?),
        Way::Socket => {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            Ok(rustix::net::send(stream, piece, flags)?)
        }
        Way::AsItIs => Ok(rustix::io::write(stream, piece)?),
    };
    let written = moved(write());
    if written == Err(Errno::Again) {
        thread::sleep(wait.min(HINDERED));
    }
    written
}

/// The result of a read or write; an interruption by a signal is no more than a try again.
fn moved(result: io::Result<usize>) -> Result<usize, Errno> {
    result.map_err(|error| match Errno::from_io(&error) {
        Errno::Intr => Errno::Again,
        errno => errno,
    })
}

/// Whether a stream of the host is ready, or becomes so within a short while.
fn is_ready(stream: BorrowedFd<'_>, events: PollFlags, wait: Duration) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(stream, events)];
    // The times that are waited are milliseconds.
    let wait = Timespec::try_from(wait).unwrap_or_default();
    rustix::event::poll(&mut poll, Some(&wait)).is_ok_and(|ready| ready > 0)
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
    /// That of all streams of the instance.
    rate: Arc<Mutex<Rate>>,
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
    fn new(target: &Arc<LogTarget>, rate: &Arc<Mutex<Rate>>) -> Self {
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

/// The text of a line, with all that could drive a terminal or forge a second line escaped. Cut where
/// that has made it longer than a line may be.
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
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::FromRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;

    /// Enough for a machine that is busy with other things.
    const LIMIT: Duration = Duration::from_secs(30);

    /// A terminal that nobody looks at: whoever does would be the first.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let (mut theirs, mut ours) = (-1, -1);
        let none = std::ptr::null_mut();
        // SAFETY: the two numbers are filled in with descriptors that are nobody else's.
        unsafe {
            let opened = libc::openpty(
                &raw mut theirs,
                &raw mut ours,
                none,
                none.cast(),
                none.cast(),
            );
            assert_eq!(opened, 0);
            (OwnedFd::from_raw_fd(theirs), OwnedFd::from_raw_fd(ours))
        }
    }

    /// Each stream that can be full, and its other end.
    fn streams() -> [(OwnedFd, OwnedFd); 3] {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (one, other) = UnixStream::pair().expect("a pair");
        let (theirs, ours) = terminal();
        [
            (writer.into(), reader.into()),
            (one.into(), other.into()),
            (ours, theirs),
        ]
    }

    #[test]
    fn a_stream_that_nobody_reads_holds_no_guest() {
        for (stream, other) in streams() {
            let stream = Arc::new(stream);
            let (done, awaited) = mpsc::channel();
            // Lines, which a terminal makes longer than they were.
            for data in [[b'\n'; 3000], [b'x'; 3000]].repeat(16) {
                let (stream, done) = (Arc::clone(&stream), done.clone());
                thread::spawn(move || {
                    let wait = Duration::from_millis(1);
                    let mut all = 0;
                    loop {
                        match write_host(stream.as_fd(), &data, wait) {
                            Ok(len) => all += len,
                            Err(errno) => return done.send((errno, all)),
                        }
                    }
                });
            }
            let ends = (0..32).map(|_| awaited.recv_timeout(LIMIT).expect("it waits"));
            let mut all = 0;
            for (errno, taken) in ends {
                assert_eq!(errno, Errno::Again);
                all += taken;
            }
            assert_ne!(all, 0);
            drop(other);
        }
    }

    #[test]
    fn a_stream_that_has_something_for_one_guest_holds_no_other() {
        for (stream, other) in streams() {
            // A terminal is written by who types.
            let (stream, other) = if stream.is_terminal() {
                (stream, other)
            } else {
                (other, stream)
            };
            let mut other = File::from(other);
            let stream = Arc::new(stream);
            let (done, awaited) = mpsc::channel();
            for round in 1..=10 {
                for _ in 0..8 {
                    let (stream, done) = (Arc::clone(&stream), done.clone());
                    thread::spawn(move || {
                        let mut into = [0; 100];
                        let read = read_host(stream.as_fd(), &mut into, Duration::from_millis(20));
                        done.send((read, into))
                    });
                }
                other.write_all(b"a line\n").expect("room");
                let mut found = Vec::new();
                for _ in 0..8 {
                    match awaited.recv_timeout(LIMIT).expect("it waits") {
                        (Ok(len), into) => found.extend_from_slice(&into[..len]),
                        (Err(errno), _) => assert_eq!(errno, Errno::Again),
                    }
                }
                // One that came late may find it in the next round.
                assert!(b"a line\n".repeat(round).starts_with(&found), "{found:?}");
            }
        }
    }

    #[test]
    fn a_file_is_written_and_read_at_the_place_of_the_application() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"its own, ").expect("room");
        let written = write_host(file.as_fd(), b"the guest's", Duration::ZERO);
        assert_eq!(written, Ok(11));
        io::Seek::rewind(&mut file).expect("a place");
        let mut into = [0; 9];
        assert_eq!(read_host(file.as_fd(), &mut into, Duration::ZERO), Ok(9));
        let mut rest = String::new();
        file.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "the guest's");
    }

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
            // As many as one may by itself.
            for _ in 0..LINES_PER_SECOND {
                logger.write(b"x\n");
            }
        }
        // All but a thousand were dropped.
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
