//! Replaces the runtime's `channel/sync.rs`. It has the same names, and loom explores their
//! schedules.
//!
//! What loom lacks is built from what it has. Reference counts and the traffic counters come from
//! the standard library. They order nothing, and each would multiply the schedules.

use std::io;
use std::sync::{Arc, PoisonError};

pub(crate) use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::atomic::AtomicU64;

/// Locks a mutex whose data stays valid, whatever happened to a thread that held the lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Flags that one side sets and the other swaps.
///
/// Nothing may be ordered between a swap and the value that it has read. Loom 0.7 does not know
/// that. It lets a thread read the value that the thread itself swapped in, although the thread
/// must read what was stored later. So loom finds lost wake-ups that cannot happen. A store that is
/// also a swap is ordered after the other swap.
macro_rules! flag {
    ($flag:ident, $value:ty) => {
        #[derive(Default)]
        pub(crate) struct $flag(loom::sync::atomic::$flag);

        impl $flag {
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.swap(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, order)
            }
        }
    };
}

flag!(AtomicBool, bool);
flag!(AtomicU32, u32);

impl AtomicU32 {
    pub(crate) fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_and(value, order)
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

/// A cell that is written once. Its flag has the same orderings as the real one: release when the
/// cell is filled, acquire when it is read.
pub(crate) struct OnceLock<T> {
    filled: AtomicBool,
    filling: Mutex<()>,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.filled.load(Ordering::Acquire) {
            self.value.get()
        } else {
            None
        }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _filling = lock(&self.filling);
        self.value.set(value)?;
        self.filled.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _filling = lock(&self.filling);
        let value = self.value.get_or_init(init);
        self.filled.store(true, Ordering::Release);
        value
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self {
            filled: AtomicBool::default(),
            filling: Mutex::default(),
            value: std::sync::OnceLock::new(),
        }
    }
}

/// What a worker sleeps on instead of its reactor. An early wake-up is kept.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Sleeps until the bell rings, if `sleep` is true. In either case, takes a ring that has
    /// already come.
    pub(crate) fn wait(&self, sleep: bool) {
        let mut rung = lock(&self.rung);
        while sleep && !*rung {
            rung = self.changed.wait(rung).expect("nobody panics");
        }
        *rung = false;
    }

    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }
}

/// Replaces mio's `Waker`.
pub(crate) struct Waker(pub(crate) Arc<Bell>);

impl Waker {
    #[allow(clippy::unnecessary_wraps, reason = "mio's can fail")]
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.0.ring();
        Ok(())
    }
}
