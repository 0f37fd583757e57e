//! The files that a guest sees: its configuration, and the directories that it was given.
//!
//! Wraps the file systems that WASI's implementation works on, so that nothing outside of what
//! was given is reachable: not over `..`, not over symbolic links, not for writing where only
//! reading was allowed.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use virtual_fs::{
    AsyncRead, AsyncSeek, AsyncWrite, DirEntry, FileOpener, FileSystem, FileType, FsError,
    Metadata, OpenOptions, OpenOptionsConfig, ReadBuf, ReadDir, StaticFile, VirtualFile,
};

type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type OpenFile = Box<dyn VirtualFile + Send + Sync + 'static>;

/// The name of the configuration file in the directory `/conf`.
const CONFIG_NAME: &str = "watm.cfg";

/// A directory that holds the configuration as its only file.
#[derive(Clone)]
pub(crate) struct ConfigDirectory {
    bytes: Arc<[u8]>,
}

impl ConfigDirectory {
    pub(crate) fn new(bytes: Arc<[u8]>) -> Self {
        Self { bytes }
    }

    fn metadata_of(&self, path: &Path) -> Result<Metadata, FsError> {
        let (ft, len) = match normal(path)?.to_str() {
            Some("") => (FileType::new_dir(), 0),
            Some(CONFIG_NAME) => (FileType::new_file(), self.bytes.len() as u64),
            _ => return Err(FsError::EntryNotFound),
        };
        Ok(Metadata {
            ft,
            accessed: 0,
            created: 0,
            modified: 0,
            len,
        })
    }
}

impl fmt::Debug for ConfigDirectory {
    /// Without the contents, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigDirectory")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl FileSystem for ConfigDirectory {
    fn readlink(&self, _: &Path) -> Result<PathBuf, FsError> {
        Err(FsError::InvalidInput)
    }

    fn read_dir(&self, path: &Path) -> Result<ReadDir, FsError> {
        if !self.metadata_of(path)?.ft.is_dir() {
            return Err(FsError::BaseNotDirectory);
        }
        let path = Path::new("/").join(CONFIG_NAME);
        let metadata = self.metadata_of(&path);
        Ok(ReadDir::new(vec![DirEntry { path, metadata }]))
    }

    fn create_dir(&self, _: &Path) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }

    fn remove_dir(&self, _: &Path) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }

    fn rename<'a>(&'a self, _: &'a Path, _: &'a Path) -> BoxFuture<'a, Result<(), FsError>> {
        Box::pin(async { Err(FsError::PermissionDenied) })
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        self.metadata_of(path)
    }

    fn symlink_metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        self.metadata_of(path)
    }

    fn remove_file(&self, _: &Path) -> Result<(), FsError> {
        Err(FsError::PermissionDenied)
    }

    fn new_open_options(&self) -> OpenOptions<'_> {
        OpenOptions::new(self)
    }
}

impl FileOpener for ConfigDirectory {
    fn open(&self, path: &Path, how: &OpenOptionsConfig) -> Result<OpenFile, FsError> {
        if changes(how) {
            return Err(FsError::PermissionDenied);
        }
        if self.metadata_of(path)?.ft.is_dir() {
            return Err(FsError::NotAFile);
        }
        Ok(Box::new(StaticFile::new(&*self.bytes)))
    }
}

fn changes(how: &OpenOptionsConfig) -> bool {
    how.write() || how.append() || how.truncate() || how.create() || how.create_new()
}

/// A directory of the host that a guest was given, and nothing around it.
///
/// Each path is resolved with all its symbolic links before it is used, and refused if it leads
/// out. A guest cannot make links, so it cannot change a path between the check and the use.
#[derive(Debug)]
pub(crate) struct Confined {
    inner: virtual_fs::host_fs::FileSystem,
    root: PathBuf,
    writable: bool,
}

impl Confined {
    pub(crate) fn new(
        runtime: tokio::runtime::Handle,
        directory: &Path,
        writable: bool,
    ) -> Result<Self, FsError> {
        let root = directory.canonicalize()?;
        let inner = virtual_fs::host_fs::FileSystem::new(runtime, &root)?;
        Ok(Self {
            inner,
            root,
            writable,
        })
    }

    /// Checks that the whole path, links followed, stays inside.
    fn check(&self, path: &Path) -> Result<(), FsError> {
        let real = self.root.join(normal(path)?);
        match real.canonicalize() {
            Ok(real) if real.starts_with(&self.root) => Ok(()),
            Ok(_) => Err(FsError::PermissionDenied),
            // What is not there can only be made in a directory that is; a link that leads
            // nowhere is refused, since opening it for writing would make its target.
            Err(_) if real.symlink_metadata().is_ok() => Err(FsError::PermissionDenied),
            Err(_) => self.check_parent(path),
        }
    }

    /// Checks that the directory that holds the path's last part is inside.
    fn check_parent(&self, path: &Path) -> Result<(), FsError> {
        let real = self.root.join(normal(path)?);
        if real == self.root {
            return Ok(());
        }
        let parent = real.parent().ok_or(FsError::InvalidInput)?;
        let parent = parent.canonicalize().map_err(FsError::from)?;
        if parent.starts_with(&self.root) {
            Ok(())
        } else {
            Err(FsError::PermissionDenied)
        }
    }

    fn check_writable(&self) -> Result<(), FsError> {
        if self.writable {
            Ok(())
        } else {
            Err(FsError::PermissionDenied)
        }
    }

    /// Checks that the process has the two descriptors left that an open file takes.
    fn check_descriptors(&self) -> Result<(), FsError> {
        std::fs::File::open(&self.root)
            .and_then(|file| file.try_clone())
            .map(|_| ())
            .map_err(|_| FsError::IOError)
    }
}

/// A guest's path, relative to the root, without any way up.
fn normal(path: &Path) -> Result<PathBuf, FsError> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => normal.push(part),
            Component::ParentDir | Component::Prefix(_) => return Err(FsError::PermissionDenied),
        }
    }
    Ok(normal)
}

impl FileSystem for Confined {
    fn readlink(&self, path: &Path) -> Result<PathBuf, FsError> {
        self.check_parent(path)?;
        self.inner.readlink(path)
    }

    fn read_dir(&self, path: &Path) -> Result<ReadDir, FsError> {
        self.check(path)?;
        self.inner.read_dir(path)
    }

    fn create_dir(&self, path: &Path) -> Result<(), FsError> {
        self.check_writable()?;
        self.check_parent(path)?;
        self.inner.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), FsError> {
        self.check_writable()?;
        self.check_parent(path)?;
        self.inner.remove_dir(path)
    }

    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, Result<(), FsError>> {
        Box::pin(async move {
            self.check_writable()?;
            self.check(from)?;
            self.check(to)?;
            self.inner.rename(from, to).await
        })
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        self.check(path)?;
        self.inner.metadata(path)
    }

    fn symlink_metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        self.check_parent(path)?;
        self.inner.symlink_metadata(path)
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        self.check_writable()?;
        self.check_parent(path)?;
        self.inner.remove_file(path)
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
        self.check(path)?;
        // Opening a pipe would wait for its other end, and a device is not a file to share.
        match self.inner.metadata(path) {
            Ok(metadata) if !metadata.ft.is_file() && !metadata.ft.is_dir() => {
                Err(FsError::PermissionDenied)
            }
            _ => {
                self.check_descriptors()?;
                // WASI's implementation panics if there is none left after all.
                let open = AssertUnwindSafe(|| self.inner.open(path, how));
                let file = catch_unwind(open).unwrap_or(Err(FsError::IOError))?;
                Ok(Box::new(ConfinedFile {
                    file,
                    writable: self.writable,
                }))
            }
        }
    }
}

/// An open file of such a directory. WASI's implementation changes and removes files through
/// their handles, too.
#[derive(Debug)]
struct ConfinedFile {
    file: OpenFile,
    writable: bool,
}

impl ConfinedFile {
    fn check_writable(&self) -> Result<(), FsError> {
        if self.writable {
            Ok(())
        } else {
            Err(FsError::PermissionDenied)
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut (dyn VirtualFile + Send + Sync)> {
        Pin::new(&mut *self.get_mut().file)
    }
}

impl VirtualFile for ConfinedFile {
    fn last_accessed(&self) -> u64 {
        self.file.last_accessed()
    }

    fn last_modified(&self) -> u64 {
        self.file.last_modified()
    }

    fn created_time(&self) -> u64 {
        self.file.created_time()
    }

    fn set_times(&mut self, accessed: Option<u64>, modified: Option<u64>) -> Result<(), FsError> {
        self.check_writable()?;
        self.file.set_times(accessed, modified)
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    fn set_len(&mut self, len: u64) -> Result<(), FsError> {
        self.check_writable()?;
        self.file.set_len(len)
    }

    fn unlink(&mut self) -> Result<(), FsError> {
        self.check_writable()?;
        self.file.unlink()
    }

    fn poll_read_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inner().poll_read_ready(cx)
    }

    fn poll_write_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inner().poll_write_ready(cx)
    }
}

impl AsyncRead for ConfinedFile {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buf)
    }
}

impl AsyncWrite for ConfinedFile {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        self.inner().poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

impl AsyncSeek for ConfinedFile {
    fn start_seek(self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        self.inner().start_seek(position)
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.inner().poll_complete(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confined(directory: &Path, writable: bool) -> (tokio::runtime::Runtime, Confined) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let confined =
            Confined::new(runtime.handle().clone(), directory, writable).expect("a directory");
        (runtime, confined)
    }

    fn open(fs: &dyn FileSystem, path: &str) -> Result<OpenFile, FsError> {
        fs.new_open_options().read(true).open(path)
    }

    #[test]
    fn the_configuration_is_one_read_only_file() {
        let fs = ConfigDirectory::new((*b"key").into());
        assert!(open(&fs, "/watm.cfg").is_ok());
        assert!(open(&fs, "/other").is_err());
        assert!(open(&fs, "/").is_err());
        assert!(fs.new_open_options().write(true).open("/watm.cfg").is_err());
        assert!(
            fs.new_open_options()
                .write(true)
                .create(true)
                .open("/new")
                .is_err()
        );
        assert_eq!(
            fs.metadata(Path::new("/watm.cfg")).expect("metadata").len,
            3
        );
        assert_eq!(fs.read_dir(Path::new("/")).expect("entries").count(), 1);
    }

    #[test]
    fn no_path_and_no_link_leads_out_of_a_directory() {
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("secret"), "s").expect("a file");
        let inside = outside.path().join("inside");
        std::fs::create_dir(&inside).expect("a directory");
        std::fs::write(inside.join("own"), "o").expect("a file");
        std::os::unix::fs::symlink("../secret", inside.join("link")).expect("a link");
        std::os::unix::fs::symlink("..", inside.join("up")).expect("a link");
        std::os::unix::fs::symlink("own", inside.join("good")).expect("a link");
        std::os::unix::fs::symlink("../new", inside.join("dangling")).expect("a link");
        let (runtime, fs) = confined(&inside, true);
        let _entered = runtime.enter();
        for good in ["/own", "/good"] {
            assert!(open(&fs, good).is_ok(), "{good}");
        }
        for bad in ["/link", "/up/secret", "/../secret", "/dangling"] {
            assert!(open(&fs, bad).is_err(), "{bad}");
            assert!(fs.metadata(Path::new(bad)).is_err(), "{bad}");
            let mut options = fs.new_open_options();
            assert!(options.write(true).create(true).open(bad).is_err(), "{bad}");
        }
        assert!(!outside.path().join("new").exists());
        assert!(fs.create_dir(Path::new("/up/dir")).is_err());
        assert!(fs.remove_file(Path::new("/up/secret")).is_err());
        assert!(fs.create_dir(Path::new("/dir")).is_ok());
    }

    #[test]
    fn a_directory_given_for_reading_stays_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("own"), "o").expect("a file");
        let (runtime, fs) = confined(directory.path(), false);
        let _entered = runtime.enter();
        let mut file = open(&fs, "/own").expect("it can be read");
        assert!(file.unlink().is_err() && file.set_len(0).is_err());
        assert!(file.set_times(Some(1), Some(1)).is_err());
        assert!(fs.new_open_options().write(true).open("/own").is_err());
        assert!(fs.remove_file(Path::new("/own")).is_err());
        assert!(fs.create_dir(Path::new("/dir")).is_err());
    }
}
