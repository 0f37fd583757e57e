//! The body of a stream: chunks, each a sealed length and a sealed payload. Both editions have it.

use watm_guest::{Error, Output, Result};

use crate::cipher::{Cipher, TAG};

/// Bytes of a sealed length.
const SEALED_LENGTH: usize = 2 + TAG;

/// Seals payload into chunks.
pub(crate) struct Sealer {
    cipher: Cipher,
    /// The most bytes of payload in a chunk.
    limit: usize,
}

impl Sealer {
    pub(crate) fn new(cipher: Cipher, limit: usize) -> Self {
        Sealer { cipher, limit }
    }

    /// Appends one message without a length in front: a header, or the payload after it.
    pub(crate) fn message(&mut self, plain: &[u8], output: &mut Output) {
        self.cipher.seal(plain, output);
    }

    /// Appends chunks with all of `payload`.
    pub(crate) fn payload(&mut self, payload: &[u8], output: &mut Output) {
        for piece in payload.chunks(self.limit) {
            // The limit is that of the length.
            self.cipher
                .seal(&(piece.len() as u16).to_be_bytes(), output);
            self.cipher.seal(piece, output);
        }
    }
}

/// Opens chunks.
pub(crate) struct Opener {
    cipher: Cipher,
    limit: usize,
    /// The length of the payload that comes next, if it is known.
    length: Option<usize>,
    /// Bytes of payload that are dropped before the first that are kept.
    skip: usize,
}

impl Opener {
    /// Drops the first `skip` bytes of payload.
    pub(crate) fn new(cipher: Cipher, limit: usize, skip: usize) -> Self {
        Opener {
            cipher,
            limit,
            length: None,
            skip,
        }
    }

    /// As `new`, but a payload of `length` bytes comes first: a header has said so.
    pub(crate) fn with_length(cipher: Cipher, limit: usize, length: usize) -> Self {
        Opener {
            length: Some(length),
            ..Opener::new(cipher, limit, 0)
        }
    }

    /// Bytes of the message that comes next.
    pub(crate) fn wanted(&self) -> usize {
        self.length.map_or(SEALED_LENGTH, |length| length + TAG)
    }

    /// Opens one message at the start of `input`: a length or a payload. Returns how many bytes it
    /// has; 0 if it is not complete.
    ///
    /// # Errors
    ///
    /// `PROTO` for what the peer has not sealed, and for a length above the limit.
    pub(crate) fn next(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let Some(sealed) = input.get(..self.wanted()) else {
            return Ok(0);
        };
        if self.length.take().is_none() {
            let length = usize::from(u16::from_be_bytes(self.cipher.open_array(sealed)?));
            if length > self.limit {
                return Err(Error::PROTO);
            }
            self.length = Some(length);
        } else if self.skip == 0 {
            self.cipher.open(sealed, output)?;
        } else {
            let payload = self.cipher.open_vec(sealed)?;
            let skipped = self.skip.min(payload.len());
            self.skip -= skipped;
            output.push(&payload[skipped..]);
        }
        Ok(sealed.len())
    }

    /// Whether the stream may end here: not within a chunk.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.length.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Algorithm;
    use watm_guest::{Codec, testing};

    fn cipher() -> Cipher {
        Cipher::new(Algorithm::ChaCha20Poly1305, &[1; 32])
    }

    /// Chunks with these payloads, sealed under this limit.
    fn sealed(payloads: &[&[u8]], limit: usize) -> Vec<u8> {
        let mut sealer = Sealer::new(cipher(), limit);
        let mut output = Output::new();
        for payload in payloads {
            sealer.payload(payload, &mut output);
        }
        output.as_slice().to_vec()
    }

    struct Opening(Opener);

    impl Codec for Opening {
        fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
            self.0.next(input, output)
        }
    }

    fn open(bytes: &[u8], limit: usize, skip: usize, piece: usize) -> Result<Vec<u8>> {
        testing::run(
            &mut Opening(Opener::new(cipher(), limit, skip)),
            bytes,
            piece,
        )
    }

    #[test]
    fn payload_above_the_limit_takes_several_chunks() {
        let bytes = sealed(&[b"hello"], 2);
        assert_eq!(bytes.len(), 3 * (SEALED_LENGTH + TAG) + 5);
        for piece in 1..=bytes.len() {
            assert_eq!(open(&bytes, 2, 0, piece), Ok(b"hello".to_vec()));
        }
    }

    #[test]
    fn a_length_above_the_limit_is_an_error_and_the_limit_is_none() {
        let bytes = sealed(&[&[7; 0x3fff]], 0xffff);
        assert_eq!(
            open(&bytes, 0x3fff, 0, 1000).map(|payload| payload.len()),
            Ok(0x3fff)
        );
        let bytes = sealed(&[&[7; 0x4000]], 0xffff);
        assert_eq!(open(&bytes, 0x3fff, 0, 1000), Err(Error::PROTO));
        let bytes = sealed(&[&[7; 0xffff]], 0xffff);
        assert_eq!(
            open(&bytes, 0xffff, 0, 1000).map(|payload| payload.len()),
            Ok(0xffff)
        );
    }

    #[test]
    fn skipped_bytes_may_span_chunks() {
        let bytes = sealed(&[b"ab", b"c", b"defg"], 100);
        for skip in 0..=7 {
            assert_eq!(open(&bytes, 100, skip, 5), Ok(b"abcdefg"[skip..].to_vec()));
        }
    }

    #[test]
    fn an_empty_chunk_is_no_end() {
        let mut sealer = Sealer::new(cipher(), 100);
        let mut output = Output::new();
        sealer.message(&[0, 0], &mut output);
        sealer.message(b"", &mut output);
        sealer.payload(b"hello", &mut output);
        assert_eq!(open(output.as_slice(), 100, 0, 1), Ok(b"hello".to_vec()));
    }

    #[test]
    fn chunks_that_are_swapped_or_missing_are_errors() {
        let bytes = sealed(&[b"one", b"two"], 100);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        assert_eq!(
            open(&[second, first].concat(), 100, 0, 1),
            Err(Error::PROTO)
        );
        assert_eq!(open(second, 100, 0, 1), Err(Error::PROTO));
    }
}
