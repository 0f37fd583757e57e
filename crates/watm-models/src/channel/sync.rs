//! In place of the runtime's `channel/sync.rs`: the same names, whose schedules loom explores.
//!
//! What loom lacks is built of what it has. Reference counts and the counters of the traffic are
//! the standard library's: nothing is ordered by them, and each would multiply the schedules.

use std::io;
use std::sync::{Arc, PoisonError};

pub(crate) use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::atomic::AtomicU64;

/// Locks a mutex whose data stays valid whatever happened to a thread that held it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Flags that one side sets and the other swaps.
///
/// Nothing may be ordered between a swap and what it has read, but loom 0.7 does not know that: it
/// lets a thread read what itself has swapped in where it has to read what was stored later, and
/// finds lost wake-ups that cannot be. A store that is a swap too has its place behind the other.
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

/// A cell that is written once. The flag orders like the real one: a release when it is filled,
/// an acquire when it is looked at.
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

/// What a worker sleeps on, in place of its reactor: a wake-up that comes early is kept.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Sleeps until it rings, or takes in what has rung already and goes on.
    pub(crate) fn wait(&self, sleep: bool) {
        let mut rung = lock(&self.rung);
        while sleep && !*rung {
            rung = self.changed.wait(rung).expect("nobody panics");
        }
        *rung = false;
    }
}

/// In place of mio's.
pub(crate) struct Waker(pub(crate) Arc<Bell>);

impl Waker {
    #[allow(clippy::unnecessary_wraps, reason = "mio's can fail")]
    pub(crate) fn wake(&self) -> io::Result<()> {
        *lock(&self.0.rung) = true;
        self.0.changed.notify_all();
        Ok(())
    }
}
