//! The extended OR port of tor: a server there learns who a client is, and which transport it uses
//! (ext-orport-spec, with the cookie of section 3.1).

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use watm_wasmer::{DialAttempt, DialHook, Stream};

const HEADER: &[u8; 32] = b"! Extended ORPort Auth Cookie !\n";
const LEN: usize = 32;
/// The only method there is.
const SAFE_COOKIE: u8 = 1;
const FROM_SERVER: &[u8] = b"ExtORPort authentication server-to-client hash";
const FROM_CLIENT: &[u8] = b"ExtORPort authentication client-to-server hash";

const DONE: u16 = 0;
const USER_ADDRESS: u16 = 1;
const TRANSPORT: u16 = 2;
const OKAY: u16 = 0x1000;
const DENY: u16 = 0x1001;

/// Connects to the extended port, on behalf of the clients of one transport.
pub(super) struct ExtendedPort {
    pub(super) transport: String,
    /// The file of the cookie, which tor writes anew whenever it starts.
    pub(super) cookie: PathBuf,
}

impl DialHook for ExtendedPort {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let mut stream = attempt.connect()?;
        let cookie = cookie(&fs::read(&self.cookie)?)?;
        let mut nonce = [0; LEN];
        getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
        authenticate(&mut stream, &cookie, nonce)?;
        announce(&mut stream, attempt.client(), &self.transport)?;
        Ok(stream)
    }
}

fn invalid(message: &str) -> io::Error {
    let message = format!("the extended OR port: {message}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The cookie in a file.
fn cookie(file: &[u8]) -> io::Result<[u8; LEN]> {
    let cookie = file
        .strip_prefix(HEADER)
        .and_then(|rest| rest.try_into().ok());
    cookie.ok_or_else(|| invalid("the cookie file is none"))
}

fn hash(cookie: &[u8], parts: [&[u8]; 3]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(cookie).expect("a key may have any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Shows that this process knows the cookie, and sees that tor does.
fn authenticate(
    stream: &mut (impl Read + Write),
    cookie: &[u8; LEN],
    nonce: [u8; LEN],
) -> io::Result<()> {
    let mut methods = Vec::new();
    loop {
        match array::<1>(stream)? {
            [0] => break,
            [method] if methods.len() < 255 => methods.push(method),
            _ => return Err(invalid("its list of methods does not end")),
        }
    }
    if !methods.contains(&SAFE_COOKIE) {
        return Err(invalid("it does not know the method SAFE_COOKIE"));
    }
    stream.write_all(&[SAFE_COOKIE])?;
    stream.write_all(&nonce)?;
    let theirs = array::<LEN>(stream)?;
    let their_nonce = array::<LEN>(stream)?;
    let expected = hash(cookie, [FROM_SERVER, &nonce, &their_nonce]);
    let known = expected.verify_slice(&theirs);
    known.map_err(|_| invalid("it does not know the cookie"))?;
    let ours = hash(cookie, [FROM_CLIENT, &nonce, &their_nonce]);
    stream.write_all(&ours.finalize().into_bytes())?;
    match array(stream)? {
        [1] => Ok(()),
        [_] => Err(invalid("it does not accept the cookie")),
    }
}

/// Says who the client is, and waits until it is taken.
fn announce(
    stream: &mut (impl Read + Write),
    client: Option<SocketAddr>,
    transport: &str,
) -> io::Result<()> {
    let mut messages = Vec::new();
    let mut add = |command: u16, body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
        messages.extend_from_slice(&command.to_be_bytes());
        messages.extend_from_slice(&len.to_be_bytes());
        messages.extend_from_slice(&body[..usize::from(len)]);
    };
    if let Some(client) = client {
        add(USER_ADDRESS, client.to_string().as_bytes());
    }
    add(TRANSPORT, transport.as_bytes());
    add(DONE, &[]);
    stream.write_all(&messages)?;
    loop {
        let [high, low, len_high, len_low] = array(stream)?;
        let len = u16::from_be_bytes([len_high, len_low]);
        stream.read_exact(&mut vec![0; usize::from(len)])?;
        match u16::from_be_bytes([high, low]) {
            OKAY => return Ok(()),
            DENY => return Err(invalid("it does not take the client")),
            // What is not known is to be ignored.
            _ => {}
        }
    }
}

fn array<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// The side of tor. Returns what it was told.
    fn tor(mut stream: UnixStream, cookie: [u8; LEN], replies: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(&[7, SAFE_COOKIE, 0])?;
        assert_eq!(array(&mut stream)?, [SAFE_COOKIE]);
        let nonce = array::<LEN>(&mut stream)?;
        let ours = [9; LEN];
        let proof = hash(&cookie, [FROM_SERVER, &nonce, &ours])
            .finalize()
            .into_bytes();
        stream.write_all(&proof)?;
        stream.write_all(&ours)?;
        let theirs = array::<LEN>(&mut stream)?;
        let is_known = hash(&cookie, [FROM_CLIENT, &nonce, &ours])
            .verify_slice(&theirs)
            .is_ok();
        stream.write_all(&[u8::from(is_known)])?;
        stream.write_all(replies)?;
        let mut told = Vec::new();
        stream.read_to_end(&mut told)?;
        Ok(told)
    }

    fn run(replies: &'static [u8], known: [u8; LEN]) -> (io::Result<()>, Vec<u8>) {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let tor = thread::spawn(move || tor(theirs, [1; LEN], replies).unwrap_or_default());
        let client = "192.0.2.1:5000".parse().ok();
        let result = authenticate(&mut ours, &known, [2; LEN])
            .and_then(|()| announce(&mut ours, client, "watm"));
        drop(ours);
        (result, tor.join().expect("no panic"))
    }

    #[test]
    fn tor_learns_who_the_client_is() {
        // An unknown message comes before its answer.
        let (result, told) = run(b"\x20\x00\x00\x01x\x10\x00\x00\x00", [1; LEN]);
        result.expect("it is taken");
        let expected = b"\0\x01\0\x0e192.0.2.1:5000\0\x02\0\x04watm\0\0\0\0";
        assert_eq!(told, expected);
        let (result, _) = run(b"\x10\x01\x00\x00", [1; LEN]);
        assert!(
            result
                .expect_err("denied")
                .to_string()
                .contains("does not take")
        );
    }

    #[test]
    fn whoever_does_not_know_the_cookie_is_told_nothing() {
        let (result, told) = run(b"\x10\x00\x00\x00", [3; LEN]);
        let error = result.expect_err("another cookie");
        assert!(
            error.to_string().contains("does not know the cookie"),
            "{error}"
        );
        assert!(told.is_empty());
    }

    #[test]
    fn a_cookie_file_has_a_header() {
        let file = [&HEADER[..], &[5; LEN]].concat();
        assert_eq!(cookie(&file).expect("a cookie"), [5; LEN]);
        for file in [&file[..63], &[&file[..], b"x"].concat(), &[0; 64]] {
            assert!(cookie(file).is_err());
        }
    }
}
