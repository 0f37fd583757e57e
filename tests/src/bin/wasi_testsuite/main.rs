//! Runs the conformance suite of WASI Preview 1 through the runtime. See tests/README.md.
//!
//! Each program runs in a separate process and uses its standard streams. The output and the exit
//! code of the process are those of the program.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

mod exceptions;
mod exports;
mod program;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;

use crate::program::{Program, Verdict};

/// Runs the conformance suite of WASI Preview 1 through the runtime
#[derive(Debug, Parser)]
struct Args {
    /// A checkout of the suite, with its programs built
    #[arg(value_name = "DIR", required_unless_present = "run")]
    suite: Option<PathBuf>,

    /// Only the programs with this in their paths
    #[arg(long, value_name = "FILTER", default_value = "")]
    only: String,

    /// Run this program with the standard streams of this process, and exit as it does
    #[arg(long, hide = true)]
    run: Option<PathBuf>,

    #[command(flatten)]
    surroundings: run::Surroundings,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(program) = &args.run {
        return run::run(program, &args.surroundings);
    }
    let found = Program::all_below(&args.suite.unwrap_or_default());
    let programs = found.and_then(|mut found| {
        found.retain(|program| program.name.contains(&args.only));
        if found.is_empty() {
            return Err(
                "there are no such programs: the branch prod/testsuite-base of \
                        WebAssembly/wasi-testsuite has them built"
                    .to_owned(),
            );
        }
        Ok(found)
    });
    match programs {
        Ok(programs) => report(&run_all(&programs)),
        Err(problem) => {
            eprintln!("wasi-testsuite: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the programs in parallel, one per core, and reports each as it ends.
fn run_all(programs: &[Program]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = program.judge();
                    println!("{:<9} {}{}", verdict.word(), program.name, verdict.why());
                    let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                    verdicts.push(verdict);
                }
            });
        }
    });
    verdicts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn report(verdicts: &[Verdict]) -> ExitCode {
    let count = |word: &str| {
        verdicts
            .iter()
            .filter(|verdict| verdict.word() == word)
            .count()
    };
    let failed = count("FAILED");
    println!(
        "{} programs: {} passed, {} are exceptions, {failed} failed",
        verdicts.len(),
        count("passed"),
        count("exception"),
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
