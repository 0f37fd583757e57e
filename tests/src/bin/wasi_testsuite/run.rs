//! Runs one program as a module, with the standard streams of this process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use watm_wasmer::{DialError, Dialer, GuestError, Stdio, TransportError, TransportModule};

use crate::exports::{ENDED, with_exports};

/// The exit code of this process if the program could not be run, or trapped.
const NOT_RUN: u8 = 125;
/// Limit for a program, and limit until the runtime must have ended one that took longer.
const LONGEST: Duration = Duration::from_secs(60);
const FOR_EVER: Duration = Duration::from_secs(300);

/// What a program is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Surroundings {
    /// A directory, and the path under which the program finds it
    #[arg(long, hide = true, num_args = 2, action = clap::ArgAction::Append)]
    dir: Vec<PathBuf>,

    /// A variable, and its value
    #[arg(long, hide = true, num_args = 2, action = clap::ArgAction::Append)]
    env: Vec<String>,

    /// An argument
    #[arg(long, hide = true)]
    arg: Vec<String>,
}

/// Runs the program, and returns how it has exited.
pub(crate) fn run(program: &Path, surroundings: &Surroundings) -> ExitCode {
    // A runtime that hangs has failed.
    std::thread::spawn(|| {
        std::thread::sleep(FOR_EVER);
        eprintln!("the runtime has not ended it");
        std::process::abort();
    });
    let code = try_to_run(program, surroundings).unwrap_or_else(|problem| {
        eprintln!("{problem}");
        NOT_RUN.into()
    });
    // Exit codes of programs are small numbers.
    ExitCode::from(u8::try_from(code).unwrap_or(NOT_RUN))
}

fn try_to_run(program: &Path, surroundings: &Surroundings) -> Result<i32, String> {
    let bytes = std::fs::read(program).map_err(|error| error.to_string())?;
    let module = TransportModule::from_bytes(with_exports(&bytes)?);
    let module = module.map_err(|error| error.to_string())?;
    let mut builder = Dialer::builder(&module)
        .stdio(Stdio::Inherit)
        .setup_timeout(LONGEST);
    for pair in surroundings.dir.chunks_exact(2) {
        builder = builder.dir_writable(&pair[0], pair[1].to_string_lossy());
    }
    for pair in surroundings.env.chunks_exact(2) {
        builder = builder.env(&pair[0], &pair[1]);
    }
    for arg in &surroundings.arg {
        builder = builder.arg(arg);
    }
    let dialer = builder.build().map_err(|error| error.to_string())?;
    // Nothing is connected: the role function fails first.
    match dialer.dial("127.0.0.1:1") {
        Err(DialError::Transport(TransportError::Failed {
            error: GuestError::Errno(ENDED),
            ..
        })) => Ok(0),
        Err(DialError::Transport(TransportError::Exited { code, .. })) => Ok(code),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("it has dialled".into()),
    }
}
