//! One descriptor: a side of the connection, or control.

use std::io;

use super::poll::{Event, Subscription, poll};
use super::sys;
use crate::error::Result;
use crate::stream::Io;

/// A descriptor that the host has given to the module.
///
/// It starts blocking. Reads and writes move some bytes, not all: see [`Read`](io::Read) and
/// [`Write`](io::Write), which it implements, for more.
///
/// Dropping it does not close it. The host closes what is left when the instance ends, and it
/// resets the peer if the worker has failed. To close the network on the way to an error would make
/// the failure look like an end to the peer. [`close`](Self::close) is for connections that are
/// over.
///
/// ```
/// use std::io::Write;
/// use watm_guest::raw::{Descriptor, Shutdown};
/// use watm_guest::Result;
///
/// /// Says a last word on a connection that the module gives up.
/// fn farewell(number: i32) -> Result<()> {
///     let mut descriptor = Descriptor::from_raw(number);
///     descriptor.write_all(b"busy\n")?;
///     descriptor.shutdown(Shutdown::Write)?;
///     descriptor.close()
/// }
/// # assert_eq!(farewell(3), Err(watm_guest::Error::NOSYS));
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Descriptor(i32);

/// Which direction of a stream ends: see [`Descriptor::shutdown`].
///
/// ```
/// use watm_guest::raw::{Descriptor, Shutdown};
/// use watm_guest::{Error, Result};
///
/// /// Passes on the end of a stream. A stream that is over anyway needs no end.
/// fn end(descriptor: &Descriptor) -> Result<()> {
///     match descriptor.shutdown(Shutdown::Write) {
///         Err(Error::NOTCONN) => Ok(()),
///         result => result,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shutdown {
    /// The incoming one.
    Read = 1,
    /// The outgoing one: the peer reads all bytes, and then the end of the stream.
    Write = 2,
    /// Both.
    Both = 3,
}

impl Descriptor {
    /// The descriptor with this number, as the host passes it to an export.
    pub const fn from_raw(number: i32) -> Self {
        Descriptor(number)
    }

    /// Its number.
    pub const fn as_raw(&self) -> i32 {
        self.0
    }

    /// Reads some bytes; none only at the end of the stream, or if `buffer` is empty.
    ///
    /// # Errors
    ///
    /// [`AGAIN`](crate::Error::AGAIN) if it is non-blocking and there is nothing, or that of the
    /// stream, such as [`CONNRESET`](crate::Error::CONNRESET).
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        sys::fd_read(self.0, buffer)
    }

    /// Writes some bytes, and returns how many.
    ///
    /// # Errors
    ///
    /// [`AGAIN`](crate::Error::AGAIN) if it is non-blocking and there is no room, or that of the
    /// stream, such as [`PIPE`](crate::Error::PIPE).
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        sys::fd_write(self.0, bytes)
    }

    /// Chooses whether reads and writes that would have to wait fail with
    /// [`AGAIN`](crate::Error::AGAIN) instead.
    ///
    /// # Errors
    ///
    /// [`BADF`](crate::Error::BADF) if the host does not know the number.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        const NONBLOCK: u16 = 4;
        sys::fd_fdstat_set_flags(self.0, if nonblocking { NONBLOCK } else { 0 })
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    ///
    /// [`NOTCONN`](crate::Error::NOTCONN) if the stream is over.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        sys::sock_shutdown(self.0, how as u8)
    }

    /// Closes it.
    ///
    /// # Errors
    ///
    /// [`BADF`](crate::Error::BADF) if the host does not know the number.
    pub fn close(self) -> Result<()> {
        sys::fd_close(self.0)
    }

    fn wait(&self, subscription: Subscription) -> Result<()> {
        let mut events = [Event::default()];
        poll(&[subscription], &mut events)?;
        events[0].error().map_or(Ok(()), Err)
    }
}

impl io::Read for Descriptor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(Descriptor::read(self, buffer)?)
    }
}

impl io::Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(Descriptor::write(self, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Io for Descriptor {
    fn try_read(&self, buffer: &mut [u8]) -> Result<usize> {
        Descriptor::read(self, buffer)
    }

    fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        Descriptor::write(self, bytes)
    }

    fn wait_readable(&self) -> Result<()> {
        self.wait(Subscription::readable(self, 0))
    }

    fn wait_writable(&self) -> Result<()> {
        self.wait(Subscription::writable(self, 0))
    }
}

#[cfg(all(test, not(target_os = "wasi")))]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn outside_of_wasi_nothing_works_and_says_so() {
        let descriptor = Descriptor::from_raw(3);
        assert_eq!(descriptor.as_raw(), 3);
        assert_eq!(descriptor.read(&mut [0]), Err(Error::NOSYS));
        assert_eq!(descriptor.write(&[0]), Err(Error::NOSYS));
        assert_eq!(descriptor.set_nonblocking(true), Err(Error::NOSYS));
        assert_eq!(descriptor.shutdown(Shutdown::Write), Err(Error::NOSYS));
        assert_eq!(descriptor.wait_readable(), Err(Error::NOSYS));
        assert_eq!(descriptor.wait_writable(), Err(Error::NOSYS));
        assert_eq!(descriptor.close(), Err(Error::NOSYS));
    }
}
