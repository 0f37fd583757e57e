//! One direction in memory, bounded, and the signal that tells threads of changes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::{Error, Result};

/// Counts changes, so that a thread can wait for the next one and miss none.
#[derive(Default)]
pub(super) struct Signal {
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn raise(&self) {
        *lock(&self.changes) += 1;
        self.changed.notify_all();
    }

    /// Waits until `check` has a result; it is asked again after each change. `TIMEDOUT` when
    /// `deadline` is over.
    pub(super) fn wait_for<V>(
        &self,
        deadline: Option<Instant>,
        mut check: impl FnMut() -> Option<V>,
    ) -> Result<V> {
        let mut seen = *lock(&self.changes);
        loop {
            if let Some(value) = check() {
                return Ok(value);
            }
            let mut changes = lock(&self.changes);
            while *changes == seen {
                changes = match deadline {
                    None => self
                        .changed
                        .wait(changes)
                        .unwrap_or_else(PoisonError::into_inner),
                    Some(deadline) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return Err(Error::TIMEDOUT);
                        }
                        let waited = self.changed.wait_timeout(changes, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            seen = *changes;
        }
    }
}

/// Bytes on their way from one end to the other.
pub(super) struct Pipe {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// How the stream ends after the bytes, once nothing more is written.
    end: Option<Result<()>>,
    /// What writes fail with, since nobody reads.
    broken: Option<Error>,
    watchers: Vec<Arc<Signal>>,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Pipe {
            capacity,
            state: Mutex::default(),
        })
    }

    /// Raises `signal` at each change from now on.
    pub(super) fn watch(&self, signal: &Arc<Signal>) {
        lock(&self.state).watchers.push(signal.clone());
    }

    /// Never waits: `AGAIN`.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut state = lock(&self.state);
        let length = buffer.len().min(state.bytes.len());
        for (byte, from) in buffer.iter_mut().zip(state.bytes.drain(..length)) {
            *byte = from;
        }
        if length > 0 {
            state.tell();
        }
        match state.end {
            _ if length > 0 || buffer.is_empty() => Ok(length),
            Some(end) => end.map(|()| 0),
            None => Err(Error::AGAIN),
        }
    }

    /// Never waits: `AGAIN`.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize> {
        let mut state = lock(&self.state);
        if let Some(error) = state.broken {
            return Err(error);
        }
        if state.end.is_some() {
            return Err(Error::PIPE);
        }
        let length = bytes.len().min(self.capacity - state.bytes.len());
        if length == 0 && !bytes.is_empty() {
            return Err(Error::AGAIN);
        }
        state.bytes.extend(&bytes[..length]);
        state.tell();
        Ok(length)
    }

    /// Ends the stream after the bytes that it has, if it has not ended yet.
    pub(super) fn end(&self, end: Result<()>) {
        let mut state = lock(&self.state);
        state.end.get_or_insert(end);
        state.tell();
    }

    /// Nobody reads any more: writes fail with `error`.
    pub(super) fn abandon(&self, error: Error) {
        let mut state = lock(&self.state);
        state.broken.get_or_insert(error);
        state.bytes.clear();
        state.tell();
    }

    pub(super) fn is_readable(&self) -> bool {
        let state = lock(&self.state);
        !state.bytes.is_empty() || state.end.is_some()
    }

    pub(super) fn is_writable(&self) -> bool {
        let state = lock(&self.state);
        state.bytes.len() < self.capacity || state.end.is_some() || state.broken.is_some()
    }
}

impl State {
    /// Raises the signals, since there was a change. Nothing else may: a thread that only looks
    /// would wake itself for ever.
    fn tell(&self) {
        for watcher in &self.watchers {
            watcher.raise();
        }
    }
}

/// A thread that panics leaves nothing half done here.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn an_end_comes_after_the_bytes() {
        let pipe = Pipe::new(4);
        assert_eq!(pipe.write(b"abcdef"), Ok(4));
        assert_eq!(pipe.write(b"ef"), Err(Error::AGAIN));
        pipe.end(Err(Error::CONNRESET));
        pipe.end(Ok(()));
        let mut buffer = [0; 3];
        assert_eq!(pipe.read(&mut buffer), Ok(3));
        assert_eq!(pipe.read(&mut buffer), Ok(1));
        assert_eq!(pipe.read(&mut buffer), Err(Error::CONNRESET));
        assert_eq!(pipe.write(b"x"), Err(Error::PIPE));
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_broken() {
        let pipe = Pipe::new(4);
        pipe.abandon(Error::PIPE);
        assert!(pipe.is_writable());
        assert_eq!(pipe.write(b"x"), Err(Error::PIPE));
    }

    #[test]
    fn each_of_several_threads_that_wait_sees_a_change() {
        let pipe = Pipe::new(4);
        let signal = Arc::new(Signal::default());
        pipe.watch(&signal);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (pipe, signal) = (pipe.clone(), signal.clone());
                thread::spawn(move || signal.wait_for(None, || pipe.is_readable().then_some(())))
            })
            .collect();
        pipe.write(b"x").expect("room");
        for thread in threads {
            thread.join().expect("no panic").expect("no deadline");
        }
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let deadline = Instant::now() + Duration::from_millis(1);
        let result = Signal::default().wait_for(Some(deadline), || None::<()>);
        assert_eq!(result, Err(Error::TIMEDOUT));
    }
}
