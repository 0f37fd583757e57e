//! What an author implements: how a connection begins. What happens to its bytes then is a
//! `Codec`'s.

use crate::codec::Codec;
use crate::error::Result;
use crate::stream::Stream;
use crate::worker::Limits;

/// A transport: made from the configuration once, it begins a connection and makes its codecs.
///
/// [`export!`](crate::export) makes a module of the type. The host calls its functions in this
/// order, and an instance serves one connection:
///
/// 1. [`new`](Self::new), in `watm_init_v1`.
/// 2. [`dial`](Self::dial) or [`accept`](Self::accept), when the network connection stands, in the
///    function of the role. Both are blocking code on the network's stream. The host has a time
///    limit for it, and stops the instance when that is over.
/// 3. The codecs, in `watm_start_v1`, until both directions have ended.
///
/// | role | function | handshake |
/// | --- | --- | --- |
/// | dialer | `watm_dial_v1` | [`dial`](Self::dial) |
/// | fixed dialer | `watm_dial_fixed_v1` | [`dial`](Self::dial) |
/// | listener | `watm_accept_v1` | [`accept`](Self::accept) |
/// | relay | `watm_associate_v1` | [`dial`](Self::dial) |
///
/// A fixed dialer connects to [`address`](Self::address). A relay accepts a connection that is
/// plain, and runs the handshake on the one that it dials: to the remote that the host has, or else
/// to [`address`](Self::address).
///
/// ```
/// use std::io::{Read, Write};
/// use watm_guest::{Error, Identity, Result, Stream, Transport};
///
/// /// Both sides say hello; the rest passes through unchanged.
/// struct Hello;
///
/// impl Transport for Hello {
///     type Encoder = Identity;
///     type Decoder = Identity;
///
///     fn new(_config: Option<&[u8]>) -> Result<Self> {
///         Ok(Hello)
///     }
///
///     fn dial(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
///         stream.write_all(b"hello")?;
///         let mut answer = [0; 5];
///         stream.read_exact(&mut answer)?;
///         if &answer != b"hello" {
///             return Err(Error::PROTO);
///         }
///         Ok((Identity, Identity))
///     }
///
///     fn accept(&mut self, stream: &mut Stream) -> Result<(Identity, Identity)> {
///         self.dial(stream)
///     }
/// }
///
/// watm_guest::export!(Hello);
/// # watm_guest::testing::pair::<Hello>(None, None)?;
/// # Ok::<(), Error>(())
/// ```
pub trait Transport: Sized + 'static {
    /// What happens to the bytes that the application sends, on their way to the network.
    ///
    /// `Box<dyn Codec>` leaves the choice to the handshake.
    type Encoder: Codec + 'static;

    /// What happens to the bytes from the network, on their way to the application.
    type Decoder: Codec + 'static;

    /// Bytes that one read asks for, at least 1. 16 KiB by default.
    ///
    /// A larger one costs memory in each connection, for both directions.
    const READ_SIZE: usize = Limits::DEFAULT.read_size;

    /// Maximum bytes of input that a codec may leave for later: the longest frame, with its header.
    /// 256 KiB by default.
    ///
    /// A codec that needs more before it goes on fails the connection with
    /// [`Error::MSGSIZE`](crate::Error::MSGSIZE). So a peer that announces an enormous frame cannot
    /// fill the memory.
    const INPUT_LIMIT: usize = Limits::DEFAULT.input;

    /// Bytes of output from which on a codec has to wait until they are written. 64 KiB by default.
    ///
    /// One call of a codec may exceed it. See [`Output::is_full`](crate::Output::is_full).
    const OUTPUT_LIMIT: usize = Limits::DEFAULT.output;

    /// Makes the transport of the configuration, which is `None` if the host gives none.
    ///
    /// # Errors
    ///
    /// [`Error::INVAL`](crate::Error::INVAL) is the one to return for a configuration that is
    /// missing or wrong. An error refuses all connections.
    fn new(config: Option<&[u8]>) -> Result<Self>;

    /// The handshake of the side that dials: of a dialer, a fixed dialer and a relay.
    ///
    /// Returns the codecs of the connection. What the handshake has written is sent when it
    /// returns. What it has not read from its buffer is the decoder's first input.
    ///
    /// # Errors
    ///
    /// Any: the connection has failed then. The error is what the host reports.
    fn dial(&mut self, stream: &mut Stream) -> Result<(Self::Encoder, Self::Decoder)>;

    /// The handshake of the side that accepts: of a listener.
    ///
    /// A transport that cannot accept returns [`Error::NOTSUP`](crate::Error::NOTSUP), and does not
    /// list the role in [`export!`](crate::export). All else is as in [`dial`](Self::dial).
    ///
    /// # Errors
    ///
    /// As in [`dial`](Self::dial).
    fn accept(&mut self, stream: &mut Stream) -> Result<(Self::Encoder, Self::Decoder)>;

    /// Where a fixed dialer connects to, and a relay whose remote the host leaves to the module.
    /// The default, `None`, is for transports that are neither.
    ///
    /// The host checks the address against its policy. A fixed dialer without an address fails with
    /// [`Error::DESTADDRREQ`](crate::Error::DESTADDRREQ).
    fn address(&self) -> Option<Address<'_>> {
        None
    }
}

/// Where a module connects to by its own choice.
///
/// ```
/// use watm_guest::Address;
///
/// let address = Address::tcp("server.example:443");
/// assert_eq!((address.network(), address.address()), ("tcp", "server.example:443"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    network: &'a str,
    address: &'a str,
}

impl<'a> Address<'a> {
    /// An address of a network: `tcp`, `tcp4` or `tcp6`, and others that the host may have.
    ///
    /// Hosts take 256 bytes of each at most.
    pub const fn new(network: &'a str, address: &'a str) -> Self {
        Address { network, address }
    }

    /// An address of TCP: `host:port`, or `[address]:port` for an address of IPv6.
    pub const fn tcp(address: &'a str) -> Self {
        Address::new("tcp", address)
    }

    /// The network, such as `tcp`.
    pub const fn network(&self) -> &'a str {
        self.network
    }

    /// The address, such as `192.0.2.1:443`.
    pub const fn address(&self) -> &'a str {
        self.address
    }
}
