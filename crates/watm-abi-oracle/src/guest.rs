//! The memory of a guest, and numbers that the guest might pass.
//!
//! Knows where the boundaries are. Must never know what the memory contains.

use arbitrary::Arbitrary;

use crate::List;

/// The memory of a guest.
#[derive(Clone, Debug, Arbitrary)]
pub struct Guest {
    /// The content from address 0 on, cut at the end of memory. The rest is zero.
    pub content: List<u8>,
    /// The size, in bytes.
    pub size: u16,
    /// Whether the size is in larger units. The oracle chooses the unit.
    pub large: bool,
}

impl Guest {
    /// The memory in the form that `watm-abi` takes. `unit` is the unit of a large one, in bytes.
    pub fn memory(&self, unit: usize) -> Vec<u8> {
        let unit = if self.large { unit } else { 1 };
        let mut memory = vec![0; usize::from(self.size) * unit];
        for (to, from) in memory.iter_mut().zip(&*self.content) {
            *to = *from;
        }
        memory
    }
}

/// An address or a length, relative to the size of the memory.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Addr {
    /// Zero.
    Zero,
    /// Exactly this number.
    Any(u32),
    /// Inside the memory, or at its end.
    Inside(u32),
    /// Close to the end of the memory, on either side.
    AtEnd(i8),
    /// Close to the highest address.
    Top(u8),
}

impl Addr {
    /// The number for a memory of `size` bytes.
    pub fn resolve(self, size: usize) -> u32 {
        let size = u32::try_from(size).expect("a case has less than 4 GiB of memory");
        match self {
            Addr::Zero => 0,
            Addr::Any(number) => number,
            Addr::Inside(number) => number % (size + 1),
            Addr::AtEnd(offset) => size.saturating_add_signed(i32::from(offset)),
            Addr::Top(offset) => u32::MAX - u32::from(offset),
        }
    }
}

/// A number of records.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Count {
    /// As many as the case has put into memory.
    Fitting,
    /// A few.
    Few(u8),
    /// This much above or below the maximum.
    AtLimit(i8),
    /// Exactly this number.
    Any(u32),
}

impl Count {
    /// The number, if `present` records are in memory and `limit` is the maximum.
    pub fn resolve(self, present: usize, limit: u32) -> u32 {
        match self {
            Count::Fitting => u32::try_from(present).unwrap_or(u32::MAX),
            Count::Few(number) => u32::from(number),
            Count::AtLimit(offset) => limit.saturating_add_signed(i32::from(offset)),
            Count::Any(number) => number,
        }
    }
}

/// Puts `bytes` at `addr`, cut at the end of memory.
pub(crate) fn put(memory: &mut [u8], addr: u64, bytes: &[u8]) {
    for (at, byte) in (addr..).zip(bytes) {
        if let Some(target) = usize::try_from(at).ok().and_then(|at| memory.get_mut(at)) {
            *target = *byte;
        }
    }
}

/// The byte at `addr`, or `None` outside the memory. Models read memory only through this.
pub(crate) fn byte(memory: &[u8], addr: u64) -> Option<u8> {
    memory.get(usize::try_from(addr).ok()?).copied()
}

/// The little-endian number in the `width` bytes at `addr`, or `None` if one of them is outside.
pub(crate) fn number(memory: &[u8], addr: u64, width: u64) -> Option<u64> {
    (0..width).rev().try_fold(0, |number, at| {
        Some(number << 8 | u64::from(byte(memory, addr + at)?))
    })
}
