//! Accepting plain TCP connections, until it is closed from another thread.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use watm_wasmer::ListenError;

use crate::poll::{Interest, wait};

/// How long accepting rests when the system has no descriptor or memory for a socket.
const REST: Duration = Duration::from_millis(50);
/// How often that is told, while it goes on.
const WARNING_EVERY: Duration = Duration::from_secs(10);

/// A listening socket.
pub(crate) struct PlainListener {
    listener: TcpListener,
    local: SocketAddr,
    closed: UnixStream,
    warned: Cell<Option<Instant>>,
}

/// Closes a [`PlainListener`], wherever it is.
pub(crate) struct Closer(UnixStream);

impl PlainListener {
    /// Listens on `HOST:PORT`.
    pub(crate) fn bind(address: &str) -> Result<(Self, Closer), ListenError> {
        let failed = |source| ListenError::Bind {
            address: address.to_owned(),
            source,
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(ListenError::Host)?;
        let local = listener.local_addr().map_err(ListenError::Host)?;
        let (closed, closer) = UnixStream::pair().map_err(ListenError::Host)?;
        let listener = Self {
            listener,
            local,
            closed,
            warned: Cell::new(None),
        };
        Ok((listener, Closer(closer)))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next connection; none once it is closed.
    ///
    /// # Errors
    ///
    /// If the listening socket itself is broken. A connection that went away before it was
    /// accepted is not an error, and neither is a shortage of descriptors, which passes.
    pub(crate) fn accept(&self) -> io::Result<Option<TcpStream>> {
        loop {
            let [closed, _] = wait(
                [
                    (self.closed.as_fd(), Interest::Readable),
                    (self.listener.as_fd(), Interest::Readable),
                ],
                None,
            )?;
            if closed {
                return Ok(None);
            }
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                Err(error) if is_passing(&error) => {}
                Err(error) if is_shortage(&error) => {
                    self.warn(&error);
                    let [closed] = wait([(self.closed.as_fd(), Interest::Readable)], Some(REST))?;
                    if closed {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn warn(&self, error: &io::Error) {
        let now = Instant::now();
        if self
            .warned
            .get()
            .is_none_or(|when| now - when >= WARNING_EVERY)
        {
            self.warned.set(Some(now));
            log::warn!("accepting rests, {REST:?} at a time, until this is over: {error}");
        }
    }
}

impl Closer {
    pub(crate) fn close(&self) {
        // Fails if the listener is gone already, or if it was told before.
        let _ = (&self.0).write_all(&[0]);
    }
}

/// Errors of a connection that went away before it was accepted; the next is not concerned.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    ) || matches!(
        error.raw_os_error(),
        Some(
            libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn accepting_ends_when_it_is_closed() {
        let (listener, closer) = PlainListener::bind("127.0.0.1:0").expect("a listener");
        let (sender, receiver) = bounded(1);
        let address = listener.local_addr();
        let thread = std::thread::spawn(move || {
            for _ in 0..2 {
                let accepted = listener.accept().map(|stream| stream.is_some());
                let _ = sender.send(accepted.expect("no error"));
            }
        });
        let limit = Duration::from_secs(20);
        let _client = TcpStream::connect(address).expect("a connection");
        assert_eq!(receiver.recv_timeout(limit), Ok(true));
        closer.close();
        assert_eq!(receiver.recv_timeout(limit), Ok(false));
        thread.join().expect("the thread ends");
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_the_address() {
        let (listener, _closer) = PlainListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().to_string();
        let error = PlainListener::bind(&address).err().expect("in use");
        assert!(error.to_string().contains(&address), "{error}");
    }
}
