//! Breaks out of the sandbox on purpose: code of this test runs in a confined process, as code of a
//! module would that has found a hole in the engine, and tries to reach what it must not.
//!
//! Confinement cannot be taken back, so each case has a process of its own, which is this program once
//! more, with the name of the case in its environment. The program that is shipped has none of this. What
//! confines is compiled from its sources.

#![allow(clippy::print_stdout)]

mod attacks;
mod cases;
#[allow(dead_code, unused_imports)]
#[path = "../../src/confine.rs"]
mod confine;

use std::env;
use std::process::{Command, ExitCode};

/// Names the case that a process is to run.
const CASE: &str = "WATM_TEST_CONFINE";
/// The directory of a case. A confined process could not remove it.
const PLACE: &str = "WATM_TEST_PLACE";

fn main() -> ExitCode {
    if let Some(name) = env::var_os(CASE) {
        let mut cases = cases::ALL.iter();
        let (_, case) = cases.find(|(known, _)| name == *known).expect("a case");
        case();
        return ExitCode::SUCCESS;
    }
    let options: Vec<String> = env::args().skip(1).collect();
    let filters: Vec<&String> = options.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(*part));
    let cases = cases::ALL.iter().filter(|(name, _)| is_wanted(name));
    if options.iter().any(|option| option == "--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, _) in cases {
        let own = env::current_exe().expect("this program");
        let place = tempfile::tempdir().expect("a directory");
        let mut case = Command::new(own);
        let output = case.env(CASE, name).env(PLACE, place.path()).output();
        let output = output.expect("it starts");
        let is_ok = output.status.success();
        println!("test {name} ... {}", if is_ok { "ok" } else { "FAILED" });
        if !is_ok {
            failed += 1;
            println!("{}", output.status);
        }
        if !is_ok || options.iter().any(|option| option == "--nocapture") {
            for stream in [output.stdout, output.stderr] {
                print!("{}", String::from_utf8_lossy(&stream));
            }
        }
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(101)
    }
}
