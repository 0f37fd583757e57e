//! The headers of SIP022.

use watm_guest::{Error, Result};

use crate::address::Target;
use crate::replay::TOLERANCE;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;

/// The most padding that a request may have.
pub(crate) const MAX_PADDING: usize = 900;

/// Bytes of the fixed part of a request: type, timestamp, length.
pub(crate) const REQUEST_FIXED: usize = 1 + 8 + 2;

/// The first message of a request: when it was sent, and how long the second is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) timestamp: u64,
    pub(crate) length: u16,
}

impl Fixed {
    pub(crate) fn to_bytes(self) -> [u8; REQUEST_FIXED] {
        let mut bytes = [REQUEST; REQUEST_FIXED];
        bytes[1..9].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[9..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// `None` if it is no request.
    pub(crate) fn parse(bytes: [u8; REQUEST_FIXED]) -> Option<Fixed> {
        let [kind, timestamp @ .., high, low] = bytes;
        (kind == REQUEST).then(|| Fixed {
            timestamp: u64::from_be_bytes(timestamp),
            length: u16::from_be_bytes([high, low]),
        })
    }
}

/// Whether a timestamp is close enough to the clock.
pub(crate) fn is_fresh(timestamp: u64, now: u64) -> bool {
    timestamp.abs_diff(now) <= TOLERANCE
}

/// The second message of a request: where it goes, padding, the first payload.
pub(crate) fn variable(address: &[u8], padding: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(address.len() + 2 + padding.len() + payload.len());
    bytes.extend(address);
    // At most 900.
    bytes.extend((padding.len() as u16).to_be_bytes());
    bytes.extend(padding);
    bytes.extend(payload);
    bytes
}

/// What the second message of a request says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    pub(crate) target: Target,
    pub(crate) address: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> Variable<'a> {
    /// # Errors
    ///
    /// `PROTO` for an address that is none, padding beyond the message, and neither padding nor
    /// payload.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (target, length) = Target::parse(bytes)?.ok_or(Error::PROTO)?;
        let (address, rest) = bytes.split_at(length);
        let (padding, rest) = rest.split_first_chunk().ok_or(Error::PROTO)?;
        let padding = usize::from(u16::from_be_bytes(*padding));
        let payload = rest.get(padding..).ok_or(Error::PROTO)?;
        if padding == 0 && payload.is_empty() {
            return Err(Error::PROTO);
        }
        Ok(Variable {
            target,
            address,
            payload,
        })
    }
}

/// Bytes of the header of a response: type, timestamp, salt of the request, length.
pub(crate) const fn response_length(salt_length: usize) -> usize {
    1 + 8 + salt_length + 2
}

/// The header of a response to the request with this salt, with a first payload of `length` bytes.
pub(crate) fn response(request_salt: &[u8], timestamp: u64, length: u16) -> Vec<u8> {
    let mut bytes = vec![RESPONSE];
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(request_salt);
    bytes.extend(length.to_be_bytes());
    bytes
}

/// Reads the header of a response, and returns the length of the first payload.
///
/// # Errors
///
/// `PROTO` if it is no response, old, or one to another request.
pub(crate) fn parse_response(bytes: &[u8], request_salt: &[u8], now: u64) -> Result<usize> {
    let (&[kind, ref timestamp @ ..], rest) = bytes.split_first_chunk::<9>().ok_or(Error::PROTO)?;
    let (salt, length) = rest.split_last_chunk().ok_or(Error::PROTO)?;
    let timestamp = u64::from_be_bytes(*timestamp);
    if kind != RESPONSE || salt != request_salt || !is_fresh(timestamp, now) {
        return Err(Error::PROTO);
    }
    Ok(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ADDRESS: &[u8] = b"\x01\x7f\0\0\x01\0\x50";

    #[test]
    fn the_fixed_part_is_laid_out_as_specified() {
        let fixed = Fixed {
            timestamp: 0x0102_0304_0506_0708,
            length: 0x090a,
        };
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        assert_eq!(fixed.to_bytes(), bytes);
        assert_eq!(Fixed::parse(bytes), Some(fixed));
        assert_eq!(Fixed::parse([1; REQUEST_FIXED]), None);
    }

    #[test]
    fn a_request_has_padding_or_payload() {
        let with_padding = variable(ADDRESS, &[0; 3], b"");
        let parsed = Variable::parse(&with_padding).expect("valid");
        assert_eq!((parsed.address, parsed.payload), (ADDRESS, &b""[..]));
        let with_payload = variable(ADDRESS, &[], b"hello");
        let parsed = Variable::parse(&with_payload).expect("valid");
        assert_eq!((parsed.address, parsed.payload), (ADDRESS, &b"hello"[..]));
        assert_eq!(
            Variable::parse(&variable(ADDRESS, &[], b"")),
            Err(Error::PROTO)
        );
    }

    #[test]
    fn padding_ends_within_the_message() {
        let mut bytes = variable(ADDRESS, &[0; 3], b"");
        bytes.pop();
        assert_eq!(Variable::parse(&bytes), Err(Error::PROTO));
    }

    #[test]
    fn a_response_names_its_request_and_is_fresh() {
        let bytes = response(b"0123456789abcdef", 1000, 7);
        assert_eq!(bytes.len(), response_length(16));
        assert_eq!(parse_response(&bytes, b"0123456789abcdef", 1030), Ok(7));
        assert_eq!(parse_response(&bytes, b"0123456789abcdef", 970), Ok(7));
        assert_eq!(
            parse_response(&bytes, b"0123456789abcdef", 1031),
            Err(Error::PROTO)
        );
        assert_eq!(
            parse_response(&bytes, b"0123456789abcdef", 969),
            Err(Error::PROTO)
        );
        assert_eq!(
            parse_response(&bytes, b"0123456789abcdeX", 1000),
            Err(Error::PROTO)
        );
        let mut request = bytes;
        request[0] = REQUEST;
        assert_eq!(
            parse_response(&request, b"0123456789abcdef", 1000),
            Err(Error::PROTO)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Variable::parse(&bytes);
            let _ = parse_response(&bytes, &[0; 16], 0);
        }
    }
}
