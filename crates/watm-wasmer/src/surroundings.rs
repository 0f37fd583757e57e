//! All files that a guest sees, each directory in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use virtual_fs::{FileSystem, FsError, Metadata, MountFileSystem, OpenOptions, ReadDir};

use crate::config_directory::BoxFuture;

/// Directories under the names by which the guest knows them. None lies in another.
#[derive(Debug)]
pub(crate) struct Surroundings {
    files: MountFileSystem,
    names: Vec<PathBuf>,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        Self {
            files: MountFileSystem::new(),
            names: Vec::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        directory: impl FileSystem + Send + Sync,
    ) -> Result<(), FsError> {
        self.files.mount(name, Arc::new(directory))?;
        self.names.push(name.into());
        Ok(())
    }

    /// The directory in which a path lies.
    fn directory_of(&self, path: &Path) -> Option<&PathBuf> {
        self.names.iter().find(|name| path.starts_with(name))
    }
}

impl FileSystem for Surroundings {
    fn readlink(&self, path: &Path) -> Result<PathBuf, FsError> {
        self.files.readlink(path)
    }

    fn read_dir(&self, path: &Path) -> Result<ReadDir, FsError> {
        self.files.read_dir(path)
    }

    fn create_dir(&self, path: &Path) -> Result<(), FsError> {
        self.files.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), FsError> {
        self.files.remove_dir(path)
    }

    /// Within a directory only: from one to another it would be a copy, which takes any time and
    /// cannot be stopped.
    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, Result<(), FsError>> {
        if self.directory_of(from) != self.directory_of(to) {
            return Box::pin(async { Err(FsError::Unsupported) });
        }
        self.files.rename(from, to)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        self.files.metadata(path)
    }

    fn symlink_metadata(&self, path: &Path) -> Result<Metadata, FsError> {
        self.files.symlink_metadata(path)
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        self.files.remove_file(path)
    }

    fn new_open_options(&self) -> OpenOptions<'_> {
        self.files.new_open_options()
    }
}
