//! The configuration as the file that a guest sees it as.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use virtual_fs::{
    DirEntry, FileOpener, FileSystem, FileType, FsError, Metadata, OpenOptions, OpenOptionsConfig,
    ReadDir, StaticFile, VirtualFile,
};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub(crate) type OpenFile = Box<dyn VirtualFile + Send + Sync + 'static>;

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

pub(crate) fn changes(how: &OpenOptionsConfig) -> bool {
    how.write() || how.append() || how.truncate() || how.create() || how.create_new()
}

/// A guest's path, relative to the root, without any way up.
pub(crate) fn normal(path: &Path) -> Result<PathBuf, FsError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
