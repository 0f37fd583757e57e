//! From where `fd_seek` counts.
//!
//! Knows the numbers, and must never know a file's position or size.

/// From where an offset counts: `whence` of WASI Preview 1.
///
/// ```
/// use std::io::SeekFrom;
/// use watm_abi::{Errno, Whence};
///
/// // The arguments of `fd_seek`, for a file of the host.
/// let position = |offset: i64, whence| match Whence::from_raw(whence) {
///     Some(Whence::Set) => u64::try_from(offset).map(SeekFrom::Start).map_err(|_| Errno::Inval),
///     Some(Whence::Cur) => Ok(SeekFrom::Current(offset)),
///     Some(Whence::End) => Ok(SeekFrom::End(offset)),
///     None => Err(Errno::Inval),
/// };
/// assert_eq!(position(-8, 2), Ok(SeekFrom::End(-8)));
/// assert_eq!(position(-8, 0), Err(Errno::Inval));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Whence {
    /// From the start of the file.
    Set = 0,
    /// From the current position.
    Cur = 1,
    /// From the end of the file.
    End = 2,
}

impl Whence {
    /// Every origin, in the order of the numbers.
    pub const ALL: &[Whence] = &[Whence::Set, Whence::Cur, Whence::End];

    /// The number of WASI Preview 1.
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The origin with this number, or `None` when there is none.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Whence::Set),
            1 => Some(Whence::Cur),
            2 => Some(Whence::End),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_preview_1() {
        for (number, whence) in (0..).zip(Whence::ALL) {
            assert_eq!(whence.raw(), number);
            assert_eq!(Whence::from_raw(number), Some(*whence));
        }
        assert_eq!(Whence::from_raw(3), None);
        assert_eq!(Whence::from_raw(255), None);
    }
}
