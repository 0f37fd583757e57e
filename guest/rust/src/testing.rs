//! Transports and codecs without WebAssembly, for the tests of an author.
//!
//! The handshakes and the worker are those of a module. Only what is behind the descriptors
//! differs: pipes in memory, or sockets of TCP. Each transport runs on a thread of its own. None of
//! this exists in a module.
//!
//! Two ends of a connection, each with its configuration:
//!
//! ```
//! use std::io::{Read, Write};
//! use watm_guest::testing;
//! # use watm_guest::{Codec, Identity, Result, Stream, Transport};
//! # struct Plain;
//! # impl Transport for Plain {
//! #     type Encoder = Identity;
//! #     type Decoder = Identity;
//! #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
//! #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
//! #         Ok((Identity, Identity))
//! #     }
//! #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
//! #         self.dial(stream)
//! #     }
//! # }
//!
//! let (mut dialer, mut listener) = testing::pair::<Plain>(None, None)?;
//! dialer.write_all(b"hello")?;
//! dialer.shutdown_write();
//! let mut request = Vec::new();
//! listener.read_to_end(&mut request)?;
//! assert_eq!(request, b"hello");
//! listener.join()?;
//! dialer.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One end, with the peer played by hand on the wire:
//!
//! ```
//! use std::io::{Read, Write};
//! use watm_guest::testing;
//! # use watm_guest::{Codec, Identity, Result, Stream, Transport};
//! # struct Plain;
//! # impl Transport for Plain {
//! #     type Encoder = Identity;
//! #     type Decoder = Identity;
//! #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
//! #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
//! #         Ok((Identity, Identity))
//! #     }
//! #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
//! #         self.dial(stream)
//! #     }
//! # }
//!
//! let (wire, mut peer) = testing::wire();
//! let mut conn = testing::dial::<Plain>(Some(b"key"), wire);
//! conn.write_all(b"hello")?;
//! let mut bytes = [0; 5];
//! peer.read_exact(&mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! peer.reset();
//! assert_eq!(conn.join(), Err(watm_guest::Error::CONNRESET));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod conn;
mod pipe;
mod script;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::error::{Error, Result};
use crate::session::Handshake;
use crate::transport::Transport;

pub use conn::Conn;
pub use script::run;
pub use wire::Wire;

/// Two connected ends, as the application sees them: one has dialled, the other has accepted.
///
/// # Errors
///
/// That of the configuration or handshake that has failed. If both have, that of the dialer, unless
/// it was reset.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
/// # use watm_guest::{Identity, Result, Stream, Transport};
/// # struct Plain;
/// # impl Transport for Plain {
/// #     type Encoder = Identity;
/// #     type Decoder = Identity;
/// #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
/// #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
/// #         Ok((Identity, Identity))
/// #     }
/// #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
/// #         self.dial(stream)
/// #     }
/// # }
///
/// let (mut dialer, mut listener) = testing::pair::<Plain>(Some(b"key"), Some(b"key"))?;
/// listener.write_all(b"welcome")?;
/// let mut greeting = [0; 7];
/// dialer.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"welcome");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair<T: Transport>(dialer: Option<&[u8]>, listener: Option<&[u8]>) -> Result<(Conn, Conn)> {
    connect::<T>(dialer, listener, wire())
}

/// As [`pair`], but the modules read and write at most `piece` bytes at once, at least one.
///
/// # Errors
///
/// As in [`pair`].
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
/// # use watm_guest::{Identity, Result, Stream, Transport};
/// # struct Plain;
/// # impl Transport for Plain {
/// #     type Encoder = Identity;
/// #     type Decoder = Identity;
/// #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
/// #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
/// #         Ok((Identity, Identity))
/// #     }
/// #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
/// #         self.dial(stream)
/// #     }
/// # }
///
/// // Whatever the pieces on the wire are, the application's bytes are the same.
/// for piece in [1, 3, 1000] {
///     let (mut dialer, mut listener) = testing::pair_in_pieces::<Plain>(None, None, piece)?;
///     dialer.write_all(b"hello")?;
///     dialer.shutdown_write();
///     let mut request = Vec::new();
///     listener.read_to_end(&mut request)?;
///     assert_eq!(request, b"hello");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair_in_pieces<T: Transport>(
    dialer: Option<&[u8]>,
    listener: Option<&[u8]>,
    piece: usize,
) -> Result<(Conn, Conn)> {
    connect::<T>(dialer, listener, wire_in_pieces(piece))
}

/// As [`pair`], but over a connection of TCP on this machine.
///
/// # Errors
///
/// As in [`pair`], or that of the system.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
/// # use watm_guest::{Identity, Result, Stream, Transport};
/// # struct Plain;
/// # impl Transport for Plain {
/// #     type Encoder = Identity;
/// #     type Decoder = Identity;
/// #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
/// #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
/// #         Ok((Identity, Identity))
/// #     }
/// #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
/// #         self.dial(stream)
/// #     }
/// # }
///
/// let (mut dialer, mut listener) = testing::over_tcp::<Plain>(None, None)?;
/// dialer.write_all(b"hello")?;
/// dialer.shutdown_write();
/// let mut request = Vec::new();
/// listener.read_to_end(&mut request)?;
/// assert_eq!(request, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn over_tcp<T: Transport>(
    dialer: Option<&[u8]>,
    listener: Option<&[u8]>,
) -> Result<(Conn, Conn)> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(server.local_addr()?)?;
    let (far, _) = server.accept()?;
    connect::<T>(
        dialer,
        listener,
        (Wire::over_tcp(near)?, Wire::over_tcp(far)?),
    )
}

/// A transport that dials, with `network` as its connection. It does not wait for the handshake:
/// see [`Conn::established`].
///
/// ```
/// use std::io::Read;
/// use watm_guest::testing;
/// # use watm_guest::{Identity, Result, Stream, Transport};
/// # struct Plain;
/// # impl Transport for Plain {
/// #     type Encoder = Identity;
/// #     type Decoder = Identity;
/// #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
/// #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
/// #         Ok((Identity, Identity))
/// #     }
/// #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
/// #         self.dial(stream)
/// #     }
/// # }
///
/// // A peer that leaves without a word.
/// let (wire, peer) = testing::wire();
/// let mut conn = testing::dial::<Plain>(None, wire);
/// conn.established()?;
/// drop(peer);
/// let mut answer = Vec::new();
/// conn.read_to_end(&mut answer)?;
/// assert!(answer.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dial<T: Transport>(config: Option<&[u8]>, network: Wire) -> Conn {
    Conn::start::<T>(config, Handshake::Dial, network)
}

/// A transport that accepts, with `network` as its connection. It does not wait for the handshake:
/// see [`Conn::established`].
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
/// # use watm_guest::{Identity, Result, Stream, Transport};
/// # struct Plain;
/// # impl Transport for Plain {
/// #     type Encoder = Identity;
/// #     type Decoder = Identity;
/// #     fn new(_: Option<&[u8]>) -> Result<Self> { Ok(Plain) }
/// #     fn dial(&mut self, _: &mut Stream) -> Result<(Identity, Identity)> {
/// #         Ok((Identity, Identity))
/// #     }
/// #     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
/// #         self.dial(stream)
/// #     }
/// # }
///
/// let (wire, mut client) = testing::wire();
/// let mut conn = testing::accept::<Plain>(None, wire);
/// client.write_all(b"GET /")?;
/// let mut request = [0; 5];
/// conn.read_exact(&mut request)?;
/// assert_eq!(&request, b"GET /");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn accept<T: Transport>(config: Option<&[u8]>, network: Wire) -> Conn {
    Conn::start::<T>(config, Handshake::Accept, network)
}

/// Two ends of a connection in memory. Each direction holds up to 64 KiB.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
///
/// let (mut near, mut far) = testing::wire();
/// near.write_all(b"hello")?;
/// let mut bytes = [0; 5];
/// far.read_exact(&mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wire() -> (Wire, Wire) {
    wire_in_pieces(usize::MAX)
}

/// As [`wire`], but no read or write moves more than `piece` bytes, at least one.
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::testing;
///
/// let (mut near, mut far) = testing::wire_in_pieces(2);
/// assert_eq!(near.write(b"hello")?, 2);
/// assert_eq!(far.read(&mut [0; 5])?, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wire_in_pieces(piece: usize) -> (Wire, Wire) {
    const CAPACITY: usize = 64 * 1024;
    Wire::pair(CAPACITY, CAPACITY, piece)
}

fn connect<T: Transport>(
    dialer: Option<&[u8]>,
    listener: Option<&[u8]>,
    (near, far): (Wire, Wire),
) -> Result<(Conn, Conn)> {
    let mut dialer = dial::<T>(dialer, near);
    let mut listener = accept::<T>(listener, far);
    match (dialer.established(), listener.established()) {
        // The cause is what has made the listener reset.
        (Err(Error::CONNRESET), Err(cause)) => Err(cause),
        (first, second) => first.and(second).map(|()| (dialer, listener)),
    }
}
