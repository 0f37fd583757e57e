//! A small HTTP server for pages that are made on the spot. It answers GET and HEAD, one request for
//! each connection.
//!
//! One thread serves all connections, and waits for none of them: whoever is slow or says too much
//! is dropped. Must never know what is on the pages.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use socket2::Socket;
use watm_wasmer::ListenSocket;
use watm_wasmer::plain::AcceptErrors;

use crate::carry::poll::{Interest, wait_any};

/// Maximum number of connections at the same time. One more takes the place of the oldest.
const CONNECTIONS: usize = 32;
/// Maximum size of a request without its body, which nothing here needs.
const REQUEST: usize = 8 * 1024;
/// Maximum number of header fields of a request.
const FIELDS: usize = 64;
/// How long a connection may take from the first to the last byte.
const LIFE: Duration = Duration::from_secs(10);
/// How often pages are told that time goes by.
const TICK: Duration = Duration::from_secs(5);

/// What the server shows.
pub(super) trait Pages {
    /// The page at a path, if there is one, for somebody who came in this way.
    fn page(&self, path: &str, reader: Reader) -> Option<Page>;
    /// Called every few seconds, also if nobody asks for anything.
    fn tick(&self) {}
}

/// Who asks for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Whoever reaches the port.
    Anybody,
    /// Somebody of this machine whom the file of the socket lets in; or the user of this process, or
    /// root, if the socket has no file.
    Trusted,
}

/// An answer.
pub(super) struct Page {
    pub(super) status: Status,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    NotAllowed,
    TooLarge,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

impl Page {
    pub(super) fn text(status: Status, body: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    /// The whole answer, without the body for HEAD.
    fn written(&self, with_body: bool) -> Vec<u8> {
        let allow = match self.status {
            Status::NotAllowed => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let mut answer = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status.line(),
            self.content_type,
            self.body.len()
        );
        if with_body {
            answer.push_str(&self.body);
        }
        answer.into_bytes()
    }
}

pub(super) struct HttpServer {
    listeners: Vec<Socket>,
    connections: Vec<Connection>,
    errors: AcceptErrors,
    /// Nobody is accepted before this time: the system is short of something.
    rest_until: Option<Instant>,
}

struct Connection {
    stream: Socket,
    reader: Reader,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// The request comes in.
    Reading(Vec<u8>),
    /// The answer goes out, from this place on.
    Writing(Vec<u8>, usize),
    /// What the client still says is thrown away, or closing would reset the answer.
    Ending,
}

impl HttpServer {
    pub(super) fn new(sockets: &[ListenSocket]) -> io::Result<Self> {
        let listeners = sockets.iter().map(|socket| {
            let listener = Socket::from(socket.as_fd().try_clone_to_owned()?);
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        Ok(Self {
            listeners: listeners.collect::<io::Result<_>>()?,
            connections: Vec::new(),
            errors: AcceptErrors::new(),
            rest_until: None,
        })
    }

    /// Answers until the listening socket breaks.
    pub(super) fn run(&mut self, pages: &impl Pages) {
        let mut ticked = Instant::now();
        loop {
            if ticked.elapsed() >= TICK {
                pages.tick();
                ticked = Instant::now();
            }
            if let Err(error) = self.turn(pages, ticked + TICK) {
                return log::error!("metrics are not served any more: {error}");
            }
        }
    }

    /// Waits until there is something to do, and does it.
    fn turn(&mut self, pages: &impl Pages, until: Instant) -> io::Result<()> {
        let now = Instant::now();
        self.rest_until = self.rest_until.filter(|until| *until > now);
        let mut interests = Vec::with_capacity(self.listeners.len() + self.connections.len());
        for connection in &self.connections {
            interests.push((connection.stream.as_fd(), connection.interest()));
        }
        if self.rest_until.is_none() {
            let listeners = self.listeners.iter();
            interests.extend(listeners.map(|socket| (socket.as_fd(), Interest::Readable)));
        }
        let deadlines = self
            .connections
            .iter()
            .map(|connection| connection.deadline);
        let wake = deadlines.chain([until]).chain(self.rest_until).min();
        let timeout = wake.map(|wake| wake.saturating_duration_since(now));
        // A whole millisecond, or the last one would be spent in a busy loop.
        let ready = wait_any(
            &interests,
            timeout.map(|time| time + Duration::from_millis(1)),
        )?;
        let now = Instant::now();
        let mut ready = ready.into_iter();
        self.connections.retain_mut(|connection| {
            let is_ready = ready.next().unwrap_or(false);
            now < connection.deadline && (!is_ready || connection.advance(pages))
        });
        for (at, is_ready) in ready.enumerate() {
            if is_ready {
                self.accept(at, now)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, at: usize, now: Instant) -> io::Result<()> {
        match self.listeners[at].accept() {
            Ok((stream, _)) => {
                let reader = reader(&stream);
                if stream.set_nonblocking(true).is_err() {
                    return Ok(());
                }
                if self.connections.len() == CONNECTIONS {
                    self.connections.remove(0);
                }
                self.connections.push(Connection {
                    stream,
                    reader,
                    deadline: now + LIFE,
                    stage: Stage::Reading(Vec::new()),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                let pause = self.errors.pause(error)?;
                self.rest_until = Some(now + pause);
            }
        }
        Ok(())
    }
}

impl Connection {
    fn interest(&self) -> Interest {
        match self.stage {
            Stage::Reading(_) | Stage::Ending => Interest::Readable,
            Stage::Writing(..) => Interest::Writable,
        }
    }

    /// Goes on as far as that is possible without waiting. Returns whether there is more to do.
    fn advance(&mut self, pages: &impl Pages) -> bool {
        loop {
            let went_on = match &mut self.stage {
                Stage::Reading(request) => match receive(&mut self.stream, request) {
                    Ok(0) => return false,
                    Ok(_) => match answer(request, self.reader, pages) {
                        Some(answer) => {
                            self.stage = Stage::Writing(answer, 0);
                            Ok(())
                        }
                        None => Ok(()),
                    },
                    Err(error) => Err(error),
                },
                Stage::Writing(answer, at) => match self.stream.write(&answer[*at..]) {
                    Ok(0) => return false,
                    Ok(sent) => {
                        *at += sent;
                        if *at == answer.len() {
                            if self.stream.shutdown(Shutdown::Write).is_err() {
                                return false;
                            }
                            self.stage = Stage::Ending;
                        }
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Stage::Ending => match self.stream.read(&mut [0; 1024]) {
                    Ok(0) => return false,
                    // A client that sends without end must not keep the thread.
                    Ok(_) => return true,
                    Err(error) => Err(error),
                },
            };
            match went_on {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

/// Who is at the other end. A Unix socket with a file was opened by somebody who may write to that.
/// One without a file takes everybody, so that the system says whose the process is.
fn reader(stream: &Socket) -> Reader {
    let trusted = match stream.local_addr() {
        Ok(address) if address.as_pathname().is_some() => true,
        Ok(address) if address.is_unix() => socket_peercred(stream)
            .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid()),
        _ => false,
    };
    if trusted {
        Reader::Trusted
    } else {
        Reader::Anybody
    }
}

/// Receives more of a request, up to one byte beyond its maximum size.
fn receive(stream: &mut Socket, request: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 1024];
    let room = (REQUEST + 1)
        .saturating_sub(request.len())
        .min(buffer.len());
    let received = stream.read(&mut buffer[..room])?;
    request.extend_from_slice(&buffer[..received]);
    Ok(received)
}

/// The answer to a request, if that is complete or can be no request.
fn answer(request: &[u8], reader: Reader, pages: &impl Pages) -> Option<Vec<u8>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let refused = |status, text: &str| Some(Page::text(status, text).written(true));
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if request.len() <= REQUEST => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return refused(Status::TooLarge, "the request is too large\n");
        }
        Err(_) => return refused(Status::BadRequest, "this is not a request of HTTP/1\n"),
    }
    let with_body = match parsed.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return refused(Status::NotAllowed, "only GET and HEAD are answered\n"),
    };
    let path = parsed.path.unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let page = pages
        .page(path, reader)
        .unwrap_or_else(|| Page::text(Status::NotFound, "there is no such page; / lists them\n"));
    Some(page.written(with_body))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hello;

    impl Pages for Hello {
        fn page(&self, path: &str, reader: Reader) -> Option<Page> {
            match (path, reader) {
                ("/hello", _) => Some(Page::text(Status::Ok, "hello\n")),
                ("/secret", Reader::Trusted) => Some(Page::text(Status::Ok, "secret\n")),
                _ => None,
            }
        }
    }

    /// The answer to a complete request.
    fn answered(request: &str) -> String {
        let answer = answer(request.as_bytes(), Reader::Anybody, &Hello).expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    #[test]
    fn a_request_is_answered_once_it_is_complete() {
        let request = "GET /hello?x=1 HTTP/1.1\r\nHost: h\r\n\r\n";
        for length in 0..request.len() {
            let begin = &request.as_bytes()[..length];
            assert!(answer(begin, Reader::Anybody, &Hello).is_none());
        }
        let text = answered(request);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.ends_with(
                "Content-Length: 6\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\nhello\n"
            ),
            "{text}"
        );
        let head = answered(&request.replace("GET", "HEAD"));
        assert!(
            head.ends_with("\r\n\r\n") && head.contains("Content-Length: 6"),
            "{head}"
        );
    }

    #[test]
    fn what_is_no_request_for_a_page_is_refused() {
        for (request, status) in [
            ("GET /other HTTP/1.1\r\n\r\n", "404"),
            ("POST /hello HTTP/1.1\r\n\r\n", "405"),
            ("\u{16}\u{3}\u{1}hello", "400"),
            ("GET /hello HTTP/9\r\n\r\n", "400"),
        ] {
            let text = answered(request);
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        let long = format!("GET /{} ", "x".repeat(REQUEST));
        assert!(answered(&long).starts_with("HTTP/1.1 431 "));
        let many = "A: b\r\n".repeat(FIELDS + 1);
        let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
        assert!(answered(&many).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn whom_the_system_vouches_for_is_trusted_and_nobody_of_a_port_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = format!("unix:{}", directory.path().join("s").display());
        let nameless = format!("unix:@watm-http-{}", std::process::id());
        for (address, expected) in [
            ("127.0.0.1:0", Reader::Anybody),
            (&file, Reader::Trusted),
            (&nameless, Reader::Trusted),
        ] {
            let address = address.parse().expect("an address");
            let sockets = ListenSocket::open(&address).expect("it is free");
            let mut server = HttpServer::new(&sockets).expect("a server");
            let bound = Socket::from(sockets[0].as_fd().try_clone_to_owned().expect("room"));
            let domain = bound.local_addr().expect("an address").domain();
            let client = Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
            client
                .connect(&bound.local_addr().expect("an address"))
                .expect("it listens");
            while server.connections.is_empty() {
                server.accept(0, Instant::now()).expect("a client");
            }
            assert_eq!(server.connections[0].reader, expected, "{address}");
        }
        let mut seen = Vec::new();
        for reader in [Reader::Anybody, Reader::Trusted] {
            let answer = answer(b"GET /secret HTTP/1.1\r\n\r\n", reader, &Hello);
            seen.push(answer.expect("an answer").ends_with(b"secret\n"));
        }
        assert_eq!(seen, [false, true]);
    }
}
