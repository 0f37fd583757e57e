//! Watches what a module asks of the host, and makes the host answer as others do.

use std::collections::HashMap;
use std::mem;
use std::num::NonZeroU32;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use watm_wasmer::{CallHook, ExportOutcome, ExportReturn, HostCall, Transfer, TransferAnswer};

use super::stretches::{Pauses, Stretches};

/// How often in a row a write is refused if the module repeats it without a poll.
const REFUSALS: u32 = 3;
/// Each time that so many writes were taken, one is refused.
const BETWEEN_REFUSALS: u32 = 2;

/// How streams answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As on this host.
    Usual,
    /// A write takes at most so many bytes.
    ShortWrites(NonZeroU32),
    /// Some writes are refused.
    RefusedWrites,
    /// A read returns at most so many bytes.
    SmallReads(NonZeroU32),
    /// Every other read is refused.
    RefusedReads,
}

/// What a module has done so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) calls: u64,
    pub(super) polls: u64,
    /// The size of the memory, in bytes.
    pub(super) memory: u64,
    /// Refused writes, and those of them that the module repeated a second time without a poll.
    pub(super) refused: u64,
    pub(super) repeated: u64,
    /// The exports that have ended, in order.
    pub(super) returns: Vec<ExportReturn>,
}

impl Record {
    /// How an export has ended, if it has.
    pub(super) fn returned(&self, export: &str) -> Option<&ExportReturn> {
        self.returns.iter().find(|found| found.export == export)
    }
}

pub(super) struct Probe {
    manner: Manner,
    state: Mutex<State>,
    has_returned: Condvar,
}

#[derive(Default)]
struct State {
    record: Record,
    /// The processor time of the worker's thread after the last call.
    worked: Option<Duration>,
    /// The bytes that the last call moved.
    moved: u32,
    stretches: Stretches,
    streams: HashMap<u32, Stream>,
}

/// What the answers for a stream depend on.
#[derive(Default)]
struct Stream {
    taken: u32,
    /// Refusals since the last write that was taken.
    refused: u32,
    /// Whether there was a poll since the last refusal.
    polled: bool,
    read_refused: bool,
}

impl Probe {
    pub(super) fn new(manner: Manner) -> Self {
        Self {
            manner,
            state: Mutex::default(),
            has_returned: Condvar::new(),
        }
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    /// Waits until an export has ended, or one before it has failed.
    pub(super) fn wait_for_or_failure(
        &self,
        export: &str,
        patience: Duration,
    ) -> Option<ExportReturn> {
        self.wait_until(patience, |found| {
            found.export == export || has_broken_off(found)
        })
    }

    /// Waits until an export has ended.
    pub(super) fn wait_for(&self, export: &str, patience: Duration) -> Option<ExportReturn> {
        self.wait_until(patience, |found| found.export == export)
    }

    /// Waits until an export has failed or the time is over. Returns whether the host has stopped it.
    pub(super) fn was_stopped(&self, patience: Duration) -> bool {
        let has_failed = |found: &ExportReturn| {
            has_broken_off(found) || found.value().is_some_and(|value| value < 0)
        };
        let failed = self.wait_until(patience, has_failed);
        failed.is_some_and(|found| found.outcome == ExportOutcome::Stopped)
    }

    fn wait_until(
        &self,
        patience: Duration,
        is_it: impl Fn(&ExportReturn) -> bool,
    ) -> Option<ExportReturn> {
        let find = |state: &State| state.record.returns.iter().copied().find(&is_it);
        let (state, _) = self
            .has_returned
            .wait_timeout_while(self.state(), patience, |state| find(state).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        find(&state)
    }

    /// Forgets how long the module has computed so far.
    pub(super) fn begin_run(&self) {
        self.state().stretches = Stretches::default();
    }

    /// How long the module has computed since then, in a run that took so long.
    pub(super) fn pauses(&self, run: Duration) -> Pauses {
        self.state().stretches.pauses(run)
    }

    pub(super) fn record(&self) -> Record {
        self.state().record.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallHook for Probe {
    fn transfer(&self, transfer: &Transfer) -> TransferAnswer {
        match self.manner {
            Manner::ShortWrites(most) if transfer.is_write => TransferAnswer::AtMost(most),
            Manner::SmallReads(most) if !transfer.is_write => TransferAnswer::AtMost(most),
            Manner::RefusedWrites if transfer.is_write && transfer.is_nonblocking => {
                self.state().answer_write(transfer.fd)
            }
            Manner::RefusedReads if !transfer.is_write && transfer.is_nonblocking => {
                self.state().answer_read(transfer.fd)
            }
            _ => TransferAnswer::Usual,
        }
    }

    fn called(&self, call: &HostCall) {
        let mut state = self.state();
        let moved = call.fd.and(call.result.ok()).unwrap_or(0);
        state.computed(call.guest_time, processor_time(), moved);
        let State {
            record, streams, ..
        } = &mut *state;
        record.calls += 1;
        record.memory = call.memory;
        if call.function == "poll_oneoff" {
            record.polls += 1;
            for stream in streams.values_mut() {
                stream.polled = true;
            }
        }
    }

    fn returned(&self, returned: &ExportReturn) {
        self.state().record.returns.push(*returned);
        self.has_returned.notify_all();
    }
}

/// Whether an export has ended in another way than by a return.
fn has_broken_off(found: &ExportReturn) -> bool {
    match found.outcome {
        ExportOutcome::Trapped | ExportOutcome::Stopped => true,
        ExportOutcome::Exited(code) => code != 0,
        _ => false,
    }
}

/// The processor time of this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The system counts up from 0.
    Duration::try_from(time).unwrap_or_default()
}

impl State {
    /// Notes how long the module's own code ran before a call, and, after that call, the processor
    /// time of the thread and how many bytes it moved.
    fn computed(&mut self, guest_time: Duration, now: Duration, moved: u32) {
        // A busy machine takes the processor away from the module now and then.
        let since = now.saturating_sub(self.worked.unwrap_or(now));
        self.worked = Some(now);
        let moved_before = mem::replace(&mut self.moved, moved);
        self.stretches.add(moved_before, guest_time.min(since));
    }

    fn answer_write(&mut self, fd: u32) -> TransferAnswer {
        let stream = self.streams.entry(fd).or_default();
        let is_repeated = stream.refused > 0 && !stream.polled;
        // A second try may be an accident.
        self.record.repeated += u64::from(is_repeated && stream.refused > 1);
        let refuse = if stream.refused == 0 {
            stream.taken >= BETWEEN_REFUSALS
        } else {
            is_repeated && stream.refused < REFUSALS
        };
        if refuse {
            stream.taken = 0;
            stream.refused += 1;
            stream.polled = false;
            self.record.refused += 1;
            TransferAnswer::Refuse
        } else {
            stream.taken += 1;
            stream.refused = 0;
            TransferAnswer::Usual
        }
    }

    fn answer_read(&mut self, fd: u32) -> TransferAnswer {
        let stream = self.streams.entry(fd).or_default();
        stream.read_refused = !stream.read_refused;
        if stream.read_refused {
            TransferAnswer::Refuse
        } else {
            TransferAnswer::Usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_repeated_at_once_is_refused_a_few_times() {
        let mut state = State::default();
        let answers: Vec<bool> = (0..8)
            .map(|_| state.answer_write(5) == TransferAnswer::Refuse)
            .collect();
        let expected = [false, false, true, true, true, false, false, true];
        assert_eq!(answers, expected);
        assert_eq!((state.record.refused, state.record.repeated), (4, 2));
    }

    #[test]
    fn time_without_the_processor_is_not_computing() {
        let mut state = State::default();
        let ms = Duration::from_millis;
        for (guest_time, processor) in [(500, 10), (1, 11), (200, 12), (150, 170)] {
            state.computed(ms(guest_time), ms(processor), 0);
        }
        let pauses = state.stretches.pauses(ms(1000));
        assert_eq!(
            (pauses.longest, pauses.over_100_ms),
            (0.15, 1),
            "{pauses:?}"
        );
    }

    #[test]
    fn a_write_after_a_poll_is_taken() {
        let mut state = State::default();
        for _ in 0..3 {
            state.answer_write(5);
        }
        for stream in state.streams.values_mut() {
            stream.polled = true;
        }
        assert_eq!(state.answer_write(5), TransferAnswer::Usual);
        assert_eq!((state.record.refused, state.record.repeated), (1, 0));
    }
}
