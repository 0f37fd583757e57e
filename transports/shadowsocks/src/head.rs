//! The first bytes that a listener reads, and what it does if they are not a client's.

use std::io::{BufRead, Read};

use watm_guest::{Error, Result, Stream};

/// Why a listener does not go on.
pub(crate) enum Refusal {
    /// The peer does not have the key, or repeats what somebody else has sent. It is told nothing.
    Silent(&'static str),
    /// Everything else.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Failed(error)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Refusal::Failed(error.into())
    }
}

/// Reads from the stream, and can give all back.
pub(crate) struct Head<'a> {
    stream: &'a mut Stream,
    read: Vec<u8>,
}

impl<'a> Head<'a> {
    pub(crate) fn new(stream: &'a mut Stream) -> Self {
        Head {
            stream,
            read: Vec::new(),
        }
    }

    /// Reads the next `length` bytes.
    pub(crate) fn read(&mut self, length: usize) -> Result<&[u8]> {
        let start = self.read.len();
        self.read.resize(start + length, 0);
        self.stream.read_exact(&mut self.read[start..])?;
        Ok(&self.read[start..])
    }

    /// Gives back all but the first `length` bytes: they are the decoder's first input.
    pub(crate) fn give_back_from(self, length: usize) {
        self.stream.unread(&self.read[length..]);
    }
}

/// Reads and drops until the peer ends its stream, or the host ends the handshake. So the time of
/// the end says nothing about how many bytes were read, and why they were refused.
pub(crate) fn stay_silent(stream: &mut Stream) {
    while let Ok(bytes) = stream.fill_buf() {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        stream.consume(length);
    }
}
