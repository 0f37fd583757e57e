//! The server's side of HTTP CONNECT (RFC 9110, section 9.3.6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::GreetingStep;
use super::proxy_server::{Asked, Identity, Login, Shared, refused};
use crate::error::DialError;
use crate::net::address::Address;
use crate::net::socks;

const FIELD_LIMIT: usize = 64;

pub(super) fn advance(bytes: &[u8], shared: &Shared) -> GreetingStep {
    let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let mut head = httparse::Request::new(&mut fields);
    let consumed = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return GreetingStep::More,
        Err(_) => {
            let reason = "the client speaks neither SOCKS nor HTTP";
            return refused(reply("400 Bad Request", ""), reason);
        }
    };
    if head.method != Some("CONNECT") {
        let reason = "the client asks for something other than a connection";
        return refused(
            reply("405 Method Not Allowed", "Allow: CONNECT\r\n"),
            reason,
        );
    }
    let Some(target) = head.path.and_then(target) else {
        return refused(reply("400 Bad Request", ""), "the target is not an address");
    };
    let identity = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("proxy-authorization"))
        .and_then(|field| basic(field.value));
    if matches!(shared.login, Login::Required(_)) && !shared.admits(identity.as_ref()) {
        let reason = match identity {
            Some(_) => "the user name or the password is wrong",
            None => "the client has sent no user name and password",
        };
        let demand = "Proxy-Authenticate: Basic realm=\"watm\"\r\n";
        return refused(reply("407 Proxy Authentication Required", demand), reason);
    }
    match shared.decide(Asked { target, identity }) {
        Ok(request) => GreetingStep::Carry { consumed, request },
        Err(refusal) => refused(reply("403 Forbidden", ""), &refusal.0),
    }
}

/// The address that a request names.
fn target(text: &str) -> Option<Address> {
    let address: Address = Address::parse_ip(text).ok()?;
    // Names are those that SOCKS admits.
    socks::of_name(address.host().as_bytes(), address.port())
}

/// The name and the password of a field.
fn basic(value: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let at = decoded.iter().position(|byte| *byte == b':')?;
    Some(Identity {
        user: decoded[..at].to_vec(),
        password: decoded[at + 1..].to_vec(),
    })
}

/// An answer after which the connection ends.
fn reply(status: &str, fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// What a client is told of its dial.
pub(super) fn answer(result: Result<(), &DialError>) -> Vec<u8> {
    match result {
        // There is no body, so that nothing may say how long it is.
        Ok(()) => b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        Err(DialError::Denied { .. }) => reply("403 Forbidden", ""),
        Err(DialError::TimedOut { .. }) => reply("504 Gateway Timeout", ""),
        Err(_) => reply("502 Bad Gateway", ""),
    }
}
