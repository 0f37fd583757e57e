//! A transport module that pads a connection and does nothing else. An encryption below it hides
//! what is padding.
//!
//! `README.md` describes the configuration, the wire format and what it is for. The floors, each of
//! which knows only those below:
//!
//! - this file: the transport, and how a connection begins
//! - `records`: the streams after that; `config`: what a user has written
//! - `padding`: how long records are
//! - `header`, `random`

#![deny(unsafe_code)]

/// Logs a line for the host; in tests, where refusals are the rule, it does not.
macro_rules! tell {
    ($($argument:tt)+) => {
        if cfg!(not(test)) {
            watm_guest::log!($($argument)+);
        }
    };
}

mod config;
mod header;
mod padding;
#[path = "../../noise/src/random.rs"]
mod random;
mod records;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};

use watm_guest::{Address, Error, Output, Result, Stream, Transport};

use config::Config;
use header::Header;
use records::{Decoder, Encoder};

struct Pad {
    config: Config,
}

impl Transport for Pad {
    type Encoder = Encoder;
    type Decoder = Decoder;

    /// What is read at once becomes whole records. So with a list of sizes, the last of them is
    /// mostly padding: a long read has few of these, and costs fewer calls of the host.
    const READ_SIZE: usize = 64 * 1024;

    fn new(config: Option<&[u8]>) -> Result<Self> {
        match Config::parse(config) {
            Ok(config) => Ok(Pad { config }),
            Err(problem) => {
                tell!("{problem}");
                Err(Error::INVAL)
            }
        }
    }

    /// Sends the opening, and does not wait for the peer's: the decoder expects it.
    fn dial(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        let encoder = self.open(stream)?;
        Ok((encoder, Decoder::new()))
    }

    /// Reads the peer's opening, all of it, before it sends its own: an encryption below has
    /// admitted the peer then, and two long openings cannot wait for each other.
    fn accept(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        read_opening(stream)?;
        let encoder = self.open(stream)?;
        Ok((encoder, Decoder::after_opening()))
    }

    fn address(&self) -> Option<Address<'_>> {
        self.config.server.as_deref().map(Address::tcp)
    }
}

impl Pad {
    fn open(&self, stream: &mut Stream) -> Result<Encoder> {
        let mut encoder = Encoder::new(self.config.padding.clone());
        let mut opening = Output::new();
        encoder.open(&mut opening)?;
        stream.write_all(opening.as_slice())?;
        Ok(encoder)
    }
}

fn read_opening(stream: &mut Stream) -> Result<()> {
    let mut header = [0; Header::LENGTH];
    stream.read_exact(&mut header)?;
    let mut left = Header::opening(header)?.padding;
    let mut buffer = [0; 1024];
    while left > 0 {
        let piece = &mut buffer[..left.min(1024)];
        stream.read_exact(piece)?;
        records::expect_zeros(piece)?;
        left -= piece.len();
    }
    Ok(())
}

watm_guest::export!(Pad: dial, dial_fixed, accept, associate);
