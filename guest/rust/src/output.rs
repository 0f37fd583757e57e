//! Where codecs put what they make: one buffer, used again and again.

use std::io;

use crate::worker::Limits;

/// Where a [`Codec`](crate::Codec) puts the bytes that it makes.
///
/// It grows as needed, keeps its memory, and is written from its start. It is also an
/// [`io::Write`], which never fails.
///
/// ```
/// use watm_guest::Output;
///
/// let mut output = Output::new();
/// output.push(&[0, 5]);                          // a header,
/// let body = output.push(b"hello");              // what follows it,
/// body.make_ascii_uppercase();                   // changed in place,
/// output.grow(2).copy_from_slice(&[7, 7]);       // and a checksum
/// assert_eq!(output.as_slice(), b"\0\x05HELLO\x07\x07");
/// ```
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    /// Those before it are written.
    start: usize,
    limit: usize,
}

impl Output {
    /// An empty output for tests of a codec, with the limit that [`Transport`](crate::Transport)
    /// has by default.
    pub fn new() -> Self {
        Output::with_limit(Limits::DEFAULT.output)
    }

    /// An empty output that is full from `limit` bytes on, at least one.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Output {
            bytes: Vec::new(),
            start: 0,
            limit: limit.max(1),
        }
    }

    /// Appends a copy of `bytes`, and returns the copy for changes in place.
    pub fn push(&mut self, bytes: &[u8]) -> &mut [u8] {
        let end = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        &mut self.bytes[end..]
    }

    /// Appends `length` zero bytes, and returns them to be filled in.
    pub fn grow(&mut self, length: usize) -> &mut [u8] {
        let end = self.bytes.len();
        self.bytes.resize(end + length, 0);
        &mut self.bytes[end..]
    }

    /// All bytes that are not yet written, also those of earlier calls.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes are not yet written.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether all bytes are written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has as many bytes as a codec may make before they are written.
    ///
    /// A codec that makes much of little, such as a decompressor, asks between pieces, and returns
    /// when the output is full. It is called again when the bytes are written. Others need not ask:
    /// an output takes whatever is put into it.
    ///
    /// The limit is [`Transport::OUTPUT_LIMIT`](crate::Transport::OUTPUT_LIMIT).
    ///
    /// ```
    /// use watm_guest::{Codec, Output, Result};
    ///
    /// /// Bytes that are each repeated a million times, in pieces.
    /// #[derive(Default)]
    /// struct Repeat {
    ///     left: usize,
    /// }
    ///
    /// impl Codec for Repeat {
    ///     fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
    ///         const PIECE: usize = 10_000;
    ///         for (taken, &byte) in input.iter().enumerate() {
    ///             if self.left == 0 {
    ///                 self.left = 1_000_000;
    ///             }
    ///             while self.left > 0 {
    ///                 if output.is_full() {
    ///                     return Ok(taken);
    ///                 }
    ///                 output.grow(PIECE).fill(byte);
    ///                 self.left -= PIECE;
    ///             }
    ///         }
    ///         Ok(input.len())
    ///     }
    /// }
    /// # let made = watm_guest::testing::run(&mut Repeat::default(), b"abc", 1)?;
    /// # assert_eq!((made.len(), made[1_500_000]), (3_000_000, b'b'));
    /// # Ok::<(), watm_guest::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// How many bytes are left until it [is full](Self::is_full).
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Takes off what was written.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.bytes.len());
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Drops what was put in since it had `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(self.start + length);
    }
}

impl Default for Output {
    fn default() -> Self {
        Output::new()
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Extend<u8> for Output {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.bytes.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_written_is_taken_off_the_start() {
        let mut output = Output::with_limit(4);
        output.push(b"abc");
        assert!(!output.is_full());
        assert_eq!(output.room(), 1);
        output.push(b"de");
        assert!(output.is_full());
        assert_eq!(output.room(), 0);
        output.consume(2);
        assert_eq!(output.as_slice(), b"cde");
        assert!(!output.is_full());
        output.consume(3);
        assert!(output.is_empty());
    }

    #[test]
    fn a_failed_call_leaves_no_trace() {
        let mut output = Output::new();
        output.push(b"abc");
        output.consume(1);
        let before = output.len();
        output.push(b"def");
        output.truncate(before);
        assert_eq!(output.as_slice(), b"bc");
    }

    #[test]
    fn it_keeps_its_memory() {
        let mut output = Output::new();
        output.push(&[1; 1000]);
        let capacity = output.bytes.capacity();
        for _ in 0..10 {
            output.consume(output.len());
            output.push(&[2; 1000]);
        }
        assert_eq!(output.bytes.capacity(), capacity);
    }

    #[test]
    fn it_is_a_writer() {
        let mut output = Output::new();
        write!(output, "{}-{}", 1, 2).expect("it never fails");
        output.flush().expect("it never fails");
        output.extend([b'!']);
        assert_eq!(output.as_slice(), b"1-2!");
    }
}
