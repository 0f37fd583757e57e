//! The record that `fd_fdstat_get` writes.
//!
//! Knows its 24 bytes, and must never know where a descriptor leads.

use super::layout::{put, take};
use crate::{Errno, FdFlags, Rights};

/// The size of a [`Fdstat`] in guest memory, in bytes.
pub const FDSTAT_SIZE: u32 = 24;

/// What a descriptor leads to: `filetype` of WASI Preview 1.
///
/// ```
/// use watm_abi::FileType;
///
/// // wasi-libc takes a descriptor for a socket because of this number.
/// assert_eq!(FileType::SocketStream.raw(), 6);
/// assert_eq!(FileType::from_raw(3), Some(FileType::Directory));
/// assert_eq!(FileType::from_raw(8), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileType {
    /// Something else, or not known.
    Unknown = 0,
    /// A block device.
    BlockDevice = 1,
    /// A character device, such as a terminal.
    CharacterDevice = 2,
    /// A directory.
    Directory = 3,
    /// A regular file.
    RegularFile = 4,
    /// A datagram socket.
    SocketDgram = 5,
    /// A stream socket: what the internal, the network and the control descriptor are.
    SocketStream = 6,
    /// A symbolic link.
    SymbolicLink = 7,
}

impl FileType {
    /// Every type, in the order of the numbers.
    pub const ALL: &[FileType] = &[
        FileType::Unknown,
        FileType::BlockDevice,
        FileType::CharacterDevice,
        FileType::Directory,
        FileType::RegularFile,
        FileType::SocketDgram,
        FileType::SocketStream,
        FileType::SymbolicLink,
    ];

    /// The number of WASI Preview 1.
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The type with this number, or `None` when there is none.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(FileType::Unknown),
            1 => Some(FileType::BlockDevice),
            2 => Some(FileType::CharacterDevice),
            3 => Some(FileType::Directory),
            4 => Some(FileType::RegularFile),
            5 => Some(FileType::SocketDgram),
            6 => Some(FileType::SocketStream),
            7 => Some(FileType::SymbolicLink),
            _ => None,
        }
    }
}

/// The state of a descriptor: `fdstat` of WASI Preview 1.
///
/// ```
/// use watm_abi::{Errno, FdFlags, Fdstat, FileType, GuestMemory, Rights};
///
/// // What `fd_fdstat_get` writes for a connection, to the address that the guest has passed.
/// let stat = Fdstat {
///     file_type: FileType::SocketStream,
///     flags: FdFlags::NONBLOCK,
///     rights_base: Rights::FD_READ | Rights::FD_WRITE | Rights::POLL_FD_READWRITE,
///     rights_inheriting: Rights::NONE,
/// };
/// let mut memory = vec![0; 65536];
/// memory.write_bytes(1024, &stat.encode())?;
/// assert_eq!(Fdstat::decode(&memory.read_array(1024)?)?, stat);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fdstat {
    /// What the descriptor leads to.
    pub file_type: FileType,
    /// Its modes.
    pub flags: FdFlags,
    /// What it may be used for.
    pub rights_base: Rights,
    /// What descriptors that are opened through it may be used for.
    pub rights_inheriting: Rights,
}

impl Fdstat {
    /// The record as the guest reads it; padding is zero.
    pub fn encode(&self) -> [u8; FDSTAT_SIZE as usize] {
        let mut record = [0; FDSTAT_SIZE as usize];
        put::<0, _, _>(&mut record, [self.file_type.raw()]);
        put::<2, _, _>(&mut record, self.flags.bits().to_le_bytes());
        put::<8, _, _>(&mut record, self.rights_base.bits().to_le_bytes());
        put::<16, _, _>(&mut record, self.rights_inheriting.bits().to_le_bytes());
        record
    }

    /// Reads a record back; padding is ignored, and so are rights that WASI Preview 1 does not
    /// define, since hosts with extensions set them.
    ///
    /// # Errors
    ///
    /// [`Errno::Inval`] when the type or a mode has a number that WASI Preview 1 does not define.
    pub fn decode(record: &[u8; FDSTAT_SIZE as usize]) -> Result<Self, Errno> {
        let [file_type] = take::<0, 1, _>(record);
        let flags = u16::from_le_bytes(take::<2, 2, _>(record));
        let rights_base = u64::from_le_bytes(take::<8, 8, _>(record));
        let rights_inheriting = u64::from_le_bytes(take::<16, 8, _>(record));
        Ok(Fdstat {
            file_type: FileType::from_raw(file_type).ok_or(Errno::Inval)?,
            flags: FdFlags::from_bits(flags).ok_or(Errno::Inval)?,
            rights_base: Rights::from_bits_truncate(rights_base),
            rights_inheriting: Rights::from_bits_truncate(rights_inheriting),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields_lie_where_wasi_puts_them() {
        let stat = Fdstat {
            file_type: FileType::SocketStream,
            flags: FdFlags::NONBLOCK,
            rights_base: Rights::FD_READ | Rights::SOCK_ACCEPT,
            rights_inheriting: Rights::FD_DATASYNC,
        };
        #[rustfmt::skip]
        let expected = [
            6, 0, 4, 0, 0, 0, 0, 0,
            2, 0, 0, 0x20, 0, 0, 0, 0,
            1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(stat.encode(), expected);
    }

    #[test]
    fn the_types_have_the_numbers_of_wasi() {
        for (number, file_type) in FileType::ALL.iter().enumerate() {
            assert_eq!(usize::from(file_type.raw()), number);
            assert_eq!(FileType::from_raw(number as u8), Some(*file_type));
        }
        assert_eq!(FileType::from_raw(8), None);
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            file_type in proptest::sample::select(FileType::ALL),
            flags in 0u16..32,
            base: u64,
            inheriting: u64,
        ) {
            let stat = Fdstat {
                file_type,
                flags: FdFlags::from_bits_truncate(flags),
                rights_base: Rights::from_bits_truncate(base),
                rights_inheriting: Rights::from_bits_truncate(inheriting),
            };
            prop_assert_eq!(Fdstat::decode(&stat.encode()), Ok(stat));
        }

        #[test]
        fn undefined_types_and_modes_are_invalid_and_undefined_rights_ignored(
            kind in 8u8..,
            flag in 5u32..16,
            right in 30u32..64,
        ) {
            let fine = Fdstat {
                file_type: FileType::Unknown,
                flags: FdFlags::NONE,
                rights_base: Rights::FD_READ,
                rights_inheriting: Rights::NONE,
            };
            let with = |at: u32, bits: u8| {
                let mut record = fine.encode();
                record[at as usize] |= bits;
                Fdstat::decode(&record)
            };
            prop_assert_eq!(with(0, kind), Err(Errno::Inval));
            prop_assert_eq!(with(2 + flag / 8, 1 << (flag % 8)), Err(Errno::Inval));
            prop_assert_eq!(with(8 + right / 8, 1 << (right % 8)), Ok(fine));
            prop_assert_eq!(with(16 + right / 8, 1 << (right % 8)), Ok(fine));
        }
    }
}
