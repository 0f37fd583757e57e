//! Connections without a network: a dial hook that returns one end of a socket pair.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use watm_wasmer::{DialAttempt, DialHook, Stream};

/// The address to dial through [`SocketPairs`]. It must look like a real one.
pub const NOWHERE: &str = "nowhere.invalid:1";

/// Gives each dial the socket that was made just before it.
#[derive(Clone, Debug, Default)]
pub struct SocketPairs {
    next: Arc<Mutex<Option<UnixStream>>>,
}

impl SocketPairs {
    /// Makes a pair for the next dial, and returns the peer's end.
    ///
    /// # Errors
    ///
    /// Fails if the system has no more descriptors.
    pub fn make(&self) -> io::Result<UnixStream> {
        let (transport, peer) = UnixStream::pair()?;
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(transport);
        Ok(peer)
    }
}

impl DialHook for SocketPairs {
    fn dial(&self, _: &DialAttempt<'_>) -> io::Result<Stream> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.take()
            .map(Stream::from)
            .ok_or_else(|| io::Error::other("no socket pair was made for this dial"))
    }
}
