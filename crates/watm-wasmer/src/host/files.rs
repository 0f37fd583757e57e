//! The operations of a guest on an open file or directory.
//!
//! Nothing here waits, and the limits keep every call short.

use std::io::SeekFrom;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use watm_abi::{
    Advice, DIRENT_SIZE, Dirent, Errno, FstFlags, GuestMemory, IovecArray, Rights, Whence,
};

use crate::host::descriptor::{Descriptor, Kind, OpenDirectory};
use crate::host::descriptors::Descriptors;
use crate::host::directory::{Directory, Times};
use crate::host::file::OpenFile;
use crate::host::tree::{Answer, Entry};

/// Maximum number of bytes of a directory listing that one call returns, so that the call ends
/// soon.
const LIST_LIMIT: usize = 1 << 20;

/// The rights of a guest to a file, and to a directory, given for reading.
pub(super) const READ_FILE: Rights = all_of(&[
    Rights::FD_READ,
    Rights::FD_SEEK,
    Rights::FD_TELL,
    Rights::FD_ADVISE,
    Rights::FD_DATASYNC,
    Rights::FD_SYNC,
    Rights::FD_FDSTAT_SET_FLAGS,
    Rights::FD_FILESTAT_GET,
    Rights::POLL_FD_READWRITE,
]);
pub(super) const READ_DIRECTORY: Rights = all_of(&[
    Rights::PATH_OPEN,
    Rights::PATH_READLINK,
    Rights::PATH_FILESTAT_GET,
    Rights::FD_READDIR,
    Rights::FD_DATASYNC,
    Rights::FD_SYNC,
    Rights::FD_FILESTAT_GET,
    Rights::FD_FDSTAT_SET_FLAGS,
]);
/// The additional rights for writing.
pub(super) const WRITE_FILE: Rights = all_of(&[
    Rights::FD_WRITE,
    Rights::FD_ALLOCATE,
    Rights::FD_FILESTAT_SET_SIZE,
    Rights::FD_FILESTAT_SET_TIMES,
]);
/// Links cannot be created. Programs nevertheless expect the rights to create them on every
/// directory.
pub(super) const WRITE_DIRECTORY: Rights = all_of(&[
    Rights::PATH_LINK_SOURCE,
    Rights::PATH_LINK_TARGET,
    Rights::PATH_SYMLINK,
    Rights::PATH_CREATE_DIRECTORY,
    Rights::PATH_CREATE_FILE,
    Rights::PATH_FILESTAT_SET_SIZE,
    Rights::PATH_FILESTAT_SET_TIMES,
    Rights::PATH_REMOVE_DIRECTORY,
    Rights::PATH_RENAME_SOURCE,
    Rights::PATH_RENAME_TARGET,
    Rights::PATH_UNLINK_FILE,
    Rights::FD_FILESTAT_SET_TIMES,
]);

const fn all_of(rights: &[Rights]) -> Rights {
    let mut bits = 0;
    let mut left = rights;
    while let [right, rest @ ..] = left {
        bits |= right.bits();
        left = rest;
    }
    Rights::from_bits_truncate(bits)
}

impl Descriptor {
    /// A directory that is given to the guest, with all rights that apply to it.
    pub(super) fn given(name: Box<str>, directory: Directory) -> Self {
        let (rights, of_files) = if directory.is_writable() {
            (READ_DIRECTORY | WRITE_DIRECTORY, READ_FILE | WRITE_FILE)
        } else {
            (READ_DIRECTORY, READ_FILE)
        };
        Self {
            rights,
            inheriting: rights | of_files,
            ..Self::new(Kind::Directory(Box::new(OpenDirectory {
                directory,
                given: Some(name),
            })))
        }
    }
}

impl Descriptors {
    /// The directory at this number, if the descriptor has the right.
    pub(super) fn directory(&self, fd: u32, right: Rights) -> Answer<&Directory> {
        let descriptor = self.get(fd)?;
        match &descriptor.kind {
            Kind::Directory(open) => descriptor.check(right).map(|()| &open.directory),
            Kind::File(_) => Err(Errno::Notdir),
            _ => Err(Errno::Badf),
        }
    }

    /// The file at this number, if the descriptor has the right.
    fn file(&mut self, fd: u32, right: Rights) -> Answer<&mut OpenFile> {
        let descriptor = self.get_mut(fd)?;
        let checked = descriptor.check(right);
        match &mut descriptor.kind {
            Kind::File(file) => checked.map(|()| &mut **file),
            Kind::Directory(_) => Err(Errno::Isdir),
            _ => Err(Errno::Badf),
        }
    }

    /// Like `file`, for functions that use a file position. Streams have none.
    fn file_with_places(&mut self, fd: u32, right: Rights) -> Answer<&mut OpenFile> {
        if self.get(fd)?.kind.is_of_file_system() {
            self.file(fd, right)
        } else {
            Err(Errno::Spipe)
        }
    }

    /// The file or directory at this number, if the descriptor has the right.
    fn of_file_system(&self, fd: u32, right: Rights) -> Answer<&Kind> {
        let descriptor = self.get(fd)?;
        if !descriptor.kind.is_of_file_system() {
            return Err(Errno::Badf);
        }
        descriptor.check(right)?;
        Ok(&descriptor.kind)
    }

    /// `fd_advise`.
    pub(crate) fn advise(&mut self, fd: u32, advice: u32) -> Answer<()> {
        self.file(fd, Rights::FD_ADVISE)?;
        let advice = u8::try_from(advice).ok().and_then(Advice::from_raw);
        advice.map(|_| ()).ok_or(Errno::Inval)
    }

    /// `fd_allocate`.
    pub(crate) fn allocate(&mut self, fd: u32, offset: u64, len: u64) -> Answer<()> {
        let end = offset.checked_add(len).filter(|_| len > 0);
        let end = end.ok_or(Errno::Inval)?;
        self.file(fd, Rights::FD_ALLOCATE)?.allocate(end)
    }

    /// `fd_sync` and `fd_datasync`, each with its own right. Neither waits: the system has the
    /// written bytes, and this host cannot bound how long a disk takes.
    pub(crate) fn sync(&self, fd: u32, right: Rights) -> Answer<()> {
        self.of_file_system(fd, right).map(|_| ())
    }

    /// `fd_filestat_set_size`.
    pub(crate) fn set_size(&mut self, fd: u32, size: u64) -> Answer<()> {
        self.file(fd, Rights::FD_FILESTAT_SET_SIZE)?.set_size(size)
    }

    /// `fd_filestat_set_times`.
    pub(crate) fn set_times(&mut self, fd: u32, times: [u64; 2], which: u32) -> Answer<()> {
        let times = resolved(times, which)?;
        match self.of_file_system(fd, Rights::FD_FILESTAT_SET_TIMES)? {
            Kind::Directory(open) => open.directory.set_times(times),
            Kind::File(file) => file.set_times(times),
            _ => Err(Errno::Badf),
        }
    }

    /// `fd_read` of a file.
    pub(crate) fn read<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
    ) -> Answer<u32> {
        self.file(fd, Rights::FD_READ)?.read(memory, iovecs, None)
    }

    /// `fd_write` to a file.
    pub(crate) fn write<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
    ) -> Answer<u32> {
        self.file(fd, Rights::FD_WRITE)?.write(memory, iovecs, None)
    }

    /// `fd_pread`.
    pub(crate) fn read_at<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &mut M,
        fd: u32,
        iovecs: &IovecArray,
        from: u64,
    ) -> Answer<u32> {
        self.file_with_places(fd, Rights::FD_READ | Rights::FD_SEEK)?
            .read(memory, iovecs, Some(from))
    }

    /// `fd_pwrite`.
    pub(crate) fn write_at<M: GuestMemory + ?Sized>(
        &mut self,
        memory: &M,
        fd: u32,
        iovecs: &IovecArray,
        to: u64,
    ) -> Answer<u32> {
        self.file_with_places(fd, Rights::FD_WRITE | Rights::FD_SEEK)?
            .write(memory, iovecs, Some(to))
    }

    /// `fd_seek`.
    pub(crate) fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Answer<u64> {
        let whence = u8::try_from(whence).ok().and_then(Whence::from_raw);
        let may_seek = self.get(fd)?.rights.contains(Rights::FD_SEEK);
        // Reading the current position needs fewer rights than changing it.
        let right = if (offset, whence) == (0, Some(Whence::Cur)) && !may_seek {
            Rights::FD_TELL
        } else {
            Rights::FD_SEEK
        };
        let file = self.file_with_places(fd, right)?;
        file.seek(match whence.ok_or(Errno::Inval)? {
            Whence::Set => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
            Whence::Cur => SeekFrom::Current(offset),
            Whence::End => SeekFrom::End(offset),
        })
    }

    /// `fd_tell`.
    pub(crate) fn tell(&mut self, fd: u32) -> Answer<u64> {
        self.seek(fd, 0, Whence::Cur.raw().into())
    }

    /// `fd_readdir`: writes entries from that position on, as many as there is room for. The last
    /// one is cut off where the room ends.
    pub(crate) fn list(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        (buf, len): (u32, u32),
        from: u64,
    ) -> Answer<u32> {
        let listing = self.listing.take();
        let directory = self.directory(fd, Rights::FD_READDIR)?;
        let room = memory.slice_mut(buf, len)?;
        let listing = match listing {
            Some((listed, listing)) if listed == fd && from > 0 => listing,
            _ => directory.list()?,
        };
        let mut used = 0;
        listing.read(from, |entry| {
            // A call that leaves room unused tells the guest that there are no more entries.
            if used > LIST_LIMIT {
                return Err(Errno::Overflow);
            }
            for part in [&head(&entry)[..], entry.name.as_bytes()] {
                let left = &mut room[used..];
                let fitting = part.len().min(left.len());
                left[..fitting].copy_from_slice(&part[..fitting]);
                used += fitting;
            }
            Ok(used < room.len())
        })?;
        if used == room.len() {
            self.listing = Some((fd, listing));
        }
        Ok(used as u32)
    }
}

/// The times of access and modification to set.
pub(super) fn resolved([accessed, modified]: [u64; 2], which: u32) -> Answer<Times> {
    let which = u16::try_from(which).ok().and_then(FstFlags::from_bits);
    let which = which.ok_or(Errno::Inval)?;
    let time = |time: u64, set, now| match (which.contains(set), which.contains(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(UNIX_EPOCH + Duration::from_nanos(time))),
        (false, true) => Ok(Some(SystemTime::now())),
        (false, false) => Ok(None),
    };
    Ok(Times {
        accessed: time(accessed, FstFlags::ATIM, FstFlags::ATIM_NOW)?,
        modified: time(modified, FstFlags::MTIM, FstFlags::MTIM_NOW)?,
    })
}

/// The head of an entry. The name of the entry follows it.
fn head(entry: &Entry<'_>) -> [u8; DIRENT_SIZE as usize] {
    let head = Dirent {
        next: entry.next,
        ino: entry.ino,
        name_len: entry.name.len() as u32,
        file_type: entry.file_type,
    };
    head.encode()
}

#[cfg(test)]
mod tests;
