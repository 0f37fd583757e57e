//! Reading a file that may be anything: within a limit, and without waiting for anybody.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    TooLarge {
        /// In bytes, as far as it is known.
        size: u64,
    },
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The flag to open a file with: opening a pipe that nobody writes to would wait for ever.
pub(crate) const NO_WAITING: i32 = libc::O_NONBLOCK;

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_WAITING)
        .open(path)?;
    read_opened(file, limit)
}

/// Reads a file that was opened with [`NO_WAITING`].
pub(crate) fn read_opened(file: File, limit: u64) -> Result<Vec<u8>, ReadError> {
    let found = file.metadata()?;
    if !found.is_file() {
        let kind = if found.is_dir() {
            io::ErrorKind::IsADirectory
        } else {
            io::ErrorKind::InvalidInput
        };
        let message = "it is not a regular file; copy it to one";
        return Err(io::Error::new(kind, message).into());
    }
    let size = found.len();
    if size > limit {
        return Err(ReadError::TooLarge { size });
    }
    // One byte more than the size, so that reading finds the end without growing the buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    // One byte more than allowed, since a file may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    if size > limit {
        return Err(ReadError::TooLarge { size });
    }
    Ok(bytes)
}
