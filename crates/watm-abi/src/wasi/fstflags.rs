//! Which times `fd_filestat_set_times` and `path_filestat_set_times` set, and to what.
//!
//! Knows the bits, and must never know a clock or a file system.

use super::bits::bit_set;

bit_set! {
    /// Which times of a file are set: `fstflags` of WASI Preview 1. A guest sets a time to a value
    /// or to the present, never to both.
    ///
    /// ```
    /// use watm_abi::{Errno, FstFlags};
    ///
    /// // The last argument of `fd_filestat_set_times`.
    /// let checked = |bits| {
    ///     let flags = FstFlags::from_bits(bits).ok_or(Errno::Inval)?;
    ///     let is_twice = flags.contains(FstFlags::ATIM | FstFlags::ATIM_NOW)
    ///         || flags.contains(FstFlags::MTIM | FstFlags::MTIM_NOW);
    ///     if is_twice { Err(Errno::Inval) } else { Ok(flags) }
    /// };
    /// assert_eq!(checked(0b1001), Ok(FstFlags::ATIM | FstFlags::MTIM_NOW));
    /// assert_eq!(checked(0b0011), Err(Errno::Inval));
    /// ```
    FstFlags(u16) {
        /// Set the time of the last access to the value passed.
        ATIM = 1 << 0;
        /// Set the time of the last access to the present.
        ATIM_NOW = 1 << 1;
        /// Set the time of the last modification to the value passed.
        MTIM = 1 << 2;
        /// Set the time of the last modification to the present.
        MTIM_NOW = 1 << 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_are_defined() {
        assert_eq!(FstFlags::from_bits(0b1111), Some(FstFlags::ALL));
        assert_eq!(FstFlags::from_bits(0b1_0000), None);
        assert_eq!(
            FstFlags::from_bits(0b1001),
            Some(FstFlags::ATIM | FstFlags::MTIM_NOW)
        );
        assert_eq!(
            FstFlags::from_bits(0b0110),
            Some(FstFlags::ATIM_NOW | FstFlags::MTIM)
        );
    }
}
