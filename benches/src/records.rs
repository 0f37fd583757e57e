//! Records as a guest passes them, in a memory like a guest's, and the copying of their bytes that
//! decoding stands beside.

use std::hint::black_box;

use watm_abi::{GuestMemory, IOVEC_SIZE, Iovec, SUBSCRIPTION_SIZE, Subscription, SubscriptionKind};

/// Bytes of memory: 16 pages.
const MEMORY: usize = 1 << 20;
/// Where the buffers that the records name begin: behind the records themselves.
const BUFFERS: u32 = 1 << 16;
/// Bytes of each buffer. 1024 of them end within memory.
const BUFFER: u32 = 512;

/// An array of records at the address 0.
#[derive(Clone, Debug)]
pub struct Records {
    /// The guest's memory.
    pub memory: Vec<u8>,
    /// How many records there are.
    pub count: u32,
    /// Bytes of all records together.
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

    /// Room for [`Records::copy`].
    pub fn buffer(&self) -> Vec<u8> {
        vec![0; self.len as usize]
    }

    /// Copies the bytes of the records and looks at none of them.
    pub fn copy(&self, into: &mut [u8]) {
        let memory = black_box(&self.memory);
        into.copy_from_slice(&memory[..into.len()]);
        black_box(into);
    }
}
