//! How connections begin.

use std::io::{ErrorKind, Read, Write};

use snow::Builder;
use snow::params::NoiseParams;
use watm_guest::testing::{self, Wire};
use watm_guest::{Error, Transport};

use super::*;
use crate::replay::{self, Store};

/// Nothing has come to the prober, and the listener still reads. Then the prober leaves.
fn assert_silence(mut prober: Wire, mut conn: Conn, expected: Error) {
    prober.shutdown_write();
    assert_eq!(conn.established(), Err(expected));
    let mut answer = Vec::new();
    let error = prober.read_to_end(&mut answer).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(answer.is_empty(), "{answer:?}");
}

#[test]
fn every_pattern_connects_with_and_without_padding_over_any_network() {
    for pair in all() {
        let (dialer, listener) = (Some(pair.dialer.as_bytes()), Some(pair.listener.as_bytes()));
        for (length, ends) in [
            (50_000, testing::pair::<Noise>(dialer, listener)),
            (50_000, testing::over_tcp::<Noise>(dialer, listener)),
            // Each byte becomes a frame.
            (20, testing::pair_in_pieces::<Noise>(dialer, listener, 1)),
        ] {
            let (mut dialer, mut listener) = ends.expect("a connection");
            let (request, answer) = (data(length), data(2 * length));
            send(&mut dialer, &request);
            assert!(receive(&mut listener) == request);
            // The other direction is open still.
            send(&mut listener, &answer);
            assert!(receive(&mut dialer) == answer);
            assert_eq!(dialer.join(), Ok(()));
            assert_eq!(listener.join(), Ok(()));
        }
    }
}

#[test]
fn a_peer_without_the_key_gets_no_byte() {
    for (right, wrong) in [("NNpsk0", 1), ("NKpsk0", 1), ("NKpsk0", 2), ("NK", 2)] {
        let pair = pair(right, "");
        let other = Pair {
            dialer: match wrong {
                1 => pair.dialer.replace(&base64(1), &base64(3)),
                _ => pair.dialer.replace(
                    &BASE64.encode(&curve::public_key(&[2; 32]).expect("a key")),
                    &BASE64.encode(&curve::public_key(&[3; 32]).expect("a key")),
                ),
            },
            listener: String::new(),
        };
        assert_ne!(pair.dialer, other.dialer);
        let (wire, mut prober) = testing::wire();
        let conn = accept(&pair, wire);
        prober.write_all(&first_message(&other)).expect("room");
        assert_silence(prober, conn, Error::ACCES);
    }
}

#[test]
fn garbage_of_any_length_gets_no_byte() {
    for pair in all() {
        for length in [0, 1, handshake::FIRST - 1, handshake::FIRST, 1000, 40_000] {
            let (wire, mut prober) = testing::wire();
            let conn = accept(&pair, wire);
            let mut garbage = vec![0; length];
            watm_guest::random(&mut garbage).expect("random bytes");
            prober.write_all(&garbage).expect("room");
            let expected = match length {
                0..handshake::FIRST => Error::PROTO,
                _ => Error::ACCES,
            };
            assert_silence(prober, conn, expected);
        }
    }
}

#[test]
fn a_listener_reads_on_for_as_long_as_a_prober_sends() {
    let (wire, mut prober) = testing::wire();
    let conn = accept(&pair("NNpsk0", ""), wire);
    // Much more than the wire holds: it passes only if somebody reads.
    let piece = vec![7; 64 * 1024];
    for _ in 0..32 {
        prober.write_all(&piece).expect("somebody reads");
    }
    assert_silence(prober, conn, Error::ACCES);
}

#[test]
fn a_byte_altered_anywhere_in_the_first_message_or_its_padding_gets_no_answer() {
    for pair in [pair("NNpsk0", ""), pair("NK", "")] {
        let message = first_message(&pair);
        for position in 0..message.len() {
            let mut altered = message.clone();
            altered[position] ^= 1 << (position % 8);
            let (wire, mut prober) = testing::wire();
            let conn = accept(&pair, wire);
            prober.write_all(&altered).expect("room");
            assert_silence(prober, conn, Error::ACCES);
        }
    }
}

#[test]
fn a_first_message_that_is_cut_gets_no_answer() {
    let pair = pair("NKpsk0", "");
    let message = first_message(&pair);
    for length in 0..message.len() {
        let (wire, mut prober) = testing::wire();
        let conn = accept(&pair, wire);
        prober.write_all(&message[..length]).expect("room");
        assert_silence(prober, conn, Error::PROTO);
    }
}

/// Answers a dialer by hand, with `snow` as it is, and `alter` applied to the answer.
fn answer(peer: &mut Wire, alter: impl FnOnce(&mut [u8])) -> snow::TransportState {
    let name: NoiseParams = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s"
        .parse()
        .expect("a name");
    let builder = Builder::new(name)
        .prologue(handshake::PROLOGUE)
        .expect("once");
    let mut state = builder
        .psk(0, &[1; 32])
        .and_then(Builder::build_responder)
        .expect("all keys are there");
    let mut message = [0; handshake::FIRST];
    peer.read_exact(&mut message).expect("the first message");
    let mut payload = [0; handshake::PAYLOAD];
    state
        .read_message(&message, &mut payload)
        .expect("the same key");
    let mut filling = vec![0; usize::from(u16::from_be_bytes([payload[8], payload[9]]))];
    peer.read_exact(&mut filling).expect("the padding");
    let mut answer = [0; handshake::SECOND];
    state.write_message(&[], &mut answer).expect("it fits");
    alter(&mut answer);
    peer.write_all(&answer).expect("room");
    state.into_transport_mode().expect("it is over")
}

#[test]
fn another_implementation_of_noise_understands_the_handshake_and_a_frame() {
    let (wire, mut peer) = testing::wire();
    let mut conn = dial(&pair("NNpsk0", ""), wire);
    let mut state = answer(&mut peer, |_| {});
    assert_eq!(conn.established(), Ok(()));
    conn.write_all(b"hello").expect("it is open");
    let (mut header, mut body) = ([0; 20], [0; 21]);
    let (mut fields, mut text) = ([0; 4], [0; 5]);
    peer.read_exact(&mut header).expect("a header");
    state
        .read_message(&header, &mut fields)
        .expect("the same keys");
    assert_eq!(fields, [0, 5, 0, 0]);
    peer.read_exact(&mut body).expect("a body");
    state.read_message(&body, &mut text).expect("the same keys");
    assert_eq!(&text, b"hello");
}

#[test]
fn a_byte_altered_in_the_answer_is_an_error_of_the_dialer() {
    for position in 0..handshake::SECOND {
        let (wire, mut peer) = testing::wire();
        let mut conn = dial(&pair("NNpsk0", ""), wire);
        answer(&mut peer, |bytes| bytes[position] ^= 1 << (position % 8));
        assert_eq!(conn.established(), Err(Error::PROTO));
    }
}

#[test]
fn a_server_that_closes_without_an_answer_is_an_error_of_the_dialer() {
    let (wire, peer) = testing::wire();
    let mut conn = dial(&pair("NK", ""), wire);
    drop(peer);
    assert!(matches!(
        conn.established(),
        Err(Error::PROTO | Error::PIPE)
    ));
}

/// A listener with a store of messages in `directory`.
fn with_store(pair: &Pair, directory: &std::path::Path) -> Pair {
    let path = directory.to_str().expect("plain text");
    let store = format!(r#""replay": {{"directory": "{path}"}}"#);
    Pair {
        dialer: pair.dialer.clone(),
        listener: pair.listener.replace(r#""replay": "off""#, &store),
    }
}

#[test]
fn a_first_message_that_is_sent_again_gets_no_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    for pattern in ["NNpsk0", "NK", "NKpsk0"] {
        let pair = with_store(&pair(pattern, ""), directory.path());
        let message = first_message(&pair);
        let (wire, mut peer) = testing::wire();
        let mut conn = accept(&pair, wire);
        peer.write_all(&message).expect("room");
        assert_eq!(conn.established(), Ok(()));
        let mut answer = [0; handshake::SECOND];
        peer.read_exact(&mut answer)
            .expect("an answer, the first time");

        let (wire, mut prober) = testing::wire();
        let conn = accept(&pair, wire);
        prober.write_all(&message).expect("room");
        assert_silence(prober, conn, Error::ACCES);
    }
}

#[test]
fn a_first_message_of_another_time_gets_no_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let pair = with_store(&pair("NNpsk0", ""), directory.path());
    for difference in [-3600, 3600] {
        let time = replay::now().saturating_add_signed(difference);
        let mut config = crate::Config::parse(pair.dialer.as_bytes()).expect("it is right");
        let message = handshake::first(&config.keys, &mut config.padding, time)
            .expect("a message")
            .1;
        let (wire, mut prober) = testing::wire();
        let conn = accept(&pair, wire);
        prober.write_all(&message).expect("room");
        assert_silence(prober, conn, Error::ACCES);
    }
}

#[test]
fn without_a_place_for_the_messages_nobody_gets_an_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let pair = with_store(&pair("NNpsk0", ""), directory.path());
    let message = first_message(&pair);
    // Files lie where the directories of this time would.
    let bucket = replay::now() / Store::BUCKET;
    for bucket in [bucket - 1, bucket, bucket + 1] {
        std::fs::write(directory.path().join(bucket.to_string()), "").expect("a file");
    }
    let (wire, mut prober) = testing::wire();
    let conn = accept(&pair, wire);
    prober.write_all(&message).expect("room");
    assert_silence(prober, conn, Error::ACCES);
}

#[test]
fn what_a_side_lacks_is_refused_when_it_begins() {
    let refused = |json: &str| Noise::new(Some(json.as_bytes())).err();
    assert_eq!(Noise::new(None).err(), Some(Error::INVAL));
    assert_eq!(refused("{}"), Some(Error::INVAL));
    let missing = r#""replay": {"directory": "/there is no such directory"}"#;
    let pair = pair("NK", "");
    assert_eq!(
        refused(&pair.listener.replace(r#""replay": "off""#, missing)),
        Some(Error::INVAL)
    );
    // A dialer's configuration cannot listen, and one without a word about replays neither.
    for json in [
        &pair.dialer,
        &pair
            .listener
            .replace(r#" "replay": "off""#, r#""padding": "none""#),
    ] {
        let (wire, _peer) = testing::wire();
        let mut conn = testing::accept::<Noise>(Some(json.as_bytes()), wire);
        assert_eq!(conn.established(), Err(Error::INVAL));
    }
}

#[test]
fn a_fixed_dialer_connects_to_the_server_of_the_configuration() {
    let json = pair("NK", r#", "server": "server.example:443""#).dialer;
    let noise = Noise::new(Some(json.as_bytes())).expect("it is right");
    assert_eq!(
        noise.address(),
        Some(watm_guest::Address::tcp("server.example:443"))
    );
}

#[test]
fn the_lengths_of_both_messages_vary_and_follow_the_distribution() {
    let plain = pair("NNpsk0", "");
    let mut lengths: Vec<usize> = (0..40).map(|_| first_message(&plain).len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 10, "{lengths:?}");
    let padded = pair("NNpsk0", r#", "padding": {"lengths": [[80, 1], [777, 1]]}"#);
    for _ in 0..10 {
        let message = first_message(&padded);
        assert_eq!(message.len(), 777);
        let (wire, mut peer) = testing::wire();
        let _conn = accept(&padded, wire);
        peer.write_all(&message).expect("room");
        peer.shutdown_write();
        let mut answer = Vec::new();
        // Without a last frame of the peer, the connection ends with an error.
        peer.read_to_end(&mut answer).expect_err("a reset");
        assert_eq!(answer.len(), 777);
    }
}
