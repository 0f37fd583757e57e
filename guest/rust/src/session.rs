//! How a connection begins, for modules and tests alike: the handshake, and what is left of it.

use std::io::Write;
use std::rc::Rc;

use crate::error::Result;
use crate::stream::{Io, Stream};
use crate::transport::Transport;

/// Which side of the handshake this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Dial,
    Accept,
}

/// A connection whose handshake has succeeded.
pub(crate) struct Session<E, D> {
    pub(crate) encoder: E,
    pub(crate) decoder: D,
    /// What the handshake has read ahead: the decoder's first input.
    pub(crate) unread: Vec<u8>,
}

/// Runs the handshake. What it has written is sent also if it fails: it may tell the peer why.
pub(crate) fn begin<T: Transport>(
    transport: &mut T,
    handshake: Handshake,
    network: Rc<dyn Io>,
) -> Result<Session<T::Encoder, T::Decoder>> {
    let mut stream = Stream::new(network);
    let result = match handshake {
        Handshake::Dial => transport.dial(&mut stream),
        Handshake::Accept => transport.accept(&mut stream),
    };
    let sent = stream.flush();
    let (encoder, decoder) = result?;
    sent?;
    Ok(Session {
        encoder,
        decoder,
        unread: stream.into_unread(),
    })
}
