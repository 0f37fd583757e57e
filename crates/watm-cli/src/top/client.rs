//! Asks a running command for its pages, over HTTP.
//!
//! What answers may be anything: each answer has a limited size and time. Must never know what is done
//! with the pages.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};
use watm_abi::Excerpt;
use watm_wasmer::{ListenAddress, plain::Connector};

use crate::carry::poll::{Interest, wait_until};
use crate::monitor::report::{Connections, Overview};

/// Maximum size of an answer.
const ANSWER: usize = 16 * 1024 * 1024;
/// Maximum number of header fields of an answer.
const FIELDS: usize = 64;
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} does not answer")]
    Unreachable(String, #[source] io::Error),
    #[error("{0} did not send all of its answer within 5 s")]
    Slow(String),
    #[error("what answers at {0} is no watm, or an older one: {1}")]
    Strange(String, String),
}

/// What a running command has said.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) overview: Overview,
    /// Or why they are not shown.
    pub(super) connections: Result<Connections, String>,
}

/// Where the pages are.
pub(super) struct Client {
    address: ListenAddress,
    connector: Connector,
    patience: Duration,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: &ListenAddress) -> Self {
        Self {
            address: address.clone(),
            connector: Connector::new(),
            patience: PATIENCE,
        }
    }

    /// Asks for all there is.
    pub(super) fn look(&self) -> Result<Seen, FetchError> {
        let tunnels = self.fetch("/tunnels")?;
        if tunnels.status != 200 {
            return Err(self.strange(format!("/tunnels has the status {}", tunnels.status)));
        }
        let overview: Overview = self.read(&tunnels.body, "/tunnels")?;
        let answer = self.fetch("/connections")?;
        let connections = match answer.status {
            200 => Ok(self.read(&answer.body, "/connections")?),
            // What the server says is for people who ask it by themselves.
            403 if self.address.unix().is_none() => {
                Err("connections are shown over a Unix socket \
                only: --metrics unix:/PATH"
                    .to_owned())
            }
            403 => Err("connections are shown to the user of the process and to root only".into()),
            status => Err(format!("connections are not shown: status {status}")),
        };
        Ok(Seen {
            overview,
            connections,
        })
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8], page: &str) -> Result<T, FetchError> {
        serde_json::from_slice(body).map_err(|error| {
            let error = error.to_string();
            self.strange(format!(
                "{page} is not what was expected: {}",
                Excerpt(&error)
            ))
        })
    }

    fn fetch(&self, page: &str) -> Result<Answer, FetchError> {
        let deadline = Instant::now() + self.patience;
        let fetched = self.connect(deadline).and_then(|mut socket| {
            let request = format!("GET {page} HTTP/1.1\r\nHost: watm\r\nConnection: close\r\n\r\n");
            send(&mut socket, request.as_bytes(), deadline)?;
            receive(&mut socket, deadline)
        });
        match fetched {
            Ok(bytes) => parse(&bytes).map_err(|what| self.strange(what)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(FetchError::Slow(self.address.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(self.strange(error.to_string()))
            }
            Err(error) => Err(FetchError::Unreachable(self.address.to_string(), error)),
        }
    }

    fn strange(&self, what: impl Into<String>) -> FetchError {
        FetchError::Strange(self.address.to_string(), what.into())
    }

    /// A connection that does not block.
    fn connect(&self, deadline: Instant) -> io::Result<Socket> {
        if let Some(path) = self.address.unix() {
            let address = match path.strip_prefix('@') {
                Some(name) => SockAddr::unix(format!("\0{name}"))?,
                None => SockAddr::unix(path)?,
            };
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.connect(&address)?;
            return Ok(socket);
        }
        let address = match self.address.host() {
            Some(_) => self.address.to_string(),
            None => format!("localhost:{}", self.address.port()),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let stream: TcpStream = self.connector.connect(&address, left)?;
        Ok(Socket::from(OwnedFd::from(stream)))
    }
}

/// Sends all of a request.
fn send(socket: &mut Socket, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) => go_on(error, socket, Interest::Writable, deadline)?,
        }
    }
    Ok(())
}

/// Receives up to the end of the stream, or of the answer if that says where it ends.
fn receive(socket: &mut Socket, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let mut end = None;
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) => go_on(error, socket, Interest::Readable, deadline)?,
        }
        end = end.or_else(|| expected_end(&bytes));
        if end.is_some_and(|end| bytes.len() >= end) {
            return Ok(bytes);
        }
        if bytes.len() > ANSWER {
            let message = "its answer is larger than 16 MiB";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        // One that sends without a pause has no more time than others.
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Waits until a call that had to wait may go on.
fn go_on(
    error: io::Error,
    socket: &Socket,
    interest: Interest,
    deadline: Instant,
) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock if wait_until(socket.as_fd(), interest, deadline)? => Ok(()),
        io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
        _ => Err(error),
    }
}

/// Where an answer ends, once its head is complete and says so.
fn expected_end(bytes: &[u8]) -> Option<usize> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(begin)) = head.parse(bytes) else {
        return None;
    };
    begin.checked_add(length(&head)?)
}

fn length(head: &httparse::Response<'_, '_>) -> Option<usize> {
    let is_it = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("content-length");
    let field = head.headers.iter().find(is_it)?;
    std::str::from_utf8(field.value).ok()?.trim().parse().ok()
}

/// Takes an answer apart, or says why it is none.
fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let begin = match head.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Err("its answer breaks off".into()),
        Err(_) => return Err("its answer is not of HTTP/1".into()),
    };
    let body = &bytes[begin..];
    let body = match length(&head) {
        Some(length) if length > body.len() => return Err("its answer breaks off".into()),
        Some(length) => &body[..length],
        None => body,
    };
    Ok(Answer {
        status: head.code.unwrap_or_default(),
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests;
