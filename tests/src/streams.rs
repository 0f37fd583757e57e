//! Small operations on streams. A failure names the caller.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};

use crate::{Pattern, expect_pattern, send_pattern};

/// Reads exactly this many bytes.
#[track_caller]
pub fn read_vec(mut from: impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    if let Err(error) = from.read_exact(&mut bytes) {
        panic!("expected {len} bytes: {error}");
    }
    bytes
}

/// Expects the end of the stream, with nothing before it.
#[track_caller]
pub fn expect_end(mut from: impl Read) {
    let mut buf = [0; 64];
    match from.read(&mut buf) {
        Ok(0) => {}
        Ok(len) => panic!("expected the end, but got {:?}", &buf[..len]),
        Err(error) => panic!("expected the end: {error}"),
    }
}

/// Reads until a reset, and expects one. An end of stream would pass for the end of the data.
#[track_caller]
pub fn read_to_reset(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match from.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("expected a reset: {error}"),
        Ok(_) => panic!("expected a reset, not an end after {} bytes", bytes.len()),
    }
}

/// Expects a reset, with nothing before it.
#[track_caller]
pub fn expect_reset(from: impl Read) {
    let bytes = read_to_reset(from);
    assert!(
        bytes.is_empty(),
        "expected a reset, but got {} bytes",
        bytes.len()
    );
}

/// Expects that an operation would have to wait.
#[track_caller]
pub fn assert_would_block<T: Debug>(result: io::Result<T>) {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("expected it to wait, but got {other:?}"),
    }
}

/// Reads to the end of the stream, and expects no more than `seen` already contains.
#[track_caller]
pub fn expect_nothing_more(mut from: impl Read) {
    let mut rest = Vec::new();
    match from.read_to_end(&mut rest) {
        Ok(0) => {}
        Ok(len) => panic!("{len} more bytes came: {:?}", &rest[..len.min(64)]),
        Err(error) => panic!("expected the end: {error}"),
    }
}

/// Reads little-endian `i32`s until the stream ends. Small guests report their findings this way.
#[track_caller]
pub fn read_numbers(mut from: impl Read) -> Vec<i32> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)
        .expect("the report and the end");
    numbers(&bytes)
}

/// The same for a guest that has met a reset.
#[track_caller]
pub fn read_numbers_to_reset(from: impl Read) -> Vec<i32> {
    numbers(&read_to_reset(from))
}

#[track_caller]
fn numbers(bytes: &[u8]) -> Vec<i32> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(
        rest.is_empty(),
        "{} bytes are not whole numbers",
        bytes.len()
    );
    numbers
        .iter()
        .map(|number| i32::from_le_bytes(*number))
        .collect()
}

/// Sends messages of different lengths, one at a time, and expects each back before it sends the
/// next.
#[track_caller]
pub fn echo_messages(mut conn: impl Read + Write) {
    let mut pattern = Pattern::new(1);
    for len in [1, 2, 3, 100, 1000, 1024, 1025, 5000, 64 * 1024, 100_000] {
        let message = pattern.take(len);
        conn.write_all(&message).expect("room");
        assert!(
            read_vec(&mut conn, len) == message,
            "a message of {len} came back changed"
        );
    }
}

/// Moves `total` bytes in both directions at once, in writes of `piece` bytes, and checks every
/// byte.
#[track_caller]
pub fn exchange<A: Sync, B: Sync>(a: &A, b: &B, total: u64, piece: usize)
where
    for<'s> &'s A: Read + Write,
    for<'s> &'s B: Read + Write,
{
    std::thread::scope(|scope| {
        scope.spawn(|| send_pattern(a, 1, total, piece));
        scope.spawn(|| send_pattern(b, 2, total, piece));
        scope.spawn(|| expect_pattern(a, 2, total));
        scope.spawn(|| expect_pattern(b, 1, total));
    });
}

/// Sends messages of different lengths up to `longest` in both directions, one at a time. Expects
/// each on the other side as a whole, in one read, as changed by `through`.
#[track_caller]
pub fn alternate<A, B>(a: &A, b: &B, longest: usize, through: impl Fn(&mut [u8]))
where
    for<'s> &'s A: Read + Write,
    for<'s> &'s B: Read + Write,
{
    let mut pattern = Pattern::new(5);
    let lengths = [1, 2, 3, 64, 255, 256, 700, 1000, 1023, 1024, 4096, 16_384];
    for len in lengths.into_iter().filter(|len| *len <= longest) {
        let there = pattern.take(len);
        let back = pattern.take(len);
        (&mut &*a).write_all(&there).expect("room");
        expect_message(b, there, &through);
        (&mut &*b).write_all(&back).expect("room");
        expect_message(a, back, &through);
    }
}

#[track_caller]
fn expect_message(from: impl Read, mut sent: Vec<u8>, through: &impl Fn(&mut [u8])) {
    let found = read_vec(from, sent.len());
    through(&mut sent);
    assert!(found == sent, "a message of {} came out wrong", sent.len());
}
