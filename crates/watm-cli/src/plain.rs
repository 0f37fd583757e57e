//! The plain TCP side of what is carried: making such connections, and readying them.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use crate::poll::{self, Interest};

/// After this long without a byte, the system asks whether the peer is still there, so that
/// peers that vanished do not hold connections for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connects to `HOST:PORT` within `timeout`, over all addresses that the name stands for.
pub(crate) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let candidates: Vec<_> = address.to_socket_addrs()?.collect();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, candidate) in candidates.iter().enumerate() {
        // An address that never answers must not use up the time of those behind it.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(candidates.len() - tried).unwrap_or(1);
        if share.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(candidate, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Readies a connected socket for copying: blocking, without delay for small pieces, and with
/// keep-alive. Unless it ends in order later, its peer is reset.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    reset_on_drop(stream);
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// Makes the socket end with a reset when it is closed, also by the end of the process, so that its
/// peer does not take what it got for the whole.
pub(crate) fn reset_on_drop(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        log::debug!("a connection is closed, not reset: {error}");
    }
}

/// Makes the socket end in order when it is closed.
pub(crate) fn end_on_drop(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(None) {
        log::debug!("a connection is reset, not closed: {error}");
    }
}

/// Whether a write would have to wait, since the peer takes nothing.
pub(crate) fn is_full(stream: &TcpStream) -> bool {
    let ready = poll::wait([(stream.as_fd(), Interest::Writable)], Some(Duration::ZERO));
    matches!(ready, Ok([false]))
}

/// Bytes that the peer's system has not acknowledged; 0 where the system does not tell.
pub(crate) fn unacknowledged(stream: &TcpStream) -> usize {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd;

        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the request writes one int, which lives here.
        let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 {
            return usize::try_from(bytes).unwrap_or(0);
        }
    }
    let _ = stream;
    0
}
