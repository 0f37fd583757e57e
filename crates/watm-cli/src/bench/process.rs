//! The other processes of a measurement: this program with the same options, running one part.
//!
//! Each process ends with its standard input, so none outlives the process that started it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::args::BenchPart;
use crate::carry::poll::{Interest, wait_until};

/// How long a process may take to listen. It may have to compile a large module first.
const START: Duration = Duration::from_secs(60);
/// The maximum length of a first line.
const LINE_LIMIT: usize = 4096;

/// A running part, which ends when it is dropped.
pub(super) struct Process {
    child: Child,
    stdout: ChildStdout,
}

impl Process {
    /// Starts a part. `target` is the address that it connects to, if any.
    pub(super) fn start(part: BenchPart, target: Option<SocketAddr>) -> io::Result<Self> {
        let arguments = arguments(std::env::args_os().skip(1), part, target);
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        match child.stdout.take() {
            Some(stdout) => Ok(Self { child, stdout }),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Starts a part that listens, and waits until it is listening.
    pub(super) fn listening(part: BenchPart, target: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let mut process = Self::start(part, Some(target))?;
        let line = process.line()?;
        match line.strip_prefix("listening ").map(str::parse) {
            Some(Ok(address)) => Ok((process, address)),
            _ => Err(io::Error::other("a process printed something unexpected")),
        }
    }

    /// The number by which the system knows it.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its standard output, without the newline.
    pub(super) fn line(&mut self) -> io::Result<String> {
        let deadline = Instant::now() + START;
        let mut line = Vec::new();
        loop {
            match self.byte(deadline)? {
                b'\n' => break,
                byte => line.push(byte),
            }
            if line.len() > LINE_LIMIT {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// The next byte of its standard output.
    pub(super) fn byte(&mut self, deadline: Instant) -> io::Result<u8> {
        if !wait_until(self.stdout.as_fd(), Interest::Readable, deadline)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut byte = [0];
        match self.stdout.read(&mut byte)? {
            // It has printed the reason on standard error.
            0 => Err(io::Error::other("a process of the measurement ended")),
            _ => Ok(byte[0]),
        }
    }

    /// Writes to its standard input, which stays open.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.child.stdin {
            Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing its standard input would suffice, but not if the process is stuck.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until standard input ends, as it does when the process that started this one ends.
pub(super) fn await_end_of_input() {
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// The command line of a part: that of this process and the options that select the part. These
/// come right after the command's name, since nothing after `--` is an option.
fn arguments(
    own: impl Iterator<Item = OsString>,
    part: BenchPart,
    target: Option<SocketAddr>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = own.collect();
    let command = arguments.iter().position(|argument| argument == "bench");
    let behind = command.map_or(arguments.len(), |command| command + 1);
    let mut added = Vec::new();
    if let Some(value) = part.to_possible_value() {
        added.push(format!("--part={}", value.get_name()).into());
    }
    if let Some(target) = target {
        added.push(format!("--target={target}").into());
    }
    arguments.splice(behind..behind, added);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_options_of_the_whole() {
        let own = ["-v", "bench", "--quick", "--", "bench"].map(OsString::from);
        let target = SocketAddr::from(([127, 0, 0, 1], 7));
        let arguments = arguments(own.into_iter(), BenchPart::PlainRelay, Some(target));
        assert_eq!(
            arguments,
            [
                "-v",
                "bench",
                "--part=plain-relay",
                "--target=127.0.0.1:7",
                "--quick",
                "--",
                "bench"
            ]
        );
    }
}
