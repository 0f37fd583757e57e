//! Access to guest memory, checked against its bounds.
//!
//! Knows addresses and bytes. Must never know an engine, nor what the bytes stand for.

use crate::Errno;

/// Guest memory: a run of bytes that starts at address 0 and is reached by 32-bit addresses.
///
/// An engine implements the three required methods over its linear memory; the others follow from
/// them. Numbers are little-endian, as in all of WebAssembly, and need no alignment.
///
/// Every error is [`Errno::Fault`]: some byte of the range lies outside of the memory. A range
/// never wraps around, and an empty one is inside as long as its address is at most
/// [`size`](Self::size). A failed write changes nothing.
///
/// ```
/// use watm_abi::{Errno, GuestMemory};
///
/// /// The memory of an instance, as the engine gives access to it.
/// struct Linear<'m>(&'m mut [u8]);
///
/// impl GuestMemory for Linear<'_> {
///     fn size(&self) -> u64 {
///         self.0.len() as u64
///     }
///
///     fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
///         let end = addr.checked_add(len).ok_or(Errno::Fault)?;
///         self.0.get(addr as usize..end as usize).ok_or(Errno::Fault)
///     }
///
///     fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno> {
///         let end = addr.checked_add(len).ok_or(Errno::Fault)?;
///         self.0.get_mut(addr as usize..end as usize).ok_or(Errno::Fault)
///     }
/// }
///
/// // All that is read and written goes through these three.
/// let mut page = vec![0; 65536];
/// let mut memory = Linear(&mut page);
/// memory.write_u32(1024, 7)?;
/// assert_eq!(memory.read_u32(1024)?, 7);
/// assert_eq!(memory.read_u32(65533), Err(Errno::Fault));
/// # Ok::<(), Errno>(())
/// ```
pub trait GuestMemory {
    /// The size of the memory, in bytes: 0 to 4 GiB for a 32-bit memory.
    fn size(&self) -> u64;

    /// The `len` bytes at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of them is outside of the memory.
    fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno>;

    /// The `len` bytes at `addr`, to be written.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of them is outside of the memory.
    fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno>;

    /// The `N` bytes at `addr`, copied.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of them is outside of the memory.
    fn read_array<const N: usize>(&self, addr: u32) -> Result<[u8; N], Errno> {
        let len = u32::try_from(N).map_err(|_| Errno::Fault)?;
        self.slice(addr, len)?.try_into().map_err(|_| Errno::Fault)
    }

    /// The byte at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when it is outside of the memory.
    fn read_u8(&self, addr: u32) -> Result<u8, Errno> {
        self.read_array(addr).map(u8::from_le_bytes)
    }

    /// The 16-bit number at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of its bytes is outside of the memory.
    fn read_u16(&self, addr: u32) -> Result<u16, Errno> {
        self.read_array(addr).map(u16::from_le_bytes)
    }

    /// The 32-bit number at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of its bytes is outside of the memory.
    fn read_u32(&self, addr: u32) -> Result<u32, Errno> {
        self.read_array(addr).map(u32::from_le_bytes)
    }

    /// The 64-bit number at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of its bytes is outside of the memory.
    fn read_u64(&self, addr: u32) -> Result<u64, Errno> {
        self.read_array(addr).map(u64::from_le_bytes)
    }

    /// Writes `bytes` at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of them would be outside of the memory; then nothing is written.
    fn write_bytes(&mut self, addr: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        let target = self.slice_mut(addr, len)?;
        // An implementation that hands out another length than it was asked for is at fault, not a
        // reason to panic.
        if target.len() != bytes.len() {
            return Err(Errno::Fault);
        }
        target.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a byte at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when it would be outside of the memory.
    fn write_u8(&mut self, addr: u32, value: u8) -> Result<(), Errno> {
        self.write_bytes(addr, &value.to_le_bytes())
    }

    /// Writes a 16-bit number at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of its bytes would be outside of the memory; then nothing is
    /// written.
    fn write_u16(&mut self, addr: u32, value: u16) -> Result<(), Errno> {
        self.write_bytes(addr, &value.to_le_bytes())
    }

    /// Writes a 32-bit number at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of its bytes would be outside of the memory; then nothing is
    /// written.
    fn write_u32(&mut self, addr: u32, value: u32) -> Result<(), Errno> {
        self.write_bytes(addr, &value.to_le_bytes())
    }

    /// Writes a 64-bit number at `addr`.
    ///
    /// # Errors
    ///
    /// [`Errno::Fault`] when any of its bytes would be outside of the memory; then nothing is
    /// written.
    fn write_u64(&mut self, addr: u32, value: u64) -> Result<(), Errno> {
        self.write_bytes(addr, &value.to_le_bytes())
    }
}

impl GuestMemory for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
        self.get(range(addr, len)?).ok_or(Errno::Fault)
    }

    fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.get_mut(range(addr, len)?).ok_or(Errno::Fault)
    }
}

impl GuestMemory for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
        self.as_slice().slice(addr, len)
    }

    fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.as_mut_slice().slice_mut(addr, len)
    }
}

impl<M: GuestMemory + ?Sized> GuestMemory for &mut M {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
        (**self).slice(addr, len)
    }

    fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno> {
        (**self).slice_mut(addr, len)
    }
}

/// The range of a slice that a guest's address and length stand for.
fn range(addr: u32, len: u32) -> Result<std::ops::Range<usize>, Errno> {
    let start = usize::try_from(addr).map_err(|_| Errno::Fault)?;
    let len = usize::try_from(len).map_err(|_| Errno::Fault)?;
    let end = start.checked_add(len).ok_or(Errno::Fault)?;
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65536;

    #[test]
    fn numbers_are_little_endian_and_need_no_alignment() {
        let mut memory = vec![0u8; 32];
        memory.write_u8(1, 0x11).unwrap();
        memory.write_u16(3, 0x2122).unwrap();
        memory.write_u32(7, 0x3132_3334).unwrap();
        memory.write_u64(13, 0x4142_4344_4546_4748).unwrap();
        assert_eq!(memory[1..2], [0x11]);
        assert_eq!(memory[3..5], [0x22, 0x21]);
        assert_eq!(memory[7..11], [0x34, 0x33, 0x32, 0x31]);
        assert_eq!(memory.read_u8(1), Ok(0x11));
        assert_eq!(memory.read_u16(3), Ok(0x2122));
        assert_eq!(memory.read_u32(7), Ok(0x3132_3334));
        assert_eq!(memory.read_u64(13), Ok(0x4142_4344_4546_4748));
        assert_eq!(memory.read_array(3), Ok([0x22, 0x21]));
    }

    #[test]
    fn the_last_byte_is_inside_and_the_next_is_not() {
        let mut memory = vec![7u8; PAGE];
        assert_eq!(memory.size(), 65536);
        assert_eq!(memory.slice(65535, 1), Ok(&[7u8][..]));
        assert_eq!(memory.slice(65535, 2), Err(Errno::Fault));
        assert_eq!(memory.slice(65536, 1), Err(Errno::Fault));
        assert_eq!(memory.read_u64(65528), Ok(0x0707_0707_0707_0707));
        assert_eq!(memory.read_u64(65529), Err(Errno::Fault));
        assert_eq!(memory.slice_mut(65536, 1), Err(Errno::Fault));
    }

    #[test]
    fn an_empty_range_may_start_at_the_end_but_not_after_it() {
        let memory = vec![0u8; PAGE];
        assert_eq!(memory.slice(65536, 0), Ok(&[][..]));
        assert_eq!(memory.slice(65537, 0), Err(Errno::Fault));
        assert_eq!(memory.slice(u32::MAX, 0), Err(Errno::Fault));
        assert_eq!([0u8; 0].slice(0, 0), Ok(&[][..]));
    }

    #[test]
    fn a_range_does_not_wrap_around() {
        let mut memory = vec![0u8; PAGE];
        assert_eq!(memory.slice(u32::MAX, 2), Err(Errno::Fault));
        assert_eq!(memory.slice(1, u32::MAX), Err(Errno::Fault));
        assert_eq!(memory.slice(u32::MAX, u32::MAX), Err(Errno::Fault));
        assert_eq!(memory.write_u32(u32::MAX - 1, 1), Err(Errno::Fault));
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let mut memory = vec![9u8; 8];
        assert_eq!(memory.write_u64(1, 0), Err(Errno::Fault));
        assert_eq!(memory.write_bytes(6, b"abc"), Err(Errno::Fault));
        assert_eq!(memory, [9; 8]);
    }

    #[test]
    fn an_engine_that_hands_out_too_little_makes_a_fault_and_no_panic() {
        struct Short([u8; 1]);

        impl GuestMemory for Short {
            fn size(&self) -> u64 {
                1
            }

            fn slice(&self, _: u32, _: u32) -> Result<&[u8], Errno> {
                Ok(&self.0)
            }

            fn slice_mut(&mut self, _: u32, _: u32) -> Result<&mut [u8], Errno> {
                Ok(&mut self.0)
            }
        }

        assert_eq!(Short([0]).read_u32(0), Err(Errno::Fault));
        assert_eq!(Short([0]).write_u32(0, 1), Err(Errno::Fault));
    }

    #[test]
    fn a_borrowed_memory_is_a_memory() {
        fn write(mut memory: impl GuestMemory) {
            memory.write_u16(0, 0x0201).unwrap();
            assert_eq!((memory.size(), memory.read_u8(1)), (2, Ok(2)));
        }

        let mut memory = vec![0u8; 2];
        write(&mut memory);
        assert_eq!(memory, [1, 2]);
        write(memory.as_mut_slice());
    }
}
