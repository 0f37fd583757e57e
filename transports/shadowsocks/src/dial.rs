//! The side that dials: what it sends before the application has said anything.

use std::io::Write;

use watm_guest::{Output, Result, Stream};

use crate::Clock;
use crate::config::Config;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::method::Edition;

/// Begins a connection. If the configuration has a target, its address is sent at once, or with the
/// application's first bytes if it speaks first. Without a target, these are the address.
///
/// # Errors
///
/// That of the stream.
pub(crate) fn dial(
    config: &Config,
    clock: Clock,
    stream: &mut Stream,
) -> Result<(Encoder, Decoder)> {
    let key = &config.key;
    let salt = key.method().new_salt()?;
    let (encoder, decoder) = match key.method().edition {
        Edition::Aead => (Encoder::aead(key, salt), Decoder::aead(key.clone())),
        Edition::Aead2022 => (
            Encoder::request(key, salt.clone(), clock),
            Decoder::response(key.clone(), salt, clock),
        ),
    };
    let mut encoder = match &config.target {
        Some(target) => encoder.with_address(target.to_bytes()),
        None => return Ok((encoder, decoder)),
    };
    if !config.client_first {
        let mut output = Output::new();
        encoder.send_address(&mut output)?;
        stream.write_all(output.as_slice())?;
    }
    Ok((encoder, decoder))
}
