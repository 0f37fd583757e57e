//! The file that a build makes.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::terminal::failure::Failure;

/// What a compiler has made.
pub(super) struct Built {
    /// What the module is called, without `.wasm`.
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// Where the file is, if nobody else needs it: it leaves with this.
    pub(super) _scratch: Option<TempDir>,
}

/// A directory for what compilers make.
pub(super) fn scratch() -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("watm-build-")
        .tempdir()
        .map_err(|error| Failure::because("cannot make a temporary directory", error))
}

/// Puts the module where the user wants it. A file that was there is replaced as a whole.
pub(super) fn install(built: &Built, path: &Path) -> Result<(), Failure> {
    let cannot = |error| {
        let message = format!("cannot write the module {}", path.display());
        Failure::because(message, error).hint("choose another file with --output")
    };
    let bytes = fs::read(&built.file)
        .map_err(|error| Failure::because("cannot read what the compiler has made", error))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".watm-build-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(cannot)?;
    file.write_all(&bytes).map_err(cannot)?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    Ok(())
}
