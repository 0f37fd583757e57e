//! Shadowsocks as a WebAssembly Transport Module: SIP004 and SIP007 (AEAD ciphers), and SIP022
//! (Shadowsocks 2022), over TCP.
//!
//! The README describes configuration and use. The floors, each of which knows only those below:
//!
//! - this file: the transport
//! - `listen`: what a listener demands of a peer; `dial`: what a dialer says first
//! - `encoder`, `decoder`: the streams, from their first byte on
//! - `config`
//! - `chunk`, `header`: what streams are made of; `head`: how their start is read; `replay`: salts
//! - `cipher`, `key`, `method`, `address`

#![deny(unsafe_code)]

/// Logs a line for the host; in tests, where refusals are the rule, it does not.
macro_rules! tell {
    ($($argument:tt)+) => {
        if cfg!(not(test)) {
            watm_guest::log!($($argument)+);
        }
    };
}

mod address;
mod chunk;
mod cipher;
mod config;
mod decoder;
mod dial;
mod encoder;
mod head;
mod header;
mod key;
mod listen;
mod method;
mod replay;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use watm_guest::{Address, Error, Result, Stream, Transport};

use crate::config::Config;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::method::Edition;

/// The time, in seconds since 1970.
type Clock = fn() -> u64;

/// The transport.
pub(crate) struct Shadowsocks {
    config: Config,
    clock: Clock,
}

impl Transport for Shadowsocks {
    type Encoder = Encoder;
    type Decoder = Decoder;

    const READ_SIZE: usize = Edition::Aead.chunk_limit();

    fn new(config: Option<&[u8]>) -> Result<Self> {
        let config = Config::parse(config).map_err(|message| {
            tell!("{message}");
            Error::INVAL
        })?;
        Ok(Shadowsocks {
            config,
            clock: seconds,
        })
    }

    fn dial(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        dial::dial(&self.config, self.clock, stream)
    }

    fn accept(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        listen::accept(&self.config, self.clock, stream)
    }

    fn address(&self) -> Option<Address<'_>> {
        self.config.server.as_deref().map(Address::tcp)
    }
}

fn seconds() -> u64 {
    // A clock before 1970 is wrong, and refuses all.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

watm_guest::export!(Shadowsocks: dial, dial_fixed, accept, associate);
watm_guest::host_aead!();
