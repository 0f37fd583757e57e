//! What a guest tells `fd_advise` about its access to a file.
//!
//! Knows the numbers, and must never know what a host makes of them.

/// How a guest expects to access a part of a file: `advice` of WASI Preview 1.
///
/// ```
/// use watm_abi::{Advice, Errno};
///
/// // The last argument of `fd_advise`.
/// let advice = |raw| Advice::from_raw(raw).ok_or(Errno::Inval);
/// assert_eq!(advice(1), Ok(Advice::Sequential));
/// assert_eq!(advice(6), Err(Errno::Inval));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Advice {
    /// In no particular way.
    Normal = 0,
    /// From lower offsets to higher ones.
    Sequential = 1,
    /// In any order.
    Random = 2,
    /// Soon.
    WillNeed = 3,
    /// Not soon.
    DontNeed = 4,
    /// Once, and not again.
    NoReuse = 5,
}

impl Advice {
    /// Every advice, in the order of the numbers.
    pub const ALL: &[Advice] = &[
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ];

    /// The number of WASI Preview 1.
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The advice with this number, or `None` when there is none.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Advice::Normal),
            1 => Some(Advice::Sequential),
            2 => Some(Advice::Random),
            3 => Some(Advice::WillNeed),
            4 => Some(Advice::DontNeed),
            5 => Some(Advice::NoReuse),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_preview_1() {
        for (number, advice) in (0..).zip(Advice::ALL) {
            assert_eq!(advice.raw(), number);
            assert_eq!(Advice::from_raw(number), Some(*advice));
        }
        assert_eq!(Advice::from_raw(6), None);
        assert_eq!(Advice::from_raw(255), None);
    }
}
