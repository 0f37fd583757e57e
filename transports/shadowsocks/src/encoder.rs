//! From the application to the network: what begins a stream, then chunks.

use watm_guest::{Codec, Error, Output, Result};

use crate::Clock;
use crate::address::Target;
use crate::chunk::Sealer;
use crate::header;
use crate::key::MasterKey;

/// Seals what the application sends.
pub(crate) struct Encoder {
    sealer: Sealer,
    start: Start,
    /// An address that goes in front of the application's first bytes, in the same chunk.
    address: Vec<u8>,
}

/// What is still to be sent before the first chunk. It leaves together with it.
enum Start {
    Nothing,
    Salt(Vec<u8>),
    /// SIP022: the application's bytes begin with the address of the request.
    Request {
        salt: Vec<u8>,
        clock: Clock,
    },
    /// SIP022.
    Response {
        salt: Vec<u8>,
        request_salt: Vec<u8>,
        clock: Clock,
    },
}

impl Encoder {
    /// One that has sent all that begins its stream: see `begin`.
    fn with_start(key: &MasterKey, salt: &[u8], start: Start) -> Self {
        let limit = key.method().chunk_limit();
        Encoder {
            sealer: Sealer::new(key.session(salt), limit),
            start,
            address: Vec::new(),
        }
    }

    /// Puts an address in front of the application's first bytes.
    pub(crate) fn with_address(self, address: Vec<u8>) -> Self {
        Encoder { address, ..self }
    }

    /// A stream of an AEAD method: a salt, and chunks with the application's bytes as they are.
    pub(crate) fn aead(key: &MasterKey, salt: Vec<u8>) -> Self {
        Encoder::with_start(key, &salt.clone(), Start::Salt(salt))
    }

    /// A request of SIP022 for the address that the application's bytes begin with.
    pub(crate) fn request(key: &MasterKey, salt: Vec<u8>, clock: Clock) -> Self {
        Encoder::with_start(key, &salt.clone(), Start::Request { salt, clock })
    }

    /// The response of SIP022 to the request with this salt.
    pub(crate) fn response(
        key: &MasterKey,
        salt: Vec<u8>,
        request_salt: Vec<u8>,
        clock: Clock,
    ) -> Self {
        let start = Start::Response {
            salt: salt.clone(),
            request_salt,
            clock,
        };
        Encoder::with_start(key, &salt, start)
    }

    /// Sends the address without waiting for the application, if there is one to send.
    ///
    /// # Errors
    ///
    /// As `transform`.
    pub(crate) fn send_address(&mut self, output: &mut Output) -> Result<()> {
        let address = std::mem::take(&mut self.address);
        self.transform(&address, output).map(drop)
    }

    /// The headers of a request, with as much of the application's first bytes as they can hold.
    fn send_request(
        &mut self,
        salt: &[u8],
        now: u64,
        input: &[u8],
        length: usize,
        output: &mut Output,
    ) -> Result<usize> {
        let (address, rest) = input.split_at(length);
        let room = usize::from(u16::MAX) - address.len() - 2;
        let payload = &rest[..rest.len().min(room)];
        let padding = if payload.is_empty() {
            padding()?
        } else {
            Vec::new()
        };
        let variable = header::variable(address, &padding, payload);
        let fixed = header::Fixed {
            timestamp: now,
            // `room` sees to that.
            length: variable.len() as u16,
        };
        output.push(salt);
        self.sealer.message(&fixed.to_bytes(), output);
        self.sealer.message(&variable, output);
        Ok(length + payload.len())
    }

    /// The header of a response, and the first payload.
    fn send_response(
        &mut self,
        salt: &[u8],
        request_salt: &[u8],
        now: u64,
        input: &[u8],
        output: &mut Output,
    ) -> usize {
        let payload = &input[..input.len().min(usize::from(u16::MAX))];
        output.push(salt);
        // Cut to that.
        let length = payload.len() as u16;
        self.sealer
            .message(&header::response(request_salt, now, length), output);
        self.sealer.message(payload, output);
        payload.len()
    }

    /// What `transform` does, once the address is in front. There is some input.
    fn encode(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        match std::mem::replace(&mut self.start, Start::Nothing) {
            Start::Nothing => {}
            Start::Salt(salt) => {
                output.push(&salt);
            }
            Start::Request { salt, clock } => {
                let Ok(target) = Target::parse(input) else {
                    tell!(
                        "the application's bytes do not begin with an address of SOCKS5: let the \
                         application send one, or name it in the configuration as `target`"
                    );
                    return Err(Error::INVAL);
                };
                let Some((_, length)) = target else {
                    self.start = Start::Request { salt, clock };
                    return Ok(0);
                };
                return self.send_request(&salt, clock(), input, length, output);
            }
            Start::Response {
                salt,
                request_salt,
                clock,
            } => return Ok(self.send_response(&salt, &request_salt, clock(), input, output)),
        }
        self.sealer.payload(input, output);
        Ok(input.len())
    }
}

impl Codec for Encoder {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        if input.is_empty() {
            return Ok(0);
        }
        if self.address.is_empty() {
            return self.encode(input, output);
        }
        let mut first = std::mem::take(&mut self.address);
        let length = first.len();
        first.extend_from_slice(input);
        // It takes at least a whole address.
        Ok(self.encode(&first, output)? - length)
    }

    /// An application that says nothing still wants to hear what the server says.
    fn finish(&mut self, rest: &[u8], output: &mut Output) -> Result<()> {
        if !rest.is_empty() {
            return Err(Error::PROTO);
        }
        self.send_address(output)
    }
}

/// Padding of a random length, at least one byte. It is encrypted, so its content does not matter.
fn padding() -> Result<Vec<u8>> {
    let mut bytes = [0; 4];
    watm_guest::random(&mut bytes)?;
    let length = 1 + u32::from_le_bytes(bytes) as usize % header::MAX_PADDING;
    Ok(vec![0; length])
}
