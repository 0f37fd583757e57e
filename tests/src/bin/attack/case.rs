//! A case: its input, the command that gets it, the limits of the command, and the expected end.

use std::path::Path;
use std::time::Duration;

use crate::child::{Child, End, Ended, Output};
use crate::report::Report;
use crate::scene::Scene;

const MEBIBYTE: u64 = 1 << 20;

/// Generates the bytes of an input.
pub(crate) type Input = Box<dyn Fn() -> Vec<u8>>;

/// One input, and the runs with it.
pub(crate) struct Case {
    /// A sentence, or most of one, that names the case.
    pub(crate) name: String,
    /// The extension of the file's name. It marks text modules in listings.
    pub(crate) extension: &'static str,
    pub(crate) input: Input,
    pub(crate) runs: Vec<Run>,
}

/// One run with an input.
pub(crate) struct Run {
    /// The name of the run within the case. May be empty.
    pub(crate) name: &'static str,
    pub(crate) does: Does,
}

/// Acts on a serving command.
type Service = Box<dyn Fn(&Scene, &Path) -> Result<Report, String>>;

pub(crate) enum Does {
    /// The command runs by itself and ends.
    Command(Command),
    /// The command serves while the run acts on it.
    Service(Service),
}

/// A command that ends by itself.
pub(crate) struct Command {
    /// The arguments. `FILE` stands for the input.
    pub(crate) args: Vec<String>,
    pub(crate) expected: Expected,
    /// The limits for an input of this size.
    pub(crate) limits: fn(u64) -> Limits,
}

/// The expected end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// An error: exit code 1.
    Refused,
    /// Success: exit code 0.
    Loads,
    /// Either of the two.
    Either,
}

/// The limits of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of memory beyond those for an ordinary module.
    pub(crate) memory: u64,
    pub(crate) processor: Duration,
    /// Characters in a line of either stream. `None` for output that naturally is one long line.
    pub(crate) line: Option<usize>,
}

impl Limits {
    /// For reading a module: memory of ten times its size plus 8 MiB, and one second per 10 MB plus
    /// half a second.
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

    /// For compiling a module with much to compile: memory of 600 times its size plus 24 MiB.
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

    /// For reading a module in the text format, of at most 4 MiB. Documented is memory of a hundred
    /// times its size.
    pub(crate) fn reading_text(size: u64) -> Self {
        Self {
            memory: 110 * size + 8 * MEBIBYTE,
            processor: Duration::from_millis(500 + size / 1000),
            line: Some(2000),
        }
    }

    /// For a guest that is run and ends, without its own memory.
    pub(crate) fn calling(memory: u64, seconds: u64) -> Self {
        Self {
            memory: memory * MEBIBYTE,
            processor: Duration::from_secs(seconds),
            line: Some(8000),
        }
    }

    /// The form for the table.
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

    /// Performs the run and judges it.
    ///
    /// # Errors
    ///
    /// Fails if the run came to no end: the command does not start, or does not serve.
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
