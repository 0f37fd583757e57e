use super::*;
use crate::host::file::CALL_LIMIT;
use crate::host::log_lines::LogTarget;
use crate::host::paths::{At, Opening};
use crate::host::stdio::{StdStream, Stdio};
use crate::host::tree::{ROOT, Tree};
use std::fs;
use std::sync::Arc;
use watm_abi::{FdFlags, FileType, Iovec, LookupFlags, OFlags};

const FOLLOW: u32 = LookupFlags::SYMLINK_FOLLOW.bits();
const CREATE: u32 = OFlags::CREAT.bits() as u32;
const TRUNCATE: u32 = OFlags::TRUNC.bits() as u32;

const READ: Opening = Opening {
    lookup: FOLLOW,
    how: 0,
    rights: READ_FILE.bits(),
    inheriting: 0,
    flags: 0,
};
const WRITE: Opening = Opening {
    how: CREATE,
    rights: READ_FILE.bits() | WRITE_FILE.bits(),
    ..READ
};
/// Opens a directory with all rights.
const DIRECTORY: Opening = Opening {
    how: OFlags::DIRECTORY.bits() as u32,
    rights: READ_DIRECTORY.bits() | WRITE_DIRECTORY.bits(),
    inheriting: u64::MAX,
    ..READ
};
/// Addresses in the guest's memory.
const BUFFERS: u32 = 1024;
const BYTES: u32 = 4096;

/// A guest with a configuration, one directory for reading and one for writing.
struct Guest {
    descriptors: Descriptors,
    memory: Vec<u8>,
    host: tempfile::TempDir,
}

const CONFIG: u32 = 3;
const READING: u32 = 4;
const WRITING: u32 = 5;

impl Guest {
    fn new() -> Self {
        Self::with_limit(4)
    }

    fn with_limit(limit: usize) -> Self {
        let host = tempfile::tempdir().expect("a directory");
        let mut tree = Tree::default();
        tree.insert("/conf/watm.cfg", (*b"some key").into())
            .expect("a free path");
        let node = tree.find(ROOT, "conf").expect("a directory");
        let mut given = vec![("/conf".into(), Directory::of_tree(Arc::new(tree), node))];
        for (name, writable) in [("/reading", false), ("/writing", true)] {
            let path = host.path().join(&name[1..]);
            fs::create_dir(&path).expect("a directory");
            fs::write(path.join("file"), "content").expect("a file");
            let directory = Directory::open_host(&path, writable).expect("a directory");
            given.push((name.into(), directory));
        }
        let streams = StdStream::all(Stdio::Null, &Arc::new(LogTarget::of("test")));
        let memory = vec![0; 65536];
        Self {
            descriptors: Descriptors::new(streams, given, limit),
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
        self.descriptors.open(&self.memory, at, opening)
    }

    /// An array of consecutive buffers with these lengths.
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
        let (descriptors, memory) = (&mut self.descriptors, &mut self.memory[..]);
        let len = match from {
            None => descriptors.read(memory, fd, &buffers),
            Some(from) => descriptors.read_at(memory, fd, &buffers, from),
        }?;
        Ok(self.memory.slice(BYTES, len).expect("bytes").to_vec())
    }

    fn write(&mut self, fd: u32, bytes: &[u8], to: Option<u64>) -> Answer<u32> {
        self.memory.write_bytes(BYTES, bytes).expect("room");
        let (one, rest) = (1.min(bytes.len()), bytes.len().saturating_sub(1));
        let buffers = self.buffers(&[one as u32, rest as u32]);
        let (descriptors, memory) = (&mut self.descriptors, &self.memory[..]);
        match to {
            None => descriptors.write(memory, fd, &buffers),
            Some(to) => descriptors.write_at(memory, fd, &buffers, to),
        }
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
        assert_eq!(guest.descriptors.given_name(fd), Ok(name));
        let prestat = guest.descriptors.prestat(fd).expect("a directory");
        assert_eq!(prestat.name_len as usize, name.len());
        let stat = guest.descriptors.fdstat(fd).expect("a directory");
        assert_eq!(stat.file_type, FileType::Directory);
        let writes = stat.rights_inheriting.contains(Rights::FD_WRITE);
        assert_eq!(writes, fd == WRITING);
    }
    assert_eq!(guest.descriptors.prestat(6), Err(Errno::Badf));
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
        assert_eq!(guest.descriptors.seek(file, 0, 1), Ok(len));
        assert_eq!(guest.descriptors.seek(file, -2, 2), Ok(len - 2));
        assert_eq!(guest.descriptors.seek(file, -1, 1), Ok(len - 3));
        assert_eq!(guest.descriptors.seek(file, 4, 0), Ok(4));
        for (offset, whence) in [(-1, 0), (-100, 1), (-100, 2), (0, 3)] {
            let error = guest.descriptors.seek(file, offset, whence);
            assert_eq!(error, Err(Errno::Inval), "{offset} {whence}");
        }
        assert!(guest.descriptors.seek(file, i64::MAX, 1).is_err() || fd == CONFIG);
        assert_eq!(
            guest.descriptors.filestat(file).map(|stat| stat.size),
            Ok(len)
        );
        assert_eq!(guest.write(file, b"x", None), Err(Errno::Notcapable));
        assert_eq!(guest.descriptors.set_size(file, 0), Err(Errno::Notcapable));
        assert_eq!(
            guest.descriptors.allocate(file, 0, 100),
            Err(Errno::Notcapable)
        );
        assert_eq!(
            guest.descriptors.set_times(file, [0; 2], 5),
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
    guest
        .descriptors
        .set_flags(file, end)
        .expect("it can append");
    guest.descriptors.seek(file, 0, 0).expect("a place");
    guest.write(file, b"end", None).expect("room");
    guest.descriptors.set_flags(file, 0).expect("and stop");
    guest.descriptors.seek(file, 0, 0).expect("a place");
    guest.write(file, b"H", None).expect("room");
    assert_eq!(guest.content("writing/new"), "HELlo!end");
    guest.descriptors.set_size(file, 2).expect("a size");
    guest.descriptors.allocate(file, 1, 3).expect("more of it");
    guest
        .descriptors
        .allocate(file, 0, 1)
        .expect("no less of it");
    assert_eq!(guest.content("writing/new"), "HE\0\0");
    assert_eq!(
        guest.descriptors.allocate(file, u64::MAX, 1),
        Err(Errno::Inval)
    );
    assert_eq!(
        guest.descriptors.set_size(file, u64::MAX),
        Err(Errno::Inval)
    );
    guest.descriptors.set_times(file, [7, 9], 5).expect("times");
    let stat = guest.descriptors.filestat(file).expect("a file");
    assert_eq!((stat.atim, stat.mtim), (7, 9));
    guest
        .descriptors
        .set_times(file, [u64::MAX; 2], 10)
        .expect("now");
    let now = guest.descriptors.filestat(file).expect("a file").mtim;
    assert!(now > 1_000_000_000_000_000_000, "{now}");
    for which in [3, 12, 16] {
        assert_eq!(
            guest.descriptors.set_times(file, [0; 2], which),
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
        guest
            .descriptors
            .sync(file, right)
            .expect("it is the system's");
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
        guest.descriptors.fdstat(file).map(|stat| stat.rights_base),
        Ok(READ_FILE | WRITE_FILE)
    );
    let reading = Rights::FD_READ.bits();
    guest
        .descriptors
        .set_rights(file, reading, 0)
        .expect("fewer");
    for (base, inheriting) in [
        (u64::MAX, 0),
        (reading | Rights::FD_SEEK.bits(), 0),
        (reading, 1),
        (reading | 1 << 40, 0),
    ] {
        let more = guest.descriptors.set_rights(file, base, inheriting);
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
    // An open call that asks for no rights may read.
    drop(guest.descriptors.remove(file).expect("it is open"));
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

/// Every operation on a directory, with the right that it needs.
fn on_directory(guest: &mut Guest, fd: u32) -> Vec<(Rights, Answer<()>)> {
    let at = guest.at(fd, "none");
    let missing = Opening { rights: 0, ..READ };
    let with = |how| Opening { how, ..missing };
    let Guest {
        descriptors: files,
        memory,
        ..
    } = guest;
    let room = (BYTES, 4096);
    vec![
        (Rights::PATH_OPEN, files.open(memory, at, missing).map(drop)),
        (
            Rights::PATH_CREATE_FILE,
            files.open(memory, at, with(CREATE)).map(drop),
        ),
        (
            Rights::PATH_FILESTAT_SET_SIZE,
            files.open(memory, at, with(TRUNCATE)).map(drop),
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
    let mut guest = Guest::with_limit(400);
    for (right, answer) in on_directory(&mut guest, WRITING) {
        assert_ne!(answer, Err(Errno::Notcapable), "{right:?}");
    }
    let all = READ_DIRECTORY | WRITE_DIRECTORY;
    for index in 0..on_directory(&mut guest, WRITING).len() {
        let fd = guest.open(WRITING, ".", DIRECTORY).expect("a directory");
        assert_eq!(
            guest.descriptors.fdstat(fd).map(|stat| stat.rights_base),
            Ok(all)
        );
        let right = on_directory(&mut guest, fd)[index].0;
        let kept = all.without(right).bits();
        guest.descriptors.set_rights(fd, kept, 0).expect("fewer");
        let (right, answer) = on_directory(&mut guest, fd).swap_remove(index);
        assert_eq!(answer, Err(Errno::Notcapable), "{right:?}");
        drop(guest.descriptors.remove(fd).expect("it is open"));
    }
}

/// Every operation on a file, with the right that it needs.
fn on_file(guest: &mut Guest, fd: u32) -> Vec<(Rights, Answer<()>)> {
    let (read, read_at) = (guest.read(fd, &[1], None), guest.read(fd, &[1], Some(0)));
    let (write, write_at) = (guest.write(fd, b"x", None), guest.write(fd, b"x", Some(0)));
    let files = &mut guest.descriptors;
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
        guest.descriptors.set_rights(fd, kept, 0).expect("fewer");
        let (right, answer) = on_file(&mut guest, fd).swap_remove(index);
        assert_eq!(answer, Err(Errno::Notcapable), "{right:?}");
        drop(guest.descriptors.remove(fd).expect("it is open"));
    }
    // Either of two rights is enough to read the current position.
    for right in [Rights::FD_TELL, Rights::FD_SEEK] {
        let fd = guest.open(WRITING, "file", WRITE).expect("a file");
        let kept = right.bits();
        guest.descriptors.set_rights(fd, kept, 0).expect("fewer");
        assert_eq!(guest.descriptors.seek(fd, 0, 1), Ok(0));
        drop(guest.descriptors.remove(fd).expect("it is open"));
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
    let stat = guest.descriptors.fdstat(sub).expect("it is open");
    assert_eq!(stat.rights_base, READ_DIRECTORY);
    assert_eq!(stat.rights_inheriting, READ_DIRECTORY | READ_FILE);
    // Neither this directory nor anything opened through it can write.
    assert_eq!(guest.open(sub, "new", WRITE), Err(Errno::Notcapable));
    let write = Opening { how: 0, ..WRITE };
    fs::write(guest.host.path().join("writing/sub/file"), "x").expect("a file");
    assert_eq!(guest.open(sub, "file", write), Err(Errno::Notcapable));
    let again = guest.open(sub, ".", DIRECTORY).expect("a directory");
    let stat = guest.descriptors.fdstat(again).expect("it is open");
    assert_eq!(stat.rights_base, READ_DIRECTORY);
    let at = guest.at(again, "dir");
    let made = guest.descriptors.create_directory(&guest.memory, at);
    assert_eq!(made, Err(Errno::Notcapable));
    // Without the right to pass on, nothing can be read either.
    let none = Opening {
        inheriting: 0,
        ..asked
    };
    let sub = guest.open(WRITING, "sub", none).expect("a directory");
    let file = guest.open(sub, "file", READ).expect("a file");
    assert_eq!(guest.read(file, &[1], None), Err(Errno::Notcapable));
    let stat = guest.descriptors.fdstat(file).expect("it is open");
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
    assert_eq!(guest.descriptors.set_size(file, 0), Err(Errno::Notcapable));
    assert_eq!(
        guest.descriptors.allocate(file, 0, 100),
        Err(Errno::Notcapable)
    );
    guest.descriptors.set_times(file, [7, 9], 5).expect("times");
    assert_eq!(guest.content("writing/file"), "content");
}

#[test]
fn numbers_are_the_lowest_that_are_free_and_end_at_the_limit() {
    let mut guest = Guest::new();
    assert_eq!(guest.open(READING, "file", READ), Ok(6));
    assert_eq!(guest.open(READING, "file", READ), Ok(7));
    assert_eq!(guest.open(READING, ".", READ), Ok(8));
    assert_eq!(guest.open(CONFIG, "watm.cfg", READ), Ok(9));
    assert_eq!(guest.open(READING, "file", READ), Err(Errno::Mfile));
    drop(guest.descriptors.remove(7).expect("it is open"));
    assert!(guest.descriptors.remove(7).is_err() && guest.descriptors.get(7).is_err());
    assert_eq!(guest.open(READING, "file", READ), Ok(7));
    // It replaced a standard stream, and it still counts.
    let displaced = guest.descriptors.renumber(7, 0).expect("both are open");
    assert!(displaced.is_some_and(|displaced| matches!(displaced.kind, Kind::Std(_))));
    assert_eq!(guest.read(0, &[7], None), Ok(b"content".to_vec()));
    assert_eq!(guest.read(7, &[7], None), Err(Errno::Badf));
    assert_eq!(guest.open(READING, "file", READ), Err(Errno::Mfile));
    for (from, to) in [(0, 7), (7, 0), (7, 7), (0, 600), (0, u32::MAX)] {
        let refused = guest.descriptors.renumber(from, to).err();
        assert_eq!(refused, Some(Errno::Badf), "{from} to {to}");
        assert_eq!(guest.read(0, &[0], None), Ok(vec![]));
    }
    // The given directories do not count, and the closed descriptors are gone.
    drop(guest.descriptors.remove(READING).expect("it is open"));
    assert_eq!(guest.open(READING, "file", READ), Err(Errno::Badf));
    for fd in [1, 2, 511, 512, u32::MAX] {
        assert_eq!(guest.open(fd, "file", READ), Err(Errno::Badf), "{fd}");
    }
}

#[test]
fn a_descriptor_that_is_moved_takes_its_name_along_and_is_not_listed_on() {
    let mut guest = Guest::new();
    let listed = guest
        .descriptors
        .list(&mut guest.memory, WRITING, (BYTES, 30), 0);
    assert_eq!(listed, Ok(30));
    assert!(guest.descriptors.renumber(WRITING, WRITING).is_ok());
    assert!(guest.descriptors.listing.is_some());
    assert!(guest.descriptors.renumber(WRITING, 1).is_ok());
    assert!(guest.descriptors.listing.is_none());
    assert_eq!(guest.descriptors.given_name(1), Ok("/writing"));
    assert_eq!(guest.descriptors.prestat(WRITING).err(), Some(Errno::Badf));
}

#[test]
fn a_call_reads_and_writes_so_much_and_no_more() {
    let mut guest = Guest::new();
    let file = guest.open(WRITING, "file", WRITE).expect("a file");
    guest
        .descriptors
        .set_size(file, 1 << 40)
        .expect("a sparse file");
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
        let read = guest
            .descriptors
            .read(&mut guest.memory[..], file, &buffers);
        assert_eq!(read, Ok(CALL_LIMIT));
        let written = guest.descriptors.write(&guest.memory[..], file, &buffers);
        assert_eq!(written, Ok(CALL_LIMIT));
    }
    let place = guest.descriptors.seek(file, 0, 1);
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
        while let Some((head, rest)) = left.split_first_chunk::<{ DIRENT_SIZE as usize }>() {
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
                .descriptors
                .list(&mut guest.memory, WRITING, (BYTES, len), next);
            let used = used.expect("a listing");
            let piece = names(guest.memory.slice(BYTES, used).expect("bytes"));
            // Removed between two pieces. A listing that has begun must continue.
            let _ = fs::remove_file(guest.host.path().join("writing/a"));
            assert_eq!(guest.descriptors.listing.is_some(), used == len);
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
        // The longest entry takes 35 bytes.
        if len >= 35 {
            assert_eq!(found, [".", "..", "file", "longer name"], "{len}");
        }
    }
    let invalid = guest
        .descriptors
        .list(&mut guest.memory, WRITING, (BYTES, 100), u64::MAX);
    assert_eq!(invalid, Err(Errno::Inval));
    let outside = guest
        .descriptors
        .list(&mut guest.memory, WRITING, (65_530, 100), 0);
    assert_eq!(outside, Err(Errno::Fault));
    let file = guest.open(WRITING, "file", READ).expect("a file");
    let not_one = guest
        .descriptors
        .list(&mut guest.memory, file, (BYTES, 100), 0);
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
        guest.descriptors.list(&mut guest.memory, WRITING, room, 0)
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
        guest
            .descriptors
            .filestat_at(&guest.memory, at, FOLLOW)
            .err()
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
    let Guest {
        descriptors: files,
        memory,
        ..
    } = &mut guest;
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
    // Neither from a read-only directory nor to one.
    let reading = At {
        fd: READING,
        ..from
    };
    assert_eq!(files.rename(memory, reading, from), Err(Errno::Notcapable));
    let link = std::os::unix::fs::symlink("somewhere", guest.host.path().join("reading/link"));
    link.expect("a link");
    let at = guest.at(READING, "link");
    let len = guest
        .descriptors
        .read_link(&mut guest.memory, at, (BYTES, 4));
    assert_eq!(len, Ok(4));
    assert_eq!(guest.memory.slice(BYTES, 5), Ok(&b"some\0"[..]));
    let len = guest
        .descriptors
        .read_link(&mut guest.memory, at, (BYTES, 100));
    assert_eq!(len, Ok(9));
}
