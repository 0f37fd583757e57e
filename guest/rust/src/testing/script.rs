//! One codec alone, with input in pieces.

use crate::codec::Codec;
use crate::direction::Direction;
use crate::error::{Error, Result};
use crate::worker::{Host, Interest, Interests, Limits, Ready, Side};

/// Runs a codec over `input`, which arrives in pieces of `piece` bytes, at least one, and then
/// ends. Returns what the codec has made of it.
///
/// ```
/// use watm_guest::{testing, Identity};
///
/// assert_eq!(testing::run(&mut Identity, b"abc", 1), Ok(b"abc".to_vec()));
/// ```
///
/// # Errors
///
/// That of the codec.
pub fn run(codec: &mut (impl Codec + ?Sized), input: &[u8], piece: usize) -> Result<Vec<u8>> {
    let limits = Limits {
        read_size: piece,
        ..Limits::DEFAULT
    };
    let codec = Borrowed(codec);
    let mut direction = Direction::new(Side::Internal, Side::Network, codec, Vec::new(), limits);
    let mut host = Whole {
        input,
        output: Vec::new(),
    };
    let both = Interest {
        read: true,
        write: true,
    };
    let ready = Interests {
        internal: both,
        network: both,
    };
    loop {
        direction.advance(&mut host, ready)?;
        if let Some(result) = direction.result() {
            return result.map(|()| host.output);
        }
    }
}

struct Borrowed<'a, C: ?Sized>(&'a mut C);

impl<C: Codec + ?Sized> Codec for Borrowed<'_, C> {
    fn transform(&mut self, input: &[u8], output: &mut crate::Output) -> Result<usize> {
        self.0.transform(input, output)
    }

    fn finish(&mut self, rest: &[u8], output: &mut crate::Output) -> Result<()> {
        self.0.finish(rest, output)
    }
}

/// Has all of the input at once, and takes all of the output.
struct Whole<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Host for Whole<'_> {
    fn poll(&mut self, _wanted: Interests) -> Result<Ready> {
        Err(Error::NOSYS)
    }

    fn read(&mut self, _side: Side, buffer: &mut [u8]) -> Result<usize> {
        let length = buffer.len().min(self.input.len());
        let (piece, rest) = self.input.split_at(length);
        buffer[..length].copy_from_slice(piece);
        self.input = rest;
        Ok(length)
    }

    fn write(&mut self, _side: Side, bytes: &[u8]) -> Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn shutdown_write(&mut self, _side: Side) -> Result<()> {
        Ok(())
    }
}
