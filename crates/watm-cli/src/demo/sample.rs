//! The file that is sent: random bytes or a given file.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::terminal::failure::Failure;

const CHUNK: usize = 64 * 1024;
/// How many of the first bytes are shown.
pub(super) const FIRST: usize = 32;

/// A file with its size, hash and first bytes.
pub(super) struct Sample {
    file: File,
    size: u64,
    sha256: [u8; 32],
    first: Vec<u8>,
}

impl Sample {
    /// Creates a temporary file of random bytes.
    pub(super) fn make(size: u64) -> Result<Self, Failure> {
        // It has no name, so it disappears with this process, however that ends.
        let made = tempfile::tempfile().and_then(|mut file| {
            fill(&mut file, size)?;
            Self::of(file)
        });
        made.map_err(|error| Failure::because("cannot create a file to send", error))
    }

    /// Opens an existing file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let opened = File::open(path).and_then(|file| {
            if file.metadata()?.is_file() {
                Self::of(file)
            } else {
                Err(io::Error::other("it is not a regular file"))
            }
        });
        opened.map_err(|error| Failure::because(format!("cannot send {}", path.display()), error))
    }

    fn of(file: File) -> io::Result<Self> {
        let mut sample = Self {
            size: file.metadata()?.len(),
            file,
            sha256: [0; 32],
            first: vec![0; FIRST],
        };
        let length = sample.file.read_at(&mut sample.first, 0)?;
        sample.first.truncate(length);
        let mut hash = Sha256::new();
        sample.for_each_chunk(|chunk| {
            hash.update(chunk);
            Ok(())
        })?;
        sample.sha256 = hash.finalize().into();
        Ok(sample)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The first bytes, up to [`FIRST`].
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// Writes the whole file to `to`. Several threads may do so at once.
    pub(super) fn send(&self, mut to: impl Write) -> io::Result<()> {
        self.for_each_chunk(|chunk| to.write_all(chunk))
    }

    fn for_each_chunk(&self, mut act: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0;
        while offset < self.size {
            let left = usize::try_from(self.size - offset).unwrap_or(CHUNK);
            let length = self.file.read_at(&mut buffer[..left.min(CHUNK)], offset)?;
            if length == 0 {
                return Err(io::Error::other("the file was truncated meanwhile"));
            }
            act(&buffer[..length])?;
            offset += length as u64;
        }
        Ok(())
    }
}

/// Fills a file with bytes that a module can neither predict nor compress.
fn fill(file: &mut File, size: u64) -> io::Result<()> {
    // The generator xorshift64*: fast, and random enough for this.
    let mut state = RandomState::new().build_hasher().finish() | 1;
    let mut left = size;
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            word.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(&chunk[..length])?;
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_file_has_its_size_and_is_sent_as_it_was_hashed() {
        for size in [0, 1, 31, 65536, 200_001] {
            let sample = Sample::make(size).expect("a file");
            let mut sent = Vec::new();
            sample.send(&mut sent).expect("sent");
            assert_eq!(sent.len() as u64, size);
            assert_eq!(sample.size(), size);
            assert_eq!(<[u8; 32]>::from(Sha256::digest(&sent)), *sample.sha256());
            assert_eq!(sample.first(), &sent[..sent.len().min(FIRST)]);
        }
    }

    #[test]
    fn two_made_files_differ() {
        let (a, b) = (Sample::make(64), Sample::make(64));
        assert_ne!(a.expect("a file").sha256(), b.expect("a file").sha256());
    }

    #[test]
    fn what_is_no_file_is_not_sent() {
        assert!(Sample::open(Path::new("/")).is_err());
        assert!(Sample::open(Path::new("/no/such/file")).is_err());
    }
}
