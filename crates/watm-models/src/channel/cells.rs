//! Replaces the runtime's `channel/cells.rs`. Loom knows which threads have touched these bytes,
//! and so finds two threads that touch them without an order between them.

use loom::cell::UnsafeCell;

/// Maximum size of storage that is watched, in bytes. The storage of a pipe is not: its ring is the
/// same code, and what matters there is who wakes whom.
const WATCHED: usize = 64;

pub(crate) enum Cells {
    Watched(Vec<UnsafeCell<u8>>),
    Plain(std::cell::UnsafeCell<Vec<u8>>),
}

// SAFETY: loom runs one thread at a time, and reports when two threads touch a watched cell without
// an order between them. The callers of `put` and `get` uphold the rest.
unsafe impl Sync for Cells {}
// SAFETY: bytes can be sent.
unsafe impl Send for Cells {}

impl Cells {
    pub(crate) fn new(len: usize) -> Self {
        if len <= WATCHED {
            Self::Watched((0..len).map(|_| UnsafeCell::new(0)).collect())
        } else {
            Self::Plain(std::cell::UnsafeCell::new(vec![0; len]))
        }
    }

    /// # Safety
    ///
    /// No other thread may touch these cells during the call.
    pub(crate) unsafe fn put(&self, start: usize, data: &[u8]) {
        match self {
            Self::Watched(cells) => {
                for (cell, byte) in cells[start..].iter().zip(data) {
                    // SAFETY: the pointer is valid, and loom watches who else uses it.
                    cell.with_mut(|to| unsafe { *to = *byte });
                }
            }
            // SAFETY: no other thread runs in these lines.
            Self::Plain(cells) => unsafe {
                (&mut *cells.get())[start..][..data.len()].copy_from_slice(data);
            },
        }
    }

    /// # Safety
    ///
    /// No other thread may write to these cells during the call.
    pub(crate) unsafe fn get(&self, start: usize, buf: &mut [u8]) {
        match self {
            Self::Watched(cells) => {
                for (cell, byte) in cells[start..].iter().zip(buf) {
                    // SAFETY: the pointer is valid, and loom watches who else uses it.
                    *byte = cell.with(|from| unsafe { *from });
                }
            }
            // SAFETY: no other thread runs in these lines.
            Self::Plain(cells) => unsafe {
                buf.copy_from_slice(&(&*cells.get())[start..][..buf.len()]);
            },
        }
    }
}
