//! One end of a connection, as whoever uses it holds it: a connection of the library or a socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use watm_wasmer::Conn;

pub(super) enum Side {
    Conn(Conn),
    Tcp(TcpStream),
    /// It was closed.
    Gone,
}

impl Side {
    /// Sets how long a read or a write waits.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Conn(conn) => {
                conn.set_read_timeout(Some(patience))?;
                conn.set_write_timeout(Some(patience))
            }
            Self::Tcp(socket) => {
                socket.set_read_timeout(Some(patience))?;
                socket.set_write_timeout(Some(patience))
            }
            Self::Gone => Ok(()),
        }
    }

    /// Sends the end of stream.
    pub(super) fn end_writing(&self) -> io::Result<()> {
        match self {
            Self::Conn(conn) => conn.shutdown(Shutdown::Write),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Gone => Ok(()),
        }
    }

    /// Ends with a reset in place of an end of stream.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Conn(conn) => conn.abort(),
            Self::Tcp(socket) => {
                // It is closed in any case.
                let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
                *self = Self::Gone;
            }
            Self::Gone => {}
        }
    }
}

impl Read for &Side {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Side::Conn(conn) => (&mut &*conn).read(buf),
            Side::Tcp(socket) => (&mut &*socket).read(buf),
            Side::Gone => Ok(0),
        }
    }
}

impl Write for &Side {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Side::Conn(conn) => (&mut &*conn).write(buf),
            Side::Tcp(socket) => (&mut &*socket).write(buf),
            Side::Gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an operation has only waited too long.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}
