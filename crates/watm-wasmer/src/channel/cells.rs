//! The storage of a ring: bytes that two threads touch at the same time, though never the same
//! ones. Who may touch which is the business of the ring.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

pub(crate) struct Cells(Box<[UnsafeCell<MaybeUninit<u8>>]>);

// SAFETY: cells are touched by `put` and `get` alone, whose callers see to it that no two threads
// touch the same one.
unsafe impl Sync for Cells {}

impl Cells {
    /// So many bytes, of no value yet: filling a large storage would touch all of its pages, of
    /// which most connections use a few.
    pub(crate) fn new(len: usize) -> Self {
        // SAFETY: a cell that may be uninitialised needs no value.
        Self(unsafe { Box::new_uninit_slice(len).assume_init() })
    }

    /// Copies `data` into the cells from `start` on.
    ///
    /// # Safety
    ///
    /// The cells lie inside the storage, and no other thread touches them meanwhile.
    #[inline]
    pub(crate) unsafe fn put(&self, start: usize, data: &[u8]) {
        debug_assert!(start + data.len() <= self.0.len());
        // SAFETY: the caller says that the range lies inside and is ours; `data` cannot overlap
        // memory that is reached through `UnsafeCell` alone.
        unsafe {
            let to = UnsafeCell::raw_get(self.0.as_ptr().add(start));
            std::ptr::copy_nonoverlapping(data.as_ptr().cast(), to, data.len());
        }
    }

    /// Copies the cells from `start` on into `buf`.
    ///
    /// # Safety
    ///
    /// The cells lie inside the storage and were put before, and no other thread writes them
    /// meanwhile.
    #[inline]
    pub(crate) unsafe fn get(&self, start: usize, buf: &mut [u8]) {
        debug_assert!(start + buf.len() <= self.0.len());
        // SAFETY: as in `put`.
        unsafe {
            let from = UnsafeCell::raw_get(self.0.as_ptr().add(start));
            std::ptr::copy_nonoverlapping(from.cast(), buf.as_mut_ptr(), buf.len());
        }
    }
}
