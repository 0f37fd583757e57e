//! How `path_open` opens a file.
//!
//! Knows the bits, and must never know a file system.

use super::bits::bit_set;

bit_set! {
    /// How `path_open` opens a file: `oflags` of WASI Preview 1.
    ///
    /// ```
    /// use watm_abi::OFlags;
    ///
    /// let flags = OFlags::CREAT | OFlags::TRUNC;
    /// let mut options = std::fs::OpenOptions::new();
    /// options
    ///     .create(flags.contains(OFlags::CREAT))
    ///     .create_new(flags.contains(OFlags::CREAT | OFlags::EXCL))
    ///     .truncate(flags.contains(OFlags::TRUNC));
    /// assert_eq!(flags.bits(), 9);
    /// ```
    OFlags(u16) {
        /// Create the file if it does not exist.
        CREAT = 1 << 0;
        /// Fail unless it is a directory.
        DIRECTORY = 1 << 1;
        /// Fail if the file exists already.
        EXCL = 1 << 2;
        /// Truncate the file to no bytes.
        TRUNC = 1 << 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_are_defined() {
        assert_eq!(OFlags::from_bits(0b1111), Some(OFlags::ALL));
        assert_eq!(OFlags::from_bits(0b1_0000), None);
        assert_eq!(
            OFlags::from_bits(0b0101),
            Some(OFlags::CREAT | OFlags::EXCL)
        );
        assert_eq!(
            OFlags::from_bits(0b1010),
            Some(OFlags::DIRECTORY | OFlags::TRUNC)
        );
    }
}
