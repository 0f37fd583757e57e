//! Test vectors of the Noise protocol: those of cacophony for the three protocols of this module.
//!
//! They are in the format of the Noise wiki, in the file `vectors/cacophony.txt` of the Haskell
//! package cacophony, which is in the public domain. The keys, prologue and payloads are the same
//! for all of them.

use snow::TransportState;

use crate::handshake::{Keys, Pattern, Side};

const PROLOGUE: &str = "4a6f686e2047616c74";
const PSK: &str = "54686973206973206d7920417573747269616e20706572737065637469766521";
const DIALER_EPHEMERAL: &str = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
const LISTENER_EPHEMERAL: &str = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
pub(crate) const SERVER_PRIVATE: &str =
    "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
pub(crate) const SERVER_PUBLIC: &str =
    "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62";

/// The first two are of the handshake; then the sides take turns, the dialer first.
const PAYLOADS: [&str; 6] = [
    "4c756477696720766f6e204d69736573",
    "4d757272617920526f746862617264",
    "462e20412e20486179656b",
    "4361726c204d656e676572",
    "4a65616e2d426170746973746520536179",
    "457567656e2042f6686d20766f6e2042617765726b",
];

#[test]
fn nnpsk0_makes_the_published_bytes() {
    check(
        Pattern::NNpsk0,
        "b3e9c846d264120a4211e18307da91157a21e92e69b639c50f027f101db3e1a6",
        [
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944fda936be\
             c35a8adfdff198386f7d5475880897edaaf7495314c99095a2e4d66a",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088434cd2a371\
             993ba41ea11448024fca32766b169183c9e691a7a433279da7e729",
            "bc44da303ae0beb08075fc4eb4e58235c67c2d1f53a4f2fff0bca7",
            "416d1af83e9fa6966ce4e871156b131aa9bd7e9a1d6f8794f4872a",
            "8a7d81b77bcc6c072f2b807da066efba6b5fab9edf71a7faceb2c8454b0cfef608",
            "1e2ee010f72894824a25a867664ff298f2548a145dc4e9d27b1cad83f32fa7c54d69dc32\
             79",
        ],
    );
}

#[test]
fn nk_makes_the_published_bytes() {
    check(
        Pattern::NK,
        "d7244d974066aae2376f7ba5534f60a6e4e82cd7c9751e226cae3928e6b49f14",
        [
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c794454ae7612\
             d1724af42adb130160a9a94e67b5b169b4e00c189f6467cd17eb7cad",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843986a5c92\
             9337e337ac8b4a074af12ab9f76318a5f18c8b599a443af07383ce",
            "550027c7a5d450017bcb5e12b8253b1c53fd2213aeda84891d5f95",
            "dfbce0c38210ccee35e830aca9dd8b8b3997b933e75bfc8864b759",
            "4c487a88330c7c65e44d430addf3d92d2a15b081a2892b96693e00b68aec0adac2",
            "471cb9f8252d8ae7b25c93f4b4aebdbf25e5baa23f14bc743559e3ef7fd065e69cfaef55\
             ee",
        ],
    );
}

#[test]
fn nkpsk0_makes_the_published_bytes() {
    check(
        Pattern::NKpsk0,
        "6bd69bd4066f41f32e47134976f5bf01606f7a4a0e04369fe61158b06f3a144e",
        [
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c794427635ede\
             06947b2d3acd77a36788aaaf17e9f5a8ac252e560fb421ba161a2cf8",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843d682eb9c\
             f4fee6816c8c8cfd34c15774321e234e3a426d7cfd3f13e5e84d04",
            "b6645684db57679aa08f0b3352d58f32ec7f1e1a02083d5bd54277",
            "473a9a4109eba0939e934640d318984df8d0900aa922f0195a09ad",
            "c8c44a16fff728f83e61272382149feadd3eb0ee1bab6313f84c72fe1581225236",
            "21354f87158ac5e357529e87e8c84cfcdb49c8a080550c8f908d05ef7ea82ca525e3d139\
             8e",
        ],
    );
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    data_encoding::HEXLOWER
        .decode(hex.as_bytes())
        .expect("hexadecimal")
}

fn key(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().expect("32 bytes")
}

fn check(pattern: Pattern, hash: &str, messages: [&str; 6]) {
    let server = pattern.has_server_key();
    let keys = Keys {
        pattern,
        psk: pattern.has_psk().then(|| key(PSK)),
        server_public: server.then(|| key(SERVER_PUBLIC)),
        server_private: server.then(|| key(SERVER_PRIVATE)),
    };
    let start = |side, ephemeral| {
        keys.start(side, &bytes(PROLOGUE), Some(&bytes(ephemeral)))
            .expect("all keys are there")
    };
    let mut dialer = start(Side::Dialer, DIALER_EPHEMERAL);
    let mut listener = start(Side::Listener, LISTENER_EPHEMERAL);
    let mut buffer = [0; 200];
    let mut payload = [0; 200];
    for turn in 0..2 {
        let (from, to) = match turn {
            0 => (&mut dialer, &mut listener),
            _ => (&mut listener, &mut dialer),
        };
        let sent = bytes(PAYLOADS[turn]);
        let length = from.write_message(&sent, &mut buffer).expect("a message");
        assert_eq!(buffer[..length], bytes(messages[turn]));
        let length = to
            .read_message(&buffer[..length], &mut payload)
            .expect("it is read");
        assert_eq!(payload[..length], sent);
    }
    assert_eq!(dialer.get_handshake_hash(), bytes(hash));
    assert_eq!(listener.get_handshake_hash(), bytes(hash));
    let mut dialer = dialer.into_transport_mode().expect("it is over");
    let mut listener = listener.into_transport_mode().expect("it is over");
    for turn in 2..6 {
        let (from, to): (&mut TransportState, &mut TransportState) = match turn % 2 {
            0 => (&mut dialer, &mut listener),
            _ => (&mut listener, &mut dialer),
        };
        let sent = bytes(PAYLOADS[turn]);
        let length = from.write_message(&sent, &mut buffer).expect("a message");
        assert_eq!(buffer[..length], bytes(messages[turn]));
        let length = to
            .read_message(&buffer[..length], &mut payload)
            .expect("it is read");
        assert_eq!(payload[..length], sent);
    }
}
