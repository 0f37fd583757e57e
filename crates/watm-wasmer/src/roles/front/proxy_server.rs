//! A front that is a proxy for plain clients: SOCKS5, SOCKS4a and HTTP CONNECT on one port.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::socks5::Socks5;
use super::{Front, Greeting, GreetingStep, PlainRequest, http, socks4, socks5};
use crate::error::DialError;
use crate::net::address::Address;

/// The maximum size of a file with a user name and a password.
const FILE_LIMIT: u64 = 4096;

/// A proxy for plain clients, as the [`Front`] of a server: SOCKS5, SOCKS4, SOCKS4a and HTTP CONNECT.
/// The first byte of a client says which of them it speaks.
///
/// Each client is connected to the address that it names. [`ProxyServer::decide`] changes that. Names
/// are passed on as they are; whoever dials resolves them.
///
/// Whoever can reach the port can use it, unless it asks for a password.
///
/// ```
/// use watm_wasmer::{Dialer, ProxyServer, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// // All clients go to one server, which is told where each wants to go.
/// let proxy = ProxyServer::new().target_in_front("server.example:443");
/// let server = Dialer::builder(&module).front(proxy).bind("127.0.0.1:0")?.spawn()?;
/// # server.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ProxyServer(Arc<Shared>);

/// Decides about what a client asks for.
type Decide = dyn Fn(ProxyRequest<'_>) -> Result<PlainRequest, ProxyRefusal> + Send + Sync;

/// What all clients of a proxy share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) login: Login,
    decide: Arc<Decide>,
    only_socks5: bool,
}

/// Who may use a proxy.
#[derive(Clone)]
pub(super) enum Login {
    /// Anybody, and nobody is asked for a name.
    None,
    /// Anybody, and what a client says of itself is of interest.
    Anybody,
    /// Whoever has the name and the password of these hashes.
    Required([[u8; 32]; 2]),
}

/// The user name and the password of a client.
pub(super) struct Identity {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

/// What a client has asked for.
pub(super) struct Asked {
    pub(super) target: Address,
    pub(super) identity: Option<Identity>,
}

/// What a client of a [`ProxyServer`] asks for.
///
/// ```
/// use watm_wasmer::{PlainRequest, ProxyRefusal, ProxyRequest, ProxyServer};
///
/// fn no_mail(request: ProxyRequest<'_>) -> Result<PlainRequest, ProxyRefusal> {
///     match request.target.port() {
///         25 => Err(ProxyRefusal("mail servers are not reached".into())),
///         _ => Ok(PlainRequest::to(request.target)),
///     }
/// }
/// let proxy = ProxyServer::new().decide(no_mail);
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ProxyRequest<'a> {
    /// The address that it wants to be connected to: a name, or an IP address.
    pub target: &'a Address,
    /// Its user name, if it has sent one. SOCKS4 has no password, which is empty then.
    pub credentials: Option<(&'a [u8], &'a [u8])>,
}

impl fmt::Debug for ProxyRequest<'_> {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyRequest")
            .field("target", self.target)
            .finish_non_exhaustive()
    }
}

/// Why a client of a [`ProxyServer`] is not connected. The text is for the log.
///
/// ```
/// use watm_wasmer::{PlainRequest, ProxyRefusal, ProxyServer};
///
/// let proxy = ProxyServer::new().decide(|request| match request.target.port() {
///     443 => Ok(PlainRequest::to(request.target)),
///     _ => Err(ProxyRefusal("it is not HTTPS".into())),
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRefusal(pub String);

impl ProxyServer {
    /// Connects each client to the address that it names.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            login: Login::None,
            decide: Arc::new(|request| Ok(PlainRequest::to(request.target))),
            only_socks5: false,
        }))
    }

    /// Connects all clients to `remote`, with the address that each names in front of its bytes, in
    /// the form that Shadowsocks servers read: see [`PlainRequest::first_address`].
    pub fn target_in_front(self, remote: impl Into<crate::Target>) -> Self {
        let remote = remote.into();
        self.decide(move |request| in_front(PlainRequest::to(remote.clone()), request.target))
    }

    /// Sends the address that each client names in front of its bytes, to where the server connects all
    /// clients: for a [`FixedDialer`](crate::FixedDialer), whose module chooses the remote.
    pub fn only_in_front(self) -> Self {
        self.decide(|request| in_front(PlainRequest::new(), request.target))
    }

    /// Demands the user name and the password in the first line of a file, `USER:PASSWORD`.
    ///
    /// # Errors
    ///
    /// Those of the system, and [`io::ErrorKind::InvalidData`] if there is no such line.
    pub fn credentials_file(self, path: impl AsRef<Path>) -> io::Result<Self> {
        let invalid = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "expected USER:PASSWORD in the first line of the file, of 1 to 255 bytes each",
            )
        };
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
        let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next();
        let line = line.and_then(|line| std::str::from_utf8(line).ok());
        let (user, password) = line
            .and_then(|line| line.split_once(':'))
            .ok_or_else(invalid)?;
        let fits = |text: &str| (1..=255).contains(&text.len());
        if !fits(user) || !fits(password) {
            return Err(invalid());
        }
        Ok(self.credentials(user, password))
    }

    /// Demands this user name and password. SOCKS4 has no password, so that its clients are refused.
    pub fn credentials(self, user: &str, password: &str) -> Self {
        let hashes = [user, password].map(|text| Sha256::digest(text.as_bytes()).into());
        self.with(|shared| shared.login = Login::Required(hashes))
    }

    /// Takes clients of SOCKS5 alone.
    pub fn only_socks5(self) -> Self {
        self.with(|shared| shared.only_socks5 = true)
    }

    /// Has `decide` say what becomes of what a client asks for. It runs on the thread that all clients
    /// share, and must not wait.
    ///
    /// Clients of SOCKS5 are asked for a user name and a password if they offer to have some, and
    /// anything is taken unless [`ProxyServer::credentials`] says otherwise.
    ///
    /// ```
    /// use watm_wasmer::{DialOptions, PlainRequest, ProxyRefusal, ProxyServer};
    ///
    /// // The user name is the key of the module.
    /// let proxy = ProxyServer::new().decide(|request| {
    ///     let (key, _) = request.credentials.ok_or(ProxyRefusal("there is no key".into()))?;
    ///     Ok(PlainRequest::to(request.target).options(DialOptions::new().config(key)))
    /// });
    /// ```
    pub fn decide(
        self,
        decide: impl Fn(ProxyRequest<'_>) -> Result<PlainRequest, ProxyRefusal> + Send + Sync + 'static,
    ) -> Self {
        self.with(|shared| {
            shared.decide = Arc::new(decide);
            if matches!(shared.login, Login::None) {
                shared.login = Login::Anybody;
            }
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

fn in_front(request: PlainRequest, target: &Address) -> Result<PlainRequest, ProxyRefusal> {
    let request = request.first_address(target);
    request.ok_or_else(|| ProxyRefusal("the name of the address is too long".into()))
}

impl Default for ProxyServer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyServer").finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether a client with these credentials may use the proxy.
    pub(super) fn admits(&self, identity: Option<&Identity>) -> bool {
        let Login::Required(expected) = &self.login else {
            return true;
        };
        let Some(Identity { user, password }) = identity else {
            return false;
        };
        // How long a comparison of hashes takes says nothing of the password.
        let given: [[u8; 32]; 2] = [user, password].map(|text| Sha256::digest(text).into());
        given == *expected
    }

    pub(super) fn decide(&self, asked: Asked) -> Result<PlainRequest, ProxyRefusal> {
        let credentials = asked.identity.as_ref();
        (self.decide)(ProxyRequest {
            target: &asked.target,
            credentials: credentials.map(|known| (&known.user[..], &known.password[..])),
        })
    }
}

/// A step that drops a client.
pub(super) fn refused(bytes: Vec<u8>, reason: &str) -> GreetingStep {
    GreetingStep::Refuse {
        bytes,
        reason: reason.to_owned(),
    }
}

/// One client of a proxy.
struct Client {
    shared: Arc<Shared>,
    protocol: Protocol,
    identity: Option<Identity>,
}

#[derive(Debug)]
enum Protocol {
    /// Nothing has come yet.
    Unknown,
    Socks4,
    Socks5(Socks5),
    Http,
}

impl Front for ProxyServer {
    fn greet(&self, _client: Option<SocketAddr>) -> Box<dyn Greeting> {
        Box::new(Client {
            shared: Arc::clone(&self.0),
            protocol: Protocol::Unknown,
            identity: None,
        })
    }
}

impl Greeting for Client {
    fn advance(&mut self, bytes: &[u8]) -> GreetingStep {
        if let (Protocol::Unknown, Some(first)) = (&self.protocol, bytes.first()) {
            self.protocol = match first {
                5 => Protocol::Socks5(Socks5::default()),
                _ if self.shared.only_socks5 => {
                    return GreetingStep::refuse("the client does not speak SOCKS5");
                }
                4 => Protocol::Socks4,
                _ => Protocol::Http,
            };
        }
        match &mut self.protocol {
            Protocol::Unknown => GreetingStep::More,
            Protocol::Socks4 => socks4::advance(bytes, &self.shared),
            Protocol::Socks5(state) => state.advance(bytes, &self.shared, &mut self.identity),
            Protocol::Http => http::advance(bytes, &self.shared),
        }
    }

    fn answer(&mut self, result: Result<(), &DialError>) -> Vec<u8> {
        match self.protocol {
            Protocol::Unknown => Vec::new(),
            Protocol::Socks4 => socks4::reply(match result {
                Ok(()) => socks4::GRANTED,
                Err(_) => socks4::FAILED,
            }),
            Protocol::Socks5(_) => {
                socks5::reply(result.map_or_else(socks5::code, |()| socks5::GRANTED))
            }
            Protocol::Http => http::answer(result),
        }
    }
}

#[cfg(test)]
mod tests;
