//! Addresses as SOCKS5 writes them: what a client asks the server to connect to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use watm_guest::{Error, Result};

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Where a stream is to go: `host:port`.
///
/// Two are equal if they name the same host: names differ by no capitals, and an address written as
/// a name is an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// In lower case, from 1 to 255 bytes.
    Name(Vec<u8>),
}

impl Host {
    fn from_name(name: &[u8]) -> Option<Host> {
        if name.is_empty() || name.len() > 255 {
            return None;
        }
        let ip = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.parse().ok());
        Some(ip.map_or_else(|| Host::Name(name.to_ascii_lowercase()), Host::Ip))
    }
}

impl Target {
    /// Reads the address at the start of `bytes`. Returns it with its length; `None` if it is not
    /// complete.
    ///
    /// # Errors
    ///
    /// `PROTO` for a kind of address that SOCKS5 does not have, or an empty name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Target, usize)>> {
        let Some((&kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let (start, length) = match kind {
            IPV4 => (0, 4),
            IPV6 => (0, 16),
            NAME => match rest.first() {
                Some(0) => return Err(Error::PROTO),
                Some(&length) => (1, usize::from(length)),
                None => return Ok(None),
            },
            _ => return Err(Error::PROTO),
        };
        let end = start + length;
        let (Some(host), Some(&[high, low])) = (rest.get(start..end), rest.get(end..end + 2))
        else {
            return Ok(None);
        };
        let host = match (<[u8; 4]>::try_from(host), <[u8; 16]>::try_from(host)) {
            (Ok(bytes), _) if kind == IPV4 => Some(Host::Ip(Ipv4Addr::from(bytes).into())),
            (_, Ok(bytes)) if kind == IPV6 => Some(Host::Ip(Ipv6Addr::from(bytes).into())),
            _ => Host::from_name(host),
        };
        let target = Target {
            host: host.ok_or(Error::PROTO)?,
            port: u16::from_be_bytes([high, low]),
        };
        Ok(Some((target, 1 + end + 2)))
    }

    /// The address as SOCKS5 writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => {
                bytes.push(IPV4);
                bytes.extend(ip.octets());
            }
            Host::Ip(IpAddr::V6(ip)) => {
                bytes.push(IPV6);
                bytes.extend(ip.octets());
            }
            Host::Name(name) => {
                // `from_name` has checked the length.
                bytes.extend([NAME, name.len() as u8]);
                bytes.extend(name);
            }
        }
        bytes.extend(self.port.to_be_bytes());
        bytes
    }

    /// A target of a host, which may be an address without brackets, and a port.
    pub(crate) fn new(host: &str, port: u16) -> Option<Target> {
        let is_name = |byte: u8| !byte.is_ascii_whitespace() && !byte.is_ascii_control();
        let host = Host::from_name(host.as_bytes())?;
        match &host {
            Host::Name(name) if !name.iter().all(|&byte| is_name(byte) && byte != b':') => None,
            _ => Some(Target { host, port }),
        }
    }
}

impl FromStr for Target {
    type Err = ();

    /// Reads `host:port` or `[address]:port`.
    fn from_str(text: &str) -> Result<Target, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let port = Some(port)
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .filter(|&port| port != 0)
            .ok_or(())?;
        let brackets = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match brackets {
            Some(host) => {
                let ip: Ipv6Addr = host.parse().map_err(|_| ())?;
                Ok(Target {
                    host: Host::Ip(ip.into()),
                    port,
                })
            }
            None if host.contains(':') => Err(()),
            None => Target::new(host, port).ok_or(()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Name(name) => write!(f, "{}:{}", name.escape_ascii(), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    #[test]
    fn all_kinds_are_written_and_read() {
        let cases: [(&str, &[u8]); 3] = [
            ("192.0.2.1:80", b"\x01\xc0\x00\x02\x01\x00\x50"),
            ("example.com:443", b"\x03\x0bexample.com\x01\xbb"),
            (
                "[2001:db8::1]:53",
                b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x35",
            ),
        ];
        for (text, bytes) in cases {
            assert_eq!(target(text).to_bytes(), bytes);
            assert_eq!(target(text).to_string(), text);
            let mut longer = bytes.to_vec();
            longer.extend(b"payload");
            assert_eq!(
                Target::parse(&longer),
                Ok(Some((target(text), bytes.len())))
            );
            for cut in 0..bytes.len() {
                assert_eq!(Target::parse(&bytes[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn other_kinds_and_empty_names_are_errors() {
        for kind in (0..=255).filter(|kind| ![IPV4, NAME, IPV6].contains(kind)) {
            assert_eq!(Target::parse(&[kind]), Err(Error::PROTO));
        }
        assert_eq!(Target::parse(&[NAME, 0]), Err(Error::PROTO));
    }

    #[test]
    fn an_address_written_as_a_name_is_an_address() {
        assert_eq!(
            Target::parse(b"\x03\x09127.0.0.1\x00\x50"),
            Ok(Some((target("127.0.0.1:80"), 13)))
        );
        assert_eq!(target("EXAMPLE.com:80"), target("example.COM:80"));
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        let long = format!("{}:80", "a".repeat(256));
        for text in [
            "",
            "host",
            ":80",
            "host:",
            "host:0",
            "host:65536",
            "host:+80",
            "::1:80",
            "[::1]",
            "[host]:80",
            "a b:80",
            "host:80 ",
            &long,
        ] {
            assert_eq!(text.parse::<Target>(), Err(()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some((target, length))) = Target::parse(&bytes) {
                prop_assert!(length <= bytes.len());
                let again = Target::parse(&target.to_bytes()).expect("valid");
                prop_assert_eq!(again.map(|(target, _)| target), Some(target));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert!(target.to_bytes().len() >= 7 - 3);
            }
        }
    }
}
