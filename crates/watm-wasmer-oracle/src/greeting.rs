//! The oracle for what plain clients say to a proxy.
//!
//! A case is the bytes of a client, which arrive in some pieces. Whatever they are, the proxy does with
//! them what it does if they arrive at once, consumes no more than has come, and connects nobody to
//! anything but a name or an IP address with a port.

use std::net::IpAddr;

use arbitrary::Arbitrary;
use watm_wasmer::{Address, Front, GreetingStep, PlainRequest, ProxyServer};

/// The bytes of a client, and what it says them to.
#[derive(Debug, Arbitrary)]
pub struct GreetingCase {
    /// Whether the proxy demands the user name and password `user` and `password`.
    pub demands_password: bool,
    /// Whether it takes clients of SOCKS5 alone.
    pub only_socks5: bool,
    /// What the client says, in this order.
    pub parts: Vec<Said>,
    /// The lengths of the pieces in which that arrives; the last is repeated.
    pub pieces: Vec<u8>,
}

/// A part of what a client says.
#[derive(Debug, Arbitrary)]
pub enum Said {
    /// The methods of SOCKS5.
    Methods(Vec<u8>),
    /// The right user name and password.
    Password,
    /// A request of SOCKS5, with an address of this kind and these bytes.
    Request5(u8, Vec<u8>),
    /// A request of SOCKS4 for this address, with what follows.
    Request4([u8; 4], Vec<u8>),
    /// A head of HTTP with this target, and this field.
    Http(String, String),
    /// Anything.
    Bytes(Vec<u8>),
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GreetingEnd {
    /// It has more to say.
    Waits,
    /// It is connected.
    Carried,
    /// It is dropped.
    Refused,
}

impl Said {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        let counted = |text: &[u8]| {
            let text = &text[..text.len().min(255)];
            [&[text.len() as u8][..], text].concat()
        };
        match self {
            Self::Methods(methods) => {
                bytes.push(5);
                bytes.extend(counted(methods));
            }
            Self::Password => bytes.extend_from_slice(b"\x01\x04user\x08password"),
            Self::Request5(kind, address) => {
                bytes.extend_from_slice(&[5, 1, 0, kind % 6]);
                bytes.extend(if kind % 6 == 3 {
                    counted(address)
                } else {
                    address.clone()
                });
                bytes.extend_from_slice(&[1, 187]);
            }
            Self::Request4(ip, rest) => {
                bytes.extend_from_slice(&[4, 1, 1, 187]);
                bytes.extend_from_slice(ip);
                bytes.extend_from_slice(rest);
                bytes.push(0);
            }
            Self::Http(target, field) => {
                let head = format!("CONNECT {target} HTTP/1.1\r\n{field}\r\n\r\n");
                bytes.extend_from_slice(head.as_bytes());
            }
            Self::Bytes(any) => bytes.extend_from_slice(any),
        }
    }
}

/// Runs a case.
///
/// # Panics
///
/// If the proxy breaks a promise.
pub fn greeting(case: &GreetingCase) -> GreetingEnd {
    let mut bytes = Vec::new();
    for part in case.parts.iter().take(8) {
        part.append_to(&mut bytes);
    }
    bytes.truncate(4096);
    let mut proxy = ProxyServer::new().decide(|request| {
        check(request.target);
        Ok(PlainRequest::to(request.target))
    });
    if case.demands_password {
        proxy = proxy.credentials("user", "password");
    }
    if case.only_socks5 {
        proxy = proxy.only_socks5();
    }
    let (told, end) = talk(&proxy, &bytes, &[]);
    let in_pieces = talk(&proxy, &bytes, &case.pieces);
    assert_eq!((told, end), in_pieces, "it depends on how the bytes arrive");
    end
}

/// A target is a name that a resolver may see, or an IP address.
fn check(target: &Address) {
    assert_eq!(target.unix(), None);
    let host = target.host();
    let is_name = |c: char| c.is_alphanumeric() || "-._".contains(c);
    let is_harmless = host.parse::<IpAddr>().is_ok() || host.chars().all(is_name);
    assert!(
        is_harmless && !host.is_empty() && host.len() <= 1024,
        "{target}"
    );
}

/// What a client is told, and what becomes of it, if its bytes arrive in these pieces.
fn talk(proxy: &ProxyServer, bytes: &[u8], pieces: &[u8]) -> (Vec<u8>, GreetingEnd) {
    let mut greeting = proxy.greet(None);
    let (mut told, mut taken, mut come) = (Vec::new(), 0, 0);
    let mut lengths = pieces.iter().map(|len| usize::from(*len).max(1));
    let mut last = if pieces.is_empty() { bytes.len() } else { 1 };
    loop {
        if taken < come {
            match greeting.advance(&bytes[taken..come]) {
                GreetingStep::More => {}
                GreetingStep::Say { consumed, bytes } => {
                    assert!(consumed <= come - taken && consumed > 0);
                    taken += consumed;
                    told.extend_from_slice(&bytes);
                    continue;
                }
                GreetingStep::Carry { consumed, .. } => {
                    assert!(consumed <= come - taken);
                    told.extend(greeting.answer(Ok(())));
                    return (told, GreetingEnd::Carried);
                }
                GreetingStep::Refuse { bytes, .. } => {
                    told.extend_from_slice(&bytes);
                    return (told, GreetingEnd::Refused);
                }
            }
        }
        if come == bytes.len() {
            return (told, GreetingEnd::Waits);
        }
        last = lengths.next().unwrap_or(last).max(1);
        come = (come + last).min(bytes.len());
    }
}
