//! Chains: the network below one module is another module.
//!
//! Two sockets of the loopback interface join both, and each module has a thread and a connection
//! like any other. So ends and failures pass from one to the next as they do on a network: an end
//! after everything that came before, and a failure as a reset.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::channel::sync::{Mutex, lock};
use crate::error::{AcceptError, DialError, SetupError};
use crate::net::address::Address;
use crate::net::connect::{DialAttempt, DialHook};
use crate::net::stream::Stream;
use crate::roles::carried::Carried;
use crate::roles::dialer::{DialOptions, Dialer};
use crate::roles::listener::Acceptor;
use crate::roles::pending::Pending;

/// The time in which a connection of the loopback interface is there, unless something is wrong.
const SOON: Duration = Duration::from_secs(5);

/// Two TCP sockets that are connected to each other, over the loopback interface.
///
/// It joins what expects a socket on either side, such as the modules of a chain: see
/// [`Dialer`]'s implementation of [`DialHook`]. Unlike a pair of Unix sockets, it tells the end of a
/// stream from a failure.
///
/// # Errors
///
/// Those of the system: there are no descriptors or ports left, or there is no loopback interface.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_wasmer::{Dialer, Listener, TransportModule, pair};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let module = TransportModule::from_file(file)?;
/// let listener = Listener::builder(&module).bind("127.0.0.1:0")?;
/// let dialer = Dialer::builder(&module).build()?;
///
/// // A library that wants a socket gets one that leads through the transport.
/// let (mut socket, plain) = pair()?;
/// let carried = dialer.carry(plain, listener.local_addr())?;
/// socket.write_all(b"hello")?;
/// let mut request = [0; 5];
/// listener.accept()?.read_exact(&mut request)?;
/// assert_eq!(&request, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let ours = near.local_addr()?;
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + SOON;
    loop {
        match listener.accept() {
            Ok((far, peer)) if peer == ours => {
                far.set_nonblocking(false)?;
                return Ok((near, far));
            }
            // Another program was quicker. It gets nothing.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Makes the outgoing connections of another dialer through this one's module: a chain.
///
/// Bytes that are written go through the module of the outer dialer first. This dialer's module
/// gets what that makes of them, and is the one next to the network.
///
/// An address that the outer module chose is resolved here and passes its policy; one that the
/// application chose is passed on as it is.
///
/// ```no_run
/// use watm_wasmer::{Dialer, TransportModule};
///
/// let padding = TransportModule::from_file("padding.wasm")?;
/// let encryption = TransportModule::from_file("encryption.wasm")?;
/// // The wire carries what `encryption` makes of what `padding` makes of the bytes.
/// let below = Dialer::builder(&encryption).config(*b"key").build()?;
/// let dialer = Dialer::builder(&padding).dial_hook(below).build()?;
/// let conn = dialer.dial("192.0.2.1:443")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl DialHook for Dialer {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        attempt.pass_on(|target| self.dial_below(attempt, target))
    }
}

impl Dialer {
    fn dial_below(&self, attempt: &DialAttempt<'_>, target: &Address) -> io::Result<Stream> {
        let (near, far) = pair()?;
        let left = attempt.deadline().saturating_duration_since(Instant::now());
        let options = DialOptions::new().network(attempt.network()).timeout(left);
        let carried: Result<Carried, DialError> =
            attempt.wait_for(pin!(self.begin_carrying(far, target, options)))?;
        let carried = carried?;
        let stream = Stream::from(near);
        Ok(stream.with_addrs(carried.local_addr().ok(), carried.peer_addr().ok()))
    }
}

impl Acceptor {
    /// Begins to run the module over an accepted socket, and returns a socket that brings what it
    /// unwraps: the network side of the next module of a chain. The addresses are those of the
    /// accepted socket.
    ///
    /// If the handshake fails, the socket is reset.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use watm_wasmer::{Listener, TransportModule};
    ///
    /// let padding = TransportModule::from_file("padding.wasm")?;
    /// let encryption = TransportModule::from_file("encryption.wasm")?;
    /// let below = Listener::builder(&encryption).config(*b"key").acceptor()?;
    /// let acceptor = Listener::builder(&padding).acceptor()?;
    /// let (client, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
    /// let conn = acceptor.accept(below.unwrap_below(client)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcceptError::Host`] if there are no sockets or threads left.
    pub fn unwrap_below(&self, stream: impl Into<Stream>) -> Result<Stream, AcceptError> {
        Ok(self.unwrap_set_up(stream.into())?)
    }

    pub(super) fn unwrap_set_up(&self, stream: Stream) -> Result<Stream, SetupError> {
        let (local, peer) = (stream.local_addr(), stream.peer_addr());
        let (near, far) = pair().map_err(SetupError::Host)?;
        let pending: Pending<Carried, AcceptError> = self.begin_carrying(stream, far);
        pending.detach()?;
        Ok(Stream::from(near).with_addrs(local, peer))
    }
}

/// What is below the module of a role that accepts, if anything is. Connections that begin use what is
/// there then.
#[derive(Default)]
pub(super) struct Below(Mutex<Option<Acceptor>>);

impl Below {
    pub(super) fn new(acceptor: Option<Acceptor>) -> Self {
        Self(Mutex::new(acceptor))
    }

    pub(super) fn replace(&self, acceptor: Option<Acceptor>) {
        let before = std::mem::replace(&mut *lock(&self.0), acceptor);
        // It may be the last that holds it, and giving up a pool takes a moment.
        drop(before);
    }

    /// A connection that was accepted, as the module below hands it on.
    pub(super) fn unwrapped(&self, stream: Stream) -> Result<Stream, SetupError> {
        let below = lock(&self.0).clone();
        match below {
            Some(below) => below.unwrap_set_up(stream),
            None => Ok(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn both_ends_of_a_pair_belong_together() {
        let pairs: Vec<_> = (0..8).map(|_| pair().expect("a pair")).collect();
        for (i, (near, far)) in pairs.iter().enumerate() {
            (&mut &*near).write_all(&[i as u8]).expect("it writes");
            let mut byte = [0; 1];
            (&mut &*far).read_exact(&mut byte).expect("it reads");
            assert_eq!(byte, [i as u8]);
            assert_eq!(near.peer_addr().ok(), far.local_addr().ok());
        }
    }
}
