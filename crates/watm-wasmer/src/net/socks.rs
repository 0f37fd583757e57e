//! Addresses in the form of SOCKS5 (RFC 1928, section 5): as its requests have them, and as clients of
//! some transports send them in front of their bytes.
//!
//! It knows nothing of requests and of sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::address::Address;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The maximum length of an address in this form.
pub(crate) const LONGEST: usize = 1 + 1 + 255 + 2;

/// What the first bytes of a client are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// An address, and how many bytes it takes.
    Complete(Address, usize),
    Invalid(&'static str),
}

/// Parses the address at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Parsed::Incomplete;
    };
    let (start, len) = match kind {
        IPV4 => (1, 4),
        IPV6 => (1, 16),
        NAME => match rest.first() {
            None => return Parsed::Incomplete,
            Some(0) => return Parsed::Invalid("the name of the address is empty"),
            Some(len) => (2, usize::from(*len)),
        },
        _ => return Parsed::Invalid("it is no kind of address"),
    };
    let end = start + len;
    let Some(&[high, low]) = bytes.get(end..end + 2) else {
        return Parsed::Incomplete;
    };
    let port = u16::from_be_bytes([high, low]);
    let host = &bytes[start..end];
    let address = match kind {
        IPV4 => <[u8; 4]>::try_from(host)
            .ok()
            .map(|ip| of_ip(Ipv4Addr::from(ip), port)),
        IPV6 => <[u8; 16]>::try_from(host)
            .ok()
            .map(|ip| of_ip(Ipv6Addr::from(ip), port)),
        _ => of_name(host, port),
    };
    match address {
        Some(address) => Parsed::Complete(address, end + 2),
        None => Parsed::Invalid("the name of the address is none"),
    }
}

/// The address of an IP address.
pub(crate) fn of_ip(ip: impl Into<IpAddr>, port: u16) -> Address {
    let text = SocketAddr::new(ip.into(), port).to_string();
    Address::parse_ip(&text).expect("what the standard library writes is an address")
}

/// The address of a host that a client names: a name, or an IP address in text.
pub(crate) fn of_name(name: &[u8], port: u16) -> Option<Address> {
    let name = std::str::from_utf8(name).ok()?;
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Some(of_ip(ip, port));
    }
    // What the resolver and the logs should not have to deal with.
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    Address::parse_ip(&format!("{name}:{port}")).ok()
}

/// Writes an address: by number if it is one, and by name otherwise. `None` if the name is too long,
/// or if it is a Unix socket.
#[cfg(any(feature = "proxy", test))]
pub(crate) fn write(address: &Address, into: &mut Vec<u8>) -> Option<()> {
    if address.unix().is_some() {
        return None;
    }
    match address.host().parse() {
        Ok(IpAddr::V4(ip)) => {
            into.push(IPV4);
            into.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            into.push(IPV6);
            into.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            let name = address.host().as_bytes();
            into.extend_from_slice(&[NAME, u8::try_from(name.len()).ok()?]);
            into.extend_from_slice(name);
        }
    }
    into.extend_from_slice(&address.port().to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_is_read_as_it_is_written_and_from_no_prefix_of_it() {
        for text in [
            "192.0.2.1:80",
            "[2001:db8::1]:443",
            "a-b.example:65535",
            "x:0",
        ] {
            let mut bytes = Vec::new();
            write(&address(text), &mut bytes).expect("it has the form");
            for len in 0..bytes.len() {
                assert_eq!(parse(&bytes[..len]), Parsed::Incomplete, "{text} {len}");
            }
            let len = bytes.len();
            bytes.extend_from_slice(b"what follows");
            assert_eq!(parse(&bytes), Parsed::Complete(address(text), len));
        }
    }

    #[test]
    fn what_is_no_address_is_invalid_as_soon_as_that_is_seen() {
        for bytes in [&[0][..], &[2, 1], &[5], b"GET / HTTP/1.1", &[3, 0]] {
            assert!(matches!(parse(bytes), Parsed::Invalid(_)), "{bytes:?}");
        }
        for name in ["a b", "a\0b", "a:1", "a/b", "unix:/x", "[::1", "\u{1b}[2J"] {
            let mut bytes = vec![NAME, u8::try_from(name.len()).expect("short")];
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&[0, 80]);
            assert!(matches!(parse(&bytes), Parsed::Invalid(_)), "{name}");
        }
        let by_text = parse(b"\x03\x03::1\x00\x50");
        assert_eq!(by_text, Parsed::Complete(address("[::1]:80"), 7));
    }

    #[test]
    fn a_name_that_is_too_long_and_a_unix_socket_have_no_such_form() {
        let long = format!("{}:1", "a".repeat(256));
        for text in [&*long, "unix:/run/x"] {
            assert_eq!(write(&address(text), &mut Vec::new()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_beyond_their_end_or_the_longest_address(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            match parse(&bytes) {
                Parsed::Complete(_, len) => prop_assert!(len <= bytes.len().min(LONGEST)),
                Parsed::Incomplete => prop_assert!(bytes.len() < LONGEST),
                Parsed::Invalid(_) => {}
            }
        }
    }
}
