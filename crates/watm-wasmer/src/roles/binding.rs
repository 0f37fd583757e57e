//! Binding what accepts connections to its addresses.

use crate::error::ListenError;
use crate::net::address::ListenAddress;
use crate::net::listening::ListenSocket;
use crate::roles::builder::Builder;

/// What accepts connections: a [`Listener`](crate::Listener), a [`Relay`](crate::Relay) or another
/// [`Server`](crate::Server).
///
/// Users of the library cannot implement it.
///
/// ```
/// use watm_wasmer::{Binds, Builder, Dialer, ListenError, Listener, TransportModule};
///
/// /// Binds to a port of this machine alone, whatever it is for.
/// fn locally<R: Binds>(builder: Builder<R>) -> Result<R, ListenError> {
///     builder.bind("127.0.0.1:0")
/// }
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = locally(Listener::builder(&module))?;
/// let server = locally(Dialer::builder(&module).carry_to(listener.local_addr()))?;
/// assert!(server.local_addr().ip().is_loopback());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Binds: Bound {}

/// What only the library can implement, since nobody else can name it.
pub trait Bound: Sized {
    /// Checks the settings, binds the sockets and makes the value from both.
    fn make(
        builder: Builder<Self>,
        bind: impl FnOnce() -> Result<Vec<ListenSocket>, ListenError>,
    ) -> Result<Self, ListenError>;
}

/// For a [`Listener`](crate::Listener), a [`Relay`](crate::Relay) or another
/// [`Server`](crate::Server).
impl<R: Binds> Builder<R> {
    /// Listens on `address` (`host:port` or `[v6]:port`); port 0 lets the system choose. `:port`
    /// and `*:port` mean all addresses of this machine, of both families; see
    /// [`plain::bind`](crate::plain::bind). Unix sockets and inherited sockets have addresses too: see
    /// [`ListenAddress`](crate::ListenAddress).
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the module lacks the role, if a setting cannot work, or if the address
    /// cannot be listened on.
    pub fn bind(self, address: &str) -> Result<R, ListenError> {
        self.bind_all([address])
    }

    /// Listens on several addresses, each as in [`Builder::bind`].
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`], and if there is no address.
    pub fn bind_all<A: AsRef<str>>(
        self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<R, ListenError> {
        R::make(self, || {
            let mut sockets = Vec::new();
            for address in addresses {
                sockets.append(&mut open(address.as_ref())?);
            }
            Ok(sockets)
        })
    }

    /// Listens on a socket that the application has bound: of TCP, or a Unix socket.
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`].
    pub fn listen(self, socket: impl Into<ListenSocket>) -> Result<R, ListenError> {
        self.listen_all([socket])
    }

    /// Listens on several sockets that the application has bound.
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`], and if there is no socket.
    pub fn listen_all<S: Into<ListenSocket>>(
        self,
        sockets: impl IntoIterator<Item = S>,
    ) -> Result<R, ListenError> {
        R::make(self, || Ok(sockets.into_iter().map(Into::into).collect()))
    }
}

/// Listens on one address.
fn open(address: &str) -> Result<Vec<ListenSocket>, ListenError> {
    let parsed = ListenAddress::parse(address);
    let parsed = parsed.map_err(|source| ListenError::Bind {
        address: address.to_owned(),
        source,
    })?;
    ListenSocket::open(&parsed)
}
