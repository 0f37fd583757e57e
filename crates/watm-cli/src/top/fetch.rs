//! Asks a command for its status, over TCP or a Unix socket. Whatever answers, it costs no more than a
//! few seconds and megabytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use watm_wasmer::Address;

use crate::monitor::status::{PATH, Status};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum size of an answer: there are at most 10,000 connections in it.
const SIZE: u64 = 16 << 20;
/// Maximum number of header fields of an answer.
const FIELDS: usize = 64;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum FetchError {
    #[error("it does not answer")]
    Silent(#[source] io::Error),
    #[error("what answers there is not the `--metrics` of a command of this version")]
    Stranger,
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Silent(error)
    }
}

/// The status of the command at an address.
pub(super) fn fetch(address: &Address) -> Result<Status, FetchError> {
    let deadline = Instant::now() + LIMIT;
    let mut socket = connect(address, deadline)?;
    socket.set_write_timeout(Some(LIMIT))?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: watm\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        socket.set_read_timeout(Some(left(deadline)?))?;
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => answer.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late().into()),
            Err(error) => return Err(error.into()),
        }
        // Something else may keep the connection open, and say no more.
        if answer.len() as u64 > SIZE || body_of(&answer).is_err() {
            return Err(FetchError::Stranger);
        }
    }
    parse(&answer)
}

/// Where the body of an answer begins, if its head is there.
fn body_of(answer: &[u8]) -> Result<Option<usize>, FetchError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(at)) if response.code == Some(200) => Ok(Some(at)),
        Ok(httparse::Status::Partial) => Ok(None),
        _ => Err(FetchError::Stranger),
    }
}

fn connect(address: &Address, deadline: Instant) -> io::Result<Socket> {
    if let Some(path) = address.unix() {
        let name = match path.strip_prefix('@') {
            Some(name) => format!("\0{name}"),
            None => path.to_owned(),
        };
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Which also bounds how long a full queue is waited for.
        socket.set_write_timeout(Some(LIMIT))?;
        socket.connect(&SockAddr::unix(name)?)?;
        return Ok(socket);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for found in address.as_str().to_socket_addrs()? {
        match try_connect(found, deadline) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn try_connect(address: SocketAddr, deadline: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.connect_timeout(&address.into(), left(deadline)?)?;
    Ok(socket)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(late());
    }
    Ok(left)
}

fn late() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no whole answer within {} s", LIMIT.as_secs()),
    )
}

fn parse(answer: &[u8]) -> Result<Status, FetchError> {
    let body = body_of(answer)?.ok_or(FetchError::Stranger)?;
    let status: Status =
        serde_json::from_slice(&answer[body..]).map_err(|_| FetchError::Stranger)?;
    if status.watm.is_empty() {
        return Err(FetchError::Stranger);
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What comes of a server that answers like this, and then closes.
    fn answered(answer: &[u8]) -> Result<Status, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).expect("a request");
                request.push(byte[0]);
            }
            // The client may have seen enough before all is sent.
            let _ = client.write_all(&answer);
        });
        let fetched = fetch(&address.parse().expect("an address"));
        server.join().expect("no panic");
        fetched
    }

    #[test]
    fn a_status_is_read_and_what_is_new_in_it_is_ignored() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\
            {\"watm\":\"9.0\",\"tunnels\":[{\"name\":\"a\",\"state\":\"dreams\",\"new\":1}],\"new\":[]}";
        let status = answered(answer).expect("a status");
        assert_eq!((status.watm.as_str(), status.tunnels.len()), ("9.0", 1));
        assert_eq!(status.tunnels[0].state.name(), "?");
        assert_eq!(status.connections, None);
    }

    #[test]
    fn whatever_else_answers_is_a_stranger() {
        let endless = vec![b'x'; usize::try_from(SIZE).expect("it fits") + 100_000];
        for answer in [
            &b""[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 404 Not Found\r\n\r\nnothing",
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n{\"watm\":1}",
            &endless,
        ] {
            let error = answered(answer).expect_err("no status");
            let is_expected = matches!(error, FetchError::Stranger | FetchError::Silent(_));
            assert!(is_expected, "{error:?}");
        }
    }

    #[test]
    fn nobody_there_is_told() {
        for address in [
            "127.0.0.1:1",
            "unix:/nonexistent/watm.sock",
            "unix:@watm-nobody",
        ] {
            let error = fetch(&address.parse().expect("an address")).expect_err("nobody");
            assert!(matches!(error, FetchError::Silent(_)), "{error:?}");
        }
    }
}
