//! Plain TCP connections: prepares them for copying, ends them and queries their state.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use watm_wasmer::plain::canonical;

use super::poll::{self, Interest};

/// The idle time after which the system probes a peer, so that vanished peers do not hold
/// connections forever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The name of a client in the log: its address, as IPv4 if it is mapped into IPv6.
pub(crate) fn client_name(peer: io::Result<SocketAddr>) -> String {
    match peer {
        Ok(peer) => format!("client {}", canonical(peer)),
        Err(_) => "a client".to_owned(),
    }
}

/// Prepares a connected socket for copying: blocking, without delaying small writes, and with
/// keep-alive. Unless the connection ends in order later, the peer is reset.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    reset_on_drop(stream);
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// Makes the socket reset its peer when it is closed, even if the process ends. The peer then
/// cannot mistake what it received for the whole.
pub(crate) fn reset_on_drop(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        log::debug!("a connection will be closed, not reset: {error}");
    }
}

/// Makes the socket end in order when it is closed.
pub(crate) fn end_on_drop(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(None) {
        log::debug!("a connection will be reset, not closed: {error}");
    }
}

/// Whether a write would block because the peer does not read.
pub(crate) fn is_full(stream: &TcpStream) -> bool {
    let ready = poll::wait([(stream.as_fd(), Interest::Writable)], Some(Duration::ZERO));
    matches!(ready, Ok([false]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_called_by_the_address_that_a_person_knows() {
        for (address, name) in [
            ("192.0.2.1:80", "client 192.0.2.1:80"),
            ("[::ffff:192.0.2.1]:80", "client 192.0.2.1:80"),
            ("[fe80::1%2]:80", "client [fe80::1%2]:80"),
        ] {
            assert_eq!(client_name(Ok(address.parse().expect("an address"))), name);
        }
        assert_eq!(
            client_name(Err(io::ErrorKind::NotConnected.into())),
            "a client"
        );
    }
}
