//! The handshake: one Noise message from each side, of two lengths that never vary, and padding
//! after each.
//!
//! ```text
//! first   ephemeral key 32 | time 8, length of the padding 2, its BLAKE2s 32 | tag 16 | padding
//! second  ephemeral key 32 | tag 16 | a frame of padding
//! ```
//!
//! What lies between key and tag is encrypted. The padding of the first message is random bytes,
//! which its digest binds to the message: nobody can change them unnoticed. The second message ends
//! the handshake, so its padding is an ordinary frame: see `frames`.

use std::io::{Read, Write};

use blake2::{Blake2s256, Digest};
use snow::{Builder, HandshakeState, TransportState};
use watm_guest::{Error, Stream};

use crate::curve::{KEY, Resolver};
use crate::padding::Padding;
use crate::replay::{Refusal, Replay};

/// Bytes that authenticate each message of Noise.
pub(crate) const TAG: usize = 16;

const TIME: usize = 8;
const DIGEST: usize = 32;
pub(crate) const PAYLOAD: usize = TIME + 2 + DIGEST;

/// The first message without its padding.
pub(crate) const FIRST: usize = KEY + PAYLOAD + TAG;

/// The second message without the frame after it.
pub(crate) const SECOND: usize = KEY + TAG;

/// The longest that a message of the handshake is without padding.
pub(crate) const LONGEST: usize = FIRST;

/// Mixed into the keys: sides of another protocol or version do not understand each other.
pub(crate) const PROLOGUE: &[u8] = b"watm-noise/1";

/// Which keys there are, and what they prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Both sides have a key.
    NNpsk0,
    /// The server has a key pair, and the client its public half.
    NK,
    /// Both.
    NKpsk0,
}

impl Pattern {
    const ALL: [Pattern; 3] = [Pattern::NNpsk0, Pattern::NK, Pattern::NKpsk0];

    pub(crate) fn named(name: &str) -> Option<Pattern> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    pub(crate) fn choices() -> &'static str {
        "NNpsk0, NK or NKpsk0"
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::NNpsk0 => "NNpsk0",
            Pattern::NK => "NK",
            Pattern::NKpsk0 => "NKpsk0",
        }
    }

    pub(crate) fn has_psk(self) -> bool {
        self != Pattern::NK
    }

    pub(crate) fn has_server_key(self) -> bool {
        self != Pattern::NNpsk0
    }
}

/// The pattern and its keys, as far as this side has them.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) pattern: Pattern,
    pub(crate) psk: Option<[u8; KEY]>,
    pub(crate) server_public: Option<[u8; KEY]>,
    pub(crate) server_private: Option<[u8; KEY]>,
}

/// Who sends the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialer,
    Listener,
}

/// Why a handshake has failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The stream, or the host.
    Stream(Error),
    /// The peer does not have the key, or what it has sent was altered.
    Foreign,
    /// It has the key, and gets no answer nevertheless.
    Refused(Refusal),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Stream(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Stream(error.into())
    }
}

impl Keys {
    fn begin(&self, side: Side) -> Result<HandshakeState, Error> {
        self.start(side, PROLOGUE, None).map_err(|error| {
            watm_guest::log!("the handshake cannot begin: {error}");
            Error::INVAL
        })
    }

    /// `ephemeral` replaces the key that is otherwise made at random, in tests.
    pub(crate) fn start(
        &self,
        side: Side,
        prologue: &[u8],
        ephemeral: Option<&[u8]>,
    ) -> Result<HandshakeState, snow::Error> {
        let name = format!("Noise_{}_25519_ChaChaPoly_BLAKE2s", self.pattern.name());
        let mut builder =
            Builder::with_resolver(name.parse()?, Box::new(Resolver)).prologue(prologue)?;
        if let Some(ephemeral) = ephemeral {
            builder = builder.fixed_ephemeral_key_for_testing_only(ephemeral);
        }
        if let Some(psk) = &self.psk {
            builder = builder.psk(0, psk)?;
        }
        match side {
            Side::Dialer => {
                if let Some(key) = &self.server_public {
                    builder = builder.remote_public_key(key)?;
                }
                builder.build_initiator()
            }
            Side::Listener => {
                if let Some(key) = &self.server_private {
                    builder = builder.local_private_key(key)?;
                }
                builder.build_responder()
            }
        }
    }
}

/// Sends the first message, made at `time`, and reads the second.
pub(crate) fn dial(
    stream: &mut Stream,
    keys: &Keys,
    padding: &mut Padding,
    time: u64,
) -> Result<TransportState, Failure> {
    let (mut state, message) = first(keys, padding, time)?;
    stream.write_all(&message)?;
    let mut answer = [0; SECOND];
    stream.read_exact(&mut answer)?;
    state
        .read_message(&answer, &mut [])
        .map_err(|_| Failure::Foreign)?;
    state.into_transport_mode().map_err(broken)
}

/// The first message, with its padding.
pub(crate) fn first(
    keys: &Keys,
    padding: &mut Padding,
    time: u64,
) -> Result<(HandshakeState, Vec<u8>), Failure> {
    let mut state = keys.begin(Side::Dialer)?;
    let mut bytes = vec![0; padding.handshake(FIRST)?];
    let (message, filling) = bytes.split_at_mut(FIRST);
    watm_guest::random(filling)?;
    let payload = First::new(time, filling)?.to_bytes();
    state.write_message(&payload, message).map_err(broken)?;
    Ok((state, bytes))
}

/// Reads the first message and sends the second, or nothing at all.
pub(crate) fn accept(
    stream: &mut Stream,
    keys: &Keys,
    replay: &Replay,
    now: impl Fn() -> u64,
) -> Result<TransportState, Failure> {
    let mut state = keys.begin(Side::Listener)?;
    let mut message = [0; FIRST];
    stream.read_exact(&mut message)?;
    let mut payload = [0; PAYLOAD];
    state
        .read_message(&message, &mut payload)
        .map_err(|_| Failure::Foreign)?;
    let first = First::from_bytes(&payload);
    let mut filling = vec![0; usize::from(first.length)];
    stream.read_exact(&mut filling)?;
    if digest(&filling) != first.digest {
        return Err(Failure::Foreign);
    }
    let mut ephemeral = [0; KEY];
    ephemeral.copy_from_slice(&message[..KEY]);
    replay
        .admit(first.time, &ephemeral, now())
        .map_err(Failure::Refused)?;
    let mut answer = [0; SECOND];
    state.write_message(&[], &mut answer).map_err(broken)?;
    stream.write_all(&answer)?;
    state.into_transport_mode().map_err(broken)
}

/// What should not happen, since all lengths fit and all keys are there.
fn broken(error: snow::Error) -> Failure {
    watm_guest::log!("Noise fails: {error}");
    Failure::Stream(Error::IO)
}

/// What the first message carries.
struct First {
    /// Seconds since 1970.
    time: u64,
    /// Of the padding after the message.
    length: u16,
    digest: [u8; DIGEST],
}

impl First {
    fn new(time: u64, filling: &[u8]) -> Result<Self, Error> {
        Ok(First {
            time,
            length: u16::try_from(filling.len()).map_err(|_| Error::MSGSIZE)?,
            digest: digest(filling),
        })
    }

    fn to_bytes(&self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        bytes[..TIME].copy_from_slice(&self.time.to_be_bytes());
        bytes[TIME..TIME + 2].copy_from_slice(&self.length.to_be_bytes());
        bytes[TIME + 2..].copy_from_slice(&self.digest);
        bytes
    }

    fn from_bytes(bytes: &[u8; PAYLOAD]) -> Self {
        let mut time = [0; TIME];
        time.copy_from_slice(&bytes[..TIME]);
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&bytes[TIME + 2..]);
        First {
            time: u64::from_be_bytes(time),
            length: u16::from_be_bytes([bytes[TIME], bytes[TIME + 1]]),
            digest,
        }
    }
}

fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    Blake2s256::digest(bytes).into()
}
