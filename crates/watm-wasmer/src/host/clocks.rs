//! Clocks and random numbers.

use std::io;
use std::time::Duration;

use rustix::time::{Timespec, clock_getres, clock_gettime};
use watm_abi::{ClockId, Errno};

use crate::host::Host;
use crate::host::descriptor::Call;

/// Number of random bytes that are requested at once.
const RANDOM_PART: usize = 64 * 1024;

impl Host {
    /// `clock_time_get`, in nanoseconds.
    pub(crate) fn clock_time(&mut self, id: u32) -> Call<u64> {
        self.begin()?;
        nanos(now(ClockId::from_raw(id).ok_or(Errno::Inval)?))
    }

    /// `clock_res_get`, in nanoseconds.
    pub(crate) fn clock_resolution(&mut self, id: u32) -> Call<u64> {
        self.begin()?;
        let id = ClockId::from_raw(id).ok_or(Errno::Inval)?;
        nanos(duration(clock_getres(system_clock(id))))
    }

    /// `random_get`: random numbers from the system, which are good enough for keys.
    pub(crate) fn random(&mut self, into: &mut [u8]) -> Call<()> {
        self.begin()?;
        for part in into.chunks_mut(RANDOM_PART) {
            fill_random(part).map_err(|error| Errno::from_io(&error))?;
            // Filling a large memory takes a while.
            self.check_stop()?;
        }
        Ok(())
    }
}

/// Fills all of `into`, which is at most [`RANDOM_PART`] bytes long.
fn fill_random(into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // SAFETY: the pointer and the length come from one slice that this function has borrowed
        // exclusively.
        let len = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(len) {
            Ok(len) => done += len,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// The value of a clock, as the guest reads it.
pub(super) fn now(id: ClockId) -> Duration {
    duration(clock_gettime(system_clock(id)))
}

const fn system_clock(id: ClockId) -> rustix::time::ClockId {
    match id {
        ClockId::Realtime => rustix::time::ClockId::Realtime,
        ClockId::Monotonic => rustix::time::ClockId::Monotonic,
        ClockId::ProcessCputime => rustix::time::ClockId::ProcessCPUTime,
        ClockId::ThreadCputime => rustix::time::ClockId::ThreadCPUTime,
    }
}

/// Converts a time of the system. A time before 1970 becomes zero.
fn duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

fn nanos(duration: Duration) -> Call<u64> {
    u64::try_from(duration.as_nanos()).map_err(|_| Errno::Overflow.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::link::Level;
    use crate::host::descriptor::Abort;
    use crate::host::tests::fixture;

    #[test]
    fn clocks_go_on_and_random_numbers_differ() {
        let mut f = fixture();
        let first = f.host.clock_time(1).expect("a time");
        assert!(f.host.clock_time(1).expect("a time") >= first);
        let real = Duration::from_nanos(f.host.clock_time(0).expect("a time"));
        assert!(now(ClockId::Realtime).abs_diff(real) < Duration::from_secs(60));
        assert_eq!(f.host.clock_time(7), Err(Errno::Inval.into()));
        for id in 0..4 {
            let resolution = f.host.clock_resolution(id).expect("a resolution");
            assert!(
                (1..=1_000_000_000).contains(&resolution),
                "clock {id}: {resolution} ns"
            );
        }
        assert_eq!(f.host.clock_resolution(4), Err(Errno::Inval.into()));
        let mut bytes = vec![0; 2 * RANDOM_PART + 1];
        f.host.random(&mut bytes).expect("random numbers");
        let (a, b) = bytes.split_at(RANDOM_PART);
        assert_ne!(a, &b[..RANDOM_PART]);
        assert!(
            bytes
                .chunks(1024)
                .take(128)
                .all(|part| part.iter().any(|byte| *byte != 0))
        );
        f.host.random(&mut []).expect("nothing");
        f.link.raise(Level::Stopping);
        assert_eq!(f.host.random(&mut bytes), Err(Abort::Stop));
    }
}
