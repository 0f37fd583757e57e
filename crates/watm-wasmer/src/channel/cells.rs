//! The storage of a ring. Two threads access it at the same time, but never the same bytes. The
//! ring decides who may access which.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

pub(crate) struct Cells(Box<[UnsafeCell<MaybeUninit<u8>>]>);

// SAFETY: only `put` and `get` access cells. Their callers keep two threads from accessing the same
// cell at the same time.
unsafe impl Sync for Cells {}

impl Cells {
    /// Allocates this many bytes without initialising them: that would touch all pages of a large
    /// storage, of which most connections use a few.
    pub(crate) fn new(len: usize) -> Self {
        // SAFETY: a `MaybeUninit` cell may be uninitialised.
        Self(unsafe { Box::new_uninit_slice(len).assume_init() })
    }

    /// Copies `data` into the cells from `start` on.
    ///
    /// # Safety
    ///
    /// The cells lie inside the storage, and no other thread accesses them during the call.
    #[inline]
    pub(crate) unsafe fn put(&self, start: usize, data: &[u8]) {
        debug_assert!(start + data.len() <= self.0.len());
        // SAFETY: the caller promises that the range lies inside the storage and that no other
        // thread accesses it. `data` cannot overlap the storage, to which nobody has a reference.
        unsafe {
            let to = UnsafeCell::raw_get(self.0.as_ptr().add(start));
            std::ptr::copy_nonoverlapping(data.as_ptr().cast(), to, data.len());
        }
    }

    /// Copies the cells from `start` on into `buf`.
    ///
    /// # Safety
    ///
    /// The cells lie inside the storage and were initialised by `put`. No other thread writes them
    /// during the call.
    #[inline]
    pub(crate) unsafe fn get(&self, start: usize, buf: &mut [u8]) {
        debug_assert!(start + buf.len() <= self.0.len());
        // SAFETY: as in `put`. The caller also promises that the cells are initialised.
        unsafe {
            let from = UnsafeCell::raw_get(self.0.as_ptr().add(start));
            std::ptr::copy_nonoverlapping(from.cast(), buf.as_mut_ptr(), buf.len());
        }
    }
}
