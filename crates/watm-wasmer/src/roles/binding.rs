//! Binding what accepts connections to its addresses.

use std::net::TcpListener;

use crate::error::ListenError;
use crate::net::plain::bind;
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
        bind: impl FnOnce() -> Result<Vec<TcpListener>, ListenError>,
    ) -> Result<Self, ListenError>;
}

/// For a [`Listener`](crate::Listener), a [`Relay`](crate::Relay) or another
/// [`Server`](crate::Server).
impl<R: Binds> Builder<R> {
    /// Listens on `address` (`host:port` or `[v6]:port`); port 0 lets the system choose. `:port`
    /// and `*:port` mean all addresses of this machine, of both families; see
    /// [`plain::bind`](crate::plain::bind).
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
            let listeners = addresses.into_iter().map(|address| bind(address.as_ref()));
            listeners.collect()
        })
    }

    /// Listens on a socket that the application has bound.
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`].
    pub fn listen(self, listener: TcpListener) -> Result<R, ListenError> {
        self.listen_all([listener])
    }

    /// Listens on several sockets that the application has bound.
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`], and if there is no socket.
    pub fn listen_all(
        self,
        listeners: impl IntoIterator<Item = TcpListener>,
    ) -> Result<R, ListenError> {
        R::make(self, || Ok(listeners.into_iter().collect()))
    }
}
