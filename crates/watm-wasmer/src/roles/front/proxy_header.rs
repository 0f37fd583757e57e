//! The PROXY protocol, versions 1 and 2: how a balancer tells a server who its clients are.

use std::io::{self, Write};
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};

use crate::net::connect::{DialAttempt, DialHook};
use crate::net::stream::Stream;

/// How the versions begin.
const STARTS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// What the first bytes of a connection say of its client.
pub(crate) enum Header {
    /// More bytes are needed.
    Incomplete,
    /// The number of bytes of the header, and the client with the address that it has reached. None
    /// if the balancer speaks for itself.
    Complete(usize, Option<(SocketAddr, SocketAddr)>),
    Invalid,
}

/// Parses the header at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    let may_begin = |start: &&[u8]| {
        let len = start.len().min(bytes.len());
        bytes[..len] == start[..len]
    };
    if !STARTS.iter().any(may_begin) {
        return Header::Invalid;
    }
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, len)) => {
            let proxied = header.proxied_address();
            Header::Complete(
                len,
                proxied.map(|proxied| (proxied.source, proxied.destination)),
            )
        }
        Err(Error::BufferTooShort) => Header::Incomplete,
        Err(_) => Header::Invalid,
    }
}

/// The versions of the PROXY protocol.
///
/// ```
/// use watm_wasmer::ProxyProtocol;
///
/// let version: ProxyProtocol = "v2".parse()?;
/// assert_eq!(version, ProxyProtocol::V2);
/// # Ok::<(), watm_wasmer::UnknownProxyProtocol>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// The binary form.
    V2,
}

/// A text that is no version of the PROXY protocol.
///
/// ```
/// use watm_wasmer::ProxyProtocol;
///
/// let error = "v3".parse::<ProxyProtocol>().expect_err("there is none");
/// assert_eq!(error.to_string(), "the versions of the PROXY protocol are v1 and v2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the versions of the PROXY protocol are v1 and v2")]
pub struct UnknownProxyProtocol;

impl std::str::FromStr for ProxyProtocol {
    type Err = UnknownProxyProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownProxyProtocol),
        }
    }
}

impl ProxyProtocol {
    /// What a server is told of a client. If one of the addresses is not known, or if they are of
    /// different families, the server learns that it is not told.
    fn header(self, addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let same = addresses.filter(|(source, reached)| source.is_ipv4() == reached.is_ipv4());
        if let Some((source, reached)) = same {
            let header = ProxyHeader::with_address(ProxiedAddress::stream(source, reached));
            let encoded = match self {
                Self::V1 => header.encode_v1(&mut bytes),
                Self::V2 => header.encode_v2(&mut bytes),
            };
            if encoded.is_ok() {
                return bytes;
            }
            bytes.clear();
        }
        match self {
            Self::V1 => bytes.extend_from_slice(b"PROXY UNKNOWN\r\n"),
            // Version 2, the command PROXY, an address that is not specified, of no bytes.
            Self::V2 => {
                bytes.extend_from_slice(STARTS[1]);
                bytes.extend_from_slice(&[0x21, 0, 0, 0]);
            }
        }
        bytes
    }
}

/// As the hook of a server that forwards, it tells the plain server who the client is, in front of its
/// bytes.
///
/// ```
/// use watm_wasmer::{Listener, ProxyProtocol, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let server = Listener::builder(&module)
///     .forward_to("127.0.0.1:80")
///     .forward_hook(ProxyProtocol::V2)
///     .bind("127.0.0.1:0")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl DialHook for ProxyProtocol {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let mut stream = attempt.connect()?;
        let addresses = attempt.client().zip(attempt.client_reached());
        stream.write_all(&self.header(addresses))?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    fn parsed(bytes: &[u8]) -> (usize, Option<(SocketAddr, SocketAddr)>) {
        match parse(bytes) {
            Header::Complete(len, addresses) => (len, addresses),
            Header::Incomplete => panic!("incomplete"),
            Header::Invalid => panic!("invalid"),
        }
    }

    #[test]
    fn a_header_is_read_as_it_is_written_and_from_no_prefix_of_it() {
        let pairs = [
            ("192.0.2.1:5000", "192.0.2.2:443"),
            ("[2001:db8::1]:5", "[::1]:443"),
        ];
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            for (source, reached) in pairs {
                let addresses = (address(source), address(reached));
                let mut bytes = version.header(Some(addresses));
                for len in 0..bytes.len() {
                    assert!(matches!(parse(&bytes[..len]), Header::Incomplete), "{len}");
                }
                let len = bytes.len();
                bytes.extend_from_slice(b"GET /");
                assert_eq!(parsed(&bytes), (len, Some(addresses)));
            }
            let mixed = (address("192.0.2.1:1"), address("[::1]:1"));
            for unknown in [None, Some(mixed)] {
                let bytes = version.header(unknown);
                assert_eq!(parsed(&bytes), (bytes.len(), None));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_invalid_with_its_first_wrong_byte() {
        for bytes in [
            &b"G"[..],
            b"PROXX",
            b"\r\n\r\n\0\r\nQUIX",
            b"PROXY TCP4 a b c d\r\n",
        ] {
            assert!(matches!(parse(bytes), Header::Invalid), "{bytes:?}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        assert!(matches!(parse(&endless), Header::Invalid));
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_beyond_their_end(
            start in 0_usize..3,
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let start = STARTS.get(start).copied().unwrap_or_default();
            let bytes = [start, &bytes].concat();
            if let Header::Complete(len, _) = parse(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
