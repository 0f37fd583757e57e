//! The modes of a descriptor, as `fd_fdstat_get` and `fd_fdstat_set_flags` carry them.
//!
//! Knows the bits, and must never know which descriptor honours which.

use super::bits::bit_set;

bit_set! {
    /// The modes of a descriptor: `fdflags` of WASI Preview 1.
    ///
    /// ```
    /// use watm_abi::{Errno, FdFlags};
    ///
    /// // The argument of `fd_fdstat_set_flags`.
    /// let flags = FdFlags::from_bits(0b101).ok_or(Errno::Inval)?;
    /// assert_eq!(flags, FdFlags::APPEND | FdFlags::NONBLOCK);
    /// assert!(flags.contains(FdFlags::NONBLOCK));
    /// assert_eq!(flags.without(FdFlags::APPEND).bits(), 0b100);
    /// // There is no such bit.
    /// assert_eq!(FdFlags::from_bits(1 << 5), None);
    /// # Ok::<(), Errno>(())
    /// ```
    FdFlags(u16) {
        /// Every write goes to the end of the file.
        APPEND = 1 << 0;
        /// Written data is on the device before the write returns.
        DSYNC = 1 << 1;
        /// A call that would have to wait fails with `EAGAIN` instead.
        NONBLOCK = 1 << 2;
        /// Reads wait for pending writes of the same data, in the way that the other two bits ask
        /// for.
        RSYNC = 1 << 3;
        /// Written data and its metadata are on the device before the write returns.
        SYNC = 1 << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_bits_are_refused_or_cut_off() {
        assert_eq!(FdFlags::from_bits(0b1_1111), Some(FdFlags::ALL));
        assert_eq!(FdFlags::from_bits(0b10_0000), None);
        assert_eq!(FdFlags::from_bits_truncate(0b10_0100), FdFlags::NONBLOCK);
    }

    #[test]
    fn flags_combine_and_come_apart() {
        let mut flags = FdFlags::NONBLOCK | FdFlags::APPEND;
        assert!(flags.contains(FdFlags::NONBLOCK));
        assert!(!flags.contains(FdFlags::NONBLOCK | FdFlags::SYNC));
        assert_eq!(flags.without(FdFlags::NONBLOCK), FdFlags::APPEND);
        assert_eq!(flags & FdFlags::NONBLOCK, FdFlags::NONBLOCK);
        flags |= FdFlags::SYNC;
        assert_eq!(flags.bits(), 0b1_0101);
        assert!(FdFlags::NONE.is_empty() && !flags.is_empty());
    }

    #[test]
    fn debug_output_names_the_bits() {
        assert_eq!(
            format!("{:?}", FdFlags::NONBLOCK | FdFlags::APPEND),
            "FdFlags(APPEND | NONBLOCK)"
        );
        assert_eq!(format!("{:?}", FdFlags::NONE), "FdFlags()");
    }
}
