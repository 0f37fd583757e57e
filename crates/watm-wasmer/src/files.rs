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

use crate::directory::{
    self, Answer, Directory, Entry, Found, How, Listing, Times, errno, set_appending,
};
use crate::host::FIRST_FD;
use crate::settings::Settings;

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
    /// What the settings give.
    ///
    /// # Errors
    ///
    /// The directory that could not be opened, and why.
    pub(crate) fn new(settings: &Settings, config: Option<&Arc<[u8]>>) -> Result<Self, String> {
        let mut files = Self {
            limit: settings.descriptor_limit,
            ..Self::default()
        };
        let in_memory = settings
            .in_memory(config)
            .map_err(|error| error.to_string())?;
        let mut given: Vec<(&str, Directory)> = in_memory.directories().collect();
        for directory in &settings.directories {
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

/// Those rights that are kept of what there is.
pub(crate) fn fewer(rights: Rights, kept: u64) -> Answer<Rights> {
    match Rights::from_bits(kept) {
        Some(kept) if rights.contains(kept) => Ok(kept),
        _ => Err(Errno::Notcapable),
    }
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
mod tests {
    use super::*;
    use crate::tree::{ROOT, Tree};
    use std::fs;
    use watm_abi::Iovec;

    const READ: Opening = Opening {
        lookup: FOLLOW,
        how: 0,
        rights: READ_FILE.bits(),
        inheriting: 0,
        flags: 0,
    };
    const WRITE: Opening = Opening {
        how: Opening::CREATE,
        rights: READ_FILE.bits() | WRITE_FILE.bits(),
        ..READ
    };
    /// A directory, with all that there is.
    const DIRECTORY: Opening = Opening {
        how: Opening::DIRECTORY,
        rights: READ_DIRECTORY.bits() | WRITE_DIRECTORY.bits(),
        inheriting: u64::MAX,
        ..READ
    };
    /// Where things are in the guest's memory.
    const BUFFERS: u32 = 1024;
    const BYTES: u32 = 4096;

    /// A guest with a configuration, a directory for reading and one for writing.
    struct Guest {
        files: Files,
        memory: Vec<u8>,
        host: tempfile::TempDir,
    }

    const CONFIG: u32 = 3;
    const READING: u32 = 4;
    const WRITING: u32 = 5;

    impl Guest {
        fn new() -> Self {
            let host = tempfile::tempdir().expect("a directory");
            let mut files = Files {
                limit: 4,
                ..Files::default()
            };
            let mut tree = Tree::default();
            tree.insert("/conf/watm.cfg", (*b"some key").into())
                .expect("a free path");
            let node = tree.find(ROOT, "conf").expect("a directory");
            files.give("/conf", Directory::of_tree(Arc::new(tree), node));
            for (name, writable) in [("/reading", false), ("/writing", true)] {
                let path = host.path().join(&name[1..]);
                fs::create_dir(&path).expect("a directory");
                fs::write(path.join("file"), "content").expect("a file");
                let directory = Directory::open_host(&path, writable).expect("a directory");
                files.give(name, directory);
            }
            let memory = vec![0; 65536];
            Self {
                files,
                memory,
                host,
            }
        }

        fn at(&mut self, fd: u32, path: &str) -> At {
            self.memory[..path.len()].copy_from_slice(path.as_bytes());
            let len = path.len() as u32;
            At { fd, path: 0, len }
        }

        fn open(&mut self, fd: u32, path: &str, opening: Opening) -> Answer<u32> {
            let at = self.at(fd, path);
            self.files.open(&self.memory, at, opening, |_| false)
        }

        /// An array of buffers of these lengths, one behind the other.
        fn buffers(&mut self, lens: &[u32]) -> IovecArray {
            let mut buf = BYTES;
            for (at, len) in (BUFFERS..).step_by(8).zip(lens) {
                let record = Iovec { buf, len: *len }.encode();
                self.memory.write_bytes(at, &record).expect("room");
                buf += len;
            }
            IovecArray::decode(&self.memory[..], BUFFERS, lens.len() as u32).expect("buffers")
        }

        fn read(&mut self, fd: u32, lens: &[u32], from: Option<u64>) -> Answer<Vec<u8>> {
            let buffers = self.buffers(lens);
            let len = self.files.read(&mut self.memory, fd, &buffers, from)?;
            Ok(self.memory.slice(BYTES, len).expect("bytes").to_vec())
        }

        fn write(&mut self, fd: u32, bytes: &[u8], to: Option<u64>) -> Answer<u32> {
            self.memory.write_bytes(BYTES, bytes).expect("room");
            let (one, rest) = (1.min(bytes.len()), bytes.len().saturating_sub(1));
            let buffers = self.buffers(&[one as u32, rest as u32]);
            self.files.write(&self.memory, fd, &buffers, to)
        }

        fn content(&self, path: &str) -> String {
            fs::read_to_string(self.host.path().join(path)).expect("a file")
        }
    }

    #[test]
    fn directories_that_were_given_come_first_and_have_names() {
        let guest = Guest::new();
        for (fd, name) in [
            (CONFIG, "/conf"),
            (READING, "/reading"),
            (WRITING, "/writing"),
        ] {
            assert_eq!(guest.files.given_name(fd), Ok(name));
            let prestat = guest.files.prestat(fd).expect("a directory");
            assert_eq!(prestat.name_len as usize, name.len());
            let stat = guest.files.fdstat(fd).expect("a directory");
            assert_eq!(stat.file_type, FileType::Directory);
            let writes = stat.rights_inheriting.contains(Rights::FD_WRITE);
            assert_eq!(writes, fd == WRITING);
        }
        assert_eq!(guest.files.prestat(6), Err(Errno::Badf));
    }

    #[test]
    fn files_are_read_at_their_place_and_elsewhere() {
        let mut guest = Guest::new();
        for (fd, name, content) in [
            (CONFIG, "watm.cfg", &b"some key"[..]),
            (READING, "file", b"content"),
        ] {
            let file = guest.open(fd, name, READ).expect("a file");
            let len = content.len() as u64;
            assert_eq!(
                guest.read(file, &[2, 0, 3], None),
                Ok(content[..5].to_vec())
            );
            assert_eq!(guest.read(file, &[3], Some(1)), Ok(content[1..4].to_vec()));
            assert_eq!(
                guest.read(file, &[100, 100], None),
                Ok(content[5..].to_vec())
            );
            assert_eq!(guest.read(file, &[100], None), Ok(vec![]));
            assert_eq!(guest.read(file, &[100], Some(1 << 40)), Ok(vec![]));
            assert_eq!(guest.files.seek(file, 0, 1), Ok(len));
            assert_eq!(guest.files.seek(file, -2, 2), Ok(len - 2));
            assert_eq!(guest.files.seek(file, -1, 1), Ok(len - 3));
            assert_eq!(guest.files.seek(file, 4, 0), Ok(4));
            for (offset, whence) in [(-1, 0), (-100, 1), (-100, 2), (0, 3)] {
                let error = guest.files.seek(file, offset, whence);
                assert_eq!(error, Err(Errno::Inval), "{offset} {whence}");
            }
            assert!(guest.files.seek(file, i64::MAX, 1).is_err() || fd == CONFIG);
            assert_eq!(guest.files.filestat(file).map(|stat| stat.size), Ok(len));
            assert_eq!(guest.write(file, b"x", None), Err(Errno::Notcapable));
            assert_eq!(guest.files.set_size(file, 0), Err(Errno::Notcapable));
            assert_eq!(guest.files.allocate(file, 0, 100), Err(Errno::Notcapable));
            assert_eq!(
                guest.files.set_times(file, [0; 2], 5),
                Err(Errno::Notcapable)
            );
        }
        assert_eq!(guest.content("reading/file"), "content");
    }

    #[test]
    fn files_are_written_at_their_place_elsewhere_and_at_the_end() {
        let mut guest = Guest::new();
        let file = guest.open(WRITING, "new", WRITE).expect("a file");
        assert_eq!(guest.write(file, b"hello", None), Ok(5));
        assert_eq!(guest.write(file, b"EL", Some(1)), Ok(2));
        assert_eq!(guest.write(file, b"!", None), Ok(1));
        assert_eq!(guest.content("writing/new"), "hELlo!");
        let end = u32::from(FdFlags::APPEND.bits());
        guest.files.set_flags(file, end).expect("it can append");
        guest.files.seek(file, 0, 0).expect("a place");
        guest.write(file, b"end", None).expect("room");
        guest.files.set_flags(file, 0).expect("and stop");
        guest.files.seek(file, 0, 0).expect("a place");
        guest.write(file, b"H", None).expect("room");
        assert_eq!(guest.content("writing/new"), "HELlo!end");
        guest.files.set_size(file, 2).expect("a size");
        guest.files.allocate(file, 1, 3).expect("more of it");
        guest.files.allocate(file, 0, 1).expect("no less of it");
        assert_eq!(guest.content("writing/new"), "HE\0\0");
        assert_eq!(guest.files.allocate(file, u64::MAX, 1), Err(Errno::Inval));
        assert_eq!(guest.files.set_size(file, u64::MAX), Err(Errno::Inval));
        guest.files.set_times(file, [7, 9], 5).expect("times");
        let stat = guest.files.filestat(file).expect("a file");
        assert_eq!((stat.atim, stat.mtim), (7, 9));
        guest.files.set_times(file, [u64::MAX; 2], 10).expect("now");
        let now = guest.files.filestat(file).expect("a file").mtim;
        assert!(now > 1_000_000_000_000_000_000, "{now}");
        for which in [3, 12, 16] {
            assert_eq!(
                guest.files.set_times(file, [0; 2], which),
                Err(Errno::Inval)
            );
        }
        let opening = Opening {
            flags: end,
            ..WRITE
        };
        let other = guest.open(WRITING, "new", opening).expect("a file");
        guest.write(other, b"!", None).expect("room");
        assert_eq!(guest.content("writing/new"), "HE\0\0!");
        for right in [Rights::FD_SYNC, Rights::FD_DATASYNC] {
            guest.files.sync(file, right).expect("it is the system's");
        }
    }

    #[test]
    fn rights_are_those_that_were_asked_for_and_can_be_given_up() {
        let mut guest = Guest::new();
        let all = Opening {
            rights: u64::MAX,
            ..READ
        };
        assert_eq!(guest.open(READING, "file", all), Err(Errno::Notcapable));
        let file = guest.open(WRITING, "file", all).expect("a file");
        assert_eq!(
            guest.files.fdstat(file).map(|stat| stat.rights_base),
            Ok(READ_FILE | WRITE_FILE)
        );
        let reading = Rights::FD_READ.bits();
        guest.files.set_rights(file, reading, 0).expect("fewer");
        for (base, inheriting) in [
            (u64::MAX, 0),
            (reading | Rights::FD_SEEK.bits(), 0),
            (reading, 1),
            (reading | 1 << 40, 0),
        ] {
            let more = guest.files.set_rights(file, base, inheriting);
            assert_eq!(more, Err(Errno::Notcapable), "{base:x} {inheriting:x}");
        }
        assert_eq!(guest.write(file, b"x", None), Err(Errno::Notcapable));
        let only = Opening {
            rights: Rights::FD_WRITE.bits(),
            ..READ
        };
        let file = guest.open(WRITING, "file", only).expect("a file");
        assert_eq!(guest.read(file, &[1], None), Err(Errno::Notcapable));
        assert_eq!(guest.write(file, b"C", None), Ok(1));
        // Who asks for nothing reads.
        drop(guest.files.take(file).expect("it is open"));
        let nothing = Opening { rights: 0, ..READ };
        let file = guest.open(WRITING, "file", nothing).expect("a file");
        assert_eq!(guest.read(file, &[10], None), Ok(b"Content".to_vec()));
        for (how, flags) in [(16, 0), (3, 0), (10, 0), (0, 32), (0, u32::MAX)] {
            let opening = Opening {
                how,
                flags,
                ..WRITE
            };
            assert_eq!(
                guest.open(WRITING, "file", opening),
                Err(Errno::Inval),
                "{how} {flags}"
            );
        }
    }

    /// Every operation on a directory, and the right that it takes.
    fn on_directory(guest: &mut Guest, fd: u32) -> Vec<(Rights, Answer<()>)> {
        let at = guest.at(fd, "none");
        let missing = Opening { rights: 0, ..READ };
        let with = |how| Opening { how, ..missing };
        let Guest { files, memory, .. } = guest;
        let room = (BYTES, 4096);
        let never = |_| false;
        vec![
            (
                Rights::PATH_OPEN,
                files.open(memory, at, missing, never).map(drop),
            ),
            (
                Rights::PATH_CREATE_FILE,
                files
                    .open(memory, at, with(Opening::CREATE), never)
                    .map(drop),
            ),
            (
                Rights::PATH_FILESTAT_SET_SIZE,
                files
                    .open(memory, at, with(Opening::TRUNCATE), never)
                    .map(drop),
            ),
            (
                Rights::PATH_FILESTAT_GET,
                files.filestat_at(memory, at, 0).map(drop),
            ),
            (
                Rights::PATH_FILESTAT_SET_TIMES,
                files.set_times_at(memory, at, 0, [0; 2], 0),
            ),
            (
                Rights::PATH_READLINK,
                files.read_link(memory, at, room).map(drop),
            ),
            (
                Rights::PATH_CREATE_DIRECTORY,
                files.create_directory(memory, at),
            ),
            (Rights::PATH_UNLINK_FILE, files.unlink_file(memory, at)),
            (
                Rights::PATH_REMOVE_DIRECTORY,
                files.remove_directory(memory, at),
            ),
            (
                Rights::PATH_RENAME_SOURCE | Rights::PATH_RENAME_TARGET,
                files.rename(memory, at, at),
            ),
            (
                Rights::PATH_LINK_SOURCE,
                files.refuse_link(&[(fd, Rights::PATH_LINK_SOURCE)]),
            ),
            (
                Rights::FD_READDIR,
                files.list(memory, fd, room, 0).map(drop),
            ),
            (Rights::FD_FILESTAT_GET, files.filestat(fd).map(drop)),
            (
                Rights::FD_FILESTAT_SET_TIMES,
                files.set_times(fd, [0; 2], 0),
            ),
            (Rights::FD_FDSTAT_SET_FLAGS, files.set_flags(fd, 0)),
            (Rights::FD_SYNC, files.sync(fd, Rights::FD_SYNC)),
            (Rights::FD_DATASYNC, files.sync(fd, Rights::FD_DATASYNC)),
        ]
    }

    #[test]
    fn every_operation_on_a_directory_takes_its_right() {
        let mut guest = Guest::new();
        guest.files.limit = 400;
        for (right, answer) in on_directory(&mut guest, WRITING) {
            assert_ne!(answer, Err(Errno::Notcapable), "{right:?}");
        }
        let all = READ_DIRECTORY | WRITE_DIRECTORY;
        for index in 0..on_directory(&mut guest, WRITING).len() {
            let fd = guest.open(WRITING, ".", DIRECTORY).expect("a directory");
            assert_eq!(guest.files.fdstat(fd).map(|stat| stat.rights_base), Ok(all));
            let right = on_directory(&mut guest, fd)[index].0;
            let kept = all.without(right).bits();
            guest.files.set_rights(fd, kept, 0).expect("fewer");
            let (right, answer) = on_directory(&mut guest, fd).swap_remove(index);
            assert_eq!(answer, Err(Errno::Notcapable), "{right:?}");
            drop(guest.files.take(fd).expect("it is open"));
        }
    }

    /// Every operation on a file, and the right that it takes.
    fn on_file(guest: &mut Guest, fd: u32) -> Vec<(Rights, Answer<()>)> {
        let (read, read_at) = (guest.read(fd, &[1], None), guest.read(fd, &[1], Some(0)));
        let (write, write_at) = (guest.write(fd, b"x", None), guest.write(fd, b"x", Some(0)));
        let files = &mut guest.files;
        vec![
            (Rights::FD_READ, read.map(drop)),
            (Rights::FD_READ | Rights::FD_SEEK, read_at.map(drop)),
            (Rights::FD_WRITE, write.map(drop)),
            (Rights::FD_WRITE | Rights::FD_SEEK, write_at.map(drop)),
            (Rights::FD_SEEK, files.seek(fd, 0, 0).map(drop)),
            (
                Rights::FD_TELL | Rights::FD_SEEK,
                files.seek(fd, 0, 1).map(drop),
            ),
            (Rights::FD_ADVISE, files.advise(fd, 0)),
            (Rights::FD_ALLOCATE, files.allocate(fd, 0, 1)),
            (Rights::FD_SYNC, files.sync(fd, Rights::FD_SYNC)),
            (Rights::FD_DATASYNC, files.sync(fd, Rights::FD_DATASYNC)),
            (Rights::FD_FILESTAT_GET, files.filestat(fd).map(drop)),
            (Rights::FD_FILESTAT_SET_SIZE, files.set_size(fd, 7)),
            (
                Rights::FD_FILESTAT_SET_TIMES,
                files.set_times(fd, [0; 2], 0),
            ),
            (Rights::FD_FDSTAT_SET_FLAGS, files.set_flags(fd, 0)),
            (
                Rights::POLL_FD_READWRITE,
                files.check_poll(fd, Rights::POLL_FD_READWRITE),
            ),
        ]
    }

    #[test]
    fn every_operation_on_a_file_takes_its_right() {
        let mut guest = Guest::new();
        let all = READ_FILE | WRITE_FILE;
        let file = guest.open(WRITING, "file", WRITE).expect("a file");
        for (right, answer) in on_file(&mut guest, file) {
            assert_eq!(answer, Ok(()), "{right:?}");
        }
        for index in 0..on_file(&mut guest, file).len() {
            let fd = guest.open(WRITING, "file", WRITE).expect("a file");
            let right = on_file(&mut guest, fd)[index].0;
            let kept = all.without(right).bits();
            guest.files.set_rights(fd, kept, 0).expect("fewer");
            let (right, answer) = on_file(&mut guest, fd).swap_remove(index);
            assert_eq!(answer, Err(Errno::Notcapable), "{right:?}");
            drop(guest.files.take(fd).expect("it is open"));
        }
        // To look where the place is, either of two is enough.
        for right in [Rights::FD_TELL, Rights::FD_SEEK] {
            let fd = guest.open(WRITING, "file", WRITE).expect("a file");
            let kept = right.bits();
            guest.files.set_rights(fd, kept, 0).expect("fewer");
            assert_eq!(guest.files.seek(fd, 0, 1), Ok(0));
            drop(guest.files.take(fd).expect("it is open"));
        }
    }

    #[test]
    fn what_is_opened_has_no_more_rights_than_its_directory_hands_on() {
        let mut guest = Guest::new();
        fs::create_dir(guest.host.path().join("writing/sub")).expect("a directory");
        let asked = Opening {
            rights: (READ_DIRECTORY | Rights::FD_READ).bits(),
            inheriting: (READ_DIRECTORY | READ_FILE).bits(),
            ..DIRECTORY
        };
        let sub = guest.open(WRITING, "sub", asked).expect("a directory");
        let stat = guest.files.fdstat(sub).expect("it is open");
        assert_eq!(stat.rights_base, READ_DIRECTORY);
        assert_eq!(stat.rights_inheriting, READ_DIRECTORY | READ_FILE);
        // Neither itself nor what is opened through it writes.
        assert_eq!(guest.open(sub, "new", WRITE), Err(Errno::Notcapable));
        let write = Opening { how: 0, ..WRITE };
        fs::write(guest.host.path().join("writing/sub/file"), "x").expect("a file");
        assert_eq!(guest.open(sub, "file", write), Err(Errno::Notcapable));
        let again = guest.open(sub, ".", DIRECTORY).expect("a directory");
        let stat = guest.files.fdstat(again).expect("it is open");
        assert_eq!(stat.rights_base, READ_DIRECTORY);
        let at = guest.at(again, "dir");
        let made = guest.files.create_directory(&guest.memory, at);
        assert_eq!(made, Err(Errno::Notcapable));
        // Nor is anything read without the right to hand on.
        let none = Opening {
            inheriting: 0,
            ..asked
        };
        let sub = guest.open(WRITING, "sub", none).expect("a directory");
        let file = guest.open(sub, "file", READ).expect("a file");
        assert_eq!(guest.read(file, &[1], None), Err(Errno::Notcapable));
        let stat = guest.files.fdstat(file).expect("it is open");
        assert!(stat.rights_base.is_empty() && stat.rights_inheriting.is_empty());
    }

    #[test]
    fn a_file_that_is_read_is_not_cut_or_made_larger_through_it() {
        let mut guest = Guest::new();
        let all_but_writing = Opening {
            rights: (READ_FILE | WRITE_FILE).without(Rights::FD_WRITE).bits(),
            ..READ
        };
        let file = guest
            .open(WRITING, "file", all_but_writing)
            .expect("a file");
        assert_eq!(guest.files.set_size(file, 0), Err(Errno::Notcapable));
        assert_eq!(guest.files.allocate(file, 0, 100), Err(Errno::Notcapable));
        guest.files.set_times(file, [7, 9], 5).expect("times");
        assert_eq!(guest.content("writing/file"), "content");
    }

    #[test]
    fn numbers_are_the_lowest_that_are_free_and_end_at_the_limit() {
        let mut guest = Guest::new();
        let at = guest.at(READING, "file");
        let open = guest.files.open(&guest.memory, at, READ, |fd| fd == 6);
        assert_eq!(open, Ok(7), "6 is taken elsewhere");
        assert_eq!(guest.open(READING, "file", READ), Ok(6));
        assert_eq!(guest.open(READING, ".", READ), Ok(8));
        assert_eq!(guest.open(CONFIG, "watm.cfg", READ), Ok(9));
        assert_eq!(guest.open(READING, "file", READ), Err(Errno::Mfile));
        drop(guest.files.take(7).expect("it is open"));
        assert!(guest.files.take(7).is_err() && !guest.files.contains(7));
        assert_eq!(guest.open(READING, "file", READ), Ok(7));
        let moved = guest.files.take(7).expect("it is open");
        guest.files.put(600, moved);
        assert_eq!(guest.read(600, &[7], None), Ok(b"content".to_vec()));
        // Of those that were given, nothing is counted, and what was closed is gone.
        drop(guest.files.take(READING).expect("it is open"));
        assert_eq!(guest.open(READING, "file", READ), Err(Errno::Badf));
        for fd in [0, 2, 511, 512, u32::MAX] {
            assert_eq!(guest.open(fd, "file", READ), Err(Errno::Badf), "{fd}");
        }
    }

    #[test]
    fn a_call_reads_and_writes_so_much_and_no_more() {
        let mut guest = Guest::new();
        let file = guest.open(WRITING, "file", WRITE).expect("a file");
        guest.files.set_size(file, 1 << 40).expect("a sparse file");
        guest.memory = vec![0; BYTES as usize + CALL_LIMIT as usize];
        let page: u32 = 65536;
        for (at, len) in [(0, CALL_LIMIT - page), (1, page - 1), (2, page), (3, page)] {
            let record = Iovec { buf: BYTES, len }.encode();
            guest
                .memory
                .write_bytes(BUFFERS + 8 * at, &record)
                .expect("room");
        }
        let buffers = IovecArray::decode(&guest.memory[..], BUFFERS, 4).expect("buffers");
        for _ in 0..2 {
            let read = guest.files.read(&mut guest.memory, file, &buffers, None);
            assert_eq!(read, Ok(CALL_LIMIT));
            let written = guest.files.write(&guest.memory, file, &buffers, None);
            assert_eq!(written, Ok(CALL_LIMIT));
        }
        let place = guest.files.seek(file, 0, 1);
        assert_eq!(place, Ok(4 * u64::from(CALL_LIMIT)));
    }

    #[test]
    fn directories_are_listed_in_pieces_of_any_size() {
        let mut guest = Guest::new();
        for name in ["a", "longer name"] {
            fs::write(guest.host.path().join("writing").join(name), "").expect("a file");
        }
        let names = |bytes: &[u8]| {
            let mut names = Vec::new();
            let mut left = bytes;
            while let Some((head, rest)) = left.split_first_chunk::<DIRENT_SIZE>() {
                let next = u64::from_le_bytes(head[..8].try_into().expect("eight"));
                let len = u32::from_le_bytes(head[16..20].try_into().expect("four")) as usize;
                let Some(name) = rest.get(..len) else { break };
                names.push((next, String::from_utf8(name.to_vec()).expect("text")));
                left = &rest[len..];
            }
            names
        };
        for len in [0, 1, 23, 24, 25, 40, 60, 100, 4096] {
            let mut found = Vec::new();
            let mut next = 0;
            loop {
                let used = guest
                    .files
                    .list(&mut guest.memory, WRITING, (BYTES, len), next);
                let used = used.expect("a listing");
                let piece = names(guest.memory.slice(BYTES, used).expect("bytes"));
                // Removed between the pieces: what was begun goes on.
                let _ = fs::remove_file(guest.host.path().join("writing/a"));
                assert_eq!(guest.files.listing.is_some(), used == len);
                let Some((last, _)) = piece.last() else { break };
                next = *last;
                found.extend(piece.into_iter().map(|(_, name)| name));
                if used < len {
                    break;
                }
            }
            fs::write(guest.host.path().join("writing/a"), "").expect("a file");
            found.sort();
            found.retain(|name| name != "a");
            // The longest takes 35 bytes.
            if len >= 35 {
                assert_eq!(found, [".", "..", "file", "longer name"], "{len}");
            }
        }
        let invalid = guest
            .files
            .list(&mut guest.memory, WRITING, (BYTES, 100), u64::MAX);
        assert_eq!(invalid, Err(Errno::Inval));
        let outside = guest
            .files
            .list(&mut guest.memory, WRITING, (65_530, 100), 0);
        assert_eq!(outside, Err(Errno::Fault));
        let file = guest.open(WRITING, "file", READ).expect("a file");
        let not_one = guest.files.list(&mut guest.memory, file, (BYTES, 100), 0);
        assert_eq!(not_one, Err(Errno::Notdir));
    }

    #[test]
    fn a_call_lists_so_much_and_no_more() {
        let mut guest = Guest::new();
        for number in 0..4500 {
            let name = format!("writing/{number:0220}");
            fs::write(guest.host.path().join(name), "").expect("a file");
        }
        guest.memory = vec![0; BYTES as usize + 2 * LIST_LIMIT];
        let mut list = |len: usize| {
            let room = (BYTES, len as u32);
            guest.files.list(&mut guest.memory, WRITING, room, 0)
        };
        assert_eq!(list(LIST_LIMIT), Ok(LIST_LIMIT as u32));
        assert_eq!(list(2 * LIST_LIMIT), Err(Errno::Overflow));
    }

    #[test]
    fn paths_are_text_of_4096_bytes_within_memory() {
        let mut guest = Guest::new();
        guest.memory[..3].copy_from_slice(&[b'a', 0xff, b'b']);
        let stat = |guest: &Guest, path, len| {
            let at = At {
                fd: READING,
                path,
                len,
            };
            guest.files.filestat_at(&guest.memory, at, FOLLOW).err()
        };
        assert_eq!(stat(&guest, 0, 3), Some(Errno::Ilseq));
        assert_eq!(stat(&guest, 65_530, 7), Some(Errno::Fault));
        assert_eq!(stat(&guest, u32::MAX, 1), Some(Errno::Fault));
        assert_eq!(stat(&guest, 0, 4097), Some(Errno::Nametoolong));
        guest.memory[..5].copy_from_slice(b"fi\0le");
        assert_eq!(stat(&guest, 0, 5), Some(Errno::Inval));
        guest.memory[..4].copy_from_slice(b"file");
        assert_eq!(stat(&guest, 0, 4), None);
    }

    #[test]
    fn things_are_made_moved_and_removed_between_directories_for_writing() {
        let mut guest = Guest::new();
        let (directory, to) = (
            guest.at(WRITING, "dir"),
            At {
                fd: WRITING,
                path: 100,
                len: 8,
            },
        );
        guest.memory[100..108].copy_from_slice(b"dir/file");
        let Guest { files, memory, .. } = &mut guest;
        files
            .create_directory(memory, directory)
            .expect("a directory");
        assert_eq!(files.create_directory(memory, directory), Err(Errno::Exist));
        let from = At {
            path: 104,
            len: 4,
            ..to
        };
        files.rename(memory, from, to).expect("a file to move");
        assert_eq!(
            files.remove_directory(memory, directory),
            Err(Errno::Notempty)
        );
        files.unlink_file(memory, to).expect("a file to remove");
        files
            .remove_directory(memory, directory)
            .expect("an empty one");
        // Not from or to one for reading.
        let reading = At {
            fd: READING,
            ..from
        };
        assert_eq!(files.rename(memory, reading, from), Err(Errno::Notcapable));
        let link = std::os::unix::fs::symlink("somewhere", guest.host.path().join("reading/link"));
        link.expect("a link");
        let at = guest.at(READING, "link");
        let len = guest.files.read_link(&mut guest.memory, at, (BYTES, 4));
        assert_eq!(len, Ok(4));
        assert_eq!(guest.memory.slice(BYTES, 5), Ok(&b"some\0"[..]));
        let len = guest.files.read_link(&mut guest.memory, at, (BYTES, 100));
        assert_eq!(len, Ok(9));
    }
}
