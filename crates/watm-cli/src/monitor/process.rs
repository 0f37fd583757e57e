//! What the system says of this process, under the names that Prometheus has for it.

use std::fs;
use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const THREADS: &str = "process_threads";
const CPU: &str = "process_cpu_seconds_total";
const OPEN: &str = "process_open_fds";
const MOST_OPEN: &str = "process_max_fds";

/// What `/proc/self/status` says.
#[derive(Debug, PartialEq)]
struct Status {
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
}

pub(super) fn describe() {
    describe_gauge!(RESIDENT, Unit::Bytes, "Memory of this process in RAM.");
    describe_gauge!(VIRTUAL, Unit::Bytes, "Address space of this process.");
    describe_gauge!(THREADS, Unit::Count, "Threads of this process.");
    describe_gauge!(
        CPU,
        Unit::Seconds,
        "Processor time that this process has taken."
    );
    describe_gauge!(OPEN, Unit::Count, "Descriptors that are open.");
    describe_gauge!(MOST_OPEN, Unit::Count, "Descriptors that may be open.");
}

/// A number for a gauge, which is exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

/// Takes over the numbers. Where there is no such file, or it is another, they stay away.
pub(super) fn take_over() {
    let status = fs::read_to_string("/proc/self/status").ok();
    if let Some(status) = status.as_deref().and_then(parse) {
        gauge!(RESIDENT).set(number(status.resident_bytes));
        gauge!(VIRTUAL).set(number(status.virtual_bytes));
        gauge!(THREADS).set(number(status.threads));
    }
    let spent = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
    gauge!(CPU).set(spent.unwrap_or_default().as_secs_f64());
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One is the directory itself.
        let open = open.count().saturating_sub(1);
        gauge!(OPEN).set(number(open as u64));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        gauge!(MOST_OPEN).set(number(most));
    }
}

/// The lines of proc(5) that name these numbers.
fn parse(status: &str) -> Option<Status> {
    let field = |name: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Status {
        virtual_bytes: field("VmSize")?.checked_mul(1024)?,
        resident_bytes: field("VmRSS")?.checked_mul(1024)?,
        threads: field("Threads")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_by_their_names() {
        let status = "Name:\tThreads\nVmSize:\t    4000 kB\nVmRSS:\t  250 kB\nThreads:\t5\n";
        let expected = Status {
            virtual_bytes: 4_096_000,
            resident_bytes: 256_000,
            threads: 5,
        };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Threads:\t5"), None);
        let own = fs::read_to_string("/proc/self/status").expect("Linux");
        assert!(parse(&own).expect("the numbers").threads >= 1);
    }
}
