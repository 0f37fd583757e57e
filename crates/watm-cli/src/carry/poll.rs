//! Waits until one of several descriptors is ready.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

/// Waits until at least one of the descriptors is ready (or at its end, or broken), or until
/// `timeout` is over, and says which are. May return early with none.
pub(crate) fn wait<const N: usize>(
    interests: [(BorrowedFd<'_>, Interest); N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = interests.map(polled);
    poll(&mut polled, timeout)?;
    Ok(polled.map(|polled| !polled.revents().is_empty()))
}

/// Like [`wait`], for any number of descriptors.
pub(crate) fn wait_any(
    interests: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = interests.iter().copied().map(polled).collect();
    poll(&mut polled, timeout)?;
    Ok(polled
        .iter()
        .map(|polled| !polled.revents().is_empty())
        .collect())
}

/// Waits for one descriptor until `deadline`. Returns whether it is ready.
pub(crate) fn wait_until(
    fd: BorrowedFd<'_>,
    interest: Interest,
    deadline: Instant,
) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let [ready] = wait([(fd, interest)], Some(left))?;
        if ready || left.is_zero() {
            return Ok(ready);
        }
    }
}

fn polled((fd, interest): (BorrowedFd<'_>, Interest)) -> PollFd<'_> {
    let events = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    };
    PollFd::from_borrowed_fd(fd, events)
}

/// Has the system fill in which descriptors are ready.
fn poll(polled: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    // A timeout that the system cannot represent means no timeout.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match rustix::event::poll(polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_ready_descriptor_is_named() {
        let (left, mut right) = UnixStream::pair().expect("a pair");
        let (quiet, _other) = UnixStream::pair().expect("a pair");
        let both = || {
            [
                (quiet.as_fd(), Interest::Readable),
                (left.as_fd(), Interest::Readable),
            ]
        };
        let none = wait(both(), Some(Duration::from_millis(1))).expect("a poll");
        assert_eq!(none, [false, false]);
        right.write_all(b"x").expect("a write");
        assert_eq!(wait(both(), None).expect("a poll"), [false, true]);
        let writable = wait([(left.as_fd(), Interest::Writable)], None).expect("a poll");
        assert_eq!(writable, [true]);
    }
}
