//! Waiting until one of a few descriptors is ready.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What a descriptor is waited for.
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
    Ok(polled.map(|polled| polled.revents != 0))
}

/// The same for as many descriptors as there are.
pub(crate) fn wait_any(
    interests: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = interests.iter().copied().map(polled).collect();
    poll(&mut polled, timeout)?;
    Ok(polled.iter().map(|polled| polled.revents != 0).collect())
}

fn polled((fd, interest): (BorrowedFd<'_>, Interest)) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_raw_fd(),
        events: match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
        },
        revents: 0,
    }
}

/// Has the system fill in which are ready. Their descriptors have to be open.
fn poll(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let milliseconds = match timeout {
        None => -1,
        // Rounded up, so that a caller that waits for a time does not spin at the end of it.
        Some(timeout) => {
            libc::c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
        }
    };
    let count = polled.len() as libc::nfds_t;
    // SAFETY: the pointer is to as many pollfds as the count says, which live in the caller.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), count, milliseconds) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
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
