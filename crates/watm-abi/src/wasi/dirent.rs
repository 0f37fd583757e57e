//! The head of each entry that `fd_readdir` writes.
//!
//! Knows its 24 bytes, and must never know which directory is listed.

use super::layout::{put, take};
use crate::{Errno, FileType};

/// The size of a [`Dirent`] in guest memory, in bytes.
pub const DIRENT_SIZE: u32 = 24;

/// The head of a directory entry: `dirent` of WASI Preview 1. The bytes of the name follow it, with
/// no terminator and no padding.
///
/// ```
/// use watm_abi::{DIRENT_SIZE, Dirent, Errno, FileType};
///
/// // `fd_readdir` writes a record, and the name right behind it.
/// let name = b"watm.cfg";
/// let entry = Dirent {
///     next: 1,
///     ino: 7,
///     name_len: name.len() as u32,
///     file_type: FileType::RegularFile,
/// };
/// let written = [&entry.encode()[..], name].concat();
/// assert_eq!(written.len(), DIRENT_SIZE as usize + 8);
///
/// let (record, rest) = written.split_first_chunk().expect("a record");
/// assert_eq!(Dirent::decode(record)?, entry);
/// assert_eq!(rest, name);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// The cookie that continues the listing after this entry.
    pub next: u64,
    /// The number of the file on its device.
    pub ino: u64,
    /// The length of the name, in bytes.
    pub name_len: u32,
    /// What the entry leads to.
    pub file_type: FileType,
}

impl Dirent {
    /// The record as the guest reads it; padding is zero.
    pub fn encode(&self) -> [u8; DIRENT_SIZE as usize] {
        let mut record = [0; DIRENT_SIZE as usize];
        put::<0, _, _>(&mut record, self.next.to_le_bytes());
        put::<8, _, _>(&mut record, self.ino.to_le_bytes());
        put::<16, _, _>(&mut record, self.name_len.to_le_bytes());
        put::<20, _, _>(&mut record, [self.file_type.raw()]);
        record
    }

    /// Reads a record back; padding is ignored.
    ///
    /// # Errors
    ///
    /// [`Errno::Inval`] when the type has a number that WASI Preview 1 does not define.
    pub fn decode(record: &[u8; DIRENT_SIZE as usize]) -> Result<Self, Errno> {
        let [file_type] = take::<20, 1, _>(record);
        Ok(Dirent {
            next: u64::from_le_bytes(take::<0, 8, _>(record)),
            ino: u64::from_le_bytes(take::<8, 8, _>(record)),
            name_len: u32::from_le_bytes(take::<16, 4, _>(record)),
            file_type: FileType::from_raw(file_type).ok_or(Errno::Inval)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields_lie_where_wasi_puts_them() {
        let entry = Dirent {
            next: 0x0807_0605_0403_0201,
            ino: 9,
            name_len: 0x0d0c_0b0a,
            file_type: FileType::RegularFile,
        };
        #[rustfmt::skip]
        let expected = [
            1, 2, 3, 4, 5, 6, 7, 8,
            9, 0, 0, 0, 0, 0, 0, 0,
            0x0a, 0x0b, 0x0c, 0x0d, 4, 0, 0, 0,
        ];
        assert_eq!(entry.encode(), expected);
    }

    #[test]
    fn an_undefined_type_is_invalid() {
        let mut record = [0; 24];
        assert!(Dirent::decode(&record).is_ok());
        record[20] = 8;
        assert_eq!(Dirent::decode(&record), Err(Errno::Inval));
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            next: u64,
            ino: u64,
            name_len: u32,
            file_type in proptest::sample::select(FileType::ALL),
        ) {
            let entry = Dirent { next, ino, name_len, file_type };
            prop_assert_eq!(Dirent::decode(&entry.encode()), Ok(entry));
        }
    }
}
