//! The server's side of SOCKS5 (RFC 1928), with names and passwords (RFC 1929).

use std::io;

use super::GreetingStep;
use super::proxy_server::{Asked, Identity, Login, Shared, refused};
use crate::error::DialError;
use crate::net::socks::{self, Parsed};

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_CREDENTIALS: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_OF_THEM: u8 = 0xff;

/// Codes of an answer.
pub(super) const GRANTED: u8 = 0;
pub(super) const FAILED: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const NO_NETWORK: u8 = 3;
const NO_HOST: u8 = 4;
const REFUSED: u8 = 5;
const EXPIRED: u8 = 6;
const UNKNOWN_COMMAND: u8 = 7;
const UNKNOWN_ADDRESS: u8 = 8;

/// How far a client has come.
#[derive(Debug, Default)]
pub(super) enum Socks5 {
    /// It says which methods it knows.
    #[default]
    Methods,
    /// It says its name and password.
    Credentials,
    /// It says where it wants to go.
    Request,
}

impl Socks5 {
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        shared: &Shared,
        identity: &mut Option<Identity>,
    ) -> GreetingStep {
        match self {
            Self::Methods => self.methods(bytes, shared),
            Self::Credentials => self.credentials(bytes, shared, identity),
            Self::Request => request(bytes, shared, identity),
        }
    }

    fn methods(&mut self, bytes: &[u8], shared: &Shared) -> GreetingStep {
        let Some(&count) = bytes.get(1) else {
            return GreetingStep::More;
        };
        let consumed = 2 + usize::from(count);
        let Some(offered) = bytes.get(2..consumed) else {
            return GreetingStep::More;
        };
        let offers = |method| offered.contains(&method);
        let (next, method) = match shared.login {
            Login::None if offers(NO_CREDENTIALS) => (Self::Request, NO_CREDENTIALS),
            Login::Anybody if offers(PASSWORD) => (Self::Credentials, PASSWORD),
            Login::Anybody if offers(NO_CREDENTIALS) => (Self::Request, NO_CREDENTIALS),
            // A client that insists on a password may have any.
            Login::None | Login::Required(_) if offers(PASSWORD) => (Self::Credentials, PASSWORD),
            _ => {
                let bytes = vec![VERSION, NONE_OF_THEM];
                let reason = match shared.login {
                    Login::Required(_) => "the client offers no user name and password",
                    _ => "the client offers no method of authentication that is known",
                };
                return refused(bytes, reason);
            }
        };
        *self = next;
        let bytes = vec![VERSION, method];
        GreetingStep::Say { consumed, bytes }
    }

    fn credentials(
        &mut self,
        bytes: &[u8],
        shared: &Shared,
        identity: &mut Option<Identity>,
    ) -> GreetingStep {
        // The version of this exchange.
        if bytes.first().is_some_and(|version| *version != 1) {
            return GreetingStep::refuse("the client sends no user name and password");
        }
        let Some((user, rest)) = bytes.get(1..).and_then(counted) else {
            return GreetingStep::More;
        };
        let Some((password, rest)) = counted(rest) else {
            return GreetingStep::More;
        };
        let given = Identity {
            user: user.to_vec(),
            password: password.to_vec(),
        };
        if !shared.admits(Some(&given)) {
            return refused(vec![1, 1], "the user name or the password is wrong");
        }
        let consumed = bytes.len() - rest.len();
        *identity = Some(given);
        *self = Self::Request;
        let bytes = vec![1, 0];
        GreetingStep::Say { consumed, bytes }
    }
}

/// A text after a byte with its length, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

fn request(bytes: &[u8], shared: &Shared, identity: &mut Option<Identity>) -> GreetingStep {
    let &[version, command, _, ..] = bytes else {
        return GreetingStep::More;
    };
    if version != VERSION {
        return GreetingStep::refuse("the request is not one of SOCKS5");
    }
    if command != CONNECT {
        let reason = "the client asks for something other than a connection";
        return refused(reply(UNKNOWN_COMMAND), reason);
    }
    let (target, len) = match socks::parse(&bytes[3..]) {
        Parsed::Incomplete => return GreetingStep::More,
        Parsed::Invalid(reason) => return refused(reply(UNKNOWN_ADDRESS), reason),
        Parsed::Complete(target, len) => (target, len),
    };
    let identity = identity.take();
    match shared.decide(Asked { target, identity }) {
        Ok(request) => GreetingStep::Carry {
            consumed: 3 + len,
            request,
        },
        Err(refusal) => refused(reply(NOT_ALLOWED), &refusal.0),
    }
}

/// An answer. Nobody needs the address that the proxy connects from.
pub(super) fn reply(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// What a client is told of a dial that has failed.
pub(super) fn code(error: &DialError) -> u8 {
    match error {
        DialError::Denied { .. } => NOT_ALLOWED,
        DialError::Resolve { .. } => NO_HOST,
        DialError::Address { .. } => UNKNOWN_ADDRESS,
        DialError::TimedOut { .. } => EXPIRED,
        DialError::Connect { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused => REFUSED,
            io::ErrorKind::NetworkUnreachable => NO_NETWORK,
            io::ErrorKind::HostUnreachable => NO_HOST,
            io::ErrorKind::TimedOut => EXPIRED,
            io::ErrorKind::PermissionDenied => NOT_ALLOWED,
            _ => FAILED,
        },
        _ => FAILED,
    }
}
