//! Attacks the `watm` command with modules that declare, call and demand too much, and with peers
//! that misbehave, and measures what that takes. See tests/README.md.
//!
//! Code generates each input in a separate process. This process must stay small: until a child
//! runs the command, the system counts this process's memory for the child.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

mod calling;
mod case;
mod child;
mod compiling;
mod damaged;
mod declaring;
mod guest;
mod peers;
mod reading;
mod repeating;
mod report;
mod scene;
mod service;
mod serving;
mod target;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use watm_tests::raise_descriptors;

use crate::case::{Case, told};
use crate::report::{HEAD, Report, row};
use crate::scene::Scene;

/// Attacks the `watm` command, and measures what that takes
#[derive(Debug, Parser)]
struct Args {
    /// The command to attack
    #[arg(long, overrides_with = "watm", default_value = "target/release/watm")]
    watm: PathBuf,

    /// Only the cases whose name has this in it
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,

    /// Keep the inputs in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Name the cases, and do nothing
    #[arg(long)]
    list: bool,

    /// Make the input of the case of this number, in this file
    #[arg(long, hide = true, num_args = 2, value_names = ["NUMBER", "FILE"])]
    make: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.make {
        Some(make) => make_input(&make[0], &make[1]).map(|()| true),
        None => run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("attack: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// All cases, always in the same order.
fn cases() -> Vec<Case> {
    [
        reading::cases(),
        declaring::cases(),
        damaged::cases(),
        text::cases(),
        compiling::cases(),
        repeating::cases(),
        calling::cases(),
        serving::cases(),
        peers::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs the selected cases. Returns whether all ended as expected.
fn run(args: &Args) -> Result<bool, String> {
    raise_descriptors();
    let cases = cases();
    let filter = args.only.as_deref().unwrap_or("");
    let wanted = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.name.contains(filter));
    if args.list {
        wanted.for_each(|(_, case)| println!("{}", case.name));
        return Ok(true);
    }
    let temporary = tempfile::tempdir().map_err(told)?;
    let scene = Scene::new(&args.watm, temporary.path())?;
    scene.fill_directory()?;
    if let Some(keep) = &args.keep {
        fs::create_dir_all(keep).map_err(told)?;
    }
    let mut rows = 0;
    let mut bad = 0;
    println!("{HEAD}");
    for (number, case) in wanted {
        let file = temporary
            .path()
            .join(format!("{number}.{}", case.extension));
        let made = Command::new(std::env::current_exe().map_err(told)?)
            .args(["--make", &number.to_string()])
            .arg(&file)
            .status()
            .map_err(told)?;
        if !made.success() {
            return Err(format!("the input of `{}` cannot be made", case.name));
        }
        for run in &case.runs {
            let report = run.perform(&scene, &file).unwrap_or_else(Report::without);
            let name = format!("{}{}{}", case.name, separator(run.name), run.name);
            let size = fs::metadata(&file).map_err(told)?.len();
            println!("{}", row(&name, size, &report));
            rows += 1;
            bad += usize::from(!report.faults.is_empty());
        }
        if let Some(keep) = &args.keep {
            keep_input(&file, keep, &case.name)?;
        }
        fs::remove_file(&file).map_err(told)?;
    }
    if rows == 0 {
        return Err(format!("no case has `{filter}` in its name"));
    }
    println!("\n{rows} runs, {bad} of them not as they should be");
    expect_small(&scene)?;
    Ok(bad == 0)
}

fn separator(name: &str) -> &str {
    if name.is_empty() { "" } else { ", " }
}

fn make_input(number: &str, file: &str) -> Result<(), String> {
    let number: usize = number.parse().map_err(|_| "no number".to_owned())?;
    let cases = cases();
    let case = cases.get(number).ok_or("no such case")?;
    fs::write(file, (case.input)()).map_err(told)
}

fn keep_input(file: &Path, keep: &Path, name: &str) -> Result<(), String> {
    let mut kept: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(100)
        .collect();
    if let Some(extension) = file.extension().and_then(|text| text.to_str()) {
        kept.push('.');
        kept.push_str(extension);
    }
    fs::copy(file, keep.join(kept)).map(drop).map_err(told)
}

/// Maximum memory of this process beyond what the command takes for an ordinary module. This is the
/// lowest limit of any case.
const SPARE: u64 = 8 << 20;

/// Checks that this process has stayed as small as what it measures.
fn expect_small(scene: &Scene) -> Result<(), String> {
    let inspect = ["inspect", "FILE", "--no-cache"].map(str::to_owned);
    let baseline = scene.baseline(&inspect)?;
    let status = fs::read_to_string("/proc/self/status").map_err(told)?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .ok_or("the system does not say what this process took")?;
    if peak * 1024 > baseline + SPARE {
        return Err(format!(
            "this process itself took {peak} KiB, much more than the {} KiB of the command for an ordinary module: what was measured is too much",
            baseline / 1024
        ));
    }
    Ok(())
}
