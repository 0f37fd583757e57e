//! The side that accepts: what it demands of a peer before anything is passed on.

use watm_guest::{Error, Output, Result, Stream};

use crate::Clock;
use crate::address::Target;
use crate::chunk::Opener;
use crate::cipher::TAG;
use crate::config::{Acceptance, Config};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::head::{Head, Refusal, stay_silent};
use crate::header::{self, Fixed, Variable};
use crate::method::Edition;
use crate::replay::Salts;

/// Chunks in which the address of a stream has to be complete.
const ADDRESS_CHUNKS: usize = 8;

/// Bytes of the first message of a request of SIP022.
const FIXED: usize = header::REQUEST_FIXED + TAG;

const NO_CLIENT: Refusal =
    Refusal::Silent("it is no client with this key and method, or its bytes were altered");
const REPLAY: Refusal = Refusal::Silent("its salt was used before: this is a replay");
const NO_ADDRESS: Refusal = Refusal::Silent("its stream does not begin with an address");

/// Reads and checks the start of a client's stream.
///
/// # Errors
///
/// `ACCES` for a peer that is no client, when it has ended its stream; it is not told. `INVAL` if
/// the configuration asks for protection against replays and there is no directory for it.
/// Otherwise, that of the stream or the file system.
pub(crate) fn accept(
    config: &Config,
    clock: Clock,
    stream: &mut Stream,
) -> Result<(Encoder, Decoder)> {
    let salts = match &config.replay {
        Some(salts) if !salts.is_there() => {
            tell!(
                "the listener has no directory to remember salts in, so anyone could replay a \
                 connection: give it one that it can write, for example with `--dir \
                 /var/lib/shadowsocks:/replay:rw`, or set `replay_protection` to false"
            );
            return Err(Error::INVAL);
        }
        salts => salts.as_ref(),
    };
    let result = match config.key.method().edition {
        Edition::Aead => accept_aead(config, salts, stream),
        Edition::Aead2022 => accept_2022(config, salts, clock, stream),
    };
    result.map_err(|refusal| match refusal {
        Refusal::Failed(error) => error,
        Refusal::Silent(reason) => {
            tell!("a peer is refused, and gets no answer: {reason}");
            stay_silent(stream);
            Error::ACCES
        }
    })
}

fn accept_aead(
    config: &Config,
    salts: Option<&Salts>,
    stream: &mut Stream,
) -> Result<(Encoder, Decoder), Refusal> {
    let key = &config.key;
    let limit = key.method().chunk_limit();
    let mut head = Head::new(stream);
    let salt = head.read(key.method().key_length())?.to_vec();
    let mut opener = Opener::new(key.session(&salt), limit, 0);
    let mut payload = Output::new();
    let mut skip = 0;
    for number in 0.. {
        for _length_and_payload in 0..2 {
            let sealed = head.read(opener.wanted())?;
            opener.next(sealed, &mut payload).map_err(|_| NO_CLIENT)?;
        }
        if number == 0 {
            check_salt(salts, |salts| Ok(salts.add(&salt, chance()?)?))?;
        }
        if matches!(config.accepts, Acceptance::Everything) {
            break;
        }
        match Target::parse(payload.as_slice()).map_err(|_| NO_ADDRESS)? {
            Some((target, length)) => {
                check_target(&config.accepts, &target)?;
                skip = length;
                break;
            }
            None if number + 1 < ADDRESS_CHUNKS => {}
            None => return Err(NO_ADDRESS),
        }
    }
    // They are opened twice: a decoder makes something only of input.
    head.give_back_from(salt.len());
    let opener = Opener::new(key.session(&salt), limit, skip);
    let encoder = Encoder::aead(key, key.method().new_salt()?);
    Ok((encoder, Decoder::body(opener)))
}

fn accept_2022(
    config: &Config,
    salts: Option<&Salts>,
    clock: Clock,
    stream: &mut Stream,
) -> Result<(Encoder, Decoder), Refusal> {
    let key = &config.key;
    let mut head = Head::new(stream);
    let salt = head.read(key.method().key_length())?.to_vec();
    let mut cipher = key.session(&salt);
    let fixed = cipher
        .open_array(head.read(FIXED)?)
        .map_err(|_| NO_CLIENT)?;
    let fixed = Fixed::parse(fixed).ok_or(NO_CLIENT)?;
    let now = clock();
    if !header::is_fresh(fixed.timestamp, now) {
        return Err(Refusal::Silent(
            "its timestamp is more than 30 seconds off: this is a replay, or a clock is wrong",
        ));
    }
    check_salt(salts, |salts| {
        Ok(salts.add_stamped(&salt, fixed.timestamp, now)?)
    })?;
    let length = usize::from(fixed.length);
    let sealed = head.read(length + TAG)?;
    let content = cipher.open_vec(sealed).map_err(|_| NO_CLIENT)?;
    let variable = Variable::parse(&content).map_err(|_| NO_ADDRESS)?;
    check_target(&config.accepts, &variable.target)?;
    // It is opened twice, as in `accept_aead`.
    head.give_back_from(salt.len() + FIXED);
    let cipher = key.session(&salt).after(1);
    let takes_address_off = !matches!(config.accepts, Acceptance::Everything);
    let encoder = Encoder::response(key, key.method().new_salt()?, salt, clock);
    Ok((encoder, Decoder::request(cipher, length, takes_address_off)))
}

/// Lets `add` remember the salt, and refuses one that is not new.
fn check_salt(
    salts: Option<&Salts>,
    add: impl FnOnce(&Salts) -> Result<bool>,
) -> Result<(), Refusal> {
    match salts.map(add) {
        None | Some(Ok(true)) => Ok(()),
        Some(Ok(false)) => Err(REPLAY),
        Some(Err(error)) => {
            tell!("a salt cannot be remembered, so its client is refused: {error}");
            Err(error.into())
        }
    }
}

fn check_target(accepts: &Acceptance, target: &Target) -> Result<()> {
    if accepts.allows(target) {
        return Ok(());
    }
    tell!("a client asks for {target}, which the configuration does not accept");
    Err(Error::ACCES)
}

fn chance() -> Result<u8> {
    let mut byte = [0];
    watm_guest::random(&mut byte)?;
    Ok(byte[0])
}
