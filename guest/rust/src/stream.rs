//! The network's stream during the handshake: blocking, and buffered in both directions.
//!
//! Must never know what is behind it: a descriptor in a module, a pipe in a test.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::rc::Rc;

use crate::error::{Error, Result};

/// Bytes that are read ahead at most, and collected before they are written.
const BUFFER: usize = 4096;

/// A stream of bytes to the peer that may refuse for now, and can wait until it does not.
pub(crate) trait Io {
    /// Reads some bytes; none only at the end of the stream.
    fn try_read(&self, buffer: &mut [u8]) -> Result<usize>;
    /// Writes some bytes.
    fn try_write(&self, bytes: &[u8]) -> Result<usize>;
    /// Waits until there is something to read.
    fn wait_readable(&self) -> Result<()>;
    /// Waits until there is room to write.
    fn wait_writable(&self) -> Result<()>;
}

/// The network's stream during the handshake.
///
/// It reads and writes like any blocking stream of `std`: [`Read::read_exact`] waits for all bytes,
/// [`BufRead`] reads lines, and so on. It is buffered in both directions:
///
/// - What is written leaves before the next read that has to wait, when the handshake ends, or with
///   [`Write::flush`]. A greeting in three parts is one piece on the wire.
/// - What was read ahead and is left when the handshake ends is the decoder's first input. A
///   handshake that reads with a buffer of its own gives back the rest with
///   [`unread`](Self::unread).
///
/// ```
/// use std::io::{BufRead, Write};
/// use watm_guest::{Error, Result, Stream};
///
/// fn ask(stream: &mut Stream, name: &str) -> Result<()> {
///     write!(stream, "HELLO {name}\r\n")?;
///     let mut answer = String::new();
///     stream.read_line(&mut answer)?;
///     if answer == "WELCOME\r\n" {
///         Ok(())
///     } else {
///         Err(Error::PROTO)
///     }
/// }
/// ```
///
/// A peer can send a line without an end: bound what such a call may read, with [`Read::take`].
pub struct Stream {
    io: Rc<dyn Io>,
    /// What was read ahead, from `start` on.
    ahead: Vec<u8>,
    start: usize,
    /// What is not yet written.
    behind: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(io: Rc<dyn Io>) -> Self {
        Stream {
            io,
            ahead: Vec::new(),
            start: 0,
            behind: Vec::new(),
        }
    }

    /// Gives bytes back: they are read next, or are the decoder's first input.
    ///
    /// ```
    /// use std::io::Read;
    /// use watm_guest::{Error, Result, Stream};
    ///
    /// /// Reads a header of up to 64 bytes, which ends with an empty line.
    /// fn header(stream: &mut Stream) -> Result<Vec<u8>> {
    ///     let mut read = vec![0; 64];
    ///     let mut length = 0;
    ///     loop {
    ///         match stream.read(&mut read[length..])? {
    ///             0 => return Err(Error::PROTO),
    ///             more => length += more,
    ///         }
    ///         if let Some(end) = read[..length].windows(2).position(|two| two == b"\n\n") {
    ///             stream.unread(&read[end + 2..length]);
    ///             read.truncate(end);
    ///             return Ok(read);
    ///         }
    ///     }
    /// }
    /// ```
    pub fn unread(&mut self, bytes: &[u8]) {
        self.ahead.splice(..self.start, bytes.iter().copied());
        self.start = 0;
    }

    /// What was read ahead and nobody has asked for.
    pub(crate) fn into_unread(mut self) -> Vec<u8> {
        self.ahead.drain(..self.start);
        self.ahead
    }

    fn is_drained(&self) -> bool {
        self.start >= self.ahead.len()
    }

    /// Reads from the peer, and waits if there is nothing.
    fn receive(io: &dyn Io, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match io.try_read(buffer) {
                Err(Error::AGAIN) => io.wait_readable()?,
                Err(Error::INTR) => {}
                result => return result,
            }
        }
    }

    /// Writes all that is collected, and waits if there is no room.
    fn send(&mut self) -> Result<()> {
        let mut written = 0;
        let result = loop {
            if written >= self.behind.len() {
                break Ok(());
            }
            match self.io.try_write(&self.behind[written..]) {
                Ok(0) | Err(Error::AGAIN) => {
                    if let Err(error) = self.io.wait_writable() {
                        break Err(error);
                    }
                }
                Ok(length) => written += length,
                Err(Error::INTR) => {}
                Err(error) => break Err(error),
            }
        };
        self.behind.drain(..written.min(self.behind.len()));
        result
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.is_drained() && buffer.len() >= BUFFER {
            self.send()?;
            return Ok(Stream::receive(&*self.io, buffer)?);
        }
        let ahead = self.fill_buf()?;
        let length = ahead.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ahead[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_drained() {
            self.send()?;
            self.start = 0;
            self.ahead.resize(BUFFER, 0);
            let result = Stream::receive(&*self.io, &mut self.ahead);
            self.ahead.truncate(*result.as_ref().unwrap_or(&0));
            result?;
        }
        Ok(&self.ahead[self.start..])
    }

    fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.ahead.len());
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.behind.len() >= BUFFER {
            self.send()?;
        }
        self.behind.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.send()?)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("read_ahead", &(self.ahead.len() - self.start))
            .field("unwritten", &self.behind.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// Answers reads from a list, takes a few bytes of every other write, and keeps a journal.
    #[derive(Default)]
    struct Peer {
        reads: RefCell<VecDeque<Result<Vec<u8>>>>,
        refuse: RefCell<bool>,
        journal: RefCell<Vec<String>>,
    }

    impl Peer {
        fn new(reads: Vec<Result<Vec<u8>>>) -> Rc<Self> {
            Rc::new(Peer {
                reads: RefCell::new(reads.into()),
                ..Peer::default()
            })
        }

        fn note(&self, text: impl Into<String>) {
            self.journal.borrow_mut().push(text.into());
        }
    }

    impl Io for Peer {
        fn try_read(&self, buffer: &mut [u8]) -> Result<usize> {
            self.note("read");
            let bytes = self
                .reads
                .borrow_mut()
                .pop_front()
                .unwrap_or(Ok(Vec::new()))?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }

        fn try_write(&self, bytes: &[u8]) -> Result<usize> {
            let mut refuse = self.refuse.borrow_mut();
            *refuse = !*refuse;
            if !*refuse {
                return Err(Error::AGAIN);
            }
            let length = bytes.len().min(3);
            self.note(String::from_utf8_lossy(&bytes[..length]));
            Ok(length)
        }

        fn wait_readable(&self) -> Result<()> {
            self.note("wait to read");
            Ok(())
        }

        fn wait_writable(&self) -> Result<()> {
            self.note("wait to write");
            Ok(())
        }
    }

    #[test]
    fn what_is_written_leaves_before_a_read_that_waits() {
        let peer = Peer::new(vec![
            Err(Error::AGAIN),
            Err(Error::INTR),
            Ok(b"yes".to_vec()),
        ]);
        let mut stream = Stream::new(peer.clone());
        stream.write_all(b"12").expect("it is collected");
        stream.write_all(b"345").expect("it is collected");
        assert!(peer.journal.borrow().is_empty());
        stream.read_exact(&mut [0; 3]).expect("the answer");
        let expected = [
            "123",
            "wait to write",
            "45",
            "read",
            "wait to read",
            "read",
            "read",
        ];
        assert_eq!(*peer.journal.borrow(), expected);
    }

    #[test]
    fn a_read_of_nothing_neither_sends_nor_waits() {
        let peer = Peer::new(vec![Err(Error::CONNRESET)]);
        let mut stream = Stream::new(peer.clone());
        stream.write_all(b"12").expect("it is collected");
        assert_eq!(stream.read(&mut []).expect("nothing is read"), 0);
        assert!(peer.journal.borrow().is_empty());
    }

    #[test]
    fn what_is_read_ahead_is_left_for_the_decoder() {
        let peer = Peer::new(vec![Ok(b"line\nrest".to_vec())]);
        let mut stream = Stream::new(peer);
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        assert_eq!(line, "line\n");
        assert_eq!(stream.into_unread(), b"rest");
    }

    #[test]
    fn what_is_given_back_is_read_next() {
        let peer = Peer::new(vec![Ok(b"abcdef".to_vec())]);
        let mut stream = Stream::new(peer);
        let mut three = [0; 3];
        stream.read_exact(&mut three).expect("three bytes");
        stream.unread(b"XY");
        stream.read_exact(&mut three).expect("three bytes");
        assert_eq!(&three, b"XYd");
        stream.unread(b"Z");
        assert_eq!(stream.into_unread(), b"Zef");
    }

    #[test]
    fn a_large_read_needs_no_buffer() {
        let peer = Peer::new(vec![Ok(vec![7; BUFFER])]);
        let mut stream = Stream::new(peer);
        let mut bytes = vec![0; BUFFER];
        assert_eq!(stream.read(&mut bytes).expect("bytes"), BUFFER);
        assert_eq!(stream.ahead.capacity(), 0);
    }

    #[test]
    fn an_error_of_the_peer_keeps_its_number() {
        let peer = Peer::new(vec![Err(Error::CONNRESET)]);
        let error = Stream::new(peer).read(&mut [0]).expect_err("it is reset");
        assert_eq!(Error::from(error), Error::CONNRESET);
    }

    #[test]
    fn a_stream_that_has_ended_reads_nothing_again_and_again() {
        let mut stream = Stream::new(Peer::new(vec![Ok(b"a".to_vec())]));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the end");
        assert_eq!(all, b"a");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        assert!(stream.into_unread().is_empty());
    }
}
