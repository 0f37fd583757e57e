//! The `watm` command: inspects transport modules and carries traffic through them.
//!
//! This file chooses what to run and turns the result into an exit code: 0 for success, 1 for a
//! failure, 2 for a usage error, and 3 if `watm check` could not check. Modules and transports belong to the library, `watm-wasmer`.

mod args;
mod bench;
mod build;
mod cache;
mod carry;
mod check;
mod completions;
mod config;
mod demo;
mod dial;
mod from_file;
mod inspect;
mod listen;
mod man;
mod new;
mod relay;
mod setup;
mod terminal;
mod verify;

use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::terminal::failure::Failure;

fn main() -> ExitCode {
    let args = match Args::from_command_line() {
        Ok(args) => args,
        Err(error) => {
            // Help and version arrive here too. If this write fails, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let reports_failures = matches!(args.command, Command::Check(_));
    terminal::logging::start(args.verbose, reports_failures);
    match run(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Dial(args) => dial::run(&args),
        Command::DialFixed(args) => dial::run_fixed(&args),
        Command::Listen(args) => listen::run(&args),
        Command::Relay(args) => relay::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
