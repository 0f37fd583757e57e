//! Connections, also those that are being set up, and listeners as event sources of mio.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::roles::conn::Conn;
use crate::roles::listener::Listener;
use crate::roles::pending::Pending;

/// Implements [`Source`] with the descriptor of a value's readiness.
macro_rules! sources {
    ($($name:ident $(<$($of:ident),*>)?: $what:literal),*) => {$(
        #[doc = $what]
        impl $(<$($of),*>)? Source for $name $(<$($of),*>)? {
            fn register(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                let fd = self.signal()?.as_fd().as_raw_fd();
                registry.register(&mut SourceFd(&fd), token, interests)
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                let fd = self.signal()?.as_fd().as_raw_fd();
                registry.reregister(&mut SourceFd(&fd), token, interests)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                let fd = self.signal()?.as_fd().as_raw_fd();
                registry.deregister(&mut SourceFd(&fd))
            }
        }
    )*};
}

sources! {
    Conn: "The connection must not block: see [`Conn::set_nonblocking`]. As with a socket, an event \
           comes once; go on until [`io::ErrorKind::WouldBlock`].",
    Pending<T, E>: "It becomes readable when [`Pending::try_wait`] has a result.",
    Listener: "It is readable: call [`Listener::try_accept`] until it returns nothing."
}
