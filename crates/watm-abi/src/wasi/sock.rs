//! The flags of the socket functions: `sock_recv`, `sock_send` and `sock_shutdown`.
//!
//! Knows the bits, and must never know how a socket carries them out.

use super::bits::bit_set;

bit_set! {
    /// What `sock_recv` is asked for: `riflags` of WASI Preview 1.
    ///
    /// ```
    /// use watm_abi::RiFlags;
    ///
    /// let flags = RiFlags::from_bits(1).expect("it is a flag");
    /// assert!(flags.contains(RiFlags::PEEK) && !flags.contains(RiFlags::WAITALL));
    /// ```
    RiFlags(u16) {
        /// The bytes stay where they are and are returned again by the next read.
        PEEK = 1 << 0;
        /// Wait until the buffers are full, the stream ends or an error happens.
        WAITALL = 1 << 1;
    }
}

bit_set! {
    /// What `sock_recv` reports: `roflags` of WASI Preview 1.
    ///
    /// ```
    /// use watm_abi::{Errno, GuestMemory, RoFlags};
    ///
    /// // A stream has no messages to truncate, so `sock_recv` reports nothing.
    /// let mut memory = vec![0; 65536];
    /// memory.write_u16(64, RoFlags::NONE.bits())?;
    /// # Ok::<(), Errno>(())
    /// ```
    RoFlags(u16) {
        /// A message did not fit the buffers and its end was dropped.
        DATA_TRUNCATED = 1 << 0;
    }
}

bit_set! {
    /// Which directions `sock_shutdown` closes: `sdflags` of WASI Preview 1.
    ///
    /// ```
    /// use std::net::Shutdown;
    /// use watm_abi::{Errno, SdFlags};
    ///
    /// // The argument of `sock_shutdown`, for a socket of the host.
    /// let how = |bits| match SdFlags::from_bits(bits) {
    ///     Some(SdFlags::RD) => Ok(Shutdown::Read),
    ///     Some(SdFlags::WR) => Ok(Shutdown::Write),
    ///     Some(SdFlags::ALL) => Ok(Shutdown::Both),
    ///     _ => Err(Errno::Inval),
    /// };
    /// assert_eq!(how(2), Ok(Shutdown::Write));
    /// assert_eq!(how(3), Ok(Shutdown::Both));
    /// assert_eq!(how(0), Err(Errno::Inval));
    /// ```
    SdFlags(u8) {
        /// Receiving.
        RD = 1 << 0;
        /// Sending.
        WR = 1 << 1;
    }
}

bit_set! {
    /// What `sock_send` is asked for: `siflags` of WASI Preview 1, which defines no bit.
    ///
    /// ```
    /// use watm_abi::SiFlags;
    ///
    /// assert_eq!(SiFlags::from_bits(0), Some(SiFlags::NONE));
    /// assert_eq!(SiFlags::from_bits(1), None);
    /// ```
    SiFlags(u16) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_refuses_the_first_undefined_bit() {
        assert_eq!(
            RiFlags::from_bits(3),
            Some(RiFlags::PEEK | RiFlags::WAITALL)
        );
        assert_eq!(RiFlags::from_bits(4), None);
        assert_eq!(RoFlags::from_bits(1), Some(RoFlags::DATA_TRUNCATED));
        assert_eq!(RoFlags::from_bits(2), None);
        assert_eq!(SdFlags::from_bits(3), Some(SdFlags::RD | SdFlags::WR));
        assert_eq!(SdFlags::from_bits(4), None);
        assert_eq!(SiFlags::from_bits(0), Some(SiFlags::NONE));
        assert_eq!(SiFlags::from_bits(1), None);
    }
}
