//! What follows the handshake: frames, each of two messages of Noise.
//!
//! ```text
//! header  length of the data 2, length of the padding 2 | tag 16
//! body    data, zeros | tag 16
//! ```
//!
//! All but the tags is encrypted, so that no length is in clear. The top bit of the first length
//! marks the last frame. Each direction makes a new key after [`REKEY`] frames.

use std::cell::RefCell;
use std::rc::Rc;

use snow::TransportState;
use watm_guest::{Codec, Error, Output, Result};

use crate::handshake::TAG;
use crate::padding::Padding;

const FIELDS: usize = 4;
const HEADER: usize = FIELDS + TAG;

/// Maximum bytes of data and padding in a frame.
const BODY: usize = 16 * 1024;

/// What a frame costs without padding.
pub(crate) const OVERHEAD: usize = HEADER + TAG;

/// The longest frame on the wire.
pub(crate) const LONGEST: usize = OVERHEAD + BODY;

/// In the first length: no frame follows.
const LAST: u16 = 1 << 15;

/// Frames between two keys: 64 MiB of data at most.
const REKEY: u64 = 4096;

/// Frames that a direction may have. Noise has 2^64 numbers for two messages each; nobody sends as
/// many.
const FRAMES: u64 = 1 << 62;

/// The keys of a connection, which both directions have a part of.
pub(crate) type Keys = Rc<RefCell<TransportState>>;

/// Counts the frames of one direction.
struct Counter(u64);

impl Counter {
    /// Counts a frame. Returns whether a new key follows it.
    fn count(&mut self) -> Result<bool> {
        if self.0 >= FRAMES {
            watm_guest::log!("the keys have served as many frames as they may: connect again");
            return Err(Error::OVERFLOW);
        }
        self.0 += 1;
        Ok(self.0.is_multiple_of(REKEY))
    }
}

/// What the application sends becomes frames.
pub(crate) struct Encoder {
    keys: Keys,
    padding: Padding,
    counter: Counter,
    /// Data and zeros, if there is padding.
    body: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(keys: Keys, padding: Padding) -> Self {
        Encoder {
            keys,
            padding,
            counter: Counter(0),
            body: Vec::new(),
        }
    }

    /// A frame without data, of `length` bytes.
    pub(crate) fn filling(&mut self, length: usize, output: &mut Output) -> Result<()> {
        self.frame(&[], length.saturating_sub(OVERHEAD), 0, output)
    }

    fn frame(&mut self, data: &[u8], zeros: usize, last: u16, output: &mut Output) -> Result<()> {
        let renew = self.counter.count()?;
        let mut fields = [0; FIELDS];
        fields[..2].copy_from_slice(&(length(data.len())? | last).to_be_bytes());
        fields[2..].copy_from_slice(&length(zeros)?.to_be_bytes());
        let body = if zeros == 0 {
            data
        } else {
            self.body.clear();
            self.body.extend_from_slice(data);
            self.body.resize(data.len() + zeros, 0);
            &self.body
        };
        let (header, rest) = output.grow(OVERHEAD + body.len()).split_at_mut(HEADER);
        let mut keys = self.keys.borrow_mut();
        keys.write_message(&fields, header).map_err(exhausted)?;
        keys.write_message(body, rest).map_err(exhausted)?;
        if renew {
            keys.rekey_outgoing();
        }
        Ok(())
    }

    /// How many of `available` bytes go into the next frame, and how many zeros follow them.
    fn split(&mut self, available: usize) -> Result<(usize, usize)> {
        Ok(match self.padding.frame()? {
            None => (available.min(BODY), 0),
            Some(length) => {
                let body = length.saturating_sub(OVERHEAD);
                let data = available.min(body);
                (data, body - data)
            }
        })
    }
}

impl Codec for Encoder {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let mut taken = 0;
        while taken < input.len() && !output.is_full() {
            let (data, zeros) = self.split(input.len() - taken)?;
            self.frame(&input[taken..taken + data], zeros, 0, output)?;
            taken += data;
        }
        Ok(taken)
    }

    fn finish(&mut self, rest: &[u8], output: &mut Output) -> Result<()> {
        let mut rest = rest;
        loop {
            let (data, zeros) = self.split(rest.len())?;
            let last = if data == rest.len() { LAST } else { 0 };
            self.frame(&rest[..data], zeros, last, output)?;
            rest = &rest[data..];
            if last == LAST {
                return Ok(());
            }
        }
    }
}

/// For tests of what happens after more frames than they can send.
#[cfg(test)]
impl Encoder {
    pub(crate) fn count_from(&mut self, frames: u64) {
        self.counter = Counter(frames);
    }
}

#[cfg(test)]
impl Decoder {
    pub(crate) fn set_nonce(&mut self, nonce: u64) {
        self.keys.borrow_mut().set_receiving_nonce(nonce);
    }
}

/// Frames become what the application reads.
pub(crate) struct Decoder {
    keys: Keys,
    counter: Counter,
    state: State,
    /// Data and zeros, if there is padding.
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Body {
        data: usize,
        zeros: usize,
        is_last: bool,
        renew: bool,
    },
    Ended,
}

impl Decoder {
    pub(crate) fn new(keys: Keys) -> Self {
        Decoder {
            keys,
            counter: Counter(0),
            state: State::Header,
            body: Vec::new(),
        }
    }

    fn header(&mut self, message: &[u8]) -> Result<()> {
        let renew = self.counter.count()?;
        let mut fields = [0; FIELDS];
        let mut keys = self.keys.borrow_mut();
        keys.read_message(message, &mut fields).map_err(altered)?;
        let [high, low, zeros @ ..] = fields;
        let first = u16::from_be_bytes([high, low]);
        let data = usize::from(first & !LAST);
        let zeros = usize::from(u16::from_be_bytes(zeros));
        if data + zeros > BODY {
            return Err(Error::PROTO);
        }
        let is_last = first & LAST != 0;
        self.state = State::Body {
            data,
            zeros,
            is_last,
            renew,
        };
        Ok(())
    }

    /// Reads the message of a body with `data` bytes, which go to `output`.
    fn body(&mut self, message: &[u8], data: usize, output: &mut Output) -> Result<()> {
        let mut keys = self.keys.borrow_mut();
        let length = message.len() - TAG;
        if length == data {
            let body = output.grow(data);
            keys.read_message(message, body).map_err(altered)?;
        } else {
            self.body.resize(length.max(self.body.len()), 0);
            keys.read_message(message, &mut self.body)
                .map_err(altered)?;
            output.push(&self.body[..data]);
        }
        Ok(())
    }
}

impl Codec for Decoder {
    /// Takes a header or a body, so that all that comes before a broken one is delivered.
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        match self.state {
            State::Ended if input.is_empty() => Ok(0),
            State::Ended => Err(Error::PROTO),
            State::Header => {
                let Some(message) = input.get(..HEADER) else {
                    return Ok(0);
                };
                self.header(message)?;
                Ok(HEADER)
            }
            State::Body {
                data,
                zeros,
                is_last,
                renew,
            } => {
                let length = data + zeros + TAG;
                let Some(message) = input.get(..length) else {
                    return Ok(0);
                };
                self.body(message, data, output)?;
                if renew {
                    self.keys.borrow_mut().rekey_incoming();
                }
                self.state = if is_last { State::Ended } else { State::Header };
                Ok(length)
            }
        }
    }

    /// A stream that does not end with the last frame was cut.
    fn finish(&mut self, rest: &[u8], _output: &mut Output) -> Result<()> {
        if self.state == State::Ended && rest.is_empty() {
            Ok(())
        } else {
            watm_guest::log!("the stream was cut: it ends without its last frame");
            Err(Error::PROTO)
        }
    }
}

fn length(value: usize) -> Result<u16> {
    match u16::try_from(value) {
        Ok(length) if value <= BODY => Ok(length),
        _ => Err(Error::MSGSIZE),
    }
}

/// The lengths always fit: only the numbers of the messages can come to an end.
fn exhausted(error: snow::Error) -> Error {
    watm_guest::log!("the keys cannot encrypt any more: {error}");
    Error::OVERFLOW
}

fn altered(error: snow::Error) -> Error {
    match error {
        snow::Error::State(_) => exhausted(error),
        _ => {
            watm_guest::log!("a frame was altered on its way, or is of another connection");
            Error::PROTO
        }
    }
}
