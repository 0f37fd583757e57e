//! Byte streams that need no storage: the position determines each byte. A lost, duplicated or
//! swapped byte is found at once, however long the stream is.

use std::io::{Read, Write};

/// A pseudo-random stream and a position in it.
#[derive(Clone, Debug)]
pub struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    /// The stream with this seed, from its start.
    pub fn new(seed: u64) -> Self {
        Self { seed, position: 0 }
    }

    /// Number of bytes taken or checked so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes.
    pub fn fill(&mut self, buf: &mut [u8]) {
        let skip = (self.position % 8) as usize;
        let mut word = self.position / 8;
        self.position += buf.len() as u64;
        let head = buf.len().min((8 - skip) % 8);
        let (first, rest) = buf.split_at_mut(head);
        if head > 0 {
            first.copy_from_slice(&self.word(word)[skip..skip + head]);
            word += 1;
        }
        let mut chunks = rest.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.word(word));
            word += 1;
        }
        let last = chunks.into_remainder();
        let len = last.len();
        last.copy_from_slice(&self.word(word)[..len]);
    }

    /// The next bytes as a vector.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Checks that these are the next bytes.
    ///
    /// # Panics
    ///
    /// Panics if they are not, with the position of the first difference.
    #[track_caller]
    pub fn check(&mut self, found: &[u8]) {
        let mut expected = [0; 4096];
        for piece in found.chunks(expected.len()) {
            let at = self.position;
            let expected = &mut expected[..piece.len()];
            self.fill(expected);
            if piece != expected {
                let first = piece.iter().zip(&*expected).position(|(a, b)| a != b);
                let first = first.unwrap_or(0);
                panic!(
                    "byte {} of the stream is {:#04x}, expected {:#04x}",
                    at + first as u64,
                    piece[first],
                    expected[first]
                );
            }
        }
    }

    fn word(&self, index: u64) -> [u8; 8] {
        let mut z = self
            .seed
            .wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

/// Writes the first `total` bytes of a stream, in writes of `piece` bytes.
#[track_caller]
pub fn send_pattern(mut to: impl Write, seed: u64, total: u64, piece: usize) {
    let mut pattern = Pattern::new(seed);
    let mut buf = vec![0; piece];
    while pattern.position() < total {
        let at = pattern.position();
        let len = (total - at).min(piece as u64) as usize;
        pattern.fill(&mut buf[..len]);
        if let Err(error) = to.write_all(&buf[..len]) {
            panic!("writing failed after byte {at} of {total}: {error}");
        }
    }
}

/// Reads `total` bytes and checks each of them.
#[track_caller]
pub fn expect_pattern(mut from: impl Read, seed: u64, total: u64) {
    let mut pattern = Pattern::new(seed);
    let mut buf = vec![0; 64 * 1024];
    while pattern.position() < total {
        let at = pattern.position();
        let len = (total - at).min(buf.len() as u64) as usize;
        match from.read(&mut buf[..len]) {
            Ok(0) => panic!("the stream ended at byte {at} of {total}"),
            Ok(len) => pattern.check(&buf[..len]),
            Err(error) => panic!("reading failed at byte {at} of {total}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let whole = Pattern::new(7).take(1000);
        let mut cut = Pattern::new(7);
        let mut pieces = Vec::new();
        for len in [1, 2, 3, 0, 7, 8, 9, 20, 400, 550] {
            pieces.extend(cut.take(len));
        }
        assert_eq!(whole, pieces);
        assert_ne!(whole, Pattern::new(8).take(1000));
    }

    #[test]
    fn a_wrong_byte_is_found_at_its_place() {
        for place in [0usize, 5, 4095, 4096, 9999] {
            let mut bytes = Pattern::new(3).take(10_000);
            bytes[place] ^= 1;
            let found = std::panic::catch_unwind(|| Pattern::new(3).check(&bytes));
            let message = *found
                .expect_err("it differs")
                .downcast::<String>()
                .expect("text");
            assert!(message.starts_with(&format!("byte {place} ")), "{message}");
        }
    }
}
