//! A file that a guest has open, either on the host or in memory.
//!
//! Knows bytes and positions in a file, and neither descriptors nor rights.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use watm_abi::{Errno, Filestat, GuestMemory, IovecArray};

use crate::host::directory::{self, Times, errno_of};
use crate::host::tree::Answer;

/// Maximum number of bytes that one call reads or writes. The limit makes the call end soon: an
/// array of buffers may name the guest's memory a thousand times.
pub(super) const CALL_LIMIT: u32 = 16 << 20;

pub(super) enum OpenFile {
    Host(File),
    /// A file that cannot be changed.
    Memory {
        bytes: Arc<[u8]>,
        stat: Filestat,
        place: u64,
    },
}

impl OpenFile {
    /// The file of the host, for a call that changes something.
    fn to_change(&self) -> Answer<&File> {
        match self {
            Self::Host(file) => Ok(file),
            Self::Memory { .. } => Err(Errno::Notcapable),
        }
    }

    pub(super) fn filestat(&self) -> Answer<Filestat> {
        match self {
            Self::Host(file) => directory::filestat_of(file),
            Self::Memory { stat, .. } => Ok(*stat),
        }
    }

    /// Makes writes go to the end of the file, or to its current position.
    pub(super) fn set_appending(&self, appending: bool) -> Answer<()> {
        match self {
            Self::Host(file) => directory::set_appending(file, appending),
            Self::Memory { .. } => Ok(()),
        }
    }

    pub(super) fn set_size(&self, size: u64) -> Answer<()> {
        self.to_change()?.set_len(size).map_err(errno_of)
    }

    /// Makes the file at least this large.
    pub(super) fn allocate(&self, end: u64) -> Answer<()> {
        let file = self.to_change()?;
        if file.metadata().map_err(errno_of)?.len() < end {
            file.set_len(end).map_err(errno_of)?;
        }
        Ok(())
    }

    pub(super) fn set_times(&self, times: Times) -> Answer<()> {
        self.to_change()?.set_times(times.into()).map_err(errno_of)
    }

    /// Reads at the current position, which advances, or at another one.
    pub(super) fn read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        iovecs: &IovecArray,
        from: Option<u64>,
    ) -> Answer<u32> {
        transfer(iovecs, from, |buf, len, from| {
            self.read_part(memory.slice_mut(buf, len)?, from)
                .map_err(errno_of)
        })
    }

    /// Writes at the current position, which advances, or at another one.
    pub(super) fn write<M: GuestMemory + ?Sized>(
        &self,
        memory: &M,
        iovecs: &IovecArray,
        to: Option<u64>,
    ) -> Answer<u32> {
        let mut file = self.to_change()?;
        transfer(iovecs, to, |buf, len, to| {
            let part = memory.slice(buf, len)?;
            match to {
                Some(to) => file.write_at(part, to),
                None => file.write(part),
            }
            .map_err(errno_of)
        })
    }

    fn read_part(&mut self, part: &mut [u8], from: Option<u64>) -> io::Result<usize> {
        match (self, from) {
            (Self::Host(file), Some(from)) => file.read_at(part, from),
            (Self::Host(file), None) => file.read(part),
            (Self::Memory { bytes, place, .. }, from) => {
                let start = usize::try_from(from.unwrap_or(*place)).unwrap_or(usize::MAX);
                let rest = bytes.get(start..).unwrap_or_default();
                let len = rest.len().min(part.len());
                part[..len].copy_from_slice(&rest[..len]);
                if from.is_none() {
                    *place += len as u64;
                }
                Ok(len)
            }
        }
    }

    pub(super) fn seek(&mut self, to: SeekFrom) -> Answer<u64> {
        match self {
            Self::Host(file) => file.seek(to).map_err(errno_of),
            Self::Memory { bytes, place, .. } => {
                *place = match to {
                    SeekFrom::Start(to) => Some(to),
                    SeekFrom::Current(by) => place.checked_add_signed(by),
                    SeekFrom::End(by) => (bytes.len() as u64).checked_add_signed(by),
                }
                .ok_or(Errno::Inval)?;
                Ok(*place)
            }
        }
    }
}

/// Goes through the buffers until one is not processed completely, or until the call has done
/// enough.
fn transfer(
    iovecs: &IovecArray,
    place: Option<u64>,
    mut each: impl FnMut(u32, u32, Option<u64>) -> Answer<usize>,
) -> Answer<u32> {
    let mut total = 0;
    for iovec in iovecs.iter() {
        let len = iovec.len.min(CALL_LIMIT - total);
        let place = place.map(|place| place.saturating_add(u64::from(total)));
        match each(iovec.buf, len, place) {
            Ok(done) => {
                // Never more than was asked for.
                total += (done as u32).min(len);
                if total == CALL_LIMIT || done < iovec.len as usize {
                    break;
                }
            }
            // Report what was done before the error. The error comes again.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(total)
}
