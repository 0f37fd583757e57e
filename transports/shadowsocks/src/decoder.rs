//! From the network to the application: what begins a stream, then chunks.

use watm_guest::{Codec, Error, Output, Result};

use crate::Clock;
use crate::chunk::Opener;
use crate::cipher::{Cipher, TAG};
use crate::header::{self, Variable};
use crate::key::MasterKey;

/// Opens what the peer sends.
pub(crate) struct Decoder(Phase);

enum Phase {
    /// A stream of an AEAD method, from its start.
    Salt(MasterKey),
    /// SIP022: the response to the request with this salt, from its start.
    Response {
        key: MasterKey,
        request_salt: Vec<u8>,
        clock: Clock,
    },
    /// SIP022: the second message of a request, which the listener has checked.
    Request {
        cipher: Cipher,
        length: usize,
        takes_address_off: bool,
    },
    Body(Opener),
    Failed,
}

impl Decoder {
    /// A stream of an AEAD method, from its salt on.
    pub(crate) fn aead(key: MasterKey) -> Self {
        Decoder(Phase::Salt(key))
    }

    /// A stream whose next bytes are chunks.
    pub(crate) fn body(opener: Opener) -> Self {
        Decoder(Phase::Body(opener))
    }

    /// A response of SIP022 to the request with this salt, from its own salt on.
    pub(crate) fn response(key: MasterKey, request_salt: Vec<u8>, clock: Clock) -> Self {
        Decoder(Phase::Response {
            key,
            request_salt,
            clock,
        })
    }

    /// A request of SIP022, from its second message on, which has `length` bytes of content.
    pub(crate) fn request(cipher: Cipher, length: usize, takes_address_off: bool) -> Self {
        Decoder(Phase::Request {
            cipher,
            length,
            takes_address_off,
        })
    }
}

impl Codec for Decoder {
    /// Takes one message in a call, so that a broken one does not take others with it.
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        if let Phase::Body(opener) = &mut self.0 {
            return opener.next(input, output);
        }
        let (phase, taken) = match std::mem::replace(&mut self.0, Phase::Failed) {
            Phase::Salt(key) => begin(key, input),
            Phase::Response {
                key,
                request_salt,
                clock,
            } => begin_response(key, request_salt, clock, input)?,
            Phase::Request {
                cipher,
                length,
                takes_address_off,
            } => begin_request(cipher, length, takes_address_off, input, output)?,
            Phase::Body(_) | Phase::Failed => return Err(Error::PROTO),
        };
        self.0 = phase;
        Ok(taken)
    }

    /// A stream may end where a chunk ends, and before it has begun: a server whose target sends
    /// nothing sends nothing.
    fn finish(&mut self, rest: &[u8], _output: &mut Output) -> Result<()> {
        let is_whole = match &self.0 {
            Phase::Salt(_) | Phase::Response { .. } => true,
            Phase::Body(opener) => opener.is_at_boundary(),
            Phase::Request { .. } | Phase::Failed => false,
        };
        if is_whole && rest.is_empty() {
            Ok(())
        } else {
            Err(Error::PROTO)
        }
    }
}

fn begin(key: MasterKey, input: &[u8]) -> (Phase, usize) {
    let length = key.method().key_length();
    match input.get(..length) {
        Some(salt) => {
            let opener = Opener::new(key.session(salt), key.method().chunk_limit(), 0);
            (Phase::Body(opener), length)
        }
        None => (Phase::Salt(key), 0),
    }
}

fn begin_response(
    key: MasterKey,
    request_salt: Vec<u8>,
    clock: Clock,
    input: &[u8],
) -> Result<(Phase, usize)> {
    let salt_length = key.method().key_length();
    let end = salt_length + header::response_length(salt_length) + TAG;
    let Some((salt, sealed)) = input.get(..end).map(|head| head.split_at(salt_length)) else {
        let phase = Phase::Response {
            key,
            request_salt,
            clock,
        };
        return Ok((phase, 0));
    };
    let mut cipher = key.session(salt);
    let content = cipher.open_vec(sealed)?;
    let length = header::parse_response(&content, &request_salt, clock())?;
    let opener = Opener::with_length(cipher, key.method().chunk_limit(), length);
    Ok((Phase::Body(opener), end))
}

fn begin_request(
    mut cipher: Cipher,
    length: usize,
    takes_address_off: bool,
    input: &[u8],
    output: &mut Output,
) -> Result<(Phase, usize)> {
    let Some(sealed) = input.get(..length + TAG) else {
        let phase = Phase::Request {
            cipher,
            length,
            takes_address_off,
        };
        return Ok((phase, 0));
    };
    let content = cipher.open_vec(sealed)?;
    let Variable {
        address, payload, ..
    } = Variable::parse(&content)?;
    if !takes_address_off {
        output.push(address);
    }
    output.push(payload);
    let opener = Opener::new(cipher, crate::method::Edition::Aead2022.chunk_limit(), 0);
    Ok((Phase::Body(opener), length + TAG))
}
