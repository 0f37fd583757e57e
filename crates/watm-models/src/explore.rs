//! Runs a model through its schedules.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The cost of running a model.
#[derive(Debug)]
pub struct Explored {
    executions: usize,
    preemptions: Option<usize>,
    time: Duration,
}

/// Runs `model` once for every schedule, or only for those with at most `preemptions` thread
/// switches that nothing forces. Mistakes seldom need more than two. `LOOM_MAX_PREEMPTIONS`
/// overrides that number.
///
/// # Panics
///
/// Panics if the model panics in one of the schedules, if its threads wait for each other or for
/// nothing, or if two threads touch the same memory without an order between them.
pub fn explore(preemptions: Option<usize>, model: fn()) -> Explored {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let preemptions = builder.preemption_bound;
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&executions);
    let started = Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    Explored {
        executions: executions.load(Ordering::Relaxed),
        preemptions,
        time: started.elapsed(),
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (executions, time) = (self.executions, self.time);
        write!(f, "{executions} executions in {time:.1?}, ")?;
        match self.preemptions {
            None => f.write_str("all there are"),
            Some(bound) => write!(f, "up to {bound} preemptions"),
        }
    }
}
