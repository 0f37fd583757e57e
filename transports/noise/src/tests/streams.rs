//! Frames, without a network: an encoder and a decoder that have the same keys.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use watm_guest::testing::run;
use watm_guest::{Codec, Error, Output};

use super::*;
use crate::config::Config;
use crate::frames::{Decoder, Encoder};
use crate::handshake::Side;
use crate::padding::Padding;

/// The codecs of one direction, of a connection of its own.
fn direction(padding: &Padding) -> (Encoder, Decoder) {
    let pair = pair("NNpsk0", "");
    let keys = Config::parse(pair.dialer.as_bytes())
        .expect("it is right")
        .keys;
    let start = |side| keys.start(side, b"", None).expect("all keys are there");
    let (mut dialer, mut listener) = (start(Side::Dialer), start(Side::Listener));
    let mut message = [0; 100];
    for is_first in [true, false] {
        let (from, to) = match is_first {
            true => (&mut dialer, &mut listener),
            false => (&mut listener, &mut dialer),
        };
        let length = from.write_message(&[], &mut message).expect("a message");
        to.read_message(&message[..length], &mut [])
            .expect("it is read");
    }
    let share = |state: snow::HandshakeState| {
        Rc::new(RefCell::new(
            state.into_transport_mode().expect("it is over"),
        ))
    };
    let encoder = Encoder::new(share(dialer), padding.clone());
    (encoder, Decoder::new(share(listener)))
}

fn padded() -> Padding {
    Padding::of(&[(64, 2), (100, 1), (1400, 1)]).expect("a distribution")
}

/// What a decoder delivers of these bytes and how it ends, with pieces of `piece` bytes.
fn decode(decoder: &mut Decoder, wire: &[u8], piece: usize) -> (Vec<u8>, Result<(), Error>) {
    let mut output = Output::new();
    let mut rest = Vec::new();
    for piece in wire.chunks(piece) {
        rest.extend_from_slice(piece);
        loop {
            let before = output.len();
            match decoder.transform(&rest, &mut output) {
                Ok(0) => break,
                Ok(taken) => drop(rest.drain(..taken)),
                // As the worker does: what the failed call has made is dropped.
                Err(error) => return (output.as_slice()[..before].to_vec(), Err(error)),
            }
        }
    }
    let result = decoder.finish(&rest, &mut output);
    (output.as_slice().to_vec(), result)
}

#[test]
fn a_byte_altered_anywhere_is_an_error_and_nothing_is_delivered_from_there_on() {
    for padding in [Padding::none(), padded()] {
        let sent = data(500);
        let wire_of = |encoder: &mut Encoder| run(encoder, &sent, 90).expect("it never fails");
        let length = wire_of(&mut direction(&padding).0).len();
        for position in 0..length {
            let (mut encoder, mut decoder) = direction(&padding);
            let mut wire = wire_of(&mut encoder);
            // With padding, lengths differ from one connection to the next.
            let position = position % wire.len();
            wire[position] ^= 1 << (position % 8);
            let (received, result) = decode(&mut decoder, &wire, 64);
            assert_eq!(result, Err(Error::PROTO));
            assert!(sent.starts_with(&received));
            assert!(
                received.len() <= position,
                "{} > {position}",
                received.len()
            );
        }
    }
}

#[test]
fn a_stream_cut_anywhere_is_an_error() {
    for padding in [Padding::none(), padded()] {
        let sent = data(300);
        let length = {
            let (mut encoder, _) = direction(&padding);
            run(&mut encoder, &sent, 90).expect("it never fails").len()
        };
        for cut in 0..length {
            let (mut encoder, mut decoder) = direction(&padding);
            let wire = run(&mut encoder, &sent, 90).expect("it never fails");
            let cut = cut.min(wire.len() - 1);
            let (received, result) = decode(&mut decoder, &wire[..cut], 1000);
            assert_eq!(result, Err(Error::PROTO));
            assert!(sent.starts_with(&received));
        }
    }
}

#[test]
fn nothing_may_follow_the_last_frame() {
    let (mut encoder, mut decoder) = direction(&Padding::none());
    let mut wire = run(&mut encoder, b"all", 10).expect("it never fails");
    wire.push(0);
    let (received, result) = decode(&mut decoder, &wire, 1000);
    assert_eq!((&received[..], result), (&b"all"[..], Err(Error::PROTO)));
}

#[test]
fn frames_cannot_be_left_out_repeated_or_swapped() {
    let frame = crate::frames::OVERHEAD + 10;
    for order in [&[1, 2][..], &[0, 0], &[0, 2, 1], &[2]] {
        let (mut encoder, mut decoder) = direction(&Padding::none());
        let wire = run(&mut encoder, &data(30), 10).expect("it never fails");
        let moved: Vec<u8> = order
            .iter()
            .flat_map(|&index: &usize| wire[index * frame..(index + 1) * frame].to_vec())
            .collect();
        let (_, result) = decode(&mut decoder, &moved, 1000);
        assert_eq!(result, Err(Error::PROTO), "{order:?}");
    }
}

#[test]
fn frames_of_another_connection_are_refused() {
    let (mut encoder, _) = direction(&Padding::none());
    let (_, mut decoder) = direction(&Padding::none());
    let wire = run(&mut encoder, b"hello", 10).expect("it never fails");
    assert_eq!(
        decode(&mut decoder, &wire, 100),
        (Vec::new(), Err(Error::PROTO))
    );
}

#[test]
fn both_sides_change_their_keys_at_the_same_frame() {
    let (mut encoder, mut decoder) = direction(&Padding::none());
    let sent = data(3 * 4096 + 5);
    // A frame for each byte.
    let wire = run(&mut encoder, &sent, 1).expect("it never fails");
    let (received, result) = decode(&mut decoder, &wire, 100_000);
    assert_eq!(result, Ok(()));
    assert!(received == sent);
}

#[test]
fn the_lengths_of_frames_are_those_of_the_distribution_whatever_they_carry() {
    let padding = Padding::of(&[(64, 3), (256, 1), (1400, 1)]).expect("a distribution");
    let (mut encoder, _) = direction(&padding);
    let mut counts = [0_i32; 3];
    let frames = 4000;
    for number in 0..frames {
        let mut output = Output::new();
        // Short ones fit each frame. Frames beyond the first follow one that was too short.
        let input = vec![7; 1 + number % 20];
        let taken = encoder
            .transform(&input, &mut output)
            .expect("it never fails");
        assert_eq!(taken, input.len());
        let found = [64, 256, 1400]
            .iter()
            .position(|&length| length == output.len());
        counts[found.expect("one of the lengths")] += 1;
    }
    // The standard deviation is below 32.
    for (count, expected) in counts.into_iter().zip([2400, 800, 800]) {
        assert!((count - expected).abs() < 300, "{counts:?}");
    }
}

#[test]
fn a_large_write_stops_when_the_output_is_full_and_goes_on() {
    let (mut encoder, mut decoder) = direction(&padded());
    let sent = data(400_000);
    let wire = run(&mut encoder, &sent, 400_000).expect("it never fails");
    let (received, result) = decode(&mut decoder, &wire, 16_384);
    assert_eq!(result, Ok(()));
    assert!(received == sent);
}

#[test]
fn the_last_number_of_a_message_is_an_error_and_no_panic() {
    let (mut encoder, mut decoder) = direction(&Padding::none());
    encoder.count_from(u64::MAX >> 2);
    let mut output = Output::new();
    assert_eq!(encoder.transform(b"one", &mut output), Ok(3));
    assert_eq!(encoder.transform(b"two", &mut output), Err(Error::OVERFLOW));
    decoder.set_nonce(u64::MAX);
    let wire = output.as_slice().to_vec();
    assert_eq!(
        decode(&mut decoder, &wire, 100),
        (Vec::new(), Err(Error::OVERFLOW))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_pass_in_any_pieces(
        sent in proptest::collection::vec(any::<u8>(), 0..5000),
        write in 1_usize..3000,
        read in 1_usize..3000,
        is_padded: bool,
    ) {
        let padding = if is_padded { padded() } else { Padding::none() };
        for read in [1, read] {
            let (mut encoder, mut decoder) = direction(&padding);
            let wire = run(&mut encoder, &sent, write).expect("it never fails");
            let (received, result) = decode(&mut decoder, &wire, read);
            prop_assert_eq!(result, Ok(()));
            prop_assert!(received == sent);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_deliver(
        wire in proptest::collection::vec(any::<u8>(), 1..3000),
        piece in 1_usize..500,
    ) {
        let (_, mut decoder) = direction(&Padding::none());
        prop_assert_eq!(decode(&mut decoder, &wire, piece), (Vec::new(), Err(Error::PROTO)));
    }
}
