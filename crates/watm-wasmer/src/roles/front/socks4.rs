//! The server's side of SOCKS4 and of SOCKS4a, which has names.

use std::net::Ipv4Addr;

use super::GreetingStep;
use super::proxy_server::{Asked, Identity, Login, Shared, refused};
use crate::net::socks;

const CONNECT: u8 = 1;

/// Codes of an answer.
pub(super) const GRANTED: u8 = 90;
pub(super) const FAILED: u8 = 91;
const WRONG_USER: u8 = 93;

pub(super) fn advance(bytes: &[u8], shared: &Shared) -> GreetingStep {
    let &[_, command, high, low, a, b, c, d, ref rest @ ..] = bytes else {
        return GreetingStep::More;
    };
    if command != CONNECT {
        let reason = "the client asks for something other than a connection";
        return refused(reply(FAILED), reason);
    }
    let Some((user, rest)) = terminated(rest) else {
        return GreetingStep::More;
    };
    let port = u16::from_be_bytes([high, low]);
    // An address that nobody has says that a name follows.
    let is_name = [a, b, c] == [0, 0, 0] && d != 0;
    let (target, rest) = if is_name {
        let Some((name, rest)) = terminated(rest) else {
            return GreetingStep::More;
        };
        (socks::of_name(name, port), rest)
    } else {
        let ip = Ipv4Addr::from([a, b, c, d]);
        (Some(socks::of_ip(ip, port)), rest)
    };
    let Some(target) = target else {
        return refused(reply(FAILED), "the name of the address is none");
    };
    if let Login::Required(_) = shared.login {
        let reason = "the client has no password, which SOCKS4 does not know";
        return refused(reply(WRONG_USER), reason);
    }
    let identity = (!user.is_empty()).then(|| Identity {
        user: user.to_vec(),
        password: Vec::new(),
    });
    match shared.decide(Asked { target, identity }) {
        Ok(request) => GreetingStep::Carry {
            consumed: bytes.len() - rest.len(),
            request,
        },
        Err(refusal) => refused(reply(FAILED), &refusal.0),
    }
}

/// A text up to a zero, and what follows.
fn terminated(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

pub(super) fn reply(code: u8) -> Vec<u8> {
    vec![0, code, 0, 0, 0, 0, 0, 0]
}
