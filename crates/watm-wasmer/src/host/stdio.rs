//! The guest's standard streams: log lines of the module, or the host's own streams.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{RecvFlags, SendFlags};
use watm_abi::Errno;

use crate::host::log_lines::{LineLogger, LogTarget};

/// What a module's standard streams are connected to.
///
/// ```
/// use watm_wasmer::{Dialer, Stdio, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// // What it complains of goes to the terminal as it is; the rest goes to the log.
/// let stdio = Stdio::InheritSome { stdin: false, stdout: false, stderr: true };
/// let dialer = Dialer::builder(&module).stdio(stdio).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stdio {
    /// Standard output and error become log lines at level `info`, with the target
    /// `watm::module::NAME`. Standard input is empty.
    ///
    /// Lines are cut at 1,024 bytes, and control characters are escaped. Lines beyond 200 a second,
    /// or beyond 1,000 for all instances of the dialer, listener or relay, are only counted.
    /// Modules see that the stream is not a terminal, so most of them write standard output in
    /// whole buffers.
    #[default]
    Log,
    /// The host's own standard streams.
    Inherit,
    /// The host's own standard streams where it says so. The others are as with [`Stdio::Log`].
    InheritSome {
        /// Whether standard input is the host's.
        stdin: bool,
        /// Whether standard output is the host's.
        stdout: bool,
        /// Whether standard error is the host's.
        stderr: bool,
    },
    /// Output is dropped, and standard input is empty.
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
        let rate = Arc::default();
        let log = || Self::Log(LineLogger::new(target, &rate));
        match stdio {
            Stdio::Log => [Self::Empty, log(), log()],
            Stdio::Inherit => [Self::HostInput, Self::HostOutput, Self::HostError],
            Stdio::InheritSome {
                stdin,
                stdout,
                stderr,
            } => [
                if stdin { Self::HostInput } else { Self::Empty },
                if stdout { Self::HostOutput } else { log() },
                if stderr { Self::HostError } else { log() },
            ],
            Stdio::Null => [Self::Empty, Self::Null, Self::Null],
        }
    }

    /// Whether a read would return without waiting.
    pub(crate) fn is_readable(&self) -> bool {
        !matches!(self, Self::HostInput)
            || is_ready(io::stdin().as_fd(), PollFlags::IN, Duration::ZERO)
    }

    /// Reads. Returns `Again` if the host's standard input has nothing within a short while.
    pub(crate) fn read(&mut self, into: &mut [u8], wait: Duration) -> Result<usize, Errno> {
        match self {
            Self::Empty => Ok(0),
            Self::HostInput => read_host(io::stdin().as_fd(), into, wait),
            _ => Err(Errno::Badf),
        }
    }

    /// Writes all or part. Returns `Again` if the host's stream takes nothing within a short while.
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

/// Maximum number of bytes of one write. A pipe that takes any takes this many at once.
const PIECE: usize = 4096;
/// How long a guest rests when a stream is ready but still takes nothing. There is no event to wait
/// for then, and without a rest the guest would spin.
const HINDERED: Duration = Duration::from_millis(5);

/// How to use a stream of the host without ever waiting in the call. A stream may be ready for one
/// guest but not for two, and a terminal may be ready for less than a line.
enum Way {
    /// A pipe or a device, opened again. On the original, the non-blocking flag belongs to the
    /// application.
    Reopened(OwnedFd),
    Socket,
    /// A file, which does not wait for anybody, or something that cannot be opened again.
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

/// The result of a read or write. An interruption by a signal just means to try again.
fn moved(result: io::Result<usize>) -> Result<usize, Errno> {
    result.map_err(|error| match Errno::from_io(&error) {
        Errno::Intr => Errno::Again,
        errno => errno,
    })
}

/// Whether a stream of the host is ready, or becomes ready within a short while.
fn is_ready(stream: BorrowedFd<'_>, events: PollFlags, wait: Duration) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(stream, events)];
    // These waits take milliseconds.
    let wait = Timespec::try_from(wait).unwrap_or_default();
    rustix::event::poll(&mut poll, Some(&wait)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests;
