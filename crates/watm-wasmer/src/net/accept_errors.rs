//! What an error of `accept` means for whoever goes on accepting.
//!
//! Knows errors alone, and no sockets.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How long accepting pauses when the system has no descriptor or memory for another connection.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a lasting shortage is logged.
const WARNING_EVERY: Duration = Duration::from_secs(10);

/// Tells errors that pass from those after which a listening socket is of no more use.
///
/// ```no_run
/// use watm_wasmer::plain::{self, AcceptErrors};
///
/// let listener = plain::bind(":8080")?;
/// let mut errors = AcceptErrors::new();
/// loop {
///     match listener.accept() {
///         Ok((client, _)) => drop(client),
///         Err(error) => std::thread::sleep(errors.pause(error)?),
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct AcceptErrors {
    warned: Option<Instant>,
}

impl AcceptErrors {
    /// No error yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how long to pause before the next `accept`: not at all if a connection disappeared
    /// before it was accepted, and 50 milliseconds if the system is short of descriptors or memory.
    /// A shortage is logged, at most every ten seconds.
    ///
    /// # Errors
    ///
    /// Returns the error itself if the listening socket is broken.
    pub fn pause(&mut self, error: io::Error) -> io::Result<Duration> {
        if is_passing(&error) {
            Ok(Duration::ZERO)
        } else if is_shortage(&error) {
            Ok(self.shortage(&error))
        } else {
            Err(error)
        }
    }

    /// Returns how long to pause in a shortage of any kind, which is logged.
    pub(crate) fn shortage(&mut self, error: &io::Error) -> Duration {
        let now = Instant::now();
        if self.warned.is_none_or(|when| now - when >= WARNING_EVERY) {
            self.warned = Some(now);
            log::warn!("accepting pauses for {PAUSE:?} at a time until this is over: {error}");
        }
        PAUSE
    }
}

/// Whether a connection disappeared before it was accepted. The next one is not affected.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::AGAIN
                | Errno::CONNABORTED
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::INTR
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::NOPROTOOPT
                | Errno::PERM
                | Errno::PROTO
        )
    )
}

/// Whether the system is short of descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_socket_ends_accepting() {
        let mut errors = AcceptErrors::new();
        let mut pause = |errno: Errno| errors.pause(errno.into());
        assert_eq!(pause(Errno::CONNABORTED).ok(), Some(Duration::ZERO));
        assert_eq!(pause(Errno::INTR).ok(), Some(Duration::ZERO));
        assert_eq!(pause(Errno::MFILE).ok(), Some(PAUSE));
        assert_eq!(pause(Errno::NOMEM).ok(), Some(PAUSE));
        let broken = pause(Errno::INVAL).expect_err("the socket is broken");
        assert_eq!(Errno::from_io_error(&broken), Some(Errno::INVAL));
    }

    #[test]
    fn a_lasting_shortage_is_logged_now_and_then() {
        let mut errors = AcceptErrors::new();
        errors.shortage(&io::ErrorKind::OutOfMemory.into());
        let warned = errors.warned.expect("a time");
        errors.shortage(&io::ErrorKind::OutOfMemory.into());
        assert_eq!(errors.warned, Some(warned));
        errors.warned = warned.checked_sub(WARNING_EVERY);
        errors.shortage(&io::ErrorKind::OutOfMemory.into());
        assert!(errors.warned.is_some_and(|again| again >= warned));
    }
}
