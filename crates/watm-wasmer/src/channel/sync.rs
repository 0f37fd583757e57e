//! What threads meet in: the primitives of the ring, the pipe and the link.
//!
//! They are named here and nowhere else, so that `watm-models` can put its own in their place
//! and try the schedules of these three files, which it compiles unchanged.

use std::sync::PoisonError;

pub(crate) use mio::Waker;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

/// Locks a mutex whose data stays valid whatever happened to a thread that held it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
