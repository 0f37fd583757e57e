//! Streams, without a network.

use proptest::prelude::*;
use watm_guest::{Codec, Error, Output};

use super::*;
use crate::header::{DATA, ZEROS};

#[test]
fn all_bytes_that_are_not_data_are_zeros() {
    for json in ALL {
        let sent = data(3000);
        let stream = stream(json, &sent, 700);
        let records = records(&stream);
        let (mut rest, mut received) = (&stream[..], Vec::new());
        for (length, padding, _) in records {
            received.extend_from_slice(&rest[4..4 + length]);
            assert_eq!(rest[4 + length..4 + length + padding], vec![0; padding]);
            rest = &rest[4 + length + padding..];
        }
        assert_eq!(received, sent);
    }
}

#[test]
fn a_stream_begins_with_an_opening_and_only_its_last_record_is_marked() {
    for json in ALL {
        for length in [0, 1, 5000] {
            let records = records(&stream(json, &data(length), 1000));
            let marks: Vec<bool> = records.iter().map(|&(.., is_last)| is_last).collect();
            assert_eq!(records[0].0, 0);
            assert!(!marks[0] && marks[marks.len() - 1]);
            assert_eq!(marks.iter().filter(|&&is_last| is_last).count(), 1);
        }
    }
}

#[test]
fn the_sizes_of_records_tell_nothing_of_short_messages_nor_of_the_end() {
    let mut counts = [0_i32; 2];
    for length in [0, 1, 90].repeat(200) {
        let json = r#"{"padding": {"sizes": [[100, 3], [500, 1]]}}"#;
        for (data, padding, _) in records(&stream(json, &data(length), 90)) {
            match 4 + data + padding {
                100 => counts[0] += 1,
                500 => counts[1] += 1,
                size => panic!("a record of {size} bytes"),
            }
        }
    }
    // The opening, the end, and one between if there is data. The standard deviation is 17.
    assert_eq!(counts[0] + counts[1], 1600);
    assert!((counts[0] - 1200).abs() < 170, "{counts:?}");
}

#[test]
fn bulk_costs_no_more_than_a_header_for_each_16_kib() {
    let stream = stream(ALL[0], &data(160 * 1024), 64 * 1024);
    // The opening and the end have no data.
    assert_eq!(stream.len(), 160 * 1024 + (10 + 2) * 4);
}

#[test]
fn a_stream_cut_anywhere_is_an_error_and_what_came_before_is_delivered() {
    for json in &ALL[..4] {
        let sent = data(300);
        let stream = stream(json, &sent, 90);
        for cut in 0..stream.len() {
            let (received, result) = decode(&stream[..cut], 1000);
            assert_eq!(result, Err(Error::PROTO), "cut at {cut}");
            assert!(sent.starts_with(&received));
        }
        assert_eq!(decode(&stream, 1000), (sent, Ok(())));
    }
}

#[test]
fn nothing_may_follow_the_last_record() {
    let mut stream = stream(ALL[1], b"all", 10);
    stream.push(0);
    assert_eq!(decode(&stream, 1000), (b"all".to_vec(), Err(Error::PROTO)));
}

#[test]
fn padding_that_is_not_zeros_is_an_error_after_what_came_before_it() {
    let stream = stream(r#"{"padding": {"bytes": [20, 20]}}"#, b"data", 10);
    let first = 4 + 20 + 4 + 4;
    for position in first..first + 20 {
        let mut altered = stream.clone();
        altered[position] = 1;
        for piece in [1, 1000] {
            let expected = (b"data".to_vec(), Err(Error::PROTO));
            assert_eq!(decode(&altered, piece), expected);
        }
    }
}

#[test]
fn lengths_beyond_the_limits_are_refused_before_their_bytes_come() {
    let decode = |header: [[u8; 2]; 2]| {
        let mut decoder = Decoder::after_opening();
        decoder.transform(header.as_flattened(), &mut Output::new())
    };
    let bytes = |length: usize| u16::try_from(length).expect("two bytes").to_be_bytes();
    assert_eq!(decode([bytes(DATA), bytes(ZEROS)]), Ok(4));
    for header in [
        [bytes(DATA + 1), [0; 2]],
        [[0; 2], bytes(ZEROS + 1)],
        [[0xff; 2], [0; 2]],
    ] {
        assert_eq!(decode(header), Err(Error::PROTO));
    }
}

#[test]
fn a_stream_that_does_not_begin_with_an_opening_is_refused() {
    for bytes in [
        &b"GET / HTTP/1.1"[..],
        &[0; 90],
        b"\x50\x02\0\0",
        b"\x80\0\0\0",
    ] {
        assert_eq!(decode(bytes, 1000), (Vec::new(), Err(Error::PROTO)));
    }
}

#[test]
fn data_passes_before_its_record_is_complete() {
    let mut decoder = Decoder::new();
    let mut output = Output::new();
    // An opening, and a record of 10 bytes and 5 of padding that has just begun.
    let bytes = b"\x50\x01\0\0\0\x0a\0\x05abc";
    let mut taken = 0;
    while taken < bytes.len() {
        taken += decoder
            .transform(&bytes[taken..], &mut output)
            .expect("it is right");
    }
    assert_eq!(output.as_slice(), b"abc");
}

#[test]
fn a_large_write_stops_when_the_output_is_full_and_goes_on() {
    for json in ALL {
        let mut encoder = encoder(json);
        let mut output = Output::new();
        let sent = data(1 << 20);
        let taken = encoder
            .transform(&sent, &mut output)
            .expect("it never fails");
        assert!(taken < sent.len() && output.is_full());
        // A record more than the limit at most.
        assert!(output.len() < 64 * 1024 + 4 + DATA + ZEROS);
        let stream = stream(json, &sent, 1 << 20);
        assert_eq!(decode(&stream, 50_000), (sent, Ok(())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_pass_in_any_pieces(
        sent in proptest::collection::vec(any::<u8>(), 0..5000),
        write in 1_usize..3000,
        read in 1_usize..3000,
        kind in 0..ALL.len() - 1,
    ) {
        let stream = stream(ALL[kind], &sent, write);
        for read in [1, read] {
            let (received, result) = decode(&stream, read);
            prop_assert_eq!(result, Ok(()));
            prop_assert!(received == sent);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_deliver_more_than_came(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        piece in 1_usize..500,
    ) {
        // With and without an opening.
        for bytes in [bytes.clone(), [&OPENING[..], &bytes].concat()] {
            let (received, _) = decode(&bytes, piece);
            prop_assert!(received.len() <= bytes.len());
        }
    }

    #[test]
    fn a_bit_altered_anywhere_delivers_no_more_than_was_announced(
        sent in proptest::collection::vec(any::<u8>(), 1..2000),
        position: prop::sample::Index,
        bit in 0..8_u32,
        kind in 0..ALL.len() - 1,
    ) {
        let mut stream = stream(ALL[kind], &sent, 500);
        let position = position.index(stream.len());
        stream[position] ^= 1 << bit;
        let (received, _) = decode(&stream, 700);
        prop_assert!(received.len() <= stream.len());
    }
}
