//! The operations of a guest on a path below a directory that it has open.

use watm_abi::{Errno, FdFlags, Filestat, GuestMemory, LookupFlags, OFlags, Rights};

use crate::host::descriptor::{Descriptor, Kind, OpenDirectory};
use crate::host::descriptors::{Descriptors, fd_flags};
use crate::host::directory::{Directory, Found, How};
use crate::host::file::OpenFile;
use crate::host::files::{READ_DIRECTORY, READ_FILE, WRITE_DIRECTORY, WRITE_FILE, resolved};
use crate::host::tree::Answer;

/// Maximum length of a path, in bytes. Linux has the same limit.
const PATH_LIMIT: u32 = 4096;

/// Part of a path call: the descriptor of a directory, and where the path is in memory.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) fd: u32,
    pub(crate) path: u32,
    pub(crate) len: u32,
}

/// The numbers that `path_open` takes in addition to its path.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) lookup: u32,
    pub(crate) how: u32,
    pub(crate) rights: u64,
    pub(crate) inheriting: u64,
    pub(crate) flags: u32,
}

impl Opening {
    fn how(self) -> Answer<How> {
        let flags = u16::try_from(self.how).ok().and_then(OFlags::from_bits);
        let flags = flags.ok_or(Errno::Inval)?;
        let asked = self.asked();
        let how = How {
            follow: follows(self.lookup),
            read: asked.contains(Rights::FD_READ),
            write: asked.contains(Rights::FD_WRITE),
            create: flags.contains(OFlags::CREAT),
            directory: flags.contains(OFlags::DIRECTORY),
            exclusive: flags.contains(OFlags::EXCL),
            truncate: flags.contains(OFlags::TRUNC),
        };
        if how.directory && (how.create || how.exclusive || how.truncate) {
            return Err(Errno::Inval);
        }
        Ok(how)
    }

    /// The requested rights. A guest that asks neither to read nor to write means to read.
    fn asked(self) -> Rights {
        let asked = Rights::from_bits_truncate(self.rights);
        if asked.contains(Rights::FD_WRITE) {
            asked
        } else {
            asked | Rights::FD_READ
        }
    }

    /// The rights that the directory must have.
    fn needed(how: How) -> Rights {
        let mut needed = Rights::PATH_OPEN;
        if how.create {
            needed |= Rights::PATH_CREATE_FILE;
        }
        if how.truncate {
            needed |= Rights::PATH_FILESTAT_SET_SIZE;
        }
        needed
    }

    /// The rights that the directory must pass on. Other rights are left out if it does not pass
    /// them on.
    fn needed_of_opened(how: How, flags: FdFlags) -> Rights {
        let mut needed = Rights::default();
        if how.write && !how.directory {
            needed |= Rights::FD_WRITE;
        }
        if flags.contains(FdFlags::DSYNC) {
            needed |= Rights::FD_DATASYNC;
        }
        if flags.contains(FdFlags::SYNC) || flags.contains(FdFlags::RSYNC) {
            needed |= Rights::FD_SYNC;
        }
        needed
    }
}

/// Whether to follow a symbolic link at the end of the path.
fn follows(lookup: u32) -> bool {
    LookupFlags::from_bits_truncate(lookup).contains(LookupFlags::SYMLINK_FOLLOW)
}

impl Descriptors {
    /// The directory at this number, if the descriptor has the right, and a path in it.
    fn at<'m>(&self, memory: &'m [u8], at: At, right: Rights) -> Answer<(&Directory, &'m str)> {
        let directory = self.directory(at.fd, right)?;
        if at.len > PATH_LIMIT {
            return Err(Errno::Nametoolong);
        }
        let path = std::str::from_utf8(memory.slice(at.path, at.len)?);
        Ok((directory, path.map_err(|_| Errno::Ilseq)?))
    }

    /// `path_open`: opens something and gives it the lowest free number.
    pub(crate) fn open(&mut self, memory: &[u8], at: At, opening: Opening) -> Answer<u32> {
        let (how, flags) = (opening.how()?, fd_flags(opening.flags)?);
        let (directory, path) = self.at(memory, at, Opening::needed(how))?;
        let handed_on = self.get(at.fd)?.inheriting;
        if !handed_on.contains(Opening::needed_of_opened(how, flags)) {
            return Err(Errno::Notcapable);
        }
        if self.is_full() {
            return Err(Errno::Mfile);
        }
        let kind = match directory.open(path, how)? {
            Found::Directory(directory) => Kind::Directory(Box::new(OpenDirectory {
                directory,
                given: None,
            })),
            Found::File(file) => {
                let file = OpenFile::Host(file);
                if flags.contains(FdFlags::APPEND) {
                    file.set_appending(true)?;
                }
                Kind::File(Box::new(file))
            }
            Found::Memory(bytes, stat) => Kind::File(Box::new(OpenFile::Memory {
                bytes,
                stat,
                place: 0,
            })),
        };
        self.insert(Descriptor::inherited(kind, flags, handed_on, opening))
    }

    /// `path_filestat_get`.
    pub(crate) fn filestat_at(&self, memory: &[u8], at: At, lookup: u32) -> Answer<Filestat> {
        let (directory, path) = self.at(memory, at, Rights::PATH_FILESTAT_GET)?;
        directory.filestat_at(path, follows(lookup))
    }

    /// `path_filestat_set_times`.
    pub(crate) fn set_times_at(
        &self,
        memory: &[u8],
        at: At,
        lookup: u32,
        times: [u64; 2],
        which: u32,
    ) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_FILESTAT_SET_TIMES)?;
        directory.set_times_at(path, follows(lookup), resolved(times, which)?)
    }

    /// `path_create_directory`.
    pub(crate) fn create_directory(&self, memory: &[u8], at: At) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_CREATE_DIRECTORY)?;
        directory.create_directory(path)
    }

    /// `path_remove_directory`.
    pub(crate) fn remove_directory(&self, memory: &[u8], at: At) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_REMOVE_DIRECTORY)?;
        directory.remove_directory(path)
    }

    /// `path_unlink_file`.
    pub(crate) fn unlink_file(&self, memory: &[u8], at: At) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_UNLINK_FILE)?;
        directory.unlink_file(path)
    }

    /// `path_rename`.
    pub(crate) fn rename(&self, memory: &[u8], from: At, to: At) -> Answer<()> {
        let (directory, path) = self.at(memory, from, Rights::PATH_RENAME_SOURCE)?;
        let (to_directory, to_path) = self.at(memory, to, Rights::PATH_RENAME_TARGET)?;
        directory.rename(path, to_directory, to_path)
    }

    /// `path_link` and `path_symlink`: refuses to create a link. A guest that could create links
    /// could lead others astray. Each of `parts` is a part of the call, with the right that it
    /// needs.
    pub(crate) fn refuse_link(&self, parts: &[(u32, Rights)]) -> Answer<()> {
        for (fd, right) in parts {
            // A descriptor that is not open does not change the answer.
            self.get(*fd).map_or(Ok(()), |open| open.check(*right))?;
        }
        Err(Errno::Notsup)
    }

    /// `path_readlink`: writes the target of a link, as much of it as there is room for.
    pub(crate) fn read_link(
        &self,
        memory: &mut [u8],
        at: At,
        (buf, len): (u32, u32),
    ) -> Answer<u32> {
        let (directory, path) = self.at(memory, at, Rights::PATH_READLINK)?;
        let target = directory.read_link(path)?;
        let room = memory.slice_mut(buf, len)?;
        let fitting = target.len().min(room.len());
        room[..fitting].copy_from_slice(&target.as_bytes()[..fitting]);
        Ok(fitting as u32)
    }
}

impl Descriptor {
    /// Creates a descriptor for something that was opened through a directory. It gets those
    /// requested rights that the directory passes on and that apply to it.
    fn inherited(kind: Kind, flags: FdFlags, handed_on: Rights, opening: Opening) -> Self {
        let asked = opening.asked();
        let (applying, inheriting) = match &kind {
            Kind::Directory(_) => (
                READ_DIRECTORY | WRITE_DIRECTORY,
                Rights::from_bits_truncate(opening.inheriting),
            ),
            _ if asked.contains(Rights::FD_WRITE) => (READ_FILE | WRITE_FILE, Rights::default()),
            // The system changes no sizes for readers.
            _ => (READ_FILE | Rights::FD_FILESTAT_SET_TIMES, Rights::default()),
        };
        Self {
            flags,
            rights: asked & applying & handed_on,
            inheriting: inheriting & handed_on,
            ..Self::new(kind)
        }
    }
}
