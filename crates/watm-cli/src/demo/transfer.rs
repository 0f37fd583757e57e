//! One direction of the demonstration: the sample goes in at one end and is hashed at the other.
//!
//! The directions take turns. Many modules stop reading while they wait to write. Two of them that
//! are flooded from both sides would wait for each other forever.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::sample::Sample;
use crate::terminal::failure::Failure;

const BUFFER: usize = 64 * 1024;

/// What came out.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) time: Duration,
}

impl Received {
    /// Whether this is the sample, byte for byte.
    pub(super) fn is(&self, sample: &Sample) -> bool {
        self.bytes == sample.size() && self.sha256 == *sample.sha256()
    }
}

/// Sends the sample into one stream and receives it from the other. The streams' own timeouts end a
/// stuck transfer.
pub(super) fn transfer(
    sample: &Sample,
    into: impl Write + Send,
    from: impl Read,
) -> Result<Received, Failure> {
    let (sent, received) = thread::scope(|scope| {
        let sender = thread::Builder::new()
            .name("watm-demo".into())
            .spawn_scoped(scope, || sample.send(into))?;
        let received = receive(from, sample.size());
        let sent = sender.join();
        let panicked = |_| Err(io::Error::other("the sending thread panicked"));
        Ok((sent.unwrap_or_else(panicked), received))
    })
    .map_err(|error: io::Error| Failure::because("cannot start a thread", error))?;
    // A failure to receive is a consequence of a failure to send.
    sent.map_err(|error| Failure::because("the file could not be sent", readable(error)))?;
    received.map_err(|error| Failure::because("the file did not arrive", readable(error)))
}

/// Replaces the errors of timeouts, whose own texts do not mention the time.
fn readable(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            "it is stuck: no byte moved for some time",
        ),
        _ => error,
    }
}

/// Reads up to `size` bytes, or to the end of the stream.
fn receive(mut from: impl Read, size: u64) -> io::Result<Received> {
    let start = Instant::now();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    // The last read may get more than the size, so that extra bytes do not go unnoticed.
    while bytes < size {
        match from.read(&mut buffer)? {
            0 => break,
            length => {
                hash.update(&buffer[..length]);
                bytes += length as u64;
            }
        }
    }
    Ok(Received {
        bytes,
        sha256: hash.finalize().into(),
        time: start.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiving_ends_with_the_size_or_with_the_stream() {
        let data = [7; 100_000];
        let whole = receive(&data[..], 100_000).expect("received");
        assert_eq!(whole.bytes, 100_000);
        assert_eq!(whole.sha256, <[u8; 32]>::from(Sha256::digest(data)));
        assert_eq!(receive(&data[..10], 100_000).expect("received").bytes, 10);
        assert_eq!(receive(&data[..10], 0).expect("received").bytes, 0);
    }

    #[test]
    fn a_changed_byte_does_not_pass_for_the_sample() {
        let sample = Sample::make(1000).expect("a file");
        let mut copy = Vec::new();
        sample.send(&mut copy).expect("sent");
        let received = |copy: &[u8]| transfer(&sample, io::sink(), copy).expect("a transfer");
        assert!(received(&copy).is(&sample));
        assert!(!received(&copy[..999]).is(&sample));
        copy[500] ^= 1;
        assert!(!received(&copy).is(&sample));
    }
}
