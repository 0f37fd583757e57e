//! What plain clients say before they are carried: a protocol in front of their bytes.
//!
//! A front is a state machine over bytes: it neither reads nor writes, and does not wait. The greeter
//! does that for all clients at once. So a client that says nothing costs a descriptor and no thread.

use std::fmt;
use std::net::SocketAddr;

use crate::error::DialError;
use crate::net::address::Address;
use crate::net::socks;
use crate::net::target::Target;
use crate::roles::dialer::DialOptions;

pub(crate) mod http;
pub(crate) mod proxy_header;
pub(crate) mod proxy_server;
pub(crate) mod socks4;
pub(crate) mod socks5;

/// A protocol that plain clients of a [`Server`](crate::Server) speak before they are carried. It may
/// say where the connection goes, and with which configuration.
///
/// [`ProxyServer`](crate::ProxyServer) is one, for SOCKS and HTTP.
///
/// ```
/// use std::net::SocketAddr;
/// use watm_wasmer::{DialError, Dialer, Front, Greeting, GreetingStep, PlainRequest};
/// use watm_wasmer::TransportModule;
///
/// /// Clients send the number of a server and a line feed.
/// struct Numbers;
///
/// impl Front for Numbers {
///     fn greet(&self, _client: Option<SocketAddr>) -> Box<dyn Greeting> {
///         Box::new(Numbers)
///     }
/// }
///
/// impl Greeting for Numbers {
///     fn advance(&mut self, bytes: &[u8]) -> GreetingStep {
///         let request = |number| PlainRequest::to(format!("server{number}.example:443"));
///         match bytes {
///             [] | [b'0'..=b'9'] => GreetingStep::More,
///             [number @ b'0'..=b'9', b'\n', ..] => GreetingStep::Carry {
///                 consumed: 2,
///                 request: request(number - b'0'),
///             },
///             _ => GreetingStep::refuse("a number was expected"),
///         }
///     }
///
///     fn answer(&mut self, result: Result<(), &DialError>) -> Vec<u8> {
///         result.map_or(b"no\n".to_vec(), |()| b"yes\n".to_vec())
///     }
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let server = Dialer::builder(&module).front(Numbers).bind("127.0.0.1:0")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Front: Send + Sync {
    /// Begins with a client.
    fn greet(&self, client: Option<SocketAddr>) -> Box<dyn Greeting>;
}

/// One client of a [`Front`], from its first byte to the answer.
///
/// ```
/// use watm_wasmer::{Front, Greeting, GreetingStep, ProxyServer};
///
/// let mut greeting = ProxyServer::new().greet(None);
/// // The client offers to be known or unknown, and is taken as unknown.
/// match greeting.advance(&[5, 2, 0, 2]) {
///     GreetingStep::Say { consumed, bytes } => assert_eq!((consumed, &bytes[..]), (4, &[5, 0][..])),
///     step => panic!("{step:?}"),
/// }
/// ```
pub trait Greeting: Send {
    /// Looks at the bytes that the client has sent and that were not consumed. Called again with more
    /// of them after [`GreetingStep::More`], and at once after [`GreetingStep::Say`]. There are never
    /// more than 16 KiB: a client that has said nothing of use by then is dropped.
    fn advance(&mut self, bytes: &[u8]) -> GreetingStep;

    /// What the client is told when its connection is set up, or cannot be.
    fn answer(&mut self, result: Result<(), &DialError>) -> Vec<u8>;
}

/// What happens next with a client of a [`Front`]: see [`Greeting`].
///
/// ```
/// use watm_wasmer::{Front, GreetingStep, ProxyServer};
///
/// let mut greeting = ProxyServer::new().greet(None);
/// let request = b"CONNECT server.example:443 HTTP/1.1\r\n\r\nearly";
/// match greeting.advance(request) {
///     GreetingStep::Carry { consumed, .. } => assert_eq!(&request[consumed..], b"early"),
///     step => panic!("{step:?}"),
/// }
/// ```
#[derive(Debug)]
pub enum GreetingStep {
    /// More bytes are needed.
    More,
    /// Some bytes are consumed, and the client is told something.
    Say {
        /// The number of bytes consumed.
        consumed: usize,
        /// What it is told.
        bytes: Vec<u8>,
    },
    /// The connection is made. What was not consumed belongs to it.
    Carry {
        /// The number of bytes consumed.
        consumed: usize,
        /// What the client wants.
        request: PlainRequest,
    },
    /// The client is dropped, after it was told something.
    Refuse {
        /// What it is told.
        bytes: Vec<u8>,
        /// Why, for the log.
        reason: String,
    },
}

impl GreetingStep {
    /// Drops the client without a word to it. The log has the reason.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self::Refuse {
            bytes: Vec::new(),
            reason: reason.into(),
        }
    }
}

/// What a plain client wants of a server that carries it.
///
/// ```
/// use watm_wasmer::{DialOptions, PlainRequest};
///
/// let options = DialOptions::new().config(*b"the key of this client");
/// let request = PlainRequest::to("server.example:443").options(options);
/// ```
#[derive(Default)]
pub struct PlainRequest {
    pub(super) target: Option<Target>,
    pub(super) first: Vec<u8>,
    pub(super) options: DialOptions,
}

impl PlainRequest {
    /// A connection to where the server connects all clients.
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection to `target`.
    pub fn to(target: impl Into<Target>) -> Self {
        Self {
            target: Some(target.into()),
            ..Self::default()
        }
    }

    /// Has these bytes go through the transport in front of those of the client.
    pub fn first(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.first = bytes.into();
        self
    }

    /// Has an address in the form of SOCKS5 go in front of the bytes of the client: kind, host and
    /// port. Shadowsocks servers read it, and so does a server that forwards where it is asked to
    /// ([`Builder::forward_where_asked`](crate::Builder::forward_where_asked)).
    ///
    /// `None` if it has no such form: a name of more than 255 bytes, or a Unix socket.
    pub fn first_address(self, address: &Address) -> Option<Self> {
        let mut bytes = Vec::new();
        socks::write(address, &mut bytes)?;
        Some(self.first(bytes))
    }

    /// Sets the options of the dial, for this connection alone.
    pub fn options(mut self, options: DialOptions) -> Self {
        self.options = options;
        self
    }
}

impl fmt::Debug for PlainRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainRequest")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
