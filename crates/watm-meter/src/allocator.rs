//! The allocator that counts. It must never allocate itself, and never panic.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Constants without a destructor: to touch them neither allocates nor registers anything, and
    // they can be touched for as long as the thread lives.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, which counts for each thread what it gives out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter;

/// Begins the peak of this thread anew; returns its live bytes, which may be less than none: it
/// frees what others have allocated.
pub(crate) fn begin() -> i64 {
    let live = LIVE.get();
    PEAK.set(live);
    live
}

/// The most bytes that were live on this thread at the same time since [`begin`].
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

// SAFETY: every request goes to the system's allocator with the same arguments, and its answer
// comes back unchanged. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is passed on.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is passed on.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            add(layout.size());
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises about the memory, its layout and the size are passed on.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            // What is moved is in both places for a moment, unless it grew where it was.
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
        // SAFETY: the caller's promises about the memory and its layout are passed on.
        unsafe { System.dealloc(memory, layout) };
        remove(layout.size());
    }
}
