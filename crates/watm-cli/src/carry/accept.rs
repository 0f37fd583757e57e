//! Accepts plain TCP connections until another thread closes the listener.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use watm_wasmer::ListenError;
use watm_wasmer::plain::{self, AcceptErrors};

use super::poll::{Interest, wait, wait_any};

/// A listener on one or more sockets.
pub(crate) struct PlainListener {
    listeners: Vec<TcpListener>,
    local: Vec<SocketAddr>,
    /// The index of the socket that was accepted from last.
    turn: usize,
    closed: UnixStream,
    errors: AcceptErrors,
}

/// Closes a [`PlainListener`] from another thread.
pub(crate) struct Closer(UnixStream);

impl PlainListener {
    /// Listens on all of the addresses, or on none.
    pub(crate) fn bind(addresses: &[impl AsRef<str>]) -> Result<(Self, Closer), ListenError> {
        let (mut listeners, mut local) = (Vec::new(), Vec::new());
        for address in addresses {
            let listener = plain::bind(address.as_ref())?;
            listener.set_nonblocking(true).map_err(ListenError::Host)?;
            local.push(listener.local_addr().map_err(ListenError::Host)?);
            listeners.push(listener);
        }
        let (closed, closer) = UnixStream::pair().map_err(ListenError::Host)?;
        let listener = Self {
            listeners,
            local,
            turn: 0,
            closed,
            errors: AcceptErrors::new(),
        };
        Ok((listener, Closer(closer)))
    }

    /// The addresses that it listens on.
    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Waits for the next connection. Returns `None` once the listener is closed.
    ///
    /// # Errors
    ///
    /// If a listening socket itself is broken. A connection that disappears before it is accepted
    /// is not an error, and neither is a temporary shortage of descriptors.
    pub(crate) fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        loop {
            let mut interests = vec![(self.closed.as_fd(), Interest::Readable)];
            let sockets = self.listeners.iter();
            interests.extend(sockets.map(|socket| (socket.as_fd(), Interest::Readable)));
            let ready = wait_any(&interests, None)?;
            let Some((false, ready)) = ready.split_first() else {
                return Ok(None);
            };
            let Some(listener) = self.next_of(ready) else {
                continue;
            };
            match listener.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                Err(error) => {
                    let pause = self.errors.pause(error)?;
                    let [closed] = wait([(self.closed.as_fd(), Interest::Readable)], Some(pause))?;
                    if closed {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Picks one of the ready sockets, each in turn.
    fn next_of(&mut self, ready: &[bool]) -> Option<&TcpListener> {
        let count = self.listeners.len();
        let next = (1..=count).map(|step| (self.turn + step) % count);
        self.turn = next.into_iter().find(|at| ready.get(*at) == Some(&true))?;
        self.listeners.get(self.turn)
    }
}

impl Closer {
    pub(crate) fn close(&self) {
        // This fails if the listener is already gone or closed.
        let _ = (&self.0).write_all(&[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    fn listen(addresses: &[&str]) -> (PlainListener, Vec<SocketAddr>, Closer) {
        let (listener, closer) = PlainListener::bind(addresses).expect("a listener");
        let bound = listener.local_addrs().to_vec();
        (listener, bound, closer)
    }

    #[test]
    fn accepting_ends_when_it_is_closed() {
        let (mut listener, bound, closer) = listen(&["127.0.0.1:0"]);
        let (sender, receiver) = bounded(1);
        let thread = std::thread::spawn(move || {
            for _ in 0..2 {
                let accepted = listener.accept().map(|stream| stream.is_some());
                let _ = sender.send(accepted.expect("no error"));
            }
        });
        let _client = TcpStream::connect(bound[0]).expect("a connection");
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(true));
        closer.close();
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(false));
        thread.join().expect("the thread ends");
    }

    #[test]
    fn several_sockets_are_accepted_from_in_turns() {
        let (mut listener, bound, _closer) = listen(&["127.0.0.1:0"; 3]);
        assert_eq!(bound.len(), 3);
        let clients: Vec<_> = [0, 0, 0, 1, 1, 2]
            .map(|at: usize| TcpStream::connect(bound[at]).expect("a connection"))
            .into_iter()
            .collect();
        let accepted: Vec<_> = clients
            .iter()
            .map(|_| listener.accept().expect("no error").expect("not closed"))
            .map(|stream| stream.local_addr().expect("an address"))
            .collect();
        let expected = [1, 2, 0, 1, 0, 0].map(|at: usize| bound[at]);
        assert_eq!(accepted, expected);
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_the_address() {
        let (_listener, bound, _closer) = listen(&["127.0.0.1:0"]);
        let address = bound[0].to_string();
        let error = PlainListener::bind(&["127.0.0.1:0", &address]).err();
        let error = error.expect("in use");
        assert!(error.to_string().contains(&address), "{error}");
    }
}
