//! What tasks hold: connections, dialers, listeners and servers whose operations are futures.
//!
//! No thread and no timer stands between a task and the worker of its connection: the worker wakes
//! the task. Nothing here depends on an executor; the traits for reading and writing are in `tokio`,
//! which knows how its runtime is woken at the least cost, and in `futures_io`.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream as Items;

use crate::channel::link::Link;
use crate::channel::wakers::{Key, Wakers};
use crate::error::{AcceptError, DialError, Outcome, TransportError};
use crate::host::stats::ConnStats;
use crate::net::stream::Stream;
use crate::net::target::Target;
use crate::roles::book::{Book, OpenConnection, ServerStats};
use crate::roles::carried::Carried;
use crate::roles::conn::Conn;
use crate::roles::dialer::{DialOptions, Dialer, FixedDialer};
use crate::roles::dropped;
use crate::roles::halves::{ReadHalf, ReuniteError, WriteHalf};
use crate::roles::listener::{Acceptor, Listener};
use crate::roles::pending::Pending;
use crate::roles::server::ServerHandle;

/// Waits until `look` finds something. Whoever changes what it looks at wakes `wakers`.
async fn until<T>(wakers: &Wakers, mut look: impl FnMut() -> Option<T>) -> T {
    /// Takes the waker away when the future is dropped.
    struct Place<'w> {
        wakers: &'w Wakers,
        key: Key,
    }

    impl Drop for Place<'_> {
        fn drop(&mut self) {
            self.wakers.remove(&self.key);
        }
    }

    let mut place = Place {
        wakers,
        key: Key::default(),
    };
    poll_fn(move |cx| {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        let Place { wakers, key } = &mut place;
        wakers.add(key, cx.waker());
        look().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

async fn until_empty(book: &Book) {
    until(&book.tasks, || (book.len() == 0).then_some(())).await;
}

async fn until_finished(links: &[Arc<Link>]) {
    for link in links {
        until(&link.tasks, || link.is_finished().then_some(())).await;
    }
}

async fn until_ended(link: &Arc<Link>) -> Result<Outcome, TransportError> {
    until_finished(std::slice::from_ref(link)).await;
    let outcome = link.final_outcome();
    outcome.unwrap_or(Err(TransportError::Interrupted))
}

/// A [`Conn`] for tasks. It implements `AsyncRead` and `AsyncWrite` of tokio (feature `tokio`) and of
/// futures-io (feature `futures-io`).
///
/// Reads and writes are cancel-safe: a future that is dropped has moved nothing. Shutting down ends
/// writing, as on a TCP stream; [`AsyncConn::close`] waits until all is delivered. A connection that
/// is dropped delivers in the background, as a [`Conn`] does.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use watm_wasmer::{AsyncDialer, AsyncListener, Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = AsyncListener::from(Listener::builder(&module).bind("127.0.0.1:0")?);
/// let dialer = AsyncDialer::from(Dialer::builder(&module).build()?);
/// let mut conn = dialer.dial(listener.local_addr()).await?;
/// let mut peer = listener.accept().await?;
///
/// conn.write_all(b"hello").await?;
/// let mut request = [0; 5];
/// peer.read_exact(&mut request).await?;
/// assert_eq!(&request, b"hello");
/// println!("{} after {} bytes", conn.close().await?, conn.stats().sent);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct AsyncConn(Conn);

/// The half of an [`AsyncConn`] that reads.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::io::AsyncReadExt;
/// use watm_wasmer::{AsyncDialer, Dialer, TransportModule, plain};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let server = plain::bind("127.0.0.1:0")?;
/// let dialer = AsyncDialer::from(Dialer::builder(&module).build()?);
/// let conn = dialer.dial(server.local_addr()?).await?;
/// let (mut read, write) = conn.into_split();
/// drop(server);
/// let reader = tokio::spawn(async move {
///     let mut answer = Vec::new();
///     let length = read.read_to_end(&mut answer).await;
///     (read, length)
/// });
/// // The server has gone, with the connection that it had not accepted.
/// let (read, length) = reader.await?;
/// assert!(length.is_err());
/// // Both halves are one connection again.
/// let conn = read.reunite(write)?;
/// assert!(conn.close().await.is_err());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct AsyncReadHalf(ReadHalf);

/// The half of an [`AsyncConn`] that writes. When it is dropped, writing is shut down.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use watm_wasmer::{AsyncConn, Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/halfclose.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let conn = Dialer::builder(&module).build()?.dial(listener.local_addr())?;
/// let mut peer = AsyncConn::from(listener.accept()?);
///
/// let (_read, mut write) = AsyncConn::from(conn).into_split();
/// write.write_all(b"all of it").await?;
/// drop(write);
/// let mut request = String::new();
/// peer.read_to_string(&mut request).await?;
/// assert_eq!(request, "all of it");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct AsyncWriteHalf(WriteHalf);

/// What a connection and its halves have in common.
macro_rules! of_a_connection {
    ($($name:ident),*) => {$(
        impl $name {
            /// Closes the connection and waits until the transport has ended: [`Conn::close`] for a
            /// task. If the future is dropped, the close goes on.
            ///
            /// # Errors
            ///
            /// As [`Conn::close`].
            pub async fn close(&self) -> Result<Outcome, TransportError> {
                self.0.begin_close();
                until_ended(self.0.link()).await
            }

            /// Waits until the transport has ended by itself and all that it wrote is delivered:
            /// [`Conn::wait`] for a task.
            ///
            /// # Errors
            ///
            /// How the transport failed.
            pub async fn wait(&self) -> Result<Outcome, TransportError> {
                until_ended(self.0.link()).await
            }

            /// Ends the connection as one that has failed: [`Conn::abort`]. It does not wait.
            pub fn abort(&self) {
                self.0.abort();
            }

            /// How the transport ended, if it has: [`Conn::outcome`].
            pub fn outcome(&self) -> Option<Result<Outcome, TransportError>> {
                self.0.outcome()
            }

            /// What the connection has moved so far: [`Conn::stats`].
            pub fn stats(&self) -> ConnStats {
                self.0.stats()
            }

            /// The local address of the network connection below the transport.
            ///
            /// # Errors
            ///
            /// As [`Conn::local_addr`].
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.0.local_addr()
            }

            /// The address of the peer of the network connection below the transport.
            ///
            /// # Errors
            ///
            /// As [`Conn::local_addr`].
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.0.peer_addr()
            }

            /// The connection, for what else it can do. Its blocking calls would stop the
            /// executor's thread.
            pub fn get_ref(&self) -> &Conn {
                &self.0
            }
        }
    )*};
}

of_a_connection!(AsyncConn, AsyncReadHalf, AsyncWriteHalf);

impl AsyncConn {
    /// Splits the connection into halves for a task each. A half for writing that is dropped shuts
    /// down writing; the connection is closed when both are dropped.
    pub fn into_split(self) -> (AsyncReadHalf, AsyncWriteHalf) {
        let (read, write) = self.0.into_split();
        (AsyncReadHalf(read), AsyncWriteHalf(write))
    }

    /// The connection, for threads.
    pub fn into_inner(self) -> Conn {
        self.0
    }
}

impl AsyncReadHalf {
    /// Puts both halves together again.
    ///
    /// # Errors
    ///
    /// Both halves, if they belong to different connections.
    pub fn reunite(self, write: AsyncWriteHalf) -> Result<AsyncConn, AsyncReuniteError> {
        match self.0.reunite(write.0) {
            Ok(conn) => Ok(AsyncConn(conn)),
            Err(ReuniteError(read, write)) => {
                Err(AsyncReuniteError(Self(read), AsyncWriteHalf(write)))
            }
        }
    }
}

/// Two halves of different connections, which [`AsyncReadHalf::reunite`] returns as they are.
///
/// ```
/// use watm_wasmer::{AsyncConn, AsyncReuniteError, Dialer, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let dialer = Dialer::builder(&module).build()?;
/// let dial = || dialer.dial(listener.local_addr()).map(AsyncConn::from);
/// let (first, _first_write) = dial()?.into_split();
/// let (_second, second_write) = dial()?.into_split();
///
/// let mixed = first.reunite(second_write);
/// let AsyncReuniteError(first, second_write) = mixed.expect_err("they are of two connections");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AsyncReuniteError(pub AsyncReadHalf, pub AsyncWriteHalf);

impl fmt::Display for AsyncReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves belong to different connections")
    }
}

impl std::error::Error for AsyncReuniteError {}

impl From<Conn> for AsyncConn {
    fn from(conn: Conn) -> Self {
        Self(conn)
    }
}

impl From<AsyncConn> for Conn {
    fn from(conn: AsyncConn) -> Self {
        conn.0
    }
}

/// Ends writing. It never fails: what the module makes of the end is told by reads and the outcome.
fn shut_down(conn: &Conn) {
    let _ = conn.shutdown(Shutdown::Write);
}

/// A [`Dialer`] or a [`FixedDialer`] for tasks.
///
/// ```no_run
/// # #[cfg(feature = "tokio")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use watm_wasmer::{AsyncDialer, Dialer, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// let dialer = AsyncDialer::from(Dialer::builder(&module).build()?);
/// let mut conn = dialer.dial(("example.org", 443)).await?;
/// conn.write_all(b"hello").await?;
/// let mut answer = [0; 512];
/// let len = conn.read(&mut answer).await?;
/// println!("{:?}, then {}", &answer[..len], conn.close().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncDialer<D = Dialer>(D);

impl<D> From<D> for AsyncDialer<D> {
    fn from(dialer: D) -> Self {
        Self(dialer)
    }
}

impl AsyncDialer {
    /// Dials `target`; the future is ready after the handshake of the module. Dropping it gives the
    /// dial up. The set-up timeout applies.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn dial(&self, target: impl Into<Target>) -> Pending<AsyncConn, DialError> {
        self.dial_with(target, DialOptions::new())
    }

    /// Dials with options for this connection alone.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn dial_with(
        &self,
        target: impl Into<Target>,
        options: DialOptions,
    ) -> Pending<AsyncConn, DialError> {
        self.0.begin(target, options).map(AsyncConn)
    }

    /// Dials `target` and carries a plain connection over the transport, as [`Dialer::carry`] does.
    /// A stream of tokio is passed with `into_std()?`.
    ///
    /// # Errors
    ///
    /// As [`Dialer::dial`].
    pub fn carry(
        &self,
        plain: impl Into<Stream>,
        target: impl Into<Target>,
        options: DialOptions,
    ) -> Pending<Carried, DialError> {
        self.0.begin_carrying(plain, target, options)
    }
}

impl AsyncDialer<FixedDialer> {
    /// Lets the module dial; the future is ready after its handshake. Dropping it gives the dial up.
    ///
    /// # Errors
    ///
    /// As [`FixedDialer::dial`].
    pub fn dial(&self, options: DialOptions) -> Pending<AsyncConn, DialError> {
        self.0.begin(options).map(AsyncConn)
    }

    /// Lets the module dial, and carries a plain connection over the transport.
    ///
    /// # Errors
    ///
    /// As [`FixedDialer::dial`].
    pub fn carry(
        &self,
        plain: impl Into<Stream>,
        options: DialOptions,
    ) -> Pending<Carried, DialError> {
        self.0.begin_carrying(plain, options)
    }
}

/// An [`Acceptor`] for tasks.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
/// use watm_wasmer::{AsyncAcceptor, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let acceptor = AsyncAcceptor::from(Listener::builder(&module).acceptor()?);
///
/// let socket = TcpListener::bind("127.0.0.1:0").await?;
/// let mut client = TcpStream::connect(socket.local_addr()?).await?;
/// let (accepted, _) = socket.accept().await?;
/// let mut conn = acceptor.accept(accepted.into_std()?).await?;
/// client.write_all(b"hello").await?;
/// let mut request = [0; 5];
/// conn.read_exact(&mut request).await?;
/// assert_eq!(&request, b"hello");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct AsyncAcceptor(Acceptor);

impl From<Acceptor> for AsyncAcceptor {
    fn from(acceptor: Acceptor) -> Self {
        Self(acceptor)
    }
}

impl AsyncAcceptor {
    /// Runs the module's handshake over an accepted socket; the future is ready when it is done.
    /// Dropping it gives the connection up. A stream of tokio is passed with `into_std()?`.
    ///
    /// # Errors
    ///
    /// As [`Acceptor::accept`].
    pub fn accept(&self, stream: impl Into<Stream>) -> Pending<AsyncConn, AcceptError> {
        self.0.begin(stream).map(AsyncConn)
    }
}

/// A [`Listener`] for tasks. It is a stream of connections, too, which ends when the listener is
/// closed or after its socket has failed.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use watm_wasmer::{AcceptError, AsyncListener, Listener, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = AsyncListener::from(Listener::builder(&module).bind("127.0.0.1:0")?);
/// # listener.get_ref().stop_accepting();
/// loop {
///     match listener.accept().await {
///         Ok(mut conn) => {
///             tokio::spawn(async move {
///                 let (mut read, mut write) = tokio::io::split(&mut conn);
///                 tokio::io::copy(&mut read, &mut write).await
///             });
///         }
///         Err(AcceptError::Closed) => break,
///         Err(error) => return Err(error.into()),
///     }
/// }
/// // Time for the connections that are there, and an end to the rest.
/// if tokio::time::timeout(Duration::from_secs(5), listener.drain()).await.is_err() {
///     listener.shutdown().await;
/// }
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct AsyncListener {
    listener: Listener,
    /// The stream has ended with an error.
    has_failed: bool,
}

impl From<Listener> for AsyncListener {
    fn from(listener: Listener) -> Self {
        let has_failed = false;
        Self {
            listener,
            has_failed,
        }
    }
}

impl AsyncListener {
    /// Waits for the next connection whose transport is set up. It is cancel-safe: no connection is
    /// lost if the future is dropped. Several tasks may wait.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`].
    pub async fn accept(&self) -> Result<AsyncConn, AcceptError> {
        let next = until(self.listener.tasks(), || self.listener.look()).await;
        next.map(AsyncConn)
    }

    /// The address listened on; the first, if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// The listener, for what else it can do. Its blocking calls would stop the executor's thread.
    pub fn get_ref(&self) -> &Listener {
        &self.listener
    }

    /// The listener, for threads.
    pub fn into_inner(self) -> Listener {
        self.listener
    }

    /// Accepts no more sockets and waits until all connections have come to their own end:
    /// [`Listener::drain`] without a limit. An executor's timeout sets one.
    pub async fn drain(&self) {
        self.listener.stop_accepting();
        until_empty(self.listener.book()).await;
    }

    /// Accepts no more sockets and cuts off all connections, as [`Listener::shutdown`] does.
    pub async fn shutdown(&self) {
        until_finished(&self.listener.cut_all()).await;
    }
}

impl Items for AsyncListener {
    type Item = Result<AsyncConn, AcceptError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.has_failed {
            return Poll::Ready(None);
        }
        this.listener.poll_accept(cx).map(|next| match next {
            Err(AcceptError::Closed) => None,
            Err(error) => {
                this.has_failed = true;
                Some(Err(error))
            }
            Ok(conn) => Some(Ok(AsyncConn(conn))),
        })
    }
}

/// A running [`Relay`](crate::Relay) or [`Server`](crate::Server), for tasks. Dropping it cuts its
/// connections off, as dropping the handle does.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use watm_wasmer::{AsyncRelay, Relay, TransportModule};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let relay = Relay::builder(&module).remote("192.0.2.1:443").bind("127.0.0.1:0")?;
/// let relay = AsyncRelay::from(relay.spawn()?);
/// println!("relaying from {}", relay.local_addr());
/// # let signal = async {};
/// tokio::select! {
///     // Its socket has failed.
///     end = relay.wait() => end?,
///     // The operator wants to end.
///     () = signal => {
///         let _ = tokio::time::timeout(Duration::from_secs(5), relay.drain()).await;
///         relay.shutdown().await;
///     }
/// }
/// assert_eq!(relay.stats().active, 0);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct AsyncRelay(ServerHandle);

impl From<ServerHandle> for AsyncRelay {
    fn from(handle: ServerHandle) -> Self {
        Self(handle)
    }
}

impl AsyncRelay {
    /// Waits until it accepts no more connections: [`ServerHandle::wait`] for a task.
    ///
    /// # Errors
    ///
    /// As [`ServerHandle::wait`].
    pub async fn wait(&self) -> io::Result<()> {
        let book = self.0.book();
        until(&book.tasks, || book.closed()).await
    }

    /// Stops listening and waits until all connections have ended by themselves:
    /// [`ServerHandle::drain`] without a limit. An executor's timeout sets one.
    pub async fn drain(&self) {
        self.0.stop_accepting();
        until_empty(self.0.book()).await;
    }

    /// Stops listening and cuts off all connections: [`ServerHandle::shutdown`] for a task.
    pub async fn shutdown(&self) {
        until_finished(&self.0.cut_all()).await;
    }

    /// The address listened on; the first, if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// What has happened so far: [`ServerHandle::stats`].
    pub fn stats(&self) -> ServerStats {
        self.0.stats()
    }

    /// The open connections: [`ServerHandle::connections`].
    pub fn connections(&self) -> Vec<OpenConnection> {
        self.0.connections()
    }

    /// The handle, for what else it can do. Its blocking calls would stop the executor's thread.
    pub fn get_ref(&self) -> &ServerHandle {
        &self.0
    }
}

/// Waits until all connections that were dropped have delivered what was written to them and have
/// ended: [`drain`](crate::drain) for a task, without a limit. An executor's timeout sets one.
///
/// ```no_run
/// # #[cfg(feature = "tokio")]
/// # async fn example() {
/// use std::time::Duration;
///
/// let limit = Duration::from_secs(5);
/// if tokio::time::timeout(limit, watm_wasmer::async_drain()).await.is_err() {
///     eprintln!("some connections could not deliver what was written to them");
/// }
/// # }
/// ```
pub async fn async_drain() {
    for link in dropped::under_way() {
        if let Some(link) = link.upgrade() {
            until_finished(&[link]).await;
        }
    }
}

impl Carried {
    /// Waits until the transport has ended and all that it wrote is delivered to both sides:
    /// [`Carried::wait`] for a task.
    ///
    /// # Errors
    ///
    /// How the transport failed.
    pub async fn ended(&self) -> Result<Outcome, TransportError> {
        until_ended(self.link()).await
    }
}
