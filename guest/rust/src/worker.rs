//! The worker: both directions of a connection in turns, until both have ended.
//!
//! It sleeps in one poll, and works on what the poll reports. Must never know what is behind the
//! sides: `raw/carry.rs` runs it on descriptors, `testing` on pipes, the tests on a script.

use crate::codec::Codec;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::transport::Transport;

/// One of the two ends of a connection, as the module sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Internal,
    Network,
}

/// What is wanted of a side, or possible there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// The same for both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interests {
    pub(crate) internal: Interest,
    pub(crate) network: Interest,
}

impl Interests {
    pub(crate) fn of(&self, side: Side) -> Interest {
        match side {
            Side::Internal => self.internal,
            Side::Network => self.network,
        }
    }

    pub(crate) fn of_mut(&mut self, side: Side) -> &mut Interest {
        match side {
            Side::Internal => &mut self.internal,
            Side::Network => &mut self.network,
        }
    }
}

/// Why a poll has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The host asks for the end.
    pub(crate) cancelled: bool,
    pub(crate) sides: Interests,
}

/// What the worker needs. All is non-blocking but the poll: `AGAIN` says that it would block.
pub(crate) trait Host {
    /// Waits for what is wanted, and for control.
    fn poll(&mut self, wanted: Interests) -> Result<Ready>;
    /// Reads some bytes; none only at the end of the stream.
    fn read(&mut self, side: Side, buffer: &mut [u8]) -> Result<usize>;
    /// Writes some bytes.
    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize>;
    /// Ends the outgoing stream of a side.
    fn shutdown_write(&mut self, side: Side) -> Result<()>;
}

/// How much is moved and kept. See the constants of `Transport`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) read_size: usize,
    pub(crate) input: usize,
    pub(crate) output: usize,
}

impl Limits {
    pub(crate) const DEFAULT: Limits = Limits {
        read_size: 16 * 1024,
        input: 256 * 1024,
        output: 64 * 1024,
    };

    pub(crate) fn of<T: Transport>() -> Self {
        Limits {
            read_size: T::READ_SIZE,
            input: T::INPUT_LIMIT,
            output: T::OUTPUT_LIMIT,
        }
    }
}

/// Moves bytes until both directions have ended.
///
/// # Errors
///
/// `CANCELED` if the host asks for the end. Otherwise the error of a codec, of a read, of a poll or
/// of a write. What was read before a failed read or call of a codec is delivered first. If a write
/// has failed, the other direction ends first: the last words of a peer that no longer listens
/// arrive.
pub(crate) fn run<E: Codec, D: Codec>(
    host: &mut impl Host,
    session: Session<E, D>,
    limits: Limits,
) -> Result<()> {
    let Session {
        encoder,
        decoder,
        unread,
    } = session;
    let mut outgoing = Direction::new(Side::Internal, Side::Network, encoder, Vec::new(), limits);
    let mut incoming = Direction::new(Side::Network, Side::Internal, decoder, unread, limits);
    incoming.advance(host, Interests::default())?;
    loop {
        if outgoing.is_stranded() {
            incoming.stop(host)?;
        }
        if incoming.is_stranded() {
            outgoing.stop(host)?;
        }
        if let (Some(first), Some(second)) = (outgoing.result(), incoming.result()) {
            return first.and(second);
        }
        let mut wanted = Interests::default();
        outgoing.want(&mut wanted);
        incoming.want(&mut wanted);
        let ready = host.poll(wanted)?;
        if ready.cancelled {
            return Err(Error::CANCELED);
        }
        outgoing.advance(host, ready.sides)?;
        incoming.advance(host, ready.sides)?;
    }
}

#[cfg(test)]
mod tests;
