//! A soak test: connections of all roles come and go at random for a given time, and every byte is
//! verified. At the end, memory must be flat, and threads and descriptors must be as before. See
//! tests/README.md.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

mod case;
mod random;
mod route;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::case::Case;
use crate::random::Random;
use crate::watch::{Tally, Watch};

/// Opens, uses and ends connections of all roles at random, and verifies every byte.
#[derive(Debug, Parser)]
struct Args {
    /// How long to go on
    #[arg(long, default_value_t = 60)]
    minutes: u64,

    /// What the choices follow from; the same seed makes the same cases
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Cases that run at the same time
    #[arg(long, default_value_t = 4)]
    connections: u64,

    /// Run the one case of this number of the first place alone, and say what it is
    #[arg(long)]
    case: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(number) = args.case {
        let case = Case::random(&mut Random::of(args.seed, number));
        println!("{case:?}");
        println!("{:?}", case.run());
        return ExitCode::SUCCESS;
    }

    let until = Instant::now() + Duration::from_secs(60 * args.minutes);
    let stop = Arc::new(AtomicBool::new(false));
    let tally = Arc::new(Tally::default());
    // What is created once per process is not a leak.
    for number in 0..50 {
        drop(Case::random(&mut Random::of(args.seed, number)).run());
    }
    let mut watch = Watch::begin(Arc::clone(&tally));
    let places: Vec<_> = (0..args.connections)
        .map(|place| {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            thread::spawn(move || run_cases(args.seed, place, args.connections, &stop, &tally))
        })
        .collect();
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        thread::sleep(
            watch
                .pause()
                .min(until.saturating_duration_since(Instant::now())),
        );
        watch.look();
    }
    stop.store(true, Ordering::Relaxed);
    // Waits for all, whatever happened to the first.
    let places: Vec<_> = places
        .into_iter()
        .map(|place| place.join().unwrap_or(false))
        .collect();
    let well = places.iter().all(|well| *well);
    match watch.finish() {
        Ok(summary) if well => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Ok(summary) => {
            println!("{summary}");
            eprintln!("soak: a case went wrong, see above");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("soak: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case of one place. Returns whether all went well.
fn run_cases(seed: u64, place: u64, places: u64, stop: &AtomicBool, tally: &Tally) -> bool {
    for number in (place..).step_by(usize::try_from(places).unwrap_or(1)) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let case = Case::random(&mut Random::of(seed, number));
        match catch_unwind(AssertUnwindSafe(|| case.run())) {
            Ok(ended) => tally.add(&case, &ended),
            Err(_) => {
                stop.store(true, Ordering::Relaxed);
                eprintln!("soak: case {number} of seed {seed} went wrong: {case:?}");
                return false;
            }
        }
    }
    true
}
