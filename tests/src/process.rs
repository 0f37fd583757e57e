//! What the process uses: threads, descriptors, memory, processor time. Tests that check these must
//! be alone in their process.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Number of threads whose names begin with `prefix`, or of all threads if it is empty.
pub fn threads(prefix: &str) -> usize {
    thread_ids(prefix).len()
}

/// The system's ids of these threads.
pub fn thread_ids(prefix: &str) -> Vec<libc::pid_t> {
    tasks()
        .filter(|(_, name)| name.starts_with(prefix))
        .map(|(id, _)| id.parse().expect("a number"))
        .collect()
}

/// Number of open descriptors, without the one for this listing.
pub fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("a listing").count() - 1
}

/// Raises the descriptor limit as far as possible. Returns the new limit.
pub fn raise_descriptors() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // If it cannot be raised, the tests notice.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Resident memory, in bytes.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|text| text.parse::<u64>().ok())
        .expect("a number")
        * 1024
}

/// Ids and names of all threads. If a thread ends during a listing, the system may cut the listing
/// short. So the result counts only if two listings in a row agree.
fn tasks() -> impl Iterator<Item = (String, String)> {
    let mut tasks = list_tasks();
    for _ in 0..100 {
        let again = list_tasks();
        if again == tasks {
            break;
        }
        tasks = again;
    }
    tasks.into_iter()
}

fn list_tasks() -> Vec<(String, String)> {
    fs::read_dir("/proc/self/task")
        .expect("a listing")
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().into_string().ok()?;
            let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
            Some((id, name.trim_end().to_owned()))
        })
        .collect()
}

/// Processor time of the whole process.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().expect("it is positive")
}

/// Processor time of threads, in clock ticks of 10 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadTimes(BTreeMap<String, u64>);

impl ThreadTimes {
    /// The times of threads whose names begin with `prefix`, now.
    pub fn of(prefix: &str) -> Self {
        let times = tasks().filter_map(|(id, name)| {
            let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
            // The name may contain blanks. What follows it does not.
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
            let matches = name.starts_with(prefix);
            matches.then_some((id, ticks(11)? + ticks(12)?))
        });
        Self(times.collect())
    }

    /// Number of threads.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no threads.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Maximum time that one thread has used since `earlier`, in ticks.
    pub fn most_since(&self, earlier: &Self) -> u64 {
        let used = |(id, now): (&String, &u64)| now - earlier.0.get(id).copied().unwrap_or(0);
        self.0.iter().map(used).max().unwrap_or(0)
    }
}
