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
mod confine;
mod demo;
mod dial;
mod from_file;
mod inspect;
mod listen;
mod man;
mod monitor;
mod needs;
mod new;
mod plugin_options;
mod pt;
mod relay;
mod run;
mod setup;
mod sip003;
mod terminal;
mod top;
mod verify;

use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::terminal::failure::Failure;

fn main() -> ExitCode {
    let line = match sip003::command_line() {
        None => Args::from_command_line(),
        Some(Ok(line)) => Args::parsed(line),
        Some(Err(error)) => {
            Failure::new(error).print();
            return ExitCode::from(2);
        }
    };
    let args = match line {
        Ok(args) => args,
        Err(error) => {
            // Help and version arrive here too. If this write fails, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let reports_failures = matches!(args.command, Command::Check(_));
    match &args.command {
        Command::Pt(pt) => pt::logging::start(&args.log, pt.unsafe_logging),
        _ => terminal::logging::start(&args.log, reports_failures),
    }
    let ended = run(args.command);
    log::logger().flush();
    match ended {
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
        Command::Pt(args) => pt::run(&args),
        Command::Run(args) => run::run(args),
        Command::Top(args) => top::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
