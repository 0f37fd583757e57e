//! How the functions that take a path resolve it.
//!
//! Knows the bit, and must never know a file system.

use super::bits::bit_set;

bit_set! {
    /// How a path is resolved: `lookupflags` of WASI Preview 1.
    ///
    /// ```
    /// use watm_abi::LookupFlags;
    ///
    /// // `path_filestat_get` of a link, or of what it leads to?
    /// let follows = |bits| LookupFlags::from_bits(bits).map(|flags| !flags.is_empty());
    /// assert_eq!(follows(1), Some(true));
    /// assert_eq!(follows(0), Some(false));
    /// ```
    LookupFlags(u32) {
        /// Follow a symbolic link at the end of the path.
        SYMLINK_FOLLOW = 1 << 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_is_defined() {
        assert_eq!(LookupFlags::from_bits(1), Some(LookupFlags::SYMLINK_FOLLOW));
        assert_eq!(LookupFlags::from_bits(2), None);
        assert_eq!(
            LookupFlags::from_bits_truncate(u32::MAX),
            LookupFlags::SYMLINK_FOLLOW
        );
    }
}
