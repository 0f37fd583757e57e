//! I/O vectors: the arrays of buffers that `fd_read`, `fd_write`, `sock_recv`, `sock_send` and
//! `water_dial` take.
//!
//! Knows where the buffers lie, and must never know what is done with them.

use crate::{Errno, GuestMemory};

/// The size of one record in guest memory, in bytes.
pub const IOVEC_SIZE: u32 = 8;

/// The most records that one call may pass: what POSIX systems allow (`IOV_MAX`).
pub const MAX_IOVECS: u32 = 1024;

/// How many records are kept without an allocation. Guests pass one nearly always, and two for a
/// header and a body.
const INLINE: usize = 2;

/// One buffer in guest memory: `iovec` and `ciovec` of WASI Preview 1.
///
/// ```
/// use watm_abi::Iovec;
///
/// let iovec = Iovec { buf: 4096, len: 16 };
/// assert_eq!(iovec.encode(), [0, 16, 0, 0, 16, 0, 0, 0]);
/// assert_eq!(Iovec::decode(iovec.encode()), iovec);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Iovec {
    /// The address of its first byte.
    pub buf: u32,
    /// Its length, in bytes.
    pub len: u32,
}

impl Iovec {
    /// Reads a record: address, then length, each a little-endian 32-bit number.
    pub const fn decode(record: [u8; IOVEC_SIZE as usize]) -> Self {
        let [b0, b1, b2, b3, l0, l1, l2, l3] = record;
        Iovec {
            buf: u32::from_le_bytes([b0, b1, b2, b3]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        }
    }

    /// The record as it lies in guest memory.
    pub const fn encode(self) -> [u8; IOVEC_SIZE as usize] {
        let [b0, b1, b2, b3] = self.buf.to_le_bytes();
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        [b0, b1, b2, b3, l0, l1, l2, l3]
    }
}

/// A guest's array of buffers, checked against its memory.
///
/// The records are copied: what the guest's memory holds later does not change them. The buffers
/// may overlap each other and the array itself, as in POSIX. Up to two records need no allocation.
///
/// ```
/// use watm_abi::{Errno, GuestMemory, Iovec, IovecArray};
///
/// // `fd_read(fd, 64, 2, ..)`: a header of 2 bytes, and the rest.
/// let mut memory = vec![0u8; 65536];
/// memory.write_bytes(64, &Iovec { buf: 1024, len: 2 }.encode())?;
/// memory.write_bytes(72, &Iovec { buf: 2048, len: 100 }.encode())?;
/// let iovecs = IovecArray::decode(&memory, 64, 2)?;
/// assert_eq!(iovecs.total_len(), 102);
///
/// // What was received fills one buffer after the other.
/// let mut received: &[u8] = b"hello";
/// for Iovec { buf, len } in iovecs.limited_to(received.len() as u32).iter() {
///     let (now, later) = received.split_at(len as usize);
///     memory.write_bytes(buf, now)?;
///     received = later;
/// }
/// assert_eq!(memory.slice(1024, 2)?, b"he");
/// assert_eq!(memory.slice(2048, 3)?, b"llo");
///
/// // A buffer that ends outside of the memory.
/// memory.write_bytes(72, &Iovec { buf: 65535, len: 2 }.encode())?;
/// assert_eq!(IovecArray::decode(&memory, 64, 2).err(), Some(Errno::Fault));
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Debug)]
pub struct IovecArray {
    records: Records,
    total_len: u32,
}

#[derive(Clone, Debug)]
enum Records {
    Inline {
        records: [Iovec; INLINE],
        count: usize,
    },
    Heap(Vec<Iovec>),
}

impl IovecArray {
    /// Decodes `count` records at `ptr` and checks that each buffer lies in memory.
    ///
    /// Nothing is checked that nobody would touch: the address of an empty buffer and of an empty
    /// array may be anything, as in POSIX. Alignment is not asked for.
    ///
    /// # Errors
    ///
    /// - [`Errno::Inval`] for more than [`MAX_IOVECS`] records, which is looked at first, or for
    ///   buffers of more than `u32::MAX` bytes together, which is looked at last.
    /// - [`Errno::Fault`] when the array or a buffer is not wholly in memory.
    pub fn decode<M: GuestMemory + ?Sized>(
        memory: &M,
        ptr: u32,
        count: u32,
    ) -> Result<Self, Errno> {
        if count > MAX_IOVECS {
            return Err(Errno::Inval);
        }
        let array = match count {
            0 => &[],
            // Cannot overflow: `count` is at most `MAX_IOVECS`.
            _ => memory.slice(ptr, count * IOVEC_SIZE)?,
        };
        let (array, _) = array.as_chunks::<{ IOVEC_SIZE as usize }>();

        let mut total_len = 0u64;
        for record in array {
            let Iovec { buf, len } = Iovec::decode(*record);
            if len != 0 {
                memory.slice(buf, len)?;
            }
            total_len += u64::from(len);
        }
        let total_len = u32::try_from(total_len).map_err(|_| Errno::Inval)?;

        let records = match *array {
            [] => Records::Inline {
                records: [Iovec::default(); INLINE],
                count: 0,
            },
            [a] => Records::Inline {
                records: [Iovec::decode(a), Iovec::default()],
                count: 1,
            },
            [a, b] => Records::Inline {
                records: [Iovec::decode(a), Iovec::decode(b)],
                count: 2,
            },
            _ => Records::Heap(array.iter().copied().map(Iovec::decode).collect()),
        };
        Ok(IovecArray { records, total_len })
    }

    /// The bytes in all buffers together.
    pub fn total_len(&self) -> u32 {
        self.total_len
    }

    /// The first `most` bytes of the buffers alone.
    pub fn limited_to(&self, most: u32) -> Self {
        let mut left = most;
        let records: Vec<Iovec> = self
            .iter()
            .map_while(|Iovec { buf, len }| {
                let len = len.min(left);
                left -= len;
                (len > 0).then_some(Iovec { buf, len })
            })
            .collect();
        IovecArray {
            records: Records::Heap(records),
            total_len: self.total_len.min(most),
        }
    }

    /// The records, in order, empty ones included.
    pub fn as_slice(&self) -> &[Iovec] {
        match &self.records {
            // `count` is at most `INLINE`, so that nothing is lost here.
            Records::Inline { records, count } => records.get(..*count).unwrap_or(records),
            Records::Heap(records) => records,
        }
    }

    /// The records that are not empty, in order.
    pub fn iter(&self) -> impl Iterator<Item = Iovec> + '_ {
        self.as_slice()
            .iter()
            .copied()
            .filter(|iovec| iovec.len != 0)
    }

    /// The bytes of the buffers that are not empty, in order: what a write sends.
    ///
    /// `memory` is the one that the array was decoded from. A linear memory never shrinks, so that
    /// its buffers are still there; should it be another one, buffers outside of it are left out.
    pub fn slices<'m, M: GuestMemory + ?Sized>(
        &'m self,
        memory: &'m M,
    ) -> impl Iterator<Item = &'m [u8]> + 'm {
        self.iter()
            .filter_map(move |iovec| memory.slice(iovec.buf, iovec.len).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u32 = 65536;

    /// A page of memory with these records at `ptr`.
    fn memory_with(ptr: u32, records: &[(u32, u32)]) -> Vec<u8> {
        let mut memory = vec![0u8; PAGE as usize];
        for (index, &(buf, len)) in records.iter().enumerate() {
            let at = ptr + index as u32 * IOVEC_SIZE;
            memory
                .write_bytes(at, &Iovec { buf, len }.encode())
                .unwrap();
        }
        memory
    }

    fn decode(records: &[(u32, u32)]) -> Result<IovecArray, Errno> {
        IovecArray::decode(&memory_with(16, records), 16, records.len() as u32)
    }

    #[test]
    fn a_record_is_an_address_and_a_length_in_little_endian() {
        let iovec = Iovec {
            buf: 0x0403_0201,
            len: 0x0807_0605,
        };
        assert_eq!(Iovec::decode([1, 2, 3, 4, 5, 6, 7, 8]), iovec);
        assert_eq!(iovec.encode(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn records_come_out_in_order_whether_few_or_many() {
        for count in 0..6u32 {
            let records: Vec<(u32, u32)> = (0..count).map(|i| (100 * i, i + 1)).collect();
            let array = decode(&records).unwrap();
            let got: Vec<(u32, u32)> = array.as_slice().iter().map(|v| (v.buf, v.len)).collect();
            assert_eq!(got, records);
            assert_eq!(array.total_len(), (1..=count).sum::<u32>());
        }
    }

    #[test]
    fn one_or_two_records_need_no_allocation() {
        let one = decode(&[(0, 1)]).unwrap();
        let two = decode(&[(0, 1), (1, 1)]).unwrap();
        let three = decode(&[(0, 1), (1, 1), (2, 1)]).unwrap();
        assert!(matches!(one.records, Records::Inline { count: 1, .. }));
        assert!(matches!(two.records, Records::Inline { count: 2, .. }));
        assert!(matches!(three.records, Records::Heap(_)));
    }

    #[test]
    fn empty_records_are_listed_but_skipped() {
        let array = decode(&[(0, 0), (64, 2), (0, 0), (80, 3)]).unwrap();
        assert_eq!(array.as_slice().len(), 4);
        let lens: Vec<u32> = array.iter().map(|iovec| iovec.len).collect();
        assert_eq!(lens, [2, 3]);
    }

    #[test]
    fn a_limit_cuts_the_last_buffers_off() {
        let array = decode(&[(100, 3), (0, 0), (200, 4), (300, 5)]).unwrap();
        for most in 0..14 {
            let limited = array.limited_to(most);
            assert_eq!(limited.total_len(), most.min(12));
            let all = |array: &IovecArray| -> Vec<u32> {
                array.iter().flat_map(|v| v.buf..v.buf + v.len).collect()
            };
            let expected: Vec<u32> = all(&array).into_iter().take(most as usize).collect();
            assert_eq!(all(&limited), expected);
        }
    }

    #[test]
    fn slices_are_the_bytes_of_the_buffers() {
        let mut memory = memory_with(16, &[(200, 3), (0, 0), (100, 2)]);
        memory.write_bytes(200, b"abc").unwrap();
        memory.write_bytes(100, b"de").unwrap();
        let array = IovecArray::decode(&memory, 16, 3).unwrap();
        let slices: Vec<&[u8]> = array.slices(&memory).collect();
        assert_eq!(slices, [&b"abc"[..], b"de"]);
        let slices: Vec<&[u8]> = array.slices(memory.as_slice()).collect();
        assert_eq!(slices.len(), 2);
    }

    #[test]
    fn slices_of_a_smaller_memory_leave_out_what_is_not_there() {
        let array = decode(&[(0, 4), (60000, 4)]).unwrap();
        let smaller = vec![0u8; 100];
        assert_eq!(array.slices(&smaller).count(), 1);
    }

    #[test]
    fn an_empty_buffer_may_have_any_address() {
        assert_eq!(
            decode(&[(u32::MAX, 0), (PAGE + 1, 0)]).unwrap().total_len(),
            0
        );
    }

    #[test]
    fn an_empty_array_may_have_any_address() {
        let memory = vec![0u8; 16];
        let array = IovecArray::decode(&memory, u32::MAX, 0).unwrap();
        assert_eq!((array.total_len(), array.as_slice()), (0, &[][..]));
    }

    #[test]
    fn a_buffer_may_end_where_memory_ends_and_not_later() {
        assert_eq!(decode(&[(PAGE - 5, 5)]).unwrap().total_len(), 5);
        assert_eq!(decode(&[(PAGE - 5, 6)]).unwrap_err(), Errno::Fault);
        assert_eq!(decode(&[(0, 1), (PAGE, 1)]).unwrap_err(), Errno::Fault);
        assert_eq!(decode(&[(u32::MAX, 2)]).unwrap_err(), Errno::Fault);
    }

    #[test]
    fn an_array_that_is_not_wholly_in_memory_is_a_fault() {
        let memory = vec![0u8; PAGE as usize];
        assert!(IovecArray::decode(&memory, PAGE - 8, 1).is_ok());
        assert_eq!(
            IovecArray::decode(&memory, PAGE - 7, 1).unwrap_err(),
            Errno::Fault
        );
        assert_eq!(
            IovecArray::decode(&memory, u32::MAX, 1).unwrap_err(),
            Errno::Fault
        );
    }

    #[test]
    fn too_many_records_are_invalid_wherever_they_lie() {
        let memory = vec![0u8; PAGE as usize];
        assert_eq!(
            IovecArray::decode(&memory, 0, MAX_IOVECS)
                .unwrap()
                .as_slice()
                .len(),
            1024
        );
        assert_eq!(
            IovecArray::decode(&memory, 0, MAX_IOVECS + 1).unwrap_err(),
            Errno::Inval
        );
        assert_eq!(
            IovecArray::decode(&memory, u32::MAX, u32::MAX).unwrap_err(),
            Errno::Inval
        );
    }

    #[test]
    fn more_bytes_than_a_u32_counts_are_invalid() {
        /// The whole 32-bit address space, of which only one page exists.
        struct Huge(Vec<u8>);

        impl GuestMemory for Huge {
            fn size(&self) -> u64 {
                1 << 32
            }

            fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
                self.0.slice(addr, len).or(Ok(&[]))
            }

            fn slice_mut(&mut self, _: u32, _: u32) -> Result<&mut [u8], Errno> {
                Err(Errno::Fault)
            }
        }

        let memory = Huge(memory_with(16, &[(0, u32::MAX - 1), (0, 1), (0, 1)]));
        assert_eq!(
            IovecArray::decode(&memory, 16, 2).unwrap().total_len(),
            u32::MAX
        );
        assert_eq!(
            IovecArray::decode(&memory, 16, 3).unwrap_err(),
            Errno::Inval
        );
    }

    #[test]
    fn later_writes_to_memory_do_not_change_a_decoded_array() {
        let mut memory = memory_with(16, &[(0, 4)]);
        let array = IovecArray::decode(&memory, 16, 1).unwrap();
        memory.write_u32(20, u32::MAX).unwrap();
        assert_eq!(array.as_slice(), [Iovec { buf: 0, len: 4 }]);
    }
}
