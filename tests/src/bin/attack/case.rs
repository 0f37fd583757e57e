//! A case: its input, the command that gets it, what that may take, and how it has to end.

use std::path::Path;
use std::time::Duration;

use crate::child::{Child, End, Ended, Output};
use crate::report::Report;
use crate::scene::Scene;

const MEBIBYTE: u64 = 1 << 20;

/// Makes the bytes of an input.
pub(crate) type Input = Box<dyn Fn() -> Vec<u8>>;

/// One input, and what is done with it.
pub(crate) struct Case {
    /// A sentence, or most of one. It names the case.
    pub(crate) name: String,
    /// How the file's name ends: text modules are told by it in listings.
    pub(crate) extension: &'static str,
    pub(crate) input: Input,
    pub(crate) runs: Vec<Run>,
}

/// What is done with an input once.
pub(crate) struct Run {
    /// What it is called beside the case; may be empty.
    pub(crate) name: &'static str,
    pub(crate) does: Does,
}

/// Does something to a command that serves.
type Service = Box<dyn Fn(&Scene, &Path) -> Result<Report, String>>;

pub(crate) enum Does {
    /// The command runs by itself and ends.
    Command(Command),
    /// The command serves, and something is done to it.
    Service(Service),
}

/// A command that ends by itself.
pub(crate) struct Command {
    /// The arguments; `FILE` stands for the input.
    pub(crate) args: Vec<String>,
    pub(crate) expected: Expected,
    /// What it may take, from the size of the input.
    pub(crate) limits: fn(u64) -> Limits,
}

/// How a command has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// With an error: exit code 1.
    Refused,
    /// Well: exit code 0.
    Loads,
    /// One or the other.
    Either,
}

/// The most that a command may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of memory beyond what the command takes for an ordinary module.
    pub(crate) memory: u64,
    pub(crate) processor: Duration,
    /// Characters of a line on either stream; none for output that is one long line by its nature.
    pub(crate) line: Option<usize>,
}

impl Limits {
    /// Of reading a module: ten times its size and 8 MiB; a second for each 10 MB and half a
    /// second.
    pub(crate) fn reading(size: u64) -> Self {
        Self {
            memory: 10 * size + 8 * MEBIBYTE,
            processor: Duration::from_millis(500 + size / 10_000),
            line: Some(2000),
        }
    }

    /// The same for output that is one JSON object on one line.
    pub(crate) fn reading_json(size: u64) -> Self {
        Self {
            line: None,
            ..Self::reading(size)
        }
    }

    /// Of compiling a module that has much to compile, which may take 600 times its size and 24
    /// MiB.
    pub(crate) fn compiling(size: u64) -> Self {
        Self {
            memory: 600 * size + 24 * MEBIBYTE,
            processor: Duration::from_secs(20),
            line: Some(2000),
        }
    }

    /// The same for output that is one JSON object on one line.
    pub(crate) fn compiling_json(size: u64) -> Self {
        Self {
            line: None,
            ..Self::compiling(size)
        }
    }

    /// Of reading a module in the text format, of 4 MiB at most, for which a hundred times its size
    /// is documented.
    pub(crate) fn reading_text(size: u64) -> Self {
        Self {
            memory: 110 * size + 8 * MEBIBYTE,
            processor: Duration::from_millis(500 + size / 1000),
            line: Some(2000),
        }
    }

    /// Of a guest that is run and ends: its own memory is not counted among these.
    pub(crate) fn calling(memory: u64, seconds: u64) -> Self {
        Self {
            memory: memory * MEBIBYTE,
            processor: Duration::from_secs(seconds),
            line: Some(8000),
        }
    }

    /// As the table shows them.
    pub(crate) fn text(&self) -> String {
        let line = self.line.map_or(String::new(), |line| format!(", {line}"));
        format!(
            "{:.1} s, {} MiB{line}",
            self.processor.as_secs_f64(),
            self.memory.div_ceil(MEBIBYTE)
        )
    }
}

impl Run {
    pub(crate) fn command(
        name: &'static str,
        args: &str,
        expected: Expected,
        limits: fn(u64) -> Limits,
    ) -> Self {
        let args = args.split_whitespace().map(str::to_owned).collect();
        Self {
            name,
            does: Does::Command(Command {
                args,
                expected,
                limits,
            }),
        }
    }

    pub(crate) fn service(
        name: &'static str,
        does: impl Fn(&Scene, &Path) -> Result<Report, String> + 'static,
    ) -> Self {
        Self {
            name,
            does: Does::Service(Box::new(does)),
        }
    }

    /// Does it, and judges.
    ///
    /// # Errors
    ///
    /// If that came to no end: the command does not start, or does not serve.
    pub(crate) fn perform(&self, scene: &Scene, file: &Path) -> Result<Report, String> {
        match &self.does {
            Does::Command(command) => command.perform(scene, file),
            Does::Service(does) => does(scene, file),
        }
    }
}

impl Command {
    fn perform(&self, scene: &Scene, file: &Path) -> Result<Report, String> {
        let size = std::fs::metadata(file).map_err(told)?.len();
        let limits = (self.limits)(size);
        let args = scene.arguments(&self.args, file);
        let ended = Child::start(scene, &args, limits.processor, Output::Read)?.wait(None)?;
        let mut report = Report::of(&ended, scene.baseline(&self.args)?, &limits);
        match ended.end {
            End::Code(0) if self.expected == Expected::Refused => {
                report.fault("it was to be refused");
            }
            End::Code(1) if self.expected == Expected::Loads => {
                report.fault(format!("it was to load: {}", ended.said()));
            }
            End::Code(0 | 1) => {}
            End::Code(code) => report.fault(format!("exit code {code}: {}", ended.said())),
            _ => {}
        }
        report.outcome = outcome(&ended, report.peak, size);
        Ok(report)
    }
}

/// How it ended, in a few words.
fn outcome(ended: &Ended, peak: u64, size: u64) -> String {
    match ended.end {
        End::Code(0) => format!("loads, {} B/B", peak / size.max(1)),
        End::Code(_) => ended.said(),
        ref end => end.to_string(),
    }
}

pub(crate) fn told(error: std::io::Error) -> String {
    error.to_string()
}
