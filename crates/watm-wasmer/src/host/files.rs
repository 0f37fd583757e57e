//! A guest's descriptors of files and directories, and what it can do with them.
//!
//! Knows descriptors and the guest's memory. Those of connections and of the standard streams are the
//! host's, and share the numbers. All of it happens on the guest's thread, and no call takes long:
//! see the limits below.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use watm_abi::{
    Errno, FdFlags, Fdstat, FileType, Filestat, GuestMemory, IovecArray, Prestat, Rights,
};

use crate::host::descriptor::{FIRST_FD, fewer};
use crate::host::directory::{self, Directory, Found, How, Listing, Times, errno, set_appending};
use crate::host::preopens::{self, InMemory};
use crate::host::tree::{Answer, Entry};

/// The first number that is not a standard stream's.
const FIRST_FILE: u32 = 3;
/// Bytes of a path at most: what Linux takes.
const PATH_LIMIT: u32 = 4096;
/// Bytes that one call reads or writes at most, so that it ends soon: an array of buffers may name the
/// guest's memory a thousand times.
const CALL_LIMIT: u32 = 16 << 20;
/// Bytes that one call lists of a directory at most, for the same reason.
const LIST_LIMIT: usize = 1 << 20;
/// The size of the head of an entry of a directory, in bytes: `dirent`.
const DIRENT_SIZE: usize = 24;

/// What a guest may do with a file, and with a directory, that was given for reading.
const READ_FILE: Rights = all_of(&[
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
const READ_DIRECTORY: Rights = all_of(&[
    Rights::PATH_OPEN,
    Rights::PATH_READLINK,
    Rights::PATH_FILESTAT_GET,
    Rights::FD_READDIR,
    Rights::FD_DATASYNC,
    Rights::FD_SYNC,
    Rights::FD_FILESTAT_GET,
    Rights::FD_FDSTAT_SET_FLAGS,
]);
/// What comes to it for writing.
const WRITE_FILE: Rights = all_of(&[
    Rights::FD_WRITE,
    Rights::FD_ALLOCATE,
    Rights::FD_FILESTAT_SET_SIZE,
    Rights::FD_FILESTAT_SET_TIMES,
]);
///
/// Links cannot be made. Programs expect the rights to make them on every directory all the same.
const WRITE_DIRECTORY: Rights = all_of(&[
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

/// A guest's descriptors that are not the host's.
#[derive(Default)]
pub(crate) struct Files {
    open: BTreeMap<u32, Open>,
    /// Descriptors at most beside those that were given.
    limit: usize,
    /// What is being listed, and through which descriptor.
    listing: Option<(u32, Listing)>,
}

/// Something open.
pub(crate) struct Open {
    /// The name of a directory that was given.
    given: Option<Box<str>>,
    node: Node,
    flags: FdFlags,
    /// What it may be used for.
    rights: Rights,
    /// What descriptors that are opened through it may be used for.
    inheriting: Rights,
}

enum Node {
    Directory(Directory),
    File(Content),
}

enum Content {
    Host(File),
    Memory {
        bytes: Arc<[u8]>,
        stat: Filestat,
        place: u64,
    },
}

/// Part of a path call: a descriptor, and where the path is in memory.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) fd: u32,
    pub(crate) path: u32,
    pub(crate) len: u32,
}

/// The numbers that `path_open` takes beside its path.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) lookup: u32,
    pub(crate) how: u32,
    pub(crate) rights: u64,
    pub(crate) inheriting: u64,
    pub(crate) flags: u32,
}

/// The flag of a lookup that follows a symbolic link at the path's end.
const FOLLOW: u32 = 1;

impl Opening {
    const CREATE: u32 = 1;
    const DIRECTORY: u32 = 2;
    const EXCLUSIVE: u32 = 4;
    const TRUNCATE: u32 = 8;
    const ALL: u32 = 15;

    fn how(self) -> Answer<How> {
        if self.how & !Self::ALL != 0 {
            return Err(Errno::Inval);
        }
        let wants = |what| self.how & what != 0;
        let asked = self.asked();
        let how = How {
            follow: self.lookup & FOLLOW != 0,
            read: asked.contains(Rights::FD_READ),
            write: asked.contains(Rights::FD_WRITE),
            create: wants(Self::CREATE),
            directory: wants(Self::DIRECTORY),
            exclusive: wants(Self::EXCLUSIVE),
            truncate: wants(Self::TRUNCATE),
        };
        if how.directory && (how.create || how.exclusive || how.truncate) {
            return Err(Errno::Inval);
        }
        Ok(how)
    }

    /// The rights that are asked for. Who asks neither to read nor to write means to read.
    fn asked(self) -> Rights {
        let asked = Rights::from_bits_truncate(self.rights);
        if asked.contains(Rights::FD_WRITE) {
            asked
        } else {
            asked | Rights::FD_READ
        }
    }

    /// What the directory has to allow.
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

    /// What the directory has to hand on. Other rights are left out where it does not.
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

impl Files {
    /// What a guest is given: the directories of the host, and what it finds in memory.
    ///
    /// # Errors
    ///
    /// The directory that could not be opened, and why.
    pub(crate) fn new(
        directories: &[preopens::Directory],
        in_memory: &InMemory,
        limit: usize,
    ) -> Result<Self, String> {
        let mut files = Self {
            limit,
            ..Self::default()
        };
        let mut given: Vec<(&str, Directory)> = in_memory.directories().collect();
        for directory in directories {
            let opened = Directory::open_host(&directory.host, directory.writable)
                .map_err(|error| format!("the directory {}: {error}", directory.host.display()))?;
            given.push((&directory.guest, opened));
        }
        // Relative paths of Go's programs begin in the first.
        given.sort_by_key(|(name, _)| *name != "/");
        for (name, directory) in given {
            files.give(name, directory);
        }
        Ok(files)
    }

    /// Puts a directory behind those that were given before.
    fn give(&mut self, name: &str, directory: Directory) {
        let last = self.open.last_key_value();
        let number = last.map_or(FIRST_FILE, |(last, _)| last + 1);
        self.open.insert(number, Open::given(name, directory));
    }

    pub(crate) fn contains(&self, fd: u32) -> bool {
        self.open.contains_key(&fd)
    }

    /// Takes a descriptor away: to close it, or to put it elsewhere.
    pub(crate) fn take(&mut self, fd: u32) -> Answer<Open> {
        if self
            .listing
            .as_ref()
            .is_some_and(|(listed, _)| *listed == fd)
        {
            self.listing = None;
        }
        self.open.remove(&fd).ok_or(Errno::Badf)
    }

    /// Puts it under another number, and closes what was there.
    pub(crate) fn put(&mut self, fd: u32, open: Open) {
        drop(self.take(fd));
        self.open.insert(fd, open);
    }

    fn get(&self, fd: u32) -> Answer<&Open> {
        self.open.get(&fd).ok_or(Errno::Badf)
    }

    fn get_mut(&mut self, fd: u32) -> Answer<&mut Open> {
        self.open.get_mut(&fd).ok_or(Errno::Badf)
    }

    /// Something that may be used so.
    fn get_for(&self, fd: u32, right: Rights) -> Answer<&Open> {
        let open = self.get(fd)?;
        open.check(right)?;
        Ok(open)
    }

    /// A directory that may be used so.
    fn directory(&self, fd: u32, right: Rights) -> Answer<&Directory> {
        let open = self.get(fd)?;
        match &open.node {
            Node::Directory(directory) => open.check(right).map(|()| directory),
            Node::File(_) => Err(Errno::Notdir),
        }
    }

    /// A file that may be used so.
    fn file(&mut self, fd: u32, right: Rights) -> Answer<&mut Content> {
        let open = self.get_mut(fd)?;
        if let Node::File(_) = open.node {
            open.check(right)?;
        }
        match &mut open.node {
            Node::Directory(_) => Err(Errno::Isdir),
            Node::File(content) => Ok(content),
        }
    }

    /// A directory that may be used so, and a path in it.
    fn at<'m>(&self, memory: &'m [u8], at: At, right: Rights) -> Answer<(&Directory, &'m str)> {
        let directory = self.directory(at.fd, right)?;
        if at.len > PATH_LIMIT {
            return Err(Errno::Nametoolong);
        }
        let path = std::str::from_utf8(memory.slice(at.path, at.len)?);
        Ok((directory, path.map_err(|_| Errno::Ilseq)?))
    }

    /// Whether a poll may ask for a descriptor, by these rights. Files are always ready, and so are
    /// directories, for which there is no such right.
    pub(crate) fn check_poll(&self, fd: u32, rights: Rights) -> Answer<()> {
        let open = self.get(fd)?;
        match &open.node {
            Node::Directory(_) => Ok(()),
            Node::File(_) => open.check(rights),
        }
    }

    // ---- descriptors --------------------------------------------------------------------------

    pub(crate) fn fdstat(&self, fd: u32) -> Answer<Fdstat> {
        let open = self.get(fd)?;
        Ok(Fdstat {
            file_type: match &open.node {
                Node::Directory(_) => FileType::Directory,
                Node::File(_) => FileType::RegularFile,
            },
            flags: open.flags,
            rights_base: open.rights,
            rights_inheriting: open.inheriting,
        })
    }

    /// Appending is what can be changed; the other flags have no meaning for files here.
    pub(crate) fn set_flags(&mut self, fd: u32, flags: u32) -> Answer<()> {
        let open = self.get_mut(fd)?;
        open.check(Rights::FD_FDSTAT_SET_FLAGS)?;
        let flags = fd_flags(flags)?;
        if let Node::File(Content::Host(file)) = &open.node {
            set_appending(file, flags.contains(FdFlags::APPEND))?;
        }
        open.flags = flags;
        Ok(())
    }

    /// Rights can be given up, and are not won back.
    pub(crate) fn set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Answer<()> {
        let open = self.get_mut(fd)?;
        let (base, inheriting) = (
            fewer(open.rights, base)?,
            fewer(open.inheriting, inheriting)?,
        );
        (open.rights, open.inheriting) = (base, inheriting);
        Ok(())
    }

    pub(crate) fn prestat(&self, fd: u32) -> Answer<Prestat> {
        let name = self.given_name(fd)?;
        Ok(Prestat {
            name_len: u32::try_from(name.len()).map_err(|_| Errno::Nametoolong)?,
        })
    }

    /// The name under which a directory was given.
    pub(crate) fn given_name(&self, fd: u32) -> Answer<&str> {
        self.get(fd)?.given.as_deref().ok_or(Errno::Badf)
    }

    // ---- files --------------------------------------------------------------------------------

    pub(crate) fn advise(&mut self, fd: u32, advice: u32) -> Answer<()> {
        /// `noreuse`, the last that there is.
        const LAST: u32 = 5;
        self.file(fd, Rights::FD_ADVISE)?;
        if advice > LAST {
            return Err(Errno::Inval);
        }
        Ok(())
    }

    pub(crate) fn allocate(&mut self, fd: u32, offset: u64, len: u64) -> Answer<()> {
        let end = offset.checked_add(len).filter(|_| len > 0);
        let end = end.ok_or(Errno::Inval)?;
        let file = self.file(fd, Rights::FD_ALLOCATE)?.host()?;
        if file.metadata().map_err(errno)?.len() < end {
            file.set_len(end).map_err(errno)?;
        }
        Ok(())
    }

    /// Nothing is waited for: what was written is the system's, and how long a disk takes is not
    /// ours to bound.
    pub(crate) fn sync(&self, fd: u32, right: Rights) -> Answer<()> {
        self.get_for(fd, right).map(|_| ())
    }

    pub(crate) fn filestat(&self, fd: u32) -> Answer<Filestat> {
        match &self.get_for(fd, Rights::FD_FILESTAT_GET)?.node {
            Node::Directory(directory) => directory.filestat(),
            Node::File(Content::Host(file)) => directory::filestat_of(file),
            Node::File(Content::Memory { stat, .. }) => Ok(*stat),
        }
    }

    pub(crate) fn set_size(&mut self, fd: u32, size: u64) -> Answer<()> {
        let file = self.file(fd, Rights::FD_FILESTAT_SET_SIZE)?.host()?;
        file.set_len(size).map_err(errno)
    }

    /// `which` of the times, as in the interface: one bit each to set and to set to now.
    pub(crate) fn set_times(&mut self, fd: u32, times: [u64; 2], which: u32) -> Answer<()> {
        let times = resolved(times, which)?;
        let right = Rights::FD_FILESTAT_SET_TIMES;
        if let Node::Directory(directory) = &self.get_for(fd, right)?.node {
            return directory.set_times(times);
        }
        let file = self.file(fd, right)?.host()?;
        file.set_times(times.into()).map_err(errno)
    }

    /// Reads at the file's place, which moves on, or elsewhere.
    pub(crate) fn read(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovecs: &IovecArray,
        from: Option<u64>,
    ) -> Answer<u32> {
        let content = self.file(fd, at_place(Rights::FD_READ, from))?;
        transfer(iovecs, from, |buf, len, from| {
            content
                .read(memory.slice_mut(buf, len)?, from)
                .map_err(errno)
        })
    }

    /// Writes at the file's place, which moves on, or elsewhere.
    pub(crate) fn write(
        &mut self,
        memory: &[u8],
        fd: u32,
        iovecs: &IovecArray,
        to: Option<u64>,
    ) -> Answer<u32> {
        let file = self.file(fd, at_place(Rights::FD_WRITE, to))?.host()?;
        transfer(iovecs, to, |buf, len, to| {
            let part = memory.slice(buf, len)?;
            match to {
                Some(to) => file.write_at(part, to),
                None => (&*file).write(part),
            }
            .map_err(errno)
        })
    }

    pub(crate) fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Answer<u64> {
        let may_seek = self.get(fd)?.rights.contains(Rights::FD_SEEK);
        // To look where the place is takes less than to change it.
        let right = if (offset, whence) == (0, 1) && !may_seek {
            Rights::FD_TELL
        } else {
            Rights::FD_SEEK
        };
        let content = self.file(fd, right)?;
        let to = match whence {
            0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
            1 => SeekFrom::Current(offset),
            2 => SeekFrom::End(offset),
            _ => return Err(Errno::Inval),
        };
        content.seek(to).map_err(errno)
    }

    // ---- directories --------------------------------------------------------------------------

    /// Opens something and gives it the lowest number that is free: of these, and of those that are
    /// taken elsewhere.
    pub(crate) fn open(
        &mut self,
        memory: &[u8],
        at: At,
        opening: Opening,
        is_taken: impl Fn(u32) -> bool,
    ) -> Answer<u32> {
        let (how, flags) = (opening.how()?, fd_flags(opening.flags)?);
        let (directory, path) = self.at(memory, at, Opening::needed(how))?;
        let handed_on = self.get(at.fd)?.inheriting;
        if !handed_on.contains(Opening::needed_of_opened(how, flags)) {
            return Err(Errno::Notcapable);
        }
        let own = self.open.values().filter(|open| open.given.is_none());
        if own.count() >= self.limit {
            return Err(Errno::Mfile);
        }
        let number = (FIRST_FILE..FIRST_FD)
            .find(|fd| !self.open.contains_key(fd) && !is_taken(*fd))
            .ok_or(Errno::Mfile)?;
        let node = match directory.open(path, how)? {
            Found::Directory(directory) => Node::Directory(directory),
            Found::File(opened) => {
                if flags.contains(FdFlags::APPEND) {
                    set_appending(&opened, true)?;
                }
                Node::File(Content::Host(opened))
            }
            Found::Memory(bytes, stat) => Node::File(Content::Memory {
                bytes,
                stat,
                place: 0,
            }),
        };
        let open = Open::inherited(node, flags, handed_on, opening);
        self.open.insert(number, open);
        Ok(number)
    }

    /// Writes entries from that place on, as many as there is room for, the last one cut off where
    /// the room ends.
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
            // A call that ends with room left says that this is all.
            if used > LIST_LIMIT {
                return Err(Errno::Overflow);
            }
            for part in [&dirent(&entry)[..], entry.name.as_bytes()] {
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

    pub(crate) fn filestat_at(&self, memory: &[u8], at: At, lookup: u32) -> Answer<Filestat> {
        let (directory, path) = self.at(memory, at, Rights::PATH_FILESTAT_GET)?;
        directory.filestat_at(path, lookup & FOLLOW != 0)
    }

    pub(crate) fn set_times_at(
        &self,
        memory: &[u8],
        at: At,
        lookup: u32,
        times: [u64; 2],
        which: u32,
    ) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_FILESTAT_SET_TIMES)?;
        directory.set_times_at(path, lookup & FOLLOW != 0, resolved(times, which)?)
    }

    pub(crate) fn create_directory(&self, memory: &[u8], at: At) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_CREATE_DIRECTORY)?;
        directory.create_directory(path)
    }

    pub(crate) fn remove_directory(&self, memory: &[u8], at: At) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_REMOVE_DIRECTORY)?;
        directory.remove_directory(path)
    }

    pub(crate) fn unlink_file(&self, memory: &[u8], at: At) -> Answer<()> {
        let (directory, path) = self.at(memory, at, Rights::PATH_UNLINK_FILE)?;
        directory.unlink_file(path)
    }

    pub(crate) fn rename(&self, memory: &[u8], from: At, to: At) -> Answer<()> {
        let (directory, path) = self.at(memory, from, Rights::PATH_RENAME_SOURCE)?;
        let (to_directory, to_path) = self.at(memory, to, Rights::PATH_RENAME_TARGET)?;
        directory.rename(path, to_directory, to_path)
    }

    /// Refuses to make a link, of which each of these is a part: a guest that could make links
    /// could lead others astray.
    pub(crate) fn refuse_link(&self, parts: &[(u32, Rights)]) -> Answer<()> {
        for (fd, right) in parts {
            // What is not open changes nothing in the answer.
            self.get(*fd).map_or(Ok(()), |open| open.check(*right))?;
        }
        Err(Errno::Notsup)
    }

    /// Writes where a link leads to, as far as there is room.
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

impl Open {
    /// A directory that is given, with all that can be done with it.
    fn given(name: &str, directory: Directory) -> Self {
        let (rights, of_files) = if directory.is_writable() {
            (READ_DIRECTORY | WRITE_DIRECTORY, READ_FILE | WRITE_FILE)
        } else {
            (READ_DIRECTORY, READ_FILE)
        };
        Self {
            given: Some(name.into()),
            node: Node::Directory(directory),
            flags: FdFlags::default(),
            rights,
            inheriting: rights | of_files,
        }
    }

    /// Something that was opened through a directory: of what was asked for it has what that hands
    /// on and what applies to it.
    fn inherited(node: Node, flags: FdFlags, handed_on: Rights, opening: Opening) -> Self {
        let asked = opening.asked();
        let (applying, inheriting) = match &node {
            Node::Directory(_) => (
                READ_DIRECTORY | WRITE_DIRECTORY,
                Rights::from_bits_truncate(opening.inheriting),
            ),
            Node::File(_) if asked.contains(Rights::FD_WRITE) => {
                (READ_FILE | WRITE_FILE, Rights::default())
            }
            // The system changes no size for those who do not write.
            Node::File(_) => (READ_FILE | Rights::FD_FILESTAT_SET_TIMES, Rights::default()),
        };
        Self {
            given: None,
            node,
            flags,
            rights: asked & applying & handed_on,
            inheriting: inheriting & handed_on,
        }
    }

    fn check(&self, right: Rights) -> Answer<()> {
        if self.rights.contains(right) {
            Ok(())
        } else {
            Err(Errno::Notcapable)
        }
    }
}

impl Content {
    /// The file of the host, where something is changed.
    fn host(&mut self) -> Answer<&mut File> {
        match self {
            Self::Host(file) => Ok(file),
            Self::Memory { .. } => Err(Errno::Notcapable),
        }
    }

    fn read(&mut self, part: &mut [u8], from: Option<u64>) -> io::Result<usize> {
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

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Host(file) => file.seek(to),
            Self::Memory { bytes, place, .. } => {
                *place = match to {
                    SeekFrom::Start(to) => Some(to),
                    SeekFrom::Current(by) => place.checked_add_signed(by),
                    SeekFrom::End(by) => (bytes.len() as u64).checked_add_signed(by),
                }
                .ok_or(io::ErrorKind::InvalidInput)?;
                Ok(*place)
            }
        }
    }
}

/// Goes through buffers until one is not done wholly, or the call has done enough.
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
                // No more than was asked for.
                total += (done as u32).min(len);
                if total == CALL_LIMIT || done < iovec.len as usize {
                    break;
                }
            }
            // What was done before is told; the error comes again.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(total)
}

/// The rights to read or write at the file's own place, or at another.
fn at_place(right: Rights, place: Option<u64>) -> Rights {
    place.map_or(right, |_| right | Rights::FD_SEEK)
}

fn fd_flags(flags: u32) -> Answer<FdFlags> {
    u16::try_from(flags)
        .ok()
        .and_then(FdFlags::from_bits)
        .ok_or(Errno::Inval)
}

/// What is to be set of the times of access and modification.
fn resolved([accessed, modified]: [u64; 2], which: u32) -> Answer<Times> {
    let time = |time: u64, set: u32, now: u32| match (which & set != 0, which & now != 0) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(UNIX_EPOCH + Duration::from_nanos(time))),
        (false, true) => Ok(Some(SystemTime::now())),
        (false, false) => Ok(None),
    };
    if which > 15 {
        return Err(Errno::Inval);
    }
    Ok(Times {
        accessed: time(accessed, 1, 2)?,
        modified: time(modified, 4, 8)?,
    })
}

/// The head of an entry, which its name follows.
fn dirent(entry: &Entry<'_>) -> [u8; DIRENT_SIZE] {
    let mut head = [0; DIRENT_SIZE];
    head[..8].copy_from_slice(&entry.next.to_le_bytes());
    head[8..16].copy_from_slice(&entry.ino.to_le_bytes());
    head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
    head[20] = entry.file_type.raw();
    head
}

#[cfg(test)]
mod tests;
