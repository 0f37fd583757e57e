//! Everything that two guests can do with files in the same directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use rustix::fs::{CWD, Mode, mkfifoat};
use watm_abi::Rights;
use watm_wasmer::TransportError;

use crate::host_calls::LAST_ERRNO;
use crate::process;
use crate::remote::{Answer, Remote, functions};
use crate::watchdog;

/// Maximum number of operations in a case.
const MOST_OPERATIONS: usize = 40;

/// Addresses in the guest's memory: two paths, an array of buffers, data that is read and written,
/// results.
const PATHS: [u32; 2] = [1024, 6144];
const BUFFERS: u32 = 12_288;
const BYTES: u32 = 16_384;
const BYTES_LEN: u32 = 8192;
const RESULT: u32 = 32_768;

/// A sequence of operations.
#[derive(Debug, Arbitrary)]
pub struct FileCase {
    /// The operations. Only the first forty count.
    pub operations: Vec<FileOperation>,
}

/// One operation.
#[derive(Debug, Arbitrary)]
pub struct FileOperation {
    /// Whether the second guest runs it.
    pub second: bool,
    /// The function, by its remainder.
    pub function: u8,
    /// Descriptors.
    pub given: [Given; 2],
    /// Paths.
    pub paths: [Location; 2],
    /// Flags.
    pub flags: [u8; 2],
    /// An offset, a size, a time or rights.
    pub number: u64,
}

/// A descriptor.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Given {
    /// The directory given for writing.
    Writable,
    /// The directory given for reading.
    Readable,
    /// The directory whose files are in memory.
    InMemory,
    /// An opened one, by its remainder.
    Opened(u8),
    /// Any number.
    Any(u8),
}

/// A path.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Location {
    /// This many of these names, each by its remainder.
    Relative(u8, [u8; 4]),
    /// The same, from the root.
    Absolute(u8, [u8; 4]),
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileEnd {
    /// All operations got an answer.
    Answered,
    /// A guest ended, or waited, before that.
    Ended,
}

/// Names that exist at first, that may be created, and that lead elsewhere.
const NAMES: [&str; 16] = [
    "file", "sub", "deep", "in", "out", "abs", "up", "gone", "loop", "pipe", "new", "secret",
    "data", "read", "..", ".",
];

/// The functions to call: those for files, and closing.
const FUNCTIONS: [&str; 30] = [
    "path_open",
    "path_open",
    "path_rename",
    "path_rename",
    "path_unlink_file",
    "path_create_directory",
    "path_remove_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_readlink",
    "fd_readdir",
    "fd_read",
    "fd_write",
    "fd_pread",
    "fd_pwrite",
    "fd_seek",
    "fd_tell",
    "fd_close",
    "fd_renumber",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_allocate",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_sync",
    "fd_datasync",
    "fd_advise",
    "path_link",
    "path_symlink",
];

/// A directory for writing and one for reading. They have links that lead out, in and nowhere.
/// Beside them are files that no guest may reach.
struct Host {
    both: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let both = tempfile::tempdir().expect("a directory");
        let root = both.path();
        for directory in ["data/sub/deep", "read/sub", "secrets/sub"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        for file in [
            "data/file",
            "data/sub/file",
            "data/sub/deep/file",
            "read/file",
            "secrets/secret",
        ] {
            fs::write(root.join(file), file).expect("a file");
        }
        let secrets = root.join("secrets");
        for (target, name) in [
            (Path::new("../file"), "data/sub/in"),
            (Path::new("../../secrets"), "data/sub/out"),
            (&secrets, "data/sub/abs"),
            (&secrets, "data/abs"),
            (Path::new("sub/deep"), "data/in"),
            (Path::new(".."), "data/sub/deep/up"),
            (Path::new("nothing"), "data/gone"),
            (Path::new("loop"), "data/loop"),
            (Path::new("../secrets"), "read/out"),
            (&secrets, "read/abs"),
        ] {
            symlink(target, root.join(name)).expect("a link");
        }
        // A pipe that nobody reads, and a socket, which cannot be opened.
        mkfifoat(CWD, root.join("data/pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
        UnixListener::bind(root.join("data/sub/pipe")).expect("a socket");
        Self { both }
    }

    /// Everything below `name`, with everything that would show a change.
    fn listed(&self, name: &str) -> Vec<(PathBuf, u64, u64, i64, String)> {
        let mut listed = Vec::new();
        let mut left = vec![self.both.path().join(name)];
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).expect("it was there");
            if metadata.is_dir() {
                let entries = fs::read_dir(&path).expect("a listing");
                left.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
            let content = match metadata.is_file() {
                true => fs::read_to_string(&path).expect("its content"),
                false => String::new(),
            };
            listed.push((
                path,
                metadata.ino(),
                metadata.nlink(),
                metadata.mtime_nsec(),
                content,
            ));
        }
        listed.sort();
        listed
    }
}

impl Location {
    fn text(self) -> String {
        let (start, count, names) = match self {
            Self::Relative(count, names) => ("", count, names),
            Self::Absolute(count, names) => ("/", count, names),
        };
        let count = usize::from(count % 5);
        let names = names.map(|name| NAMES[usize::from(name) % NAMES.len()]);
        format!("{start}{}", names[..count].join("/"))
    }
}

impl Given {
    fn number(self, opened: &[u32], connections: [u32; 3]) -> u64 {
        // The directories get their numbers in the order in which they were given.
        const IN_MEMORY: u32 = 3;
        const WRITABLE: u32 = 4;
        const READABLE: u32 = 5;
        const NOT_OPEN: u32 = 900;
        u64::from(match self {
            Self::Writable => WRITABLE,
            Self::Readable => READABLE,
            Self::InMemory => IN_MEMORY,
            Self::Opened(which) if !opened.is_empty() => opened[usize::from(which) % opened.len()],
            Self::Opened(which) | Self::Any(which) => match u32::from(which % 16) {
                // One of them carries the orders.
                fd if connections.contains(&fd) => NOT_OPEN,
                fd => fd,
            },
        })
    }
}

/// Runs the operations in two guests. Checks after each operation that its answer is a known one
/// and that the descriptor had the right to it. Checks at the end that nothing outside the
/// directory for writing has changed.
///
/// # Panics
///
/// Panics if a check fails, the host reports a failure of its own, or something is left over.
pub fn files(case: &FileCase) -> FileEnd {
    let _watched = watchdog::watch(case);
    let host = Host::new();
    let before = ["secrets", "read"].map(|name| host.listed(name));
    let path = |name: &str| host.both.path().join(name);
    let dialer = Remote::builder()
        .file("/memory/file", *b"file")
        .file("/memory/sub/deep/file", *b"deep")
        .file("/memory/sub/secret", *b"secret")
        .dir_writable(path("data"), "/data")
        .dir(path("read"), "/read")
        .build()
        .expect("a dialer");
    let mut guests = [(); 2].map(|()| (Remote::of(&dialer), Vec::new()));
    let end = case
        .operations
        .iter()
        .take(MOST_OPERATIONS)
        .try_for_each(|operation| {
            let (guest, opened) = &mut guests[usize::from(operation.second)];
            run(operation, guest, opened)
        });
    for (guest, _) in guests {
        if let Err(TransportError::Host(error)) = guest.end() {
            panic!("the host failed: {error}");
        }
    }
    let after = ["secrets", "read"].map(|name| host.listed(name));
    assert_eq!(before, after);
    drop(host);
    process::look_now_and_then();
    end.map_or(FileEnd::Ended, |()| FileEnd::Answered)
}

/// `None` if the guest has ended or waits.
fn came<T>(answer: Answer<T>) -> Option<T> {
    match answer {
        Answer::Came(value) => Some(value),
        Answer::Waits | Answer::Ended => None,
    }
}

/// Has a guest call a function, and returns the error number.
fn call(guest: &Remote, name: &str, arguments: &[u64]) -> Option<i32> {
    let is_it = |function: &crate::remote::Function| function.name == name;
    let number = functions()
        .iter()
        .position(is_it)
        .expect("it is a host function");
    came(guest.call(number, arguments))
}

/// The rights of a descriptor, and those that it passes on. Empty if it is not open.
fn rights(guest: &Remote, fd: u64) -> Option<[Rights; 2]> {
    if call(guest, "fd_fdstat_get", &[fd, RESULT.into()])? != 0 {
        return Some([Rights::default(); 2]);
    }
    let memory = came(guest.memory())?;
    Some([8, 16].map(|behind| {
        let at = RESULT as usize + behind;
        let bytes = memory[at..at + 8].try_into().expect("eight bytes");
        Rights::from_bits(u64::from_le_bytes(bytes)).expect("known rights")
    }))
}

/// The rights that each descriptor needs for an operation to succeed.
fn needed(name: &str, flags: u64) -> [Rights; 2] {
    let none = Rights::default();
    let one = match name {
        "path_open" => {
            let mut needed = Rights::PATH_OPEN;
            if flags & 1 != 0 {
                needed |= Rights::PATH_CREATE_FILE;
            }
            if flags & 8 != 0 {
                needed |= Rights::PATH_FILESTAT_SET_SIZE;
            }
            needed
        }
        "path_rename" => return [Rights::PATH_RENAME_SOURCE, Rights::PATH_RENAME_TARGET],
        "path_unlink_file" => Rights::PATH_UNLINK_FILE,
        "path_create_directory" => Rights::PATH_CREATE_DIRECTORY,
        "path_remove_directory" => Rights::PATH_REMOVE_DIRECTORY,
        "path_filestat_get" => Rights::PATH_FILESTAT_GET,
        "path_filestat_set_times" => Rights::PATH_FILESTAT_SET_TIMES,
        "path_readlink" => Rights::PATH_READLINK,
        "fd_readdir" => Rights::FD_READDIR,
        "fd_read" => Rights::FD_READ,
        "fd_write" => Rights::FD_WRITE,
        "fd_pread" => Rights::FD_READ | Rights::FD_SEEK,
        "fd_pwrite" => Rights::FD_WRITE | Rights::FD_SEEK,
        "fd_filestat_get" => Rights::FD_FILESTAT_GET,
        "fd_filestat_set_size" => Rights::FD_FILESTAT_SET_SIZE,
        "fd_filestat_set_times" => Rights::FD_FILESTAT_SET_TIMES,
        "fd_allocate" => Rights::FD_ALLOCATE,
        "fd_advise" => Rights::FD_ADVISE,
        "fd_fdstat_set_flags" => Rights::FD_FDSTAT_SET_FLAGS,
        "fd_sync" => Rights::FD_SYNC,
        "fd_datasync" => Rights::FD_DATASYNC,
        // Operations that need either of two rights, or none.
        _ => none,
    };
    [one, none]
}

/// The parts that the arguments of an operation consist of.
struct Material {
    fds: [u64; 2],
    /// The address and the length of each.
    paths: [[u64; 2]; 2],
    flags: [u64; 2],
    number: u64,
    /// The rights of the first descriptor, and those that it passes on.
    rights: [Rights; 2],
}

impl Material {
    /// The arguments of a function.
    fn arguments(&self, name: &str) -> Vec<u64> {
        let Self { fds, flags, .. } = *self;
        let (fd, number, result) = (fds[0], self.number, u64::from(RESULT));
        let [[path, len], [other, other_len]] = self.paths;
        let buffers = [fd, BUFFERS.into(), 1];
        match name {
            "path_open" => self.arguments_of_opening(),
            "path_rename" => vec![fd, path, len, fds[1], other, other_len],
            "path_unlink_file" | "path_create_directory" | "path_remove_directory" => {
                vec![fd, path, len]
            }
            "path_filestat_get" => vec![fd, flags[0] & 1, path, len, result],
            "path_filestat_set_times" => {
                let times = [number, number >> 7, flags[1] & 15];
                [&[fd, flags[0] & 1, path, len], &times[..]].concat()
            }
            "path_readlink" => vec![fd, path, len, BYTES.into(), flags[0], result],
            "fd_readdir" => vec![fd, BYTES.into(), BYTES_LEN.into(), flags[0], result],
            "fd_read" | "fd_write" => [&buffers[..], &[result]].concat(),
            "fd_pread" | "fd_pwrite" => [&buffers[..], &[number, result]].concat(),
            "fd_seek" => vec![fd, number, flags[0] & 3, result],
            "fd_tell" | "fd_filestat_get" => vec![fd, result],
            "fd_close" | "fd_sync" | "fd_datasync" => vec![fd],
            "fd_advise" => vec![fd, number, number, flags[0] & 7],
            // A subset of its rights, or any.
            "fd_fdstat_set_rights" => {
                let of_those = if flags[0] & 1 == 0 { u64::MAX } else { 0 };
                let [base, inheriting] = self.rights.map(|rights| rights.bits() | !of_those);
                vec![fd, base & number, inheriting & number.rotate_left(30)]
            }
            "path_link" => vec![fd, 0, path, len, fds[1], other, other_len],
            "path_symlink" => vec![path, len, fds[1], other, other_len],
            "fd_renumber" => fds.to_vec(),
            "fd_filestat_set_size" => vec![fd, number],
            "fd_filestat_set_times" => vec![fd, number, number >> 7, flags[0] & 15],
            "fd_allocate" => vec![fd, number, flags[0]],
            "fd_fdstat_set_flags" => vec![fd, flags[0] & 31],
            other => panic!("{other} has no arguments here"),
        }
    }

    /// All rights, or any. Then creating, truncating and the like. Then appending and the like.
    fn arguments_of_opening(&self) -> Vec<u64> {
        let ([fd, _], [[path, len], _]) = (self.fds, self.paths);
        let [creating, appending] = self.flags;
        let rights = if self.number.is_multiple_of(2) {
            (1 << 30) - 1
        } else {
            self.number
        };
        vec![
            fd,
            appending & 1,
            path,
            len,
            creating & 15,
            rights,
            rights,
            appending >> 1 & 31,
            RESULT.into(),
        ]
    }
}

/// Has a guest run an operation, and checks its answer.
fn run(operation: &FileOperation, guest: &Remote, opened: &mut Vec<u32>) -> Option<()> {
    let name = FUNCTIONS[usize::from(operation.function) % FUNCTIONS.len()];
    let texts = operation.paths.map(Location::text);
    for (at, text) in PATHS.into_iter().zip(&texts) {
        came(guest.poke(at, text.as_bytes()))?;
    }
    let buffer: Vec<u8> = [BYTES, BYTES_LEN]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    came(guest.poke(BUFFERS, &buffer))?;
    let fds = operation.given.map(|given| {
        let connections = [guest.internal, guest.net, guest.control];
        given.number(opened, connections)
    });
    let before = [rights(guest, fds[0])?, rights(guest, fds[1])?];
    let material = Material {
        fds,
        paths: [0, 1].map(|path| [u64::from(PATHS[path]), texts[path].len() as u64]),
        flags: operation.flags.map(u64::from),
        number: operation.number,
        rights: before[0],
    };
    let errno = call(guest, name, &material.arguments(name))?;
    check(name, errno, before, material.flags[0]);
    if name == "fd_fdstat_set_rights" {
        let after = rights(guest, fds[0])?;
        for (before, after) in before[0].into_iter().zip(after) {
            assert!(before.contains(after), "{before:?} became {after:?}");
        }
    }
    if name == "path_open" && errno == 0 {
        let memory = came(guest.memory())?;
        let at = RESULT as usize;
        let bytes = memory[at..at + 4].try_into().expect("four bytes");
        opened.push(u32::from_le_bytes(bytes));
    }
    Some(())
}

/// Checks that an answer is a known one, and that a successful operation had the rights that it
/// needs.
fn check(name: &str, errno: i32, before: [[Rights; 2]; 2], flags: u64) {
    assert!((0..=LAST_ERRNO).contains(&errno), "{name} answered {errno}");
    if errno != 0 {
        return;
    }
    for ([had, _], needed) in before.into_iter().zip(needed(name, flags)) {
        assert!(
            had.contains(needed),
            "{name} succeeded without a right: {had:?}"
        );
    }
    assert!(
        !matches!(name, "path_link" | "path_symlink"),
        "{name} made a link"
    );
}
