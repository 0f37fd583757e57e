//! The counting allocator. It must never allocate, and never panic.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Constants without a destructor. Touching them neither allocates nor registers anything, and
    // works for as long as the thread lives.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, with a count per thread of the bytes that it has given out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter;

/// Restarts the peak of this thread and returns its live bytes. They are negative if the thread has
/// freed more than it has allocated.
pub(crate) fn begin() -> i64 {
    let live = LIVE.get();
    PEAK.set(live);
    live
}

/// Maximum number of bytes that were live on this thread at once since [`begin`].
pub(crate) fn peak() -> i64 {
    PEAK.get()
}

fn add(bytes: usize) {
    // No allocation has more than `isize::MAX` bytes.
    let live = LIVE.get().wrapping_add(bytes as i64);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

fn remove(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_sub(bytes as i64));
}

// SAFETY: every call passes its arguments unchanged to the system's allocator, and returns that
// allocator's answer unchanged. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract for the layout.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract for the layout.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller upholds the contract for the memory, its layout and the size.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            // Moved memory exists twice for a moment, unless it grew in place.
            if moved == memory {
                remove(layout.size());
                add(size);
            } else {
                add(size);
                remove(layout.size());
            }
        }
        moved
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract for the memory and its layout.
        unsafe { System.dealloc(memory, layout) };
        remove(layout.size());
    }
}
