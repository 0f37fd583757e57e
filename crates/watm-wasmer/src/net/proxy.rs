//! Upstream proxies: outgoing connections that are made through a SOCKS5 or HTTP proxy.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::net::address::{Address, AddressError, Network};
use crate::net::connect::{DialAttempt, DialHook};
use crate::net::socks;
use crate::net::stream::Stream;

/// Maximum length of the head of an HTTP answer, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Maximum number of its header fields.
const FIELD_LIMIT: usize = 64;
/// Maximum length of a user name or password, in bytes (RFC 1929).
const CREDENTIAL_LIMIT: usize = 255;

/// An upstream proxy: a [`DialHook`] that connects through a SOCKS5 proxy (RFC 1928, with user name
/// and password of RFC 1929) or through an HTTP proxy (`CONNECT`, with Basic credentials).
///
/// Names are passed to the proxy and resolved there, so they do not reach the system's resolver. The
/// exception is an address that the module chose: it is resolved here, since each of its addresses
/// has to pass the policy.
///
/// It is parsed from `socks5://HOST:PORT` or `http://HOST:PORT`, where `USER:PASSWORD@` may stand
/// before the host, percent-encoded. `socks5h` is the same as `socks5`.
///
/// ```no_run
/// use watm_wasmer::{Dialer, TransportModule, UpstreamProxy};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let proxy: UpstreamProxy = "socks5://127.0.0.1:9050".parse()?;
/// let dialer = Dialer::builder(&module).dial_hook(proxy).build()?;
/// let conn = dialer.dial("example.org:443")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamProxy {
    kind: Kind,
    address: Address,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socks5,
    Http,
}

/// Why a text is not an [`UpstreamProxy`]. The message does not quote the text, which may contain a
/// password.
///
/// ```
/// use watm_wasmer::{UpstreamProxy, UpstreamProxyError};
///
/// let parsed = |text: &str| text.parse::<UpstreamProxy>();
/// assert_eq!(parsed("https://127.0.0.1:443"), Err(UpstreamProxyError::Scheme));
/// assert_eq!(parsed("socks5://user@127.0.0.1:9050"), Err(UpstreamProxyError::Credentials));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamProxyError {
    /// It begins with no known scheme.
    #[error("a proxy is written as socks5://HOST:PORT or http://HOST:PORT")]
    Scheme,
    /// The address is not one.
    #[error("the address of the proxy is not one: {0}")]
    Address(#[source] AddressError),
    /// There is a user name without a password, or one of them is not UTF-8 or too long.
    #[error(
        "credentials are written as USER:PASSWORD@, percent-encoded, of at most 255 bytes each"
    )]
    Credentials,
    /// Something follows the port.
    #[error("nothing may follow the port of a proxy")]
    Trailing,
}

impl FromStr for UpstreamProxy {
    type Err = UpstreamProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(UpstreamProxyError::Scheme)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "socks5" | "socks5h" => Kind::Socks5,
            "http" => Kind::Http,
            _ => return Err(UpstreamProxyError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((credentials, address)) => (Some(parsed(credentials)?), address),
            None => (None, rest),
        };
        if address.contains(['/', '?', '#']) {
            return Err(UpstreamProxyError::Trailing);
        }
        Ok(Self {
            kind,
            address: address.parse().map_err(UpstreamProxyError::Address)?,
            credentials,
        })
    }
}

fn parsed(credentials: &str) -> Result<(String, String), UpstreamProxyError> {
    let decoded = |part: &str| {
        let part = percent_decode_str(part).decode_utf8().ok()?.into_owned();
        (1..=CREDENTIAL_LIMIT).contains(&part.len()).then_some(part)
    };
    let (user, password) = credentials
        .split_once(':')
        .ok_or(UpstreamProxyError::Credentials)?;
    decoded(user)
        .filter(|user| !user.contains(':'))
        .zip(decoded(password))
        .ok_or(UpstreamProxyError::Credentials)
}

impl fmt::Display for UpstreamProxy {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Socks5 => "socks5",
            Kind::Http => "http",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl fmt::Debug for UpstreamProxy {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamProxy({self})")
    }
}

impl DialHook for UpstreamProxy {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        attempt.pass_on(|target| self.connect(attempt, target))
    }
}

impl UpstreamProxy {
    fn connect(&self, attempt: &DialAttempt<'_>, target: &Address) -> io::Result<Stream> {
        if target.unix().is_some() {
            let message = "a Unix socket cannot be reached through a proxy";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("through the proxy {self}: {error}"))
        };
        let stream = attempt.connect_to(Network::Tcp, &self.address);
        let stream = stream.map_err(told)?;
        match self.kind {
            Kind::Socks5 => self.socks5(&stream, target),
            Kind::Http => self.http(&stream, target),
        }
        .map_err(told)?;
        let peer = target.host().parse::<IpAddr>();
        let peer = peer.ok().map(|ip| SocketAddr::new(ip, target.port()));
        let local = stream.local_addr();
        Ok(stream.with_addrs(local, peer))
    }

    fn socks5(&self, mut stream: &Stream, target: &Address) -> io::Result<()> {
        const NO_CREDENTIALS: u8 = 0;
        const PASSWORD: u8 = 2;

        let offered = if self.credentials.is_some() {
            &[5, 2, NO_CREDENTIALS, PASSWORD][..]
        } else {
            &[5, 1, NO_CREDENTIALS]
        };
        stream.write_all(offered)?;
        let [version, method] = read_array(stream)?;
        if version != 5 {
            return Err(invalid("it does not speak SOCKS5"));
        }
        match (method, &self.credentials) {
            (NO_CREDENTIALS, _) => {}
            (PASSWORD, Some((user, password))) => {
                let mut request = vec![1];
                for part in [user, password] {
                    // They were checked to be no longer than this.
                    request.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                    request.extend_from_slice(part.as_bytes());
                }
                stream.write_all(&request)?;
                let [_, status] = read_array(stream)?;
                if status != 0 {
                    return Err(denied("it refused the user name or the password"));
                }
            }
            _ => return Err(denied("it demands credentials of another kind")),
        }
        stream.write_all(&connect_request(target)?)?;
        let [version, reply, _, kind] = read_array(stream)?;
        if version != 5 {
            return Err(invalid("it does not speak SOCKS5"));
        }
        if reply != 0 {
            return Err(refusal(reply));
        }
        // The address that it connects from, which nobody needs.
        let rest = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(read_array::<1>(stream)?[0]),
            _ => return Err(invalid("it answered with an unknown kind of address")),
        };
        stream.read_exact(&mut vec![0; rest + 2])
    }

    fn http(&self, mut stream: &Stream, target: &Address) -> io::Result<()> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = &self.credentials {
            let credentials = STANDARD.encode(format!("{user}:{password}"));
            request += &format!("Proxy-Authorization: Basic {credentials}\r\n");
        }
        request += "\r\n";
        if target
            .host()
            .chars()
            .any(|c| c.is_ascii_control() || c == ' ')
        {
            return Err(invalid("the name cannot be passed to it"));
        }
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        // What follows the head belongs to the connection already.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == HEAD_LIMIT {
                return Err(invalid("the head of its answer is too long"));
            }
            let [byte] = read_array(stream)?;
            head.push(byte);
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let mut answer = httparse::Response::new(&mut fields);
        let parsed = answer.parse(&head);
        match (parsed, answer.code) {
            (Ok(_), Some(200..=299)) => Ok(()),
            (Ok(_), Some(407)) => Err(denied("it demands other credentials")),
            (Ok(_), Some(403)) => Err(denied("it does not allow this address")),
            (Ok(_), Some(code)) => {
                let reason = answer.reason.unwrap_or_default();
                let reason: String = reason
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(80)
                    .collect();
                Err(io::Error::other(format!(
                    "it answered with {code} {reason}"
                )))
            }
            _ => Err(invalid("its answer is not one of HTTP")),
        }
    }
}

/// The request to connect to an address: by number if it is one, and by name otherwise.
fn connect_request(target: &Address) -> io::Result<Vec<u8>> {
    let mut request = vec![5, 1, 0];
    let written = socks::write(target, &mut request);
    written.ok_or_else(|| invalid("the name is too long for it"))?;
    Ok(request)
}

/// What a SOCKS5 proxy answers in place of a connection.
fn refusal(reply: u8) -> io::Error {
    let (kind, message) = match reply {
        2 => (
            io::ErrorKind::PermissionDenied,
            "it does not allow this address",
        ),
        3 => (
            io::ErrorKind::NetworkUnreachable,
            "it cannot reach the network",
        ),
        4 => (io::ErrorKind::HostUnreachable, "it cannot reach the host"),
        5 => (
            io::ErrorKind::ConnectionRefused,
            "the connection was refused",
        ),
        6 => (io::ErrorKind::TimedOut, "the connection took too long"),
        7 | 8 => (
            io::ErrorKind::Unsupported,
            "it cannot connect to such an address",
        ),
        _ => (io::ErrorKind::Other, "it failed"),
    };
    io::Error::new(kind, message)
}

fn read_array<const N: usize>(mut stream: &Stream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match stream.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "it closed the connection",
        )),
        result => result.map(|()| bytes),
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn denied(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_parsed_and_printed_without_its_credentials() {
        let proxy: UpstreamProxy = "SOCKS5h://me:p%40ss%3a@proxy.example:1080/"
            .parse()
            .expect("one");
        assert_eq!(proxy.to_string(), "socks5://proxy.example:1080");
        assert_eq!(
            format!("{proxy:?}"),
            "UpstreamProxy(socks5://proxy.example:1080)"
        );
        let credentials = ("me".to_owned(), "p@ss:".to_owned());
        assert_eq!(proxy.credentials, Some(credentials));
        let proxy: UpstreamProxy = "http://[::1]:3128".parse().expect("one");
        assert_eq!(proxy.to_string(), "http://[::1]:3128");
    }

    #[test]
    fn what_is_no_proxy_is_told_without_quoting_it() {
        use UpstreamProxyError::{Address, Credentials, Scheme, Trailing};

        let long = format!("socks5://{}:b@h:1", "a".repeat(256));
        for (text, expected) in [
            ("127.0.0.1:1080", Scheme),
            ("https://h:1", Scheme),
            ("socks5://h", Address(AddressError::NoPort)),
            ("socks5://secret@h:1", Credentials),
            ("socks5://:secret@h:1", Credentials),
            ("socks5://a%3ab:secret@h:1", Credentials),
            ("socks5://a:%ff@h:1", Credentials),
            (&long, Credentials),
            ("http://h:1/path", Trailing),
        ] {
            let error = text.parse::<UpstreamProxy>().expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
