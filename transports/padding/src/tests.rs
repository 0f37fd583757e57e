//! Tests of the whole transport: connections over wires in memory, and the streams alone.

mod connections;
mod streams;

use crate::config::Config;
use crate::records::{Decoder, Encoder};

/// Configurations of each kind.
const ALL: [&str; 5] = [
    r#"{"padding": "none"}"#,
    r#"{"padding": {"bytes": [0, 255]}}"#,
    r#"{"padding": {"sizes": [[16, 2], [100, 1], [1400, 1]]}}"#,
    r#"{"padding": "none", "first": {"records": 3, "padding": {"bytes": [100, 900]}}}"#,
    r#"{"padding": {"bytes": [16384, 16384]}, "opening": {"bytes": [16384, 16384]}}"#,
];

fn encoder(json: &str) -> Encoder {
    let config = Config::parse(Some(json.as_bytes())).expect("a configuration");
    Encoder::new(config.padding)
}

/// A whole stream: its opening and what an encoder makes of `data`, written in pieces.
fn stream(json: &str, data: &[u8], piece: usize) -> Vec<u8> {
    let mut encoder = encoder(json);
    let mut output = watm_guest::Output::new();
    encoder.open(&mut output).expect("it never fails");
    let mut stream = output.as_slice().to_vec();
    stream.extend(watm_guest::testing::run(&mut encoder, data, piece).expect("it never fails"));
    stream
}

/// The data, the padding and the mark of the opening and of each record of a stream.
fn records(stream: &[u8]) -> Vec<(usize, usize, bool)> {
    assert_eq!(stream[..2], [0x50, 0x01]);
    let mut stream = &[&[0; 2], &stream[2..]].concat()[..];
    let mut found = Vec::new();
    while let [a, b, c, d, rest @ ..] = stream {
        let first = usize::from(u16::from_be_bytes([*a, *b]));
        let (data, is_last) = (first & 0x7fff, first > 0x7fff);
        let padding = usize::from(u16::from_be_bytes([*c, *d]));
        found.push((data, padding, is_last));
        stream = &rest[data + padding..];
    }
    assert!(stream.is_empty());
    found
}

/// What a decoder delivers of these bytes in pieces, and how it ends.
fn decode(bytes: &[u8], piece: usize) -> (Vec<u8>, Result<(), watm_guest::Error>) {
    use watm_guest::Codec;

    let mut decoder = Decoder::new();
    let mut output = watm_guest::Output::new();
    let mut rest = Vec::new();
    for piece in bytes.chunks(piece) {
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

/// An opening without padding.
const OPENING: [u8; 4] = [0x50, 0x01, 0, 0];

/// Bytes without a zero, so that they differ from padding.
fn data(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number % 251 + 1) as u8).collect()
}
