//! A transport module that encrypts, authenticates and pads a connection, by the Noise protocol.
//!
//! `README.md` describes the configuration, the wire format and what it defends against. The
//! cryptography is that of the crate `snow`.

#![deny(unsafe_code)]

mod config;
mod curve;
mod frames;
mod handshake;
mod padding;
mod random;
mod replay;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use snow::TransportState;
use watm_guest::{Address, Error, Output, Result, Stream, Transport};

use config::Config;
use frames::{Decoder, Encoder, Keys};
use handshake::Failure;
use replay::{Refusal, Replay};

struct Noise {
    config: Config,
}

impl Transport for Noise {
    type Encoder = Encoder;
    type Decoder = Decoder;

    /// What is read at once becomes whole frames. So with padding, the last of them is mostly
    /// zeros: a long read has few of these, and costs fewer calls of the host.
    const READ_SIZE: usize = 64 * 1024;

    fn new(config: Option<&[u8]>) -> Result<Self> {
        let parsed = match config {
            Some(bytes) => Config::parse(bytes),
            None => Err("there is no configuration: give a JSON file with --config".to_owned()),
        };
        let noise = match parsed {
            Ok(config) => Noise { config },
            Err(problem) => return Err(refuse(&problem)),
        };
        noise.check_directory()?;
        Ok(noise)
    }

    fn dial(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        let Config { keys, padding, .. } = &mut self.config;
        if keys.pattern.has_server_key() && keys.server_public.is_none() {
            return Err(refuse("to dial, \"server_public_key\" is needed"));
        }
        match handshake::dial(stream, keys, padding, replay::now()) {
            Ok(state) => Ok(self.codecs(state)),
            Err(Failure::Stream(error)) => {
                watm_guest::log!("the server has not answered: {error}");
                Err(error)
            }
            Err(Failure::Foreign | Failure::Refused(_)) => {
                watm_guest::log!(
                    "the answer is not that of the server: it has another key, or somebody is \
                     between"
                );
                Err(Error::PROTO)
            }
        }
    }

    fn accept(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        let Config { keys, replay, .. } = &self.config;
        if keys.pattern.has_server_key() && keys.server_private.is_none() {
            return Err(refuse("to listen, \"server_private_key\" is needed"));
        }
        let Some(replay) = replay else {
            return Err(refuse(
                "to listen, \"replay\" is needed: {\"directory\": \"/seen\"} with the option \
                 --dir HOST:/seen:rw, or \"off\" to answer repeated messages",
            ));
        };
        match handshake::accept(stream, keys, replay, replay::now) {
            Ok(state) => {
                let (mut encoder, decoder) = self.codecs(state);
                self.pad_answer(stream, &mut encoder)?;
                Ok((encoder, decoder))
            }
            Err(Failure::Stream(error)) => Err(error),
            Err(Failure::Foreign) => {
                watm_guest::log!("a peer without the key gets no answer");
                Err(stay_silent(stream))
            }
            Err(Failure::Refused(refusal)) => {
                log_refusal(&refusal);
                Err(stay_silent(stream))
            }
        }
    }

    fn address(&self) -> Option<Address<'_>> {
        self.config.server.as_deref().map(Address::tcp)
    }
}

impl Noise {
    fn codecs(&self, state: TransportState) -> (Encoder, Decoder) {
        let keys: Keys = Rc::new(RefCell::new(state));
        let encoder = Encoder::new(keys.clone(), self.config.padding.clone());
        (encoder, Decoder::new(keys))
    }

    /// The padding of the second message is a frame.
    fn pad_answer(&mut self, stream: &mut Stream, encoder: &mut Encoder) -> Result<()> {
        let minimum = handshake::SECOND + frames::OVERHEAD;
        let length = self.config.padding.handshake(minimum)?;
        let mut filling = Output::new();
        encoder.filling(length - handshake::SECOND, &mut filling)?;
        Ok(stream.write_all(filling.as_slice())?)
    }

    /// Says at the start that the directory is missing, and not only when somebody connects.
    fn check_directory(&self) -> Result<()> {
        match self.config.replay.as_ref().and_then(Replay::directory) {
            Some(directory) if !directory.is_dir() => {
                let path = directory.display();
                Err(refuse(&format!(
                    "the directory {path} of \"replay\" is not there: give one with the option \
                     --dir HOST:{path}:rw, or leave \"replay\" out to dial only"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Whoever gets no answer learns nothing from the end either: this reads on until the peer leaves,
/// or the host's time for the handshake is over.
fn stay_silent(stream: &mut Stream) -> Error {
    // A reset is an end too.
    let _ = io::copy(stream, &mut io::sink());
    Error::ACCES
}

fn refuse(problem: &str) -> Error {
    watm_guest::log!("{problem}");
    Error::INVAL
}

fn log_refusal(refusal: &Refusal) {
    match refusal {
        Refusal::Seen => {
            watm_guest::log!("a first message that was answered before gets no answer");
        }
        Refusal::Time(seconds) => watm_guest::log!(
            "a peer with the key gets no answer, since its clock differs by {seconds} seconds: \
             set the clocks, or its message is an old one"
        ),
        Refusal::Store(error) => watm_guest::log!(
            "nobody gets an answer, since the directory of \"replay\" cannot be written: {error}; \
             is it given with :rw, and not full?"
        ),
    }
}

watm_guest::export!(Noise: dial, dial_fixed, accept, associate);
