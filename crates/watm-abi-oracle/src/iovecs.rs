//! The oracle for arrays of buffers.
//!
//! Knows `IovecArray::decode`, and a model of it that reads one byte at a time.

use arbitrary::Arbitrary;
use watm_abi::{Errno, IOVEC_SIZE, Iovec, IovecArray, MAX_IOVECS};

use crate::guest::{number, put};
use crate::{Addr, Count, Guest, List};

/// The unit of a large memory. The maximum number of buffers can then exceed 4 GiB in total.
const UNIT: usize = 256;

/// An array of buffers in the memory of a guest.
#[derive(Clone, Debug, Arbitrary)]
pub struct IovecCase {
    /// The memory.
    pub guest: Guest,
    /// Where the array lies.
    pub ptr: Addr,
    /// Number of records according to the guest.
    pub count: Count,
    /// Whether the records are repeated up to the maximum number.
    pub repeat: bool,
    /// Records to put there, as address and length.
    pub records: List<(Addr, Addr)>,
}

impl IovecCase {
    /// The memory with the array in it, and the array's address and length.
    pub(crate) fn build(&self) -> (Vec<u8>, u32, u32) {
        let mut memory = self.guest.memory(UNIT);
        let size = memory.len();
        let ptr = self.ptr.resolve(size);
        let present = match self.repeat && !self.records.is_empty() {
            true => MAX_IOVECS as usize,
            false => self.records.len(),
        };
        for (index, (buf, len)) in (0..).zip(self.records.iter().cycle().take(present)) {
            let iovec = Iovec {
                buf: buf.resolve(size),
                len: len.resolve(size),
            };
            put(
                &mut memory,
                u64::from(ptr) + index * u64::from(IOVEC_SIZE),
                &iovec.encode(),
            );
        }
        (memory, ptr, self.count.resolve(present, MAX_IOVECS))
    }
}

/// Decodes the array, and compares its records, lengths and bytes with the model.
pub fn iovecs(case: &IovecCase) -> Result<(), Errno> {
    let (memory, ptr, count) = case.build();
    let expected = model(&memory, ptr, count);
    let array = match (IovecArray::decode(&memory, ptr, count), expected) {
        (Ok(array), Ok(expected)) => {
            assert_eq!(array.as_slice(), expected);
            array
        }
        (got, expected) => {
            assert_eq!(
                got.as_ref().err(),
                expected.as_ref().err(),
                "{got:?} {expected:?}"
            );
            return got.map(|_| ());
        }
    };

    let total: u64 = array
        .as_slice()
        .iter()
        .map(|iovec| u64::from(iovec.len))
        .sum();
    assert_eq!(u64::from(array.total_len()), total);
    let nonempty: Vec<Iovec> = array
        .as_slice()
        .iter()
        .copied()
        .filter(|v| v.len > 0)
        .collect();
    assert_eq!(array.iter().collect::<Vec<_>>(), nonempty);
    let slices: Vec<&[u8]> = array.slices(&memory).collect();
    assert_eq!(slices.len(), nonempty.len());
    for (slice, iovec) in slices.iter().zip(&nonempty) {
        let (start, len) = (iovec.buf as usize, iovec.len as usize);
        assert_eq!(slice.len(), len);
        assert!(std::ptr::eq(slice.as_ptr(), &memory[start]));
    }
    Ok(())
}

/// The expected result of decoding.
pub(crate) fn model(memory: &[u8], ptr: u32, count: u32) -> Result<Vec<Iovec>, Errno> {
    if count > MAX_IOVECS {
        return Err(Errno::Inval);
    }
    let mut records = Vec::new();
    for index in 0..u64::from(count) {
        let at = u64::from(ptr) + 8 * index;
        let buf = number(memory, at, 4).ok_or(Errno::Fault)?;
        let len = number(memory, at + 4, 4).ok_or(Errno::Fault)?;
        records.push((buf, len));
    }
    if records
        .iter()
        .any(|(buf, len)| *len > 0 && buf + len > memory.len() as u64)
    {
        return Err(Errno::Fault);
    }
    if records.iter().map(|(_, len)| len).sum::<u64>() > u64::from(u32::MAX) {
        return Err(Errno::Inval);
    }
    Ok(records
        .iter()
        .map(|(buf, len)| Iovec {
            buf: *buf as u32,
            len: *len as u32,
        })
        .collect())
}
