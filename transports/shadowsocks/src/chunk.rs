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
