//! The record that `fd_prestat_get` writes.
//!
//! Knows its 8 bytes, and must never know which directories are open.

use super::layout::{put, take};
use crate::Errno;

/// The size of a [`Prestat`] in guest memory, in bytes.
pub const PRESTAT_SIZE: u32 = 8;

/// The only kind of thing that is open from the start: a directory.
const DIRECTORY: u8 = 0;

/// A directory that is open from the start: `prestat` of WASI Preview 1.
///
/// ```
/// use watm_abi::{Errno, GuestMemory, Prestat};
///
/// // `fd_prestat_get(3, 64)`, where descriptor 3 is the directory `/conf`.
/// let mut memory = vec![0; 65536];
/// let directory = Prestat { name_len: 5 };
/// memory.write_bytes(64, &directory.encode())?;
/// assert_eq!(Prestat::decode(&memory.read_array(64)?)?, directory);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prestat {
    /// The length of the directory's name, which `fd_prestat_dir_name` returns, in bytes.
    pub name_len: u32,
}

impl Prestat {
    /// The record as the guest reads it; padding is zero.
    pub fn encode(&self) -> [u8; PRESTAT_SIZE as usize] {
        let mut record = [0; PRESTAT_SIZE as usize];
        put::<0, _, _>(&mut record, [DIRECTORY]);
        put::<4, _, _>(&mut record, self.name_len.to_le_bytes());
        record
    }

    /// Reads a record back; padding is ignored.
    ///
    /// # Errors
    ///
    /// [`Errno::Inval`] when it describes something else than a directory.
    pub fn decode(record: &[u8; PRESTAT_SIZE as usize]) -> Result<Self, Errno> {
        match take::<0, 1, _>(record) {
            [DIRECTORY] => Ok(Prestat {
                name_len: u32::from_le_bytes(take::<4, 4, _>(record)),
            }),
            _ => Err(Errno::Inval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields_lie_where_wasi_puts_them() {
        assert_eq!(
            Prestat {
                name_len: 0x0403_0201
            }
            .encode(),
            [0, 0, 0, 0, 1, 2, 3, 4]
        );
    }

    #[test]
    fn anything_but_a_directory_is_invalid() {
        assert_eq!(
            Prestat::decode(&[1, 0, 0, 0, 1, 0, 0, 0]),
            Err(Errno::Inval)
        );
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(name_len: u32) {
            let stat = Prestat { name_len };
            prop_assert_eq!(Prestat::decode(&stat.encode()), Ok(stat));
        }
    }
}
