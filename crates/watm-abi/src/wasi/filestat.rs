//! The record that `fd_filestat_get` and `path_filestat_get` write.
//!
//! Knows its 64 bytes, and must never know a file system.

use super::layout::{put, take};
use crate::{Errno, FileType};

/// The size of a [`Filestat`] in guest memory, in bytes.
pub const FILESTAT_SIZE: u32 = 64;

/// The attributes of a file: `filestat` of WASI Preview 1.
///
/// ```
/// use watm_abi::{Errno, FileType, Filestat, GuestMemory};
///
/// // What `fd_filestat_get` writes for a file that exists in memory only.
/// let stat = Filestat {
///     dev: 1,
///     ino: 7,
///     file_type: FileType::RegularFile,
///     nlink: 1,
///     size: 32,
///     atim: 0,
///     mtim: 0,
///     ctim: 0,
/// };
/// let mut memory = vec![0; 65536];
/// memory.write_bytes(1024, &stat.encode())?;
/// assert_eq!(Filestat::decode(&memory.read_array(1024)?)?.size, 32);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat {
    /// The device that holds the file.
    pub dev: u64,
    /// Its number on that device.
    pub ino: u64,
    /// What it is.
    pub file_type: FileType,
    /// The number of names that lead to it.
    pub nlink: u64,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was last read, in nanoseconds since 1970.
    pub atim: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtim: u64,
    /// When its attributes last changed, in nanoseconds since 1970.
    pub ctim: u64,
}

impl Filestat {
    /// The record as the guest reads it; padding is zero.
    pub fn encode(&self) -> [u8; FILESTAT_SIZE as usize] {
        let mut record = [0; FILESTAT_SIZE as usize];
        put::<0, _, _>(&mut record, self.dev.to_le_bytes());
        put::<8, _, _>(&mut record, self.ino.to_le_bytes());
        put::<16, _, _>(&mut record, [self.file_type.raw()]);
        put::<24, _, _>(&mut record, self.nlink.to_le_bytes());
        put::<32, _, _>(&mut record, self.size.to_le_bytes());
        put::<40, _, _>(&mut record, self.atim.to_le_bytes());
        put::<48, _, _>(&mut record, self.mtim.to_le_bytes());
        put::<56, _, _>(&mut record, self.ctim.to_le_bytes());
        record
    }

    /// Reads a record back; padding is ignored.
    ///
    /// # Errors
    ///
    /// [`Errno::Inval`] when the type has a number that WASI Preview 1 does not define.
    pub fn decode(record: &[u8; FILESTAT_SIZE as usize]) -> Result<Self, Errno> {
        let [file_type] = take::<16, 1, _>(record);
        Ok(Filestat {
            dev: u64::from_le_bytes(take::<0, 8, _>(record)),
            ino: u64::from_le_bytes(take::<8, 8, _>(record)),
            file_type: FileType::from_raw(file_type).ok_or(Errno::Inval)?,
            nlink: u64::from_le_bytes(take::<24, 8, _>(record)),
            size: u64::from_le_bytes(take::<32, 8, _>(record)),
            atim: u64::from_le_bytes(take::<40, 8, _>(record)),
            mtim: u64::from_le_bytes(take::<48, 8, _>(record)),
            ctim: u64::from_le_bytes(take::<56, 8, _>(record)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields_lie_where_wasi_puts_them() {
        let stat = Filestat {
            dev: 1,
            ino: 2,
            file_type: FileType::SocketStream,
            nlink: 3,
            size: 4,
            atim: 5,
            mtim: 6,
            ctim: 7,
        };
        let mut expected = [0; 64];
        for (at, byte) in [
            (0, 1),
            (8, 2),
            (16, 6),
            (24, 3),
            (32, 4),
            (40, 5),
            (48, 6),
            (56, 7),
        ] {
            expected[at] = byte;
        }
        assert_eq!(stat.encode(), expected);
    }

    #[test]
    fn an_undefined_type_is_invalid() {
        let mut record = [0; 64];
        assert!(Filestat::decode(&record).is_ok());
        record[16] = 8;
        assert_eq!(Filestat::decode(&record), Err(Errno::Inval));
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            numbers: [u64; 7],
            file_type in proptest::sample::select(FileType::ALL),
        ) {
            let [dev, ino, nlink, size, atim, mtim, ctim] = numbers;
            let stat = Filestat { dev, ino, file_type, nlink, size, atim, mtim, ctim };
            prop_assert_eq!(Filestat::decode(&stat.encode()), Ok(stat));
        }
    }
}
