//! A directory that a guest was given, or that it opened inside such a directory.
//!
//! Knows paths, and neither descriptors nor the guest's memory. A directory of the host is opened
//! once, and everything in it is reached from there. The system itself keeps each path below the
//! directory: with `openat2`, or step by step where that is missing. So no path and no symbolic
//! link leads out of the directory, even if something is renamed meanwhile. Moving and removing
//! never follow links.

use std::fs::{File, FileTimes};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, SystemTimeSpec};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use cap_std::time::SystemTime as CapTime;
use rustix::fs::{FileType as SystemType, Mode, OFlags, RawDir, SeekFrom};
use watm_abi::{Errno, FileType, Filestat};

use crate::host::tree::{Answer, Entry, Tree};

/// Number of bytes of directory entries that are requested from the system at once.
const LISTED_AT_ONCE: usize = 4096;

/// A directory, with no access to what surrounds it.
#[derive(Clone)]
pub(crate) struct Directory {
    place: Place,
    writable: bool,
}

#[derive(Clone)]
enum Place {
    Host(Arc<Dir>),
    /// A directory of files that exist in memory only.
    Memory(Arc<Tree>, usize),
}

/// What an open call found.
pub(crate) enum Found {
    Directory(Directory),
    File(File),
    /// A file in memory: its contents and its attributes.
    Memory(Arc<[u8]>, Filestat),
}

/// How to open something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Whether to follow a symbolic link at the end of the path.
    pub(crate) follow: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) create: bool,
    /// Only a directory is acceptable.
    pub(crate) directory: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
}

/// A directory that is being listed. The system remembers the entries and their positions, as every
/// file system does. Nothing of that is kept here.
pub(crate) enum Listing {
    Host {
        directory: Arc<Dir>,
        /// A second handle of the directory, for reading it.
        opened: OwnedFd,
    },
    Memory(Arc<Tree>, usize),
}

/// The times of access and modification, as far as they are to be set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) accessed: Option<SystemTime>,
    pub(crate) modified: Option<SystemTime>,
}

impl From<Times> for FileTimes {
    fn from(times: Times) -> Self {
        let mut set = Self::new();
        if let Some(accessed) = times.accessed {
            set = set.set_accessed(accessed);
        }
        if let Some(modified) = times.modified {
            set = set.set_modified(modified);
        }
        set
    }
}

impl Directory {
    /// Opens a directory of the host.
    pub(crate) fn open_host(path: &Path, writable: bool) -> io::Result<Self> {
        let directory = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self {
            place: Place::Host(Arc::new(directory)),
            writable,
        })
    }

    /// A directory of files in memory.
    pub(crate) fn of_tree(tree: Arc<Tree>, node: usize) -> Self {
        Self {
            place: Place::Memory(tree, node),
            writable: false,
        }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// The directory of the host, if the guest may change anything in it.
    fn to_change(&self) -> Answer<&Dir> {
        match &self.place {
            Place::Host(directory) if self.writable => Ok(directory),
            _ => Err(Errno::Notcapable),
        }
    }

    pub(crate) fn open(&self, path: &str, how: How) -> Answer<Found> {
        let changes = !how.directory && (how.write || how.create || how.truncate);
        if changes && !self.writable {
            return Err(Errno::Notcapable);
        }
        let directory = match &self.place {
            Place::Host(directory) => directory,
            Place::Memory(tree, node) => return open_in_memory(tree, tree.find(*node, path)?, how),
        };
        if how.directory {
            let found = self.open_directory(directory, path, how.follow)?;
            return if how.write {
                Err(Errno::Isdir)
            } else {
                Ok(found)
            };
        }
        // A device is not a file to share. Merely opening it may already have an effect.
        match stat(directory, path, how.follow) {
            Ok(_) if how.create && how.exclusive => return Err(Errno::Exist),
            Ok(found) if found.is_symlink() => return Err(Errno::Loop),
            Ok(found) if found.is_dir() => {
                if changes {
                    return Err(Errno::Isdir);
                }
                return self.open_directory(directory, path, how.follow);
            }
            Ok(found) if !found.is_file() => return Err(Errno::Perm),
            _ => {}
        }
        let mut options = options(how.follow);
        options
            .read(how.read)
            // The system creates and truncates files only for writers.
            .write(changes)
            .create(how.create && !how.exclusive)
            .create_new(how.create && how.exclusive)
            .truncate(how.truncate);
        let file = directory
            .open_with(path, &options)
            .map_err(errno_of)?
            .into_std();
        if !file.metadata().map_err(errno_of)?.is_file() {
            return Err(Errno::Perm);
        }
        Ok(Found::File(file))
    }

    fn open_directory(&self, directory: &Dir, path: &str, follow: bool) -> Answer<Found> {
        let opened = if follow {
            directory.open_dir(path)
        } else {
            directory.open_dir_nofollow(path)
        };
        Ok(Found::Directory(Self {
            place: Place::Host(Arc::new(opened.map_err(errno_of)?)),
            writable: self.writable,
        }))
    }

    /// The attributes of the directory itself.
    pub(crate) fn filestat(&self) -> Answer<Filestat> {
        match &self.place {
            Place::Host(directory) => filestat(directory.dir_metadata()),
            Place::Memory(tree, node) => Ok(tree.filestat(*node)),
        }
    }

    pub(crate) fn filestat_at(&self, path: &str, follow: bool) -> Answer<Filestat> {
        match &self.place {
            Place::Host(directory) => filestat(stat(directory, path, follow)),
            Place::Memory(tree, node) => Ok(tree.filestat(tree.find(*node, path)?)),
        }
    }

    /// Sets the times of the directory itself.
    pub(crate) fn set_times(&self, times: Times) -> Answer<()> {
        self.set_times_at(".", true, times)
    }

    pub(crate) fn set_times_at(&self, path: &str, follow: bool, times: Times) -> Answer<()> {
        let directory = self.to_change()?;
        if follow {
            let file = open_any(directory, path)?;
            return file.set_times(times.into()).map_err(errno_of);
        }
        let [accessed, modified] = [times.accessed, times.modified]
            .map(|time| time.map(|time| SystemTimeSpec::Absolute(CapTime::from_std(time))));
        directory
            .set_symlink_times(path, accessed, modified)
            .map_err(errno_of)
    }

    /// Begins to list the entries, including the directory itself and its parent.
    pub(crate) fn list(&self) -> Answer<Listing> {
        Ok(match &self.place {
            Place::Host(directory) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(directory, ".", flags, Mode::empty());
                Listing::Host {
                    directory: Arc::clone(directory),
                    opened: opened.map_err(system)?,
                }
            }
            Place::Memory(tree, node) => Listing::Memory(Arc::clone(tree), *node),
        })
    }

    pub(crate) fn create_directory(&self, path: &str) -> Answer<()> {
        self.to_change()?.create_dir(path).map_err(errno_of)
    }

    pub(crate) fn remove_directory(&self, path: &str) -> Answer<()> {
        self.to_change()?.remove_dir(path).map_err(errno_of)
    }

    pub(crate) fn unlink_file(&self, path: &str) -> Answer<()> {
        self.to_change()?.remove_file(path).map_err(errno_of)
    }

    pub(crate) fn rename(&self, from: &str, to_directory: &Self, to: &str) -> Answer<()> {
        let (directory, to_directory) = (self.to_change()?, to_directory.to_change()?);
        directory.rename(from, to_directory, to).map_err(errno_of)
    }

    pub(crate) fn read_link(&self, path: &str) -> Answer<String> {
        match &self.place {
            Place::Host(directory) => {
                let target = directory.read_link_contents(path).map_err(errno_of)?;
                Ok(target.to_string_lossy().into_owned())
            }
            Place::Memory(tree, node) => tree.find(*node, path).and(Err(Errno::Inval)),
        }
    }
}

/// Opens what was found in memory, where nothing can be written.
fn open_in_memory(tree: &Arc<Tree>, node: usize, how: How) -> Answer<Found> {
    match tree.file(node) {
        Some(_) if how.directory => Err(Errno::Notdir),
        Some(bytes) => Ok(Found::Memory(Arc::clone(bytes), tree.filestat(node))),
        None if how.write => Err(Errno::Isdir),
        None => Ok(Found::Directory(Directory::of_tree(Arc::clone(tree), node))),
    }
}

impl Listing {
    /// Calls `each` for every entry from position `from` on, until there are no more entries or
    /// `each` wants none. The first position is 0.
    pub(crate) fn read(
        &self,
        from: u64,
        mut each: impl FnMut(Entry<'_>) -> Answer<bool>,
    ) -> Answer<()> {
        let (directory, opened) = match self {
            Self::Host { directory, opened } => (directory, opened),
            Self::Memory(tree, node) => return tree.list(*node, from, each),
        };
        if i64::try_from(from).is_err() {
            return Err(Errno::Inval);
        }
        rustix::fs::seek(opened, SeekFrom::Start(from)).map_err(system)?;
        let mut buf = [MaybeUninit::uninit(); LISTED_AT_ONCE];
        let mut entries = RawDir::new(opened, &mut buf);
        while let Some(found) = entries.next() {
            let found = found.map_err(system)?;
            let name = found.file_name().to_string_lossy();
            let file_type = match found.file_type() {
                // Some file systems do not tell the type.
                SystemType::Unknown => stat(directory, &name, false)
                    .map_or(FileType::Unknown, |found| file_type(type_of(&found))),
                known => file_type(known),
            };
            let entry = Entry {
                name: &name,
                ino: if name == ".." { 0 } else { found.ino() },
                file_type,
                next: found.next_entry_cookie(),
            };
            if !each(entry)? {
                break;
            }
        }
        Ok(())
    }
}

/// Makes writes go to the end of a file, or to its current position.
pub(crate) fn set_appending(file: &File, appending: bool) -> Answer<()> {
    let mut flags = rustix::fs::fcntl_getfl(file).map_err(system)?;
    flags.set(OFlags::APPEND, appending);
    rustix::fs::fcntl_setfl(file, flags).map_err(system)
}

/// The options that apply to all opened files, whatever is done with them.
fn options(follow: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .follow(if follow {
            FollowSymlinks::Yes
        } else {
            FollowSymlinks::No
        })
        // Opening a pipe that has taken the place of a file would otherwise block.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

/// Opens a file or directory for operations that only need it to be open.
fn open_any(directory: &Dir, path: &str) -> Answer<File> {
    let is_fit = |found: &Metadata| found.is_file() || found.is_dir();
    if !is_fit(&directory.metadata(path).map_err(errno_of)?) {
        return Err(Errno::Perm);
    }
    let file = directory
        .open_with(path, options(true).read(true))
        .or_else(|error| match error.raw_os_error() {
            Some(libc::EACCES) => directory.open_with(path, options(true).write(true)),
            _ => Err(error),
        })
        .map_err(errno_of)?;
    if !is_fit(&file.metadata().map_err(errno_of)?) {
        return Err(Errno::Perm);
    }
    Ok(file.into_std())
}

fn stat(directory: &Dir, path: &str, follow: bool) -> io::Result<Metadata> {
    if follow {
        directory.metadata(path)
    } else {
        directory.symlink_metadata(path)
    }
}

fn type_of(found: &Metadata) -> SystemType {
    SystemType::from_raw_mode(found.mode())
}

fn file_type(found: SystemType) -> FileType {
    match found {
        SystemType::RegularFile => FileType::RegularFile,
        SystemType::Directory => FileType::Directory,
        SystemType::Symlink => FileType::SymbolicLink,
        SystemType::CharacterDevice => FileType::CharacterDevice,
        SystemType::BlockDevice => FileType::BlockDevice,
        SystemType::Socket => FileType::SocketStream,
        SystemType::Fifo | SystemType::Unknown => FileType::Unknown,
    }
}

/// The attributes of an open file.
pub(crate) fn filestat_of(file: &File) -> Answer<Filestat> {
    filestat(Metadata::from_file(file))
}

fn filestat(found: io::Result<Metadata>) -> Answer<Filestat> {
    let found = found.map_err(errno_of)?;
    let time = |seconds: i64, nanoseconds: i64| {
        u64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)).unwrap_or(0)
    };
    Ok(Filestat {
        dev: found.dev(),
        ino: found.ino(),
        file_type: file_type(type_of(&found)),
        nlink: found.nlink(),
        size: found.len(),
        atim: time(found.atime(), found.atime_nsec()),
        mtim: time(found.mtime(), found.mtime_nsec()),
        ctim: time(found.ctime(), found.ctime_nsec()),
    })
}

/// The error number that a guest receives. A path that leads out of its directory is refused
/// without asking the system. Such a path has its own error number in WASI.
pub(crate) fn errno_of(error: io::Error) -> Errno {
    if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
        return Errno::Notcapable;
    }
    Errno::from_io(&error)
}

fn system(error: rustix::io::Errno) -> Errno {
    errno_of(error.into())
}

#[cfg(test)]
mod tests;
