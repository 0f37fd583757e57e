//! What goes over the network: records, each with a header that says what is data in it.
//!
//! ```text
//! opening  version 2,            length of the padding 2 |        padding: zeros
//! record   length of the data 2, length of the padding 2 | data | padding: zeros
//! ```
//!
//! Each direction has one opening, and then records. The top bit of the first length marks the last
//! record.

use watm_guest::{Codec, Error, Output, Result};

use crate::header::Header;
use crate::padding::{Padding, Plan};

/// Padding that is something else was altered on its way, or hides something.
pub(crate) fn expect_zeros(bytes: &[u8]) -> Result<()> {
    if bytes.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    tell!("padding is not zeros: something on the way has altered the stream");
    Err(Error::PROTO)
}

/// What the application sends becomes records.
pub(crate) struct Encoder {
    padding: Padding,
}

impl Encoder {
    pub(crate) fn new(padding: Padding) -> Self {
        Encoder { padding }
    }

    /// What comes before all records.
    pub(crate) fn open(&mut self, output: &mut Output) -> Result<()> {
        let plan = self.padding.opening()?;
        Header::write_opening(plan.padding, output)?;
        output.grow(plan.padding);
        Ok(())
    }
}

fn record(data: &[u8], plan: Plan, is_last: bool, output: &mut Output) -> Result<()> {
    let header = Header {
        data: data.len(),
        padding: plan.padding,
        is_last,
    };
    header.write(output)?;
    output.push(data);
    output.grow(plan.padding);
    Ok(())
}

impl Codec for Encoder {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let mut rest = input;
        while !rest.is_empty() && !output.is_full() {
            let plan = self.padding.next(rest.len())?;
            let (data, after) = rest.split_at(plan.data);
            record(data, plan, false, output)?;
            rest = after;
        }
        Ok(input.len() - rest.len())
    }

    fn finish(&mut self, rest: &[u8], output: &mut Output) -> Result<()> {
        let mut rest = rest;
        loop {
            let plan = self.padding.next(rest.len())?;
            let (data, after) = rest.split_at(plan.data);
            record(data, plan, after.is_empty(), output)?;
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }
}

/// Records become what the application reads. It keeps no bytes: data passes as it arrives.
pub(crate) struct Decoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Header,
    /// So much of the record is still to come.
    Body(Header),
    Ended,
}

impl Decoder {
    /// A decoder of a whole stream.
    pub(crate) fn new() -> Self {
        Decoder {
            state: State::Opening,
        }
    }

    /// A decoder of a stream whose opening has been read.
    pub(crate) fn after_opening() -> Self {
        Decoder {
            state: State::Header,
        }
    }

    fn enter(&mut self, left: Header) {
        self.state = match left {
            Header {
                data: 0,
                padding: 0,
                is_last: true,
            } => State::Ended,
            Header {
                data: 0,
                padding: 0,
                is_last: false,
            } => State::Header,
            _ => State::Body(left),
        };
    }

    fn body(&mut self, mut left: Header, input: &[u8], output: &mut Output) -> Result<usize> {
        let taken = if left.data > 0 {
            let taken = input.len().min(left.data);
            output.push(&input[..taken]);
            left.data -= taken;
            taken
        } else {
            let taken = input.len().min(left.padding);
            expect_zeros(&input[..taken])?;
            left.padding -= taken;
            taken
        };
        self.enter(left);
        Ok(taken)
    }
}

impl Codec for Decoder {
    /// Takes a header, data or padding, so that all that comes before a broken one is delivered.
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let read = match self.state {
            State::Ended if input.is_empty() => return Ok(0),
            State::Ended => {
                tell!("bytes follow the last record: the peer did not send them");
                return Err(Error::PROTO);
            }
            State::Body(left) => return self.body(left, input, output),
            State::Opening => Header::opening,
            State::Header => Header::read,
        };
        let Some(&bytes) = input.first_chunk() else {
            return Ok(0);
        };
        self.enter(read(bytes)?);
        Ok(Header::LENGTH)
    }

    /// A stream that does not end with the last record was cut.
    fn finish(&mut self, rest: &[u8], _output: &mut Output) -> Result<()> {
        if self.state == State::Ended && rest.is_empty() {
            Ok(())
        } else {
            tell!("the stream was cut: it ends without its last record");
            Err(Error::PROTO)
        }
    }
}
