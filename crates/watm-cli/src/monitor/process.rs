//! What the system says of this process, under the names that Prometheus has for it.

use std::fs;
use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::report;

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

/// What there is to say now. Where there is no such file, or it is another, numbers are missing.
pub(super) struct Numbers {
    status: Option<Status>,
    cpu_seconds: f64,
    open: Option<u64>,
    most_open: Option<u64>,
}

impl Numbers {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").ok();
        let spent = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
        let open = fs::read_dir("/proc/self/fd").ok();
        Self {
            status: status.as_deref().and_then(parse),
            cpu_seconds: spent.unwrap_or_default().as_secs_f64(),
            // One is the directory itself.
            open: open.map(|open| open.count().saturating_sub(1) as u64),
            most_open: getrlimit(Resource::Nofile).current,
        }
    }

    pub(super) fn report(&self) -> report::Process {
        report::Process {
            cpu_seconds: Some(self.cpu_seconds),
            resident_bytes: self.status.as_ref().map(|status| status.resident_bytes),
            threads: self.status.as_ref().map(|status| status.threads),
            open_fds: self.open,
            max_fds: self.most_open,
        }
    }
}

/// Takes over the numbers that there are.
pub(super) fn take_over() {
    let numbers = Numbers::now();
    if let Some(status) = &numbers.status {
        gauge!(RESIDENT).set(number(status.resident_bytes));
        gauge!(VIRTUAL).set(number(status.virtual_bytes));
        gauge!(THREADS).set(number(status.threads));
    }
    gauge!(CPU).set(numbers.cpu_seconds);
    if let Some(open) = numbers.open {
        gauge!(OPEN).set(number(open));
    }
    if let Some(most) = numbers.most_open {
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
