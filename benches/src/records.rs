//! Records as a guest passes them, in a memory like a guest's, and the baseline of decoding:
//! copying their bytes.

use std::hint::black_box;

use watm_abi::{GuestMemory, IOVEC_SIZE, Iovec, SUBSCRIPTION_SIZE, Subscription, SubscriptionKind};

/// Size of memory in bytes: 16 pages.
const MEMORY: usize = 1 << 20;
/// Address of the first buffer, after the records.
const BUFFERS: u32 = 1 << 16;
/// Size of one buffer, in bytes. 1024 buffers fit into memory.
const BUFFER: u32 = 512;

/// An array of records at address 0.
#[derive(Clone, Debug)]
pub struct Records {
    /// The guest's memory.
    pub memory: Vec<u8>,
    /// Number of records.
    pub count: u32,
    /// Size of all records together, in bytes.
    len: u32,
}

/// `count` I/O vectors, up to 1024.
pub fn iovecs(count: u32) -> Records {
    Records::new(count, IOVEC_SIZE, |at| {
        let (buf, len) = (BUFFERS + BUFFER * at, BUFFER);
        Iovec { buf, len }.encode()
    })
}

/// `count` subscriptions for reading, up to 1024.
pub fn subscriptions(count: u32) -> Records {
    Records::new(count, SUBSCRIPTION_SIZE, |fd| {
        let kind = SubscriptionKind::FdRead { fd };
        Subscription { userdata: 7, kind }.encode()
    })
}

impl Records {
    fn new<const N: usize>(count: u32, size: u32, record: impl Fn(u32) -> [u8; N]) -> Self {
        let mut memory = vec![0; MEMORY];
        for at in 0..count {
            memory
                .write_bytes(size * at, &record(at))
                .expect("the records fit in memory");
        }
        Self {
            memory,
            count,
            len: size * count,
        }
    }

    /// A buffer for [`Records::copy`].
    pub fn buffer(&self) -> Vec<u8> {
        vec![0; self.len as usize]
    }

    /// Copies the bytes of the records without looking at them.
    pub fn copy(&self, into: &mut [u8]) {
        let memory = black_box(&self.memory);
        into.copy_from_slice(&memory[..into.len()]);
        black_box(into);
    }
}
