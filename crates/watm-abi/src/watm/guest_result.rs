//! The `s32` that functions of the interface return. It encodes either a value or an error number.
//!
//! Knows the encoding in both directions. Must never know which function returned it.

use std::fmt;

use crate::Errno;

/// A failure that a function of the guest returned.
///
/// The module, or the peer that it talks to, is at fault, not the host.
///
/// ```
/// use watm_abi::{Errno, GuestError, decode_errno};
///
/// // What `watm_start_v1` returned.
/// match decode_errno(-15) {
///     Ok(()) => println!("the transport has ended"),
///     Err(GuestError::Errno(Errno::Connreset)) => println!("its peer is gone"),
///     Err(error) => println!("{error}"),
/// }
/// # assert_eq!(decode_errno(-15), Err(GuestError::Errno(Errno::Connreset)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuestError {
    /// An error number of WASI Preview 1. Never [`Errno::Success`].
    Errno(Errno),
    /// A number that stands for no error: the value as returned, including its sign.
    Unknown(i32),
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestError::Errno(errno) => {
                write!(f, "the module returned error {}: {errno}", errno.raw())
            }
            GuestError::Unknown(raw) => write!(
                f,
                "the module returned {raw}, which is not an error number of WASI"
            ),
        }
    }
}

impl std::error::Error for GuestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            GuestError::Errno(errno) => Some(errno),
            GuestError::Unknown(_) => None,
        }
    }
}

/// Encodes what an import of the interface (`water_dial`, `water_dial_fixed`, `water_accept`)
/// returns to the guest.
///
/// A value is returned unchanged, and an error as its negated number. A value above `i32::MAX` does
/// not fit and becomes [`Errno::Overflow`]. The error [`Errno::Success`] contradicts itself, and
/// would be read as descriptor 0. It becomes [`Errno::Io`].
///
/// ```
/// use watm_abi::{Errno, encode_result};
///
/// // What `water_dial` returns: the descriptor of the connection, or why there is none.
/// assert_eq!(encode_result(Ok(5)), 5);
/// assert_eq!(encode_result(Err(Errno::Connrefused)), -14);
/// ```
pub fn encode_result(result: Result<u32, Errno>) -> i32 {
    match result {
        Ok(value) => i32::try_from(value).unwrap_or(Errno::Overflow.to_signed()),
        Err(Errno::Success) => Errno::Io.to_signed(),
        Err(errno) => errno.to_signed(),
    }
}

/// Decodes the result of an export that returns a descriptor (`watm_dial_v1`, `watm_dial_fixed_v1`,
/// `watm_accept_v1`).
///
/// # Errors
///
/// Every negative number is an error: [`GuestError::Errno`] if it is a negated error number, and
/// [`GuestError::Unknown`] otherwise.
///
/// ```
/// use watm_abi::{Errno, GuestError, decode_value};
///
/// assert_eq!(decode_value(5), Ok(5));
/// assert_eq!(decode_value(-14), Err(GuestError::Errno(Errno::Connrefused)));
/// assert_eq!(decode_value(-1000), Err(GuestError::Unknown(-1000)));
/// ```
pub fn decode_value(raw: i32) -> Result<u32, GuestError> {
    u32::try_from(raw).map_err(|_| guest_error(raw))
}

/// Decodes the result of an export that returns an error number (`watm_init_v1`,
/// `watm_ctrlpipe_v1`, `watm_associate_v1`, `watm_start_v1`).
///
/// # Errors
///
/// Every number except zero is an error: [`GuestError::Errno`] if it is an error number, negated or
/// not, and [`GuestError::Unknown`] otherwise. Some code paths of TinyGo modules do not negate the
/// number.
///
/// ```
/// use watm_abi::{Errno, GuestError, decode_errno};
///
/// assert_eq!(decode_errno(0), Ok(()));
/// // Negated or not.
/// assert_eq!(decode_errno(-28), Err(GuestError::Errno(Errno::Inval)));
/// assert_eq!(decode_errno(28), Err(GuestError::Errno(Errno::Inval)));
/// ```
pub fn decode_errno(raw: i32) -> Result<(), GuestError> {
    match raw {
        0 => Ok(()),
        _ => Err(guest_error(raw)),
    }
}

/// The failure that a non-zero number stands for, whatever its sign.
fn guest_error(raw: i32) -> GuestError {
    match u16::try_from(raw.unsigned_abs())
        .ok()
        .and_then(Errno::from_raw)
    {
        Some(errno) => GuestError::Errno(errno),
        None => GuestError::Unknown(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::error::Error;

    #[test]
    fn a_value_is_returned_as_it_is_and_an_error_negated() {
        assert_eq!(encode_result(Ok(0)), 0);
        assert_eq!(encode_result(Ok(1023)), 1023);
        assert_eq!(encode_result(Ok(i32::MAX as u32)), i32::MAX);
        assert_eq!(encode_result(Err(Errno::Nodev)), -43);
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_overflow() {
        assert_eq!(encode_result(Ok(i32::MAX as u32 + 1)), -61);
        assert_eq!(encode_result(Ok(u32::MAX)), -61);
    }

    #[test]
    fn an_error_that_claims_success_is_not_read_as_descriptor_zero() {
        assert_eq!(encode_result(Err(Errno::Success)), -29);
    }

    #[test]
    fn a_descriptor_is_read_back_and_an_error_with_its_number() {
        assert_eq!(decode_value(0), Ok(0));
        assert_eq!(decode_value(i32::MAX), Ok(i32::MAX as u32));
        assert_eq!(
            decode_value(-14),
            Err(GuestError::Errno(Errno::Connrefused))
        );
        assert_eq!(decode_value(-77), Err(GuestError::Unknown(-77)));
        assert_eq!(decode_value(-65536 - 6), Err(GuestError::Unknown(-65542)));
        assert_eq!(decode_value(i32::MIN), Err(GuestError::Unknown(i32::MIN)));
    }

    #[test]
    fn an_error_number_is_read_with_either_sign() {
        assert_eq!(decode_errno(0), Ok(()));
        assert_eq!(decode_errno(-11), Err(GuestError::Errno(Errno::Canceled)));
        assert_eq!(decode_errno(11), Err(GuestError::Errno(Errno::Canceled)));
        assert_eq!(decode_errno(77), Err(GuestError::Unknown(77)));
        assert_eq!(decode_errno(i32::MAX), Err(GuestError::Unknown(i32::MAX)));
        assert_eq!(decode_errno(i32::MIN), Err(GuestError::Unknown(i32::MIN)));
    }

    #[test]
    fn the_message_carries_the_number() {
        let known = GuestError::Errno(Errno::Connrefused);
        let expected = "the module returned error 14: connection refused (ECONNREFUSED)";
        assert_eq!(known.to_string(), expected);
        assert_eq!(
            known.source().unwrap().downcast_ref(),
            Some(&Errno::Connrefused)
        );
        let unknown = GuestError::Unknown(i32::MIN);
        assert!(unknown.to_string().contains("-2147483648"), "{unknown}");
        assert!(unknown.source().is_none());
    }

    proptest! {
        #[test]
        fn what_a_host_encodes_is_what_a_guest_reads(value: u32, errno in 1u16..77) {
            let errno = Errno::from_raw(errno).unwrap();
            let expected = if value > i32::MAX as u32 {
                Err(GuestError::Errno(Errno::Overflow))
            } else {
                Ok(value)
            };
            prop_assert_eq!(decode_value(encode_result(Ok(value))), expected);
            let error = GuestError::Errno(errno);
            prop_assert_eq!(decode_value(encode_result(Err(errno))), Err(error));
            prop_assert_eq!(decode_errno(errno.to_signed()), Err(error));
            prop_assert_eq!(decode_errno(i32::from(errno.raw())), Err(error));
        }

        #[test]
        fn every_number_decodes_to_something_that_holds_it(raw: i32) {
            match decode_value(raw) {
                Ok(value) => prop_assert_eq!(i64::from(value), i64::from(raw)),
                Err(GuestError::Errno(errno)) => prop_assert_eq!(errno.to_signed(), raw),
                Err(GuestError::Unknown(number)) => prop_assert!(number == raw && raw < -76),
            }
            match decode_errno(raw) {
                Ok(()) => prop_assert_eq!(raw, 0),
                Err(GuestError::Errno(errno)) => prop_assert_eq!(errno.to_signed(), -raw.abs()),
                Err(GuestError::Unknown(number)) => {
                    prop_assert!(number == raw && raw.unsigned_abs() > 76);
                }
            }
        }
    }
}
