//! The programs that a build runs: where they are, and how they are called.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::Access;

use crate::terminal::failure::Failure;

/// Finds programs in the directories of `PATH`.
pub(super) struct Tools {
    directories: Vec<PathBuf>,
}

/// A program and the arguments that come first, such as `zig cc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Tools {
    pub(super) fn of_environment() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::in_path(&path)
    }

    pub(super) fn in_path(path: &OsStr) -> Self {
        // Commands run in the directory of the project.
        let absolute = |directory: PathBuf| std::path::absolute(directory).ok();
        Self {
            directories: env::split_paths(path).filter_map(absolute).collect(),
        }
    }

    /// A program of this name.
    pub(super) fn find(&self, name: impl AsRef<Path>) -> Option<Tool> {
        let name = name.as_ref();
        let mut paths = self
            .directories
            .iter()
            .map(|directory| directory.join(name));
        paths.find(|path| is_executable(path)).map(Tool::new)
    }

    /// The programs that are called `PREFIX` and a number, such as `clang-14`, the highest number
    /// first.
    pub(super) fn numbered(&self, prefix: &str) -> Vec<(u32, Tool)> {
        let entries = self
            .directories
            .iter()
            .filter_map(|path| path.read_dir().ok());
        let mut found: Vec<(u32, PathBuf)> = entries
            .flat_map(|entries| entries.flatten())
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse();
                Some((number.ok()?, entry.path()))
            })
            .filter(|(_, path)| is_executable(path))
            .collect();
        // The directory that comes first wins.
        found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        found.dedup_by_key(|(number, _)| *number);
        let tools = found.into_iter();
        tools
            .map(|(number, path)| (number, Tool::new(path)))
            .collect()
    }

    /// The program that an environment variable names: one program, or else one with arguments.
    /// `None` if the variable is not set.
    pub(super) fn chosen(&self, variable: &str) -> Result<Option<Tool>, Failure> {
        let value = env::var_os(variable).unwrap_or_default();
        if value.as_bytes().trim_ascii().is_empty() {
            return Ok(None);
        }
        if let Some(tool) = self.named(&value) {
            return Ok(Some(tool));
        }
        let mut words = value
            .as_bytes()
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .map(OsStr::from_bytes);
        let tool = words.next().and_then(|program| self.named(program));
        match tool {
            Some(tool) => Ok(Some(tool.with(words))),
            None => {
                let message = format!(
                    "the environment variable {variable} is {}, and there is no such program",
                    value.display()
                );
                Err(Failure::new(message).hint(format!("correct {variable}, or unset it")))
            }
        }
    }

    /// The program with this name or path.
    fn named(&self, program: &OsStr) -> Option<Tool> {
        if program.as_bytes().contains(&b'/') {
            let path = std::path::absolute(program).ok()?;
            is_executable(&path).then(|| Tool::new(path))
        } else {
            self.find(program)
        }
    }
}

impl Tool {
    fn new(program: PathBuf) -> Self {
        Self {
            program,
            arguments: Vec::new(),
        }
    }

    pub(super) fn with<A: Into<OsString>>(mut self, more: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// The command as a user would type it.
    pub(super) fn name(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy());
        let program = self.program.file_name().unwrap_or_default();
        let mut name = program.to_string_lossy().into_owned();
        for word in words {
            name.push(' ');
            name.push_str(&word);
        }
        name
    }

    /// Whether a word of the command is the name of this program.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let program = self.program.file_name().unwrap_or_default();
        program == name || self.arguments.iter().any(|word| word == name)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    /// Runs a command of this tool that compiles. The user sees what it says, all of it on standard
    /// error.
    pub(super) fn compile(&self, command: &mut Command) -> Result<(), Failure> {
        let stdout = std::io::stderr();
        let stdout = std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned();
        command.stdout(stdout.map_or_else(|_| Stdio::null(), Stdio::from));
        log::info!("running {command:?}");
        let status = command.stdin(Stdio::null()).status();
        let status = status.map_err(|error| self.cannot_run(error))?;
        if status.success() {
            Ok(())
        } else {
            Err(self.has_failed(status))
        }
    }

    /// Runs a command of this tool that answers a question.
    pub(super) fn ask(&self, command: &mut Command) -> Result<Output, Failure> {
        log::debug!("running {command:?}");
        let output = command.stdin(Stdio::null()).output();
        output.map_err(|error| self.cannot_run(error))
    }

    pub(super) fn cannot_run(&self, error: std::io::Error) -> Failure {
        Failure::because(format!("cannot run {}", self.program.display()), error)
    }

    pub(super) fn has_failed(&self, status: std::process::ExitStatus) -> Failure {
        Failure::new(format!("{} has failed: {status}", self.name()))
            .hint("its own messages, above, say why; -v shows the command")
    }
}

/// The line of an output that says most: the first with an error, or else the last.
pub(super) fn essence(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.contains("error"));
    error
        .or_else(|| lines.next_back())
        .unwrap_or("it says nothing")
        .to_owned()
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}
