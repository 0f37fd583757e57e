//! The command in a separate process, and what it took according to the system.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::case::told;
use crate::scene::Scene;

/// Maximum writable memory of a command that only reads a file or carries one connection. Without
/// this limit, the worst inputs would bring the machine down.
const MEMORY_LIMIT: u64 = 3 << 30;
/// The same for a command that serves many. It includes stacks that nobody touches.
const MEMORY_LIMIT_OF_SERVICE: u64 = 64 << 30;
/// Limit for a wait, beyond the command's processor time.
const PATIENCE: Duration = Duration::from_secs(40);
/// Number of bytes of a stream that are kept for display.
const KEPT: usize = 4096;

/// What happens to the command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// All of it is read.
    Read,
    /// Only the first line is read while the command runs.
    Unread,
    /// It is closed after the first line.
    Closed,
}

/// A running command. It is killed on drop.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) stdin: Option<ChildStdin>,
    begun: Instant,
    processor: Duration,
    stdout: JoinHandle<Heard>,
    stderr: JoinHandle<Heard>,
    first_line: Receiver<String>,
    /// Lets unread streams continue to their end.
    release: Vec<Sender<()>>,
    ended: bool,
}

/// What came on a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: u64,
    /// Length of the longest line, in characters.
    pub(crate) longest: usize,
    panicked: bool,
    start: Vec<u8>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
    /// It had to be killed.
    Hung,
}

/// A command that has ended.
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) processor: Duration,
    /// Peak of resident memory, in bytes.
    pub(crate) peak: u64,
    pub(crate) stdout: Heard,
    pub(crate) stderr: Heard,
}

impl Child {
    /// Starts the command under test. The system ends it when it has used twice its processor time
    /// and a few seconds more.
    pub(crate) fn start(
        scene: &Scene,
        args: &[String],
        processor: Duration,
        output: Output,
    ) -> Result<Self, String> {
        let mut process = Command::new(scene.watm())
            .args(args)
            .env_remove("RUST_LOG")
            .env("RUST_BACKTRACE", "0")
            .env("XDG_CACHE_HOME", scene.directory().join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", scene.watm().display()))?;
        let seconds = 2 * processor.as_secs() + 3;
        let memory = if args.iter().any(|arg| arg == "--listen") {
            MEMORY_LIMIT_OF_SERVICE
        } else {
            MEMORY_LIMIT
        };
        limit(Pid::from_child(&process), Resource::Data, memory)?;
        limit(Pid::from_child(&process), Resource::Cpu, seconds)?;
        let (tell, first_line) = unbounded();
        let mut release = Vec::new();
        let mut follow = |stream: Box<dyn Read + Send>, tell| {
            let (released, wait) = unbounded();
            release.push(released);
            thread::spawn(move || Heard::from(stream, output, tell, &wait))
        };
        let stdout = process.stdout.take().ok_or("no standard output")?;
        let stderr = process.stderr.take().ok_or("no standard error")?;
        Ok(Self {
            stdout: follow(Box::new(stdout), Some(tell)),
            stderr: follow(Box::new(stderr), None),
            stdin: process.stdin.take(),
            process,
            begun: Instant::now(),
            processor,
            first_line,
            release,
            ended: false,
        })
    }

    /// The first line of its output.
    pub(crate) fn first_line(&self) -> Result<String, String> {
        self.first_line
            .recv_timeout(PATIENCE)
            .map_err(|_| "it did not say where it listens".into())
    }

    /// A file that the system keeps about the process.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.process.id()))
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
    }

    /// Waits for its end, and kills it if it does not end in time.
    pub(crate) fn wait(mut self, within: Option<Duration>) -> Result<Ended, String> {
        drop(self.stdin.take());
        let patience = within.unwrap_or(2 * self.processor + PATIENCE);
        let deadline = Instant::now() + patience;
        let mut hung = false;
        let (status, usage) = loop {
            if let Some(found) = self.look()? {
                break found;
            }
            if !hung && Instant::now() > deadline {
                hung = true;
                // The process has not been waited for, so its id is still valid.
                let _ = self.process.kill();
            }
            thread::sleep(Duration::from_millis(1));
        };
        self.ended = true;
        self.release.clear();
        let heard = |stream: JoinHandle<Heard>| stream.join().unwrap_or_default();
        // Replaced, because a type with a destructor cannot be destructured.
        let none = || thread::spawn(Heard::default);
        let stdout = heard(std::mem::replace(&mut self.stdout, none()));
        let stderr = heard(std::mem::replace(&mut self.stderr, none()));
        let end = if hung {
            End::Hung
        } else if libc::WIFEXITED(status) {
            End::Code(libc::WEXITSTATUS(status))
        } else {
            End::Signal(libc::WTERMSIG(status))
        };
        Ok(Ended {
            end,
            processor: time(usage.ru_utime) + time(usage.ru_stime),
            peak: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
            stdout,
            stderr,
        })
    }

    /// How it ended and what it took, if it has ended.
    fn look(&self) -> Result<Option<(i32, libc::rusage)>, String> {
        let pid = self.process.id() as libc::pid_t;
        let mut status = 0;
        // SAFETY: `rusage` is a record of numbers, which may be all zeros. Both pointers are to
        // locals that outlive the call.
        let (found, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            let found = libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage);
            (found, usage)
        };
        match found {
            0 => Ok(None),
            -1 => Err(told(std::io::Error::last_os_error())),
            _ => Ok(Some((status, usage))),
        }
    }

    /// Time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

impl Heard {
    /// Reads a stream to its end.
    fn from(
        mut stream: Box<dyn Read + Send>,
        output: Output,
        tell: Option<Sender<String>>,
        released: &Receiver<()>,
    ) -> Self {
        let mut heard = Self::default();
        let mut line = 0;
        let mut buffer = vec![0; 65536];
        let mut tell = tell;
        // Only the stream with the expected first line is left unread after it.
        let mut holds = output != Output::Read;
        if holds && tell.is_none() {
            if output == Output::Closed {
                return heard;
            }
            let _ = released.recv();
            holds = false;
        }
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            heard.take(&buffer[..len], &mut line);
            if let Some(end) = heard.start.iter().position(|byte| *byte == b'\n')
                && let Some(tell) = tell.take()
            {
                let first = String::from_utf8_lossy(&heard.start[..end]);
                let _ = tell.send(first.into_owned());
                if holds && output == Output::Closed {
                    return heard;
                }
                if holds {
                    let _ = released.recv();
                }
            }
        }
        heard
    }

    fn take(&mut self, piece: &[u8], line: &mut usize) {
        self.bytes += piece.len() as u64;
        let room = KEPT - self.start.len();
        self.start
            .extend_from_slice(&piece[..piece.len().min(room)]);
        self.panicked |= piece.windows(11).any(|bytes| bytes == b"panicked at");
        for byte in piece {
            match byte {
                b'\n' => *line = 0,
                // Continuation bytes of a character.
                0x80..=0xbf => {}
                _ => *line += 1,
            }
            self.longest = self.longest.max(*line);
        }
    }
}

impl Ended {
    pub(crate) fn panicked(&self) -> bool {
        self.stdout.panicked || self.stderr.panicked
    }

    /// The start of its error message, or of its last line. Hints are skipped.
    pub(crate) fn said(&self) -> String {
        let errors = String::from_utf8_lossy(&self.stderr.start);
        let error = errors
            .lines()
            .find_map(|line| line.strip_prefix("watm: error: "));
        let output = String::from_utf8_lossy(&self.stdout.start);
        let problem = output.split("\nproblems ").nth(1);
        let text = match (error, problem) {
            (Some(error), _) => error.to_owned(),
            (None, Some(problem)) => format!("problems {}", problem.trim_start()),
            (None, None) => "refused".to_owned(),
        };
        text.chars().take(90).collect()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => f.write_str("ends well"),
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(libc::SIGABRT) => f.write_str("it aborted"),
            Self::Signal(libc::SIGXCPU) => f.write_str("ended by the system: twice its time"),
            Self::Signal(signal) => write!(f, "it died of signal {signal}"),
            Self::Hung => f.write_str("it hung, and was killed"),
        }
    }
}

/// Sets a limit of the system for a child of this process.
fn limit(pid: Pid, resource: Resource, value: u64) -> Result<(), String> {
    let limit = Rlimit {
        current: Some(value),
        // The soft limit sends a signal that can be told from others. The hard limit comes after
        // it.
        maximum: Some(value + 2),
    };
    match prlimit(Some(pid), resource, limit) {
        Ok(_) => Ok(()),
        Err(error) => Err(told(error.into())),
    }
}

fn time(time: libc::timeval) -> Duration {
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)) + Duration::from_micros(micros)
}
