//! Moves bytes that are known to both ends, and says what happened to them on the way.

use std::fmt;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::side::{Side, is_timeout};
use crate::terminal::bytes::count;

/// A transfer that moves no byte for this long is stuck.
pub(super) const STALL: Duration = Duration::from_secs(3);
/// The longest time for one transfer, however steadily it moves.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest time for filling a side.
const FILL_LIMIT: Duration = Duration::from_secs(5);
/// How much a reader asks for at once.
const READ_SIZE: usize = 64 << 10;

/// Bytes that look random and are the same each time.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    // SplitMix64.
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What happened instead of the arrival of all bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Bytes that arrived unchanged before it.
    pub(super) arrived: usize,
    pub(super) expected: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stuck,
    Slow,
    Ended,
    Failed(String),
    Altered,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            arrived, expected, ..
        } = self;
        write!(f, "{arrived} of {} arrived, then ", count(*expected as u64))?;
        match &self.kind {
            Kind::Stuck => write!(f, "nothing for {STALL:?}"),
            Kind::Slow => write!(f, "the {LIMIT:?} for it were over"),
            Kind::Ended => f.write_str("the connection ended"),
            Kind::Failed(error) => write!(f, "the connection failed ({error})"),
            Kind::Altered => f.write_str("other bytes than were sent"),
        }
    }
}

/// Writes all bytes in pieces.
pub(super) fn send(side: &Side, bytes: &[u8], piece: usize) -> io::Result<()> {
    side.set_patience(STALL)?;
    let deadline = Instant::now() + LIMIT;
    for piece in bytes.chunks(piece) {
        let mut side = side;
        side.write_all(piece)?;
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Writes bytes until they are taken or nothing is taken for `patience`. Returns how many were.
pub(super) fn fill(side: &Side, bytes: &[u8], patience: Duration) -> io::Result<usize> {
    side.set_patience(patience)?;
    let deadline = Instant::now() + FILL_LIMIT;
    let mut taken = 0;
    while taken < bytes.len() && Instant::now() < deadline {
        let mut to = side;
        let piece = &bytes[taken..bytes.len().min(taken + READ_SIZE)];
        match to.write(piece) {
            Ok(0) => break,
            Ok(len) => taken += len,
            Err(error) if is_timeout(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Reads until all these bytes have arrived.
pub(super) fn receive(side: &Side, expected: &[u8]) -> Result<(), Trouble> {
    let trouble = |arrived: usize, kind: Kind| Trouble {
        arrived,
        expected: expected.len(),
        kind,
    };
    if let Err(error) = side.set_patience(STALL) {
        return Err(trouble(0, Kind::Failed(error.to_string())));
    }
    let mut buffer = vec![0; READ_SIZE.min(expected.len().max(1))];
    let mut arrived = 0;
    let deadline = Instant::now() + LIMIT;
    while arrived < expected.len() {
        if Instant::now() >= deadline {
            return Err(trouble(arrived, Kind::Slow));
        }
        let room = buffer.len().min(expected.len() - arrived);
        let mut from = side;
        match from.read(&mut buffer[..room]) {
            Ok(0) => return Err(trouble(arrived, Kind::Ended)),
            Ok(len) => {
                let (got, right) = (&buffer[..len], &expected[arrived..arrived + len]);
                if got != right {
                    let same = got.iter().zip(right).take_while(|(a, b)| a == b).count();
                    return Err(trouble(arrived + same, Kind::Altered));
                }
                arrived += len;
            }
            Err(error) if is_timeout(&error) => return Err(trouble(arrived, Kind::Stuck)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(trouble(arrived, Kind::Failed(error.to_string()))),
        }
    }
    Ok(())
}

/// How a side ends after all that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    EndOfStream,
    Failed(String),
    More,
    /// It went on for this long.
    Open(Duration),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfStream => f.write_str("the end of stream"),
            Self::Failed(error) => write!(f, "an error ({error})"),
            Self::More => f.write_str("more bytes than were sent"),
            Self::Open(time) => write!(f, "nothing for {time:?}, and no end"),
        }
    }
}

/// Waits for the end of a side.
pub(super) fn ending(side: &Side, patience: Duration) -> Ending {
    if let Err(error) = side.set_patience(patience) {
        return Ending::Failed(error.to_string());
    }
    let mut from = side;
    match from.read(&mut [0]) {
        Ok(0) => Ending::EndOfStream,
        Ok(_) => Ending::More,
        Err(error) if is_timeout(&error) => Ending::Open(patience),
        Err(error) => Ending::Failed(error.to_string()),
    }
}

/// Reads what comes until the side ends, but not for long. Returns whether it has ended.
pub(super) fn drain(side: &Side, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || side.set_patience(left).is_err() {
            return false;
        }
        let mut from = side;
        match from.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !is_timeout(&error),
        }
    }
}

/// Sends these bytes from one side and receives them at the other.
pub(super) fn transfer(from: &Side, to: &Side, bytes: &[u8], piece: usize) -> Result<(), Trouble> {
    thread::scope(|scope| {
        // If it cannot be sent, it does not arrive.
        scope.spawn(|| send(from, bytes, piece));
        receive(to, bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (Side, Side) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let near = TcpStream::connect(address).expect("a connection");
        let (far, _) = listener.accept().expect("a connection");
        (Side::Tcp(near), Side::Tcp(far))
    }

    #[test]
    fn what_arrives_unchanged_is_no_trouble() {
        let (near, far) = pair();
        let bytes = pattern(1, 300_000);
        assert_eq!(transfer(&near, &far, &bytes, 1000), Ok(()));
        near.end_writing().expect("an end");
        assert_eq!(ending(&far, STALL), Ending::EndOfStream);
    }

    #[test]
    fn the_first_byte_that_differs_is_found() {
        let (near, far) = pair();
        let mut bytes = pattern(1, 3000);
        send(&near, &bytes, 1000).expect("a write");
        bytes[2345] ^= 1;
        let trouble = receive(&far, &bytes).expect_err("it differs");
        assert_eq!((trouble.arrived, trouble.kind), (2345, Kind::Altered));
    }

    #[test]
    fn an_early_end_and_a_reset_are_told_apart() {
        let (near, far) = pair();
        send(&near, &[1; 10], 10).expect("a write");
        drop(near);
        let trouble = receive(&far, &[1; 20]).expect_err("too few");
        assert_eq!((trouble.arrived, trouble.kind), (10, Kind::Ended));
        let (mut near, far) = pair();
        near.reset();
        let trouble = receive(&far, &[1; 20]).expect_err("a reset");
        assert!(matches!(trouble.kind, Kind::Failed(_)), "{trouble}");
    }

    #[test]
    fn patterns_of_different_seeds_differ_and_have_any_length() {
        for len in [0, 1, 7, 8, 9, 1000] {
            assert_eq!(pattern(1, len).len(), len);
        }
        assert_ne!(pattern(1, 100), pattern(2, 100));
    }
}
