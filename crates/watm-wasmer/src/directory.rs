//! The directories of the host that a guest was given.
//!
//! A directory is opened once, and everything in it is reached from there by the system's own means of
//! staying below (`openat2`, or step by step where there is none), so that no path and no symbolic
//! link leads out of it, whatever is renamed meanwhile. Links are not followed when something is
//! moved or removed.

use std::fs::{File, FileTimes, Metadata as HostMetadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileTypeExt, MetadataExt, OpenOptionsExt};
use virtual_fs::{
    AsyncRead, AsyncSeek, AsyncWrite, DirEntry, FileOpener, FileSystem, FileType, FsError,
    Metadata, OpenOptions, OpenOptionsConfig, ReadBuf, ReadDir, VirtualFile,
};

use crate::config_directory::{BoxFuture, OpenFile, changes, normal};

/// Entries of a directory that is listed at most: WASI's implementation keeps all of them at once.
const ENTRY_LIMIT: usize = 100_000;

/// Bytes that one call reads or writes at most, so that it ends soon: an array of buffers may name the
/// guest's memory a thousand times.
const CALL_LIMIT: usize = 16 << 20;

/// A directory of the host, and nothing around it.
#[derive(Debug)]
pub(crate) struct Confined {
    directory: Arc<Dir>,
    /// Where it was when it was opened, to tell what links that name it mean.
    root: PathBuf,
    writable: bool,
}

impl Confined {
    pub(crate) fn new(directory: &Path, writable: bool) -> io::Result<Self> {
        let root = directory.canonicalize()?;
        let directory = Arc::new(Dir::open_ambient_dir(&root, ambient_authority())?);
        Ok(Self {
            directory,
            root,
            writable,
        })
    }

    fn check_writable(&self) -> Result<(), FsError> {
        check_writable(self.writable)
    }

    /// A path within the host's directory, which may be the directory itself.
    fn within(path: &Path) -> Result<PathBuf, FsError> {
        let path = normal(path)?;
        if path.as_os_str().is_empty() {
            return Ok(".".into());
        }
        Ok(path)
    }

    /// A path to something that may be made, moved or removed: not the directory itself.
    fn below(&self, path: &Path) -> Result<PathBuf, FsError> {
        self.check_writable()?;
        let path = normal(path)?;
        if path.as_os_str().is_empty() {
            return Err(FsError::PermissionDenied);
        }
        Ok(path)
    }
}

impl FileSystem for Confined {
    fn readlink(&self, path: &Path) -> Result<PathBuf, FsError> {
        let read = self.directory.read_link_contents(normal(path)?);
        let target = read.map_err(fs_error)?;
        let as_seen =
            |target: &Path| Some(Path::new("/").join(target.strip_prefix(&self.root).ok()?));
        let seen = as_seen(&target).or_else(|| {
            let absolute = target.is_absolute().then_some(&target)?;
            as_seen(&absolute.canonicalize().ok()?)
        });
        Ok(seen.unwrap_or(target))
    }

    fn read_dir(&self, path: &Path) -> Result<ReadDir, FsError> {
        let name = Path::new("/").join(normal(path)?);
        let mut entries = Vec::new();
        for entry in self
            .directory
            .read_dir(Self::within(path)?)
            .map_err(fs_error)?
        {
            let entry = entry.map_err(fs_error)?;
            if entries.len() == ENTRY_LIMIT {
                return Err(FsError::StorageFull);
            }
            match entry.metadata() {
                Ok(metadata) => entries.push(DirEntry {
                    path: name.join(entry.file_name()),
                    metadata: Ok(described(&metadata)),
                }),
                // Removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fs_error(error)),
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(ReadDir::new(entries))
    }

    fn create_dir(&self, path: &Path) -> Result<(), FsError> {
        let path = self.below(path)?;
        self.directory.create_dir(path).map_err(fs_error)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), FsError> {
        let path = self.below(path)?;
        self.directory.remove_dir(path).map_err(fs_error)
    }

    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, Result<(), FsError>> {
        Box::pin(async move {
            let (from, to) = (self.below(from)?, self.below(to)?);
            self.directory
                .rename(from, &self.directory, to)
                .map_err(fs_error)
        })
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        let metadata = self.directory.metadata(Self::within(path)?);
        metadata.map(|found| described(&found)).map_err(fs_error)
    }

    fn symlink_metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        let metadata = self.directory.symlink_metadata(Self::within(path)?);
        metadata.map(|found| described(&found)).map_err(fs_error)
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        let path = self.below(path)?;
        self.directory.remove_file(path).map_err(fs_error)
    }

    fn new_open_options(&self) -> OpenOptions<'_> {
        OpenOptions::new(self)
    }
}

impl FileOpener for Confined {
    fn open(&self, path: &Path, how: &OpenOptionsConfig) -> Result<OpenFile, FsError> {
        if changes(how) {
            self.check_writable()?;
        }
        let path = Self::within(path)?;
        // A device is not a file to share, and opening it may do something already.
        match self.directory.metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Err(FsError::NotAFile),
            Ok(metadata) if !metadata.is_file() => return Err(FsError::PermissionDenied),
            _ => {}
        }
        let mut options = cap_std::fs::OpenOptions::new();
        options
            .read(how.read())
            .write(how.write())
            // To be cut and to grow at the end is what one can be asked for, not the other with it.
            .append(how.append() && !how.truncate())
            .truncate(how.truncate())
            .create(how.create())
            .create_new(how.create_new())
            // A pipe that has come into its place would be waited for.
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let opened = self.directory.open_with(&path, &options);
        let file = opened.map_err(fs_error)?.into_std();
        if !file.metadata().map_err(fs_error)?.is_file() {
            return Err(FsError::PermissionDenied);
        }
        Ok(Box::new(ConfinedFile {
            file,
            directory: Arc::clone(&self.directory),
            path,
            writable: self.writable,
            left: CALL_LIMIT,
        }))
    }
}

/// An open file of such a directory. It is read and written on the thread of the guest, which waits
/// for it anyway. WASI's implementation changes and removes files through their handles, too.
#[derive(Debug)]
struct ConfinedFile {
    file: File,
    directory: Arc<Dir>,
    /// Where it was opened.
    path: PathBuf,
    writable: bool,
    /// What the call that began with the last seek, as each does, may still read or write.
    left: usize,
}

impl ConfinedFile {
    fn time(&self, of: impl FnOnce(&HostMetadata) -> io::Result<SystemTime>) -> u64 {
        self.file
            .metadata()
            .and_then(|metadata| of(&metadata))
            .map_or(0, nanoseconds)
    }
}

impl VirtualFile for ConfinedFile {
    fn last_accessed(&self) -> u64 {
        self.time(HostMetadata::accessed)
    }

    fn last_modified(&self) -> u64 {
        self.time(HostMetadata::modified)
    }

    fn created_time(&self) -> u64 {
        self.time(HostMetadata::created)
    }

    fn set_times(&mut self, accessed: Option<u64>, modified: Option<u64>) -> Result<(), FsError> {
        check_writable(self.writable)?;
        let mut times = FileTimes::new();
        let time = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        if let Some(accessed) = accessed {
            times = times.set_accessed(time(accessed));
        }
        if let Some(modified) = modified {
            times = times.set_modified(time(modified));
        }
        self.file.set_times(times).map_err(fs_error)
    }

    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    fn set_len(&mut self, len: u64) -> Result<(), FsError> {
        check_writable(self.writable)?;
        self.file.set_len(len).map_err(fs_error)
    }

    /// Removes it, if it is still where it was opened.
    fn unlink(&mut self) -> Result<(), FsError> {
        use std::os::unix::fs::MetadataExt as _;
        check_writable(self.writable)?;
        let there = self.directory.symlink_metadata(&self.path);
        let there = there.map_err(fs_error)?;
        let own = self.file.metadata().map_err(fs_error)?;
        if (there.dev(), there.ino()) != (own.dev(), own.ino()) {
            return Err(FsError::EntryNotFound);
        }
        self.directory.remove_file(&self.path).map_err(fs_error)
    }

    fn poll_read_ready(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.file.stream_position();
        Poll::Ready(
            read.map(|read| {
                usize::try_from(self.size().saturating_sub(read)).unwrap_or(usize::MAX)
            }),
        )
    }

    fn poll_write_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        /// Anything goes; this is what is said of a file of the host elsewhere.
        const ALWAYS: usize = 8192;
        Poll::Ready(Ok(ALWAYS))
    }
}

impl AsyncRead for ConfinedFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = buf.remaining().min(self.left);
        Poll::Ready(self.file.read(buf.initialize_unfilled_to(len)).map(|len| {
            self.left -= len;
            buf.advance(len);
        }))
    }
}

impl AsyncWrite for ConfinedFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        let data = &data[..data.len().min(self.left)];
        Poll::Ready(self.file.write(data).inspect(|len| self.left -= len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for ConfinedFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.left = CALL_LIMIT;
        self.file.seek(position).map(|_| ())
    }

    fn poll_complete(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(self.file.stream_position())
    }
}

fn check_writable(writable: bool) -> Result<(), FsError> {
    if writable {
        Ok(())
    } else {
        Err(FsError::PermissionDenied)
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

/// In the terms of WASI's implementation.
fn described(metadata: &cap_std::fs::Metadata) -> Metadata {
    let ft = metadata.file_type();
    let time = |time: io::Result<cap_std::time::SystemTime>| {
        time.map_or(0, |time| nanoseconds(time.into_std()))
    };
    Metadata {
        ft: FileType {
            dir: ft.is_dir(),
            file: ft.is_file(),
            symlink: ft.is_symlink(),
            char_device: ft.is_char_device(),
            block_device: ft.is_block_device(),
            socket: ft.is_socket(),
            fifo: ft.is_fifo(),
        },
        accessed: time(metadata.accessed()),
        created: time(metadata.created()),
        modified: time(metadata.modified()),
        len: metadata.len(),
    }
}

/// In the terms of WASI's implementation, which takes what it does not know for an error of the device.
fn fs_error(error: io::Error) -> FsError {
    match error.kind() {
        io::ErrorKind::NotADirectory => FsError::BaseNotDirectory,
        io::ErrorKind::IsADirectory => FsError::NotAFile,
        io::ErrorKind::DirectoryNotEmpty => FsError::DirectoryNotEmpty,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FsError::WriteZero,
        io::ErrorKind::ReadOnlyFilesystem => FsError::PermissionDenied,
        io::ErrorKind::CrossesDevices => FsError::Unsupported,
        io::ErrorKind::InvalidFilename => FsError::InvalidInput,
        _ if error.raw_os_error() == Some(libc::ELOOP) => FsError::PermissionDenied,
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::task::Waker;

    fn open(fs: &dyn FileSystem, path: &str) -> Result<OpenFile, FsError> {
        fs.new_open_options().read(true).open(path)
    }

    fn rename(fs: &dyn FileSystem, from: &str, to: &str) -> Result<(), FsError> {
        let mut renaming = fs.rename(Path::new(from), Path::new(to));
        match renaming
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("it has nothing to wait for"),
        }
    }

    /// A directory to give, beside a directory of secrets.
    struct Host {
        _both: tempfile::TempDir,
        inside: PathBuf,
        secrets: PathBuf,
    }

    impl Host {
        fn new() -> Self {
            let both = tempfile::tempdir().expect("a directory");
            let [inside, secrets] = ["inside", "secrets"].map(|name| both.path().join(name));
            for directory in [
                &inside,
                &inside.join("sub"),
                &inside.join("other"),
                &secrets,
            ] {
                fs::create_dir(directory).expect("a directory");
            }
            fs::write(inside.join("own"), "own").expect("a file");
            fs::write(secrets.join("secret"), "secret").expect("a file");
            Self {
                _both: both,
                inside,
                secrets,
            }
        }

        fn given(&self, writable: bool) -> Confined {
            Confined::new(&self.inside, writable).expect("a directory")
        }

        #[track_caller]
        fn expect_secret(&self) {
            let names = fs::read_dir(&self.secrets).expect("a listing");
            assert_eq!(names.count(), 1);
            let content = fs::read_to_string(self.secrets.join("secret"));
            assert_eq!(content.expect("a file"), "secret");
        }
    }

    #[test]
    fn no_path_and_no_link_leads_out_of_a_directory() {
        let host = Host::new();
        let link = |target: &str, name: &str| {
            symlink(target, host.inside.join(name)).expect("a link");
        };
        link("../secrets/secret", "link");
        link("..", "up");
        link("own", "good");
        link("../new", "dangling");
        link(host.secrets.to_str().expect("a name"), "absolute");
        let fs = host.given(true);
        for good in ["/own", "/good"] {
            assert!(open(&fs, good).is_ok(), "{good}");
        }
        for bad in [
            "/link",
            "/up/secrets/secret",
            "/../secrets/secret",
            "/absolute/secret",
            "/dangling",
        ] {
            assert!(open(&fs, bad).is_err(), "{bad}");
            assert!(fs.metadata(Path::new(bad)).is_err(), "{bad}");
            let mut options = fs.new_open_options();
            assert!(options.write(true).create(true).open(bad).is_err(), "{bad}");
        }
        for bad in ["/up", "/absolute"] {
            assert!(fs.read_dir(Path::new(bad)).is_err(), "{bad}");
        }
        assert!(!host.inside.join("../new").exists());
        for bad in ["/up/new", "/absolute/new", "/", ""] {
            assert!(fs.create_dir(Path::new(bad)).is_err(), "{bad}");
            assert!(rename(&fs, "/own", bad).is_err(), "{bad}");
        }
        for bad in ["/up/secrets/secret", "/absolute/secret", "/"] {
            assert!(fs.remove_file(Path::new(bad)).is_err(), "{bad}");
            assert!(fs.remove_dir(Path::new(bad)).is_err(), "{bad}");
            assert!(rename(&fs, bad, "/mine").is_err(), "{bad}");
        }
        host.expect_secret();
        assert!(fs.create_dir(Path::new("/dir")).is_ok());
    }

    #[test]
    fn moving_what_holds_a_link_touches_nothing_behind_it() {
        let host = Host::new();
        symlink(&host.secrets, host.inside.join("sub/link")).expect("a link");
        let fs = host.given(true);
        // The implementation that was used before moved what was behind the link.
        rename(&fs, "/sub", "/other/sub").expect("a directory to move");
        host.expect_secret();
        assert_eq!(
            fs.readlink(Path::new("/other/sub/link")),
            Ok(host.secrets.clone())
        );
        rename(&fs, "/other/sub/link", "/link").expect("a link to move");
        fs.remove_file(Path::new("/link"))
            .expect("a link to remove");
        host.expect_secret();
    }

    #[test]
    fn a_file_whose_place_another_took_is_not_removed_through_its_handle() {
        let host = Host::new();
        for directory in ["sub", "other"] {
            fs::write(host.inside.join(directory).join("secret"), "guest's").expect("a file");
        }
        symlink(&host.secrets, host.inside.join("link")).expect("a link");
        let fs = host.given(true);
        let mut file = open(&fs, "/sub/secret").expect("a file");
        rename(&fs, "/sub", "/gone").expect("a directory to move");
        assert_eq!(file.unlink(), Err(FsError::EntryNotFound));
        for (instead, expected) in [
            ("/link", FsError::PermissionDenied),
            ("/other", FsError::EntryNotFound),
        ] {
            rename(&fs, instead, "/sub").expect("something to move");
            assert_eq!(file.unlink(), Err(expected), "{instead}");
            rename(&fs, "/sub", instead).expect("something to move");
        }
        host.expect_secret();
        rename(&fs, "/gone", "/sub").expect("a directory to move");
        file.unlink().expect("it is where it was");
        assert!(!host.inside.join("sub/secret").exists());
        assert!(host.inside.join("other/secret").exists());
    }

    #[test]
    fn no_link_that_is_moved_in_between_leads_out_of_a_directory() {
        let host = Host::new();
        symlink(&host.secrets, host.inside.join("sub/link")).expect("a link");
        fs::create_dir(host.inside.join("other/link")).expect("a directory");
        fs::write(host.inside.join("other/link/secret"), "guest's").expect("a file");
        let fs = host.given(true);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The one with the link and the one without, under the same name by turns.
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for from in ["/sub", "/other"] {
                        rename(&fs, from, "/turn").expect("a directory to move");
                        rename(&fs, "/turn", from).expect("a directory to move");
                    }
                }
            });
            for _ in 0..20_000 {
                if let Ok(file) = open(&fs, "/turn/link/secret") {
                    assert_eq!(file.size(), 7, "the other file");
                }
                let _ = fs.remove_file(Path::new("/turn/link/none"));
                if let Ok(metadata) = fs.metadata(Path::new("/turn/link/secret")) {
                    assert_eq!(metadata.len, 7, "the other file");
                }
                let mut options = fs.new_open_options();
                let _ = options.write(true).create(true).open("/turn/link/new");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        host.expect_secret();
    }

    #[test]
    fn a_call_reads_and_writes_so_much_and_no_more() {
        use virtual_fs::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
        let host = Host::new();
        let fs = host.given(true);
        let mut options = fs.new_open_options();
        let mut file = options.read(true).write(true).open("/own").expect("a file");
        file.set_len(1 << 40).expect("a sparse file");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let mut buffer = vec![1; CALL_LIMIT - 1000];
            for write in [false, true] {
                for _ in 0..2 {
                    file.seek(SeekFrom::Start(5)).await.expect("a place");
                    let mut lens = Vec::new();
                    for _ in 0..3 {
                        let len = if write {
                            file.write(&buffer).await
                        } else {
                            file.read(&mut buffer).await
                        };
                        lens.push(len.expect("bytes"));
                    }
                    assert_eq!(lens, [CALL_LIMIT - 1000, 1000, 0], "{write}");
                }
            }
        });
    }

    #[test]
    fn pipes_devices_and_directories_are_not_opened() {
        let host = Host::new();
        let made = std::process::Command::new("mkfifo")
            .arg(host.inside.join("pipe"))
            .status();
        assert!(made.expect("mkfifo").success());
        let _socket =
            std::os::unix::net::UnixListener::bind(host.inside.join("socket")).expect("a socket");
        let fs = host.given(true);
        assert_eq!(open(&fs, "/pipe").err(), Some(FsError::PermissionDenied));
        assert_eq!(open(&fs, "/socket").err(), Some(FsError::PermissionDenied));
        assert_eq!(open(&fs, "/sub").err(), Some(FsError::NotAFile));
        let devices = Confined::new(Path::new("/dev"), true).expect("a directory");
        let mut options = devices.new_open_options();
        assert!(options.read(true).write(true).open("/null").is_err());
    }

    #[test]
    fn a_directory_given_for_reading_stays_as_it_is() {
        let host = Host::new();
        let fs = host.given(false);
        let mut file = open(&fs, "/own").expect("it can be read");
        assert!(file.unlink().is_err() && file.set_len(0).is_err());
        assert!(file.set_times(Some(1), Some(1)).is_err());
        assert!(fs.new_open_options().write(true).open("/own").is_err());
        assert!(fs.remove_file(Path::new("/own")).is_err());
        assert!(fs.create_dir(Path::new("/dir")).is_err());
        assert!(fs.remove_dir(Path::new("/sub")).is_err());
        assert!(rename(&fs, "/own", "/other/own").is_err());
        assert_eq!(fs.read_dir(Path::new("/")).expect("a listing").count(), 3);
    }

    #[test]
    fn files_and_listings_are_described() {
        let host = Host::new();
        symlink("own", host.inside.join("link")).expect("a link");
        let fs = host.given(true);
        let names: Vec<_> = fs
            .read_dir(Path::new("/"))
            .expect("a listing")
            .map(|entry| entry.expect("an entry").path)
            .collect();
        assert_eq!(
            names,
            ["/link", "/other", "/own", "/sub"].map(PathBuf::from)
        );
        let own = fs.metadata(Path::new("/link")).expect("a file");
        assert!(own.ft.file && own.len == 3 && own.modified > 0, "{own:?}");
        let link = fs.symlink_metadata(Path::new("/link")).expect("a link");
        assert!(link.ft.symlink && !link.ft.file, "{link:?}");
        assert!(fs.metadata(Path::new("/")).expect("it is there").ft.dir);
        let mut file = open(&fs, "/own").expect("a file");
        file.set_times(Some(5_000_000_000), Some(7_000_000_009))
            .expect("times");
        assert_eq!(
            (file.last_accessed(), file.last_modified()),
            (5_000_000_000, 7_000_000_009)
        );
        assert_eq!(file.size(), 3);
        assert_eq!(
            fs.remove_dir(Path::new("/own")),
            Err(FsError::BaseNotDirectory)
        );
        assert_eq!(
            fs.metadata(Path::new("/own/x")).err(),
            Some(FsError::BaseNotDirectory)
        );
        fs::write(host.inside.join("sub/x"), "").expect("a file");
        assert_eq!(
            fs.remove_dir(Path::new("/sub")),
            Err(FsError::DirectoryNotEmpty)
        );
        let long = format!("/{}", "x".repeat(300));
        assert_eq!(open(&fs, &long).err(), Some(FsError::InvalidInput));
    }
}
