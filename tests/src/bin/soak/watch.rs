//! What the process uses while cases come and go, in one line per minute, and the verdict at the
//! end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use watm_tests::{open_descriptors, resident_bytes, threads};
use watm_wasmer::TransportError;

use crate::case::{Case, CaseEnd};

const LOOK_EVERY: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Maximum growth of memory from the second quarter of the time to the last, in bytes.
const GROWTH: u64 = 4 << 20;
/// Limit for the end of the last workers.
const PATIENCE: Duration = Duration::from_secs(40);

/// How the cases ended.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Clone, Default)]
struct Counts {
    cases: u64,
    bytes: u64,
    outcomes: BTreeMap<&'static str, u64>,
    ways: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn add(&self, case: &Case, end: &CaseEnd) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.cases += 1;
        counts.bytes += end.bytes;
        for outcome in &end.outcomes {
            let kind = match outcome {
                Ok(_) => "ended well",
                Err(TransportError::Failed { .. }) => "failed",
                Err(TransportError::Trapped { .. }) => "trapped",
                Err(TransportError::Exited { .. }) => "exited",
                Err(TransportError::Interrupted) => "interrupted",
                Err(TransportError::Undelivered) => "undelivered",
                Err(TransportError::Host(_)) => "failed by the host",
                Err(_) => "ended otherwise",
            };
            *counts.outcomes.entry(kind).or_default() += 1;
        }
        *counts.ways.entry(format!("{:?}", case.route)).or_default() += 1;
    }

    fn counts(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub(crate) struct Watch {
    tally: Arc<Tally>,
    begun: Instant,
    told: Instant,
    descriptors: usize,
    resident: Vec<u64>,
}

impl Watch {
    pub(crate) fn begin(tally: Arc<Tally>) -> Self {
        wait_for_workers();
        Self {
            tally,
            begun: Instant::now(),
            told: Instant::now(),
            descriptors: open_descriptors(),
            resident: Vec::new(),
        }
    }

    /// Time until the next look.
    pub(crate) fn pause(&self) -> Duration {
        LOOK_EVERY
    }

    pub(crate) fn look(&mut self) {
        self.resident.push(resident_bytes());
        if self.told.elapsed() >= TELL_EVERY {
            self.told += TELL_EVERY;
            println!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        let Counts {
            cases,
            bytes,
            outcomes,
            ..
        } = self.tally.counts();
        format!(
            "{:4} min: {cases} cases, {} MiB verified, {outcomes:?}; {} KiB resident, {} workers, {} descriptors",
            self.begun.elapsed().as_secs() / 60,
            bytes >> 20,
            resident_bytes() >> 10,
            threads("watm-worker"),
            open_descriptors(),
        )
    }

    /// The verdict, after all cases have ended.
    pub(crate) fn finish(self) -> Result<String, String> {
        wait_for_workers();
        println!("{}", self.line());
        println!("ways: {:?}", self.tally.counts().ways);
        let (workers, descriptors) = (threads("watm-worker"), open_descriptors());
        if workers > 0 {
            return Err(format!("{workers} workers are left"));
        }
        if descriptors > self.descriptors {
            return Err(format!(
                "{descriptors} descriptors are open, {} were at the start",
                self.descriptors
            ));
        }
        let quarter = self.resident.len() / 4;
        if quarter == 0 {
            return Err("it was too short to say whether memory is flat".into());
        }
        let second = median(&self.resident[quarter..2 * quarter]);
        let last = median(&self.resident[3 * quarter..]);
        let medians = format!(
            "resident memory: {} KiB at the median of the second quarter of the time, {} KiB of the last",
            second >> 10,
            last >> 10
        );
        if last > second + GROWTH {
            return Err(format!("memory grows. {medians}"));
        }
        Ok(format!(
            "{medians}; no worker and no descriptor is left over"
        ))
    }
}

fn wait_for_workers() {
    let deadline = Instant::now() + PATIENCE;
    while threads("watm-worker") > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}
