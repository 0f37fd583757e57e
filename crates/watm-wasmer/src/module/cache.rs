//! Compiled modules on disk, so that a machine compiles each module once.
//!
//! Whoever loads an artifact runs its code. So the directory is private to the user, each file must
//! belong to the user, and a checksum over the key and the contents finds files that were damaged
//! or moved. The key covers everything that the code depends on. The cache never makes loading
//! fail: an artifact that cannot be used is removed, and the module is compiled again.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use wasmer::sys::{CpuFeature, Triple};

use crate::error::LoadError;
use crate::module::engine::{self, Compiled, load_compiled};
use crate::module::hash::{Hex, ModuleHash};
use crate::threads;

/// Maximum size of all artifacts together in bytes, unless the embedder says otherwise.
const DEFAULT_MAX_SIZE: u64 = 512 << 20;
/// A file consists of this, a checksum and the artifact. It is a part of the key as well, and has
/// to change whenever the compiled code does.
const MAGIC: &[u8; 8] = b"WATMART6";
const CHECKSUM: usize = 32;
const EXTENSION: &str = "artifact";
/// The extension of files while they are written.
const UNFINISHED: &str = "unfinished";
/// A file that is still unfinished after this long was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// How long one process waits for another that compiles the same module.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

type Key = [u8; 32];

/// A directory with the compiled forms of modules, for [`ModuleLoader::cache`].
///
/// Compiling takes from a few milliseconds to seconds. Loading the artifact of a small module takes
/// a fraction of a millisecond. Any number of processes may share a directory. When several need
/// the same module at the same time, one of them compiles it. An artifact is never run if it is
/// damaged, belongs to another version, processor or user.
///
/// Whoever can write to the files of the user can make this process run code, through the cache as
/// well as through the program itself. Nobody else can.
///
/// [`ModuleLoader::cache`]: crate::ModuleLoader::cache
///
/// ```
/// use watm_wasmer::{ArtifactCache, ModuleLoader};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// # let parent = tempfile::tempdir()?;
/// # let directory = parent.path().join("transports");
/// // Such as `/var/cache/my-program`; the cache of the user is `ArtifactCache::of_user`.
/// let cache = ArtifactCache::open(&directory)?.max_size(64 << 20);
/// let module = ModuleLoader::new().cache(&cache).load_file(file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    directory: PathBuf,
    max_size: u64,
}

/// One artifact in a cache.
///
/// ```
/// use watm_wasmer::{ArtifactCache, ModuleLoader};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// # let directory = tempfile::tempdir()?;
/// let cache = ArtifactCache::open(directory.path())?;
/// ModuleLoader::new().cache(&cache).load_file(file)?;
/// for artifact in cache.artifacts()? {
///     println!("{}: {} bytes", artifact.path.display(), artifact.size);
/// }
/// assert!(cache.clear()? > 0);
/// assert!(cache.artifacts()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedArtifact {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written or last loaded.
    pub last_used: SystemTime,
}

/// Why a directory cannot serve as a cache.
///
/// ```
/// use std::os::unix::fs::PermissionsExt;
/// use watm_wasmer::{ArtifactCache, CacheError, ModuleLoader};
///
/// # let directory = tempfile::tempdir()?;
/// # std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777))?;
/// let loader = match ArtifactCache::open(directory.path()) {
///     Ok(cache) => ModuleLoader::new().cache(&cache),
///     // The program works without, and compiles each time.
///     Err(error) => {
///         println!("{error}");
///         # assert!(matches!(error, CacheError::NotPrivate { .. }));
///         ModuleLoader::new()
///     }
/// };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` holds an absolute path.
    #[error(
        "there is no cache directory, since neither XDG_CACHE_HOME nor HOME is an absolute path"
    )]
    NoHome,
    /// Others can write to the directory, so its contents cannot be trusted.
    #[error("the cache directory {} is not used, since {reason}", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory cannot be created or read.
    #[error("the cache directory cannot be used ({})", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl ArtifactCache {
    /// Opens the cache in a directory. If the directory does not exist, it is created with access
    /// for the user alone.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the directory cannot be created, belongs to another user, or is writable
    /// by others. If that happens later, modules are compiled without the cache.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, CacheError> {
        let path = directory.as_ref();
        let failed = |source| CacheError::Io {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        // The user may have chosen a link. What counts is where it leads.
        let directory = path.canonicalize().map_err(failed)?;
        let cache = Self {
            directory,
            max_size: DEFAULT_MAX_SIZE,
        };
        cache.check_private()?;
        Ok(cache)
    }

    /// Checks that nobody else can put a file into the directory. This is checked at each use,
    /// since it can change while the program runs.
    fn check_private(&self) -> Result<(), CacheError> {
        let path = &self.directory;
        let found = fs::metadata(path).map_err(|source| CacheError::Io {
            path: path.clone(),
            source,
        })?;
        let reason = if !found.is_dir() {
            "it is not a directory"
        } else if found.uid() != user() {
            "it belongs to another user"
        } else if found.mode() & 0o022 != 0 {
            "others can write to it (repair this with `chmod 700`)"
        } else {
            return Ok(());
        };
        Err(CacheError::NotPrivate {
            path: path.clone(),
            reason,
        })
    }

    /// Opens the cache of the user who runs the process: `watm` in `XDG_CACHE_HOME`, or in `.cache`
    /// in the home directory.
    ///
    /// # Errors
    ///
    /// As [`ArtifactCache::open`], and [`CacheError::NoHome`].
    pub fn of_user() -> Result<Self, CacheError> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .ok_or(CacheError::NoHome)?;
        Self::open(base.join("watm"))
    }

    /// Sets the maximum size of all artifacts together in bytes, 512 MiB by default. When an
    /// artifact is added, those that were not used for the longest time are removed until the rest
    /// fits.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The artifacts, the most recently used first.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`] if the directory cannot be read.
    pub fn artifacts(&self) -> Result<Vec<CachedArtifact>, CacheError> {
        self.list(EXTENSION)
    }

    /// Removes all artifacts and returns their size in bytes. Loaded modules continue to work.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`] if the directory cannot be read or a file cannot be removed.
    pub fn clear(&self) -> Result<u64, CacheError> {
        let mut bytes = 0;
        for artifact in self.artifacts()? {
            match fs::remove_file(&artifact.path) {
                Ok(()) => bytes += artifact.size,
                // Another process has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    let path = artifact.path;
                    return Err(CacheError::Io { path, source });
                }
            }
        }
        Ok(bytes)
    }

    /// Loads the module with this hash from the cache, or else compiles it and keeps the artifact.
    pub(crate) fn load_or(
        &self,
        sha256: ModuleHash,
        compile: impl FnOnce() -> Result<Vec<u8>, LoadError>,
    ) -> Result<Compiled, LoadError> {
        if let Err(error) = self.check_private() {
            log::warn!("a module is compiled without its cache: {error}");
            return load_compiled(compile()?);
        }
        let key = key(sha256);
        if let Some(module) = self.load(&key) {
            return Ok(module);
        }
        let _alone = self.wait_for_turn(&key);
        // Another process may have compiled it meanwhile.
        if let Some(module) = self.load(&key) {
            return Ok(module);
        }
        let artifact = compile()?;
        if let Err(error) = threads::without_signals(|| self.store(&key, &artifact)) {
            log::warn!(
                "a compiled module could not be kept in {}: {error}",
                self.directory.display()
            );
        }
        load_compiled(artifact)
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = format!("{}.{EXTENSION}", Hex(key));
        self.directory.join(name)
    }

    /// Loads an artifact; one that cannot be used is removed.
    fn load(&self, key: &Key) -> Option<Compiled> {
        let path = self.path(key);
        let loaded = read(&path, key, self.max_size).and_then(|artifact| {
            // SAFETY: the artifact is unchanged since the engine made it for this machine. Only the
            // user can write the file; `store` wrote it. The checksum finds damage, and the key
            // names the engine and the machine.
            unsafe { Compiled::load(artifact) }
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
        });
        match loaded {
            Ok(module) => Some(module),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!(
                    "the compiled module {} cannot be used and is compiled again: {error}",
                    path.display()
                );
                // If it stays, the next one takes its place.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Waits until no other process or thread compiles a module that may be the same. The turn
    /// lasts until the returned file is dropped.
    fn wait_for_turn(&self, key: &Key) -> Option<File> {
        // These few files are never removed: two could lock a file that is removed and made again.
        let path = self.directory.join(format!("lock-{:x}", key[0] >> 4));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .ok()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(fs::TryLockError::Error(_)) => return None,
                // Better compiled twice than never.
                Err(fs::TryLockError::WouldBlock) if Instant::now() >= deadline => return None,
                Err(fs::TryLockError::WouldBlock) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn store(&self, key: &Key, artifact: &[u8]) -> io::Result<()> {
        let size = (MAGIC.len() + CHECKSUM + artifact.len()) as u64;
        if size > self.max_size {
            log::debug!("a compiled module of {size} bytes is larger than the whole cache");
            return Ok(());
        }
        // Readable and writable by the user alone, and removed unless it is renamed.
        let mut unfinished = tempfile::Builder::new()
            .prefix(&format!("{}-", Hex(&key[..8])))
            .suffix(&format!(".{UNFINISHED}"))
            .tempfile_in(&self.directory)?;
        unfinished.write_all(MAGIC)?;
        unfinished.write_all(&checksum(key, artifact))?;
        unfinished.write_all(artifact)?;
        unfinished.persist(self.path(key))?;
        self.trim();
        Ok(())
    }

    /// Removes the artifacts that were not used for the longest time until the rest fits, and what
    /// processes that died have left.
    fn trim(&self) {
        let mut left = self.max_size;
        // The most recently used first, so what was just written stays.
        for artifact in self.artifacts().unwrap_or_default() {
            match left.checked_sub(artifact.size) {
                Some(rest) => left = rest,
                None => {
                    left = 0;
                    let _ = fs::remove_file(&artifact.path);
                }
            }
        }
        for file in self.list(UNFINISHED).unwrap_or_default() {
            if file.last_used.elapsed().is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(&file.path);
            }
        }
    }

    /// The files with this extension, the newest first.
    fn list(&self, extension: &str) -> Result<Vec<CachedArtifact>, CacheError> {
        let failed = |source| CacheError::Io {
            path: self.directory.clone(),
            source,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension() != Some(OsStr::new(extension)) {
                continue;
            }
            // Anything that has gone by now, or is not a file, is left out.
            let Ok(found) = path.symlink_metadata() else {
                continue;
            };
            if let (true, Ok(last_used)) = (found.is_file(), found.modified()) {
                files.push(CachedArtifact {
                    size: found.len(),
                    path,
                    last_used,
                });
            }
        }
        files.sort_by_key(|file| std::cmp::Reverse(file.last_used));
        Ok(files)
    }
}

/// A hash over everything that the compiled code depends on.
fn key(sha256: ModuleHash) -> Key {
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(sha256.as_bytes());
    for part in [
        env!("CARGO_PKG_VERSION"),
        wasmer::sys::vm::VERSION,
        &engine::engine().deterministic_id(),
        &Triple::host().to_string(),
        &format!("{:?}", CpuFeature::for_host()),
    ] {
        // With its length, so that no two lists of parts are the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The checksum covers the key as well, so that a renamed file is not taken for another module.
fn checksum(key: &Key, artifact: &[u8]) -> [u8; CHECKSUM] {
    Sha256::new()
        .chain_update(key)
        .chain_update(artifact)
        .finalize()
        .into()
}

fn user() -> u32 {
    geteuid().as_raw()
}

/// Reads the artifact from a file, which must be undamaged and belong to the user.
fn read(path: &Path, key: &Key, max_size: u64) -> io::Result<Vec<u8>> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(invalid("it is not a file"));
    }
    if found.uid() != user() {
        return Err(invalid("it belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(invalid("others can write to it"));
    }
    if found.len() > max_size {
        return Err(invalid("it is larger than the whole cache"));
    }
    let mut head = [0; MAGIC.len() + CHECKSUM];
    file.read_exact(&mut head)
        .map_err(|_| invalid("it is too short"))?;
    let mut artifact = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    (&file).take(max_size).read_to_end(&mut artifact)?;
    if head[..MAGIC.len()] != *MAGIC || head[MAGIC.len()..] != checksum(key, &artifact) {
        return Err(invalid("it is damaged"));
    }
    // Marks it as used, so that it is kept. If this fails, it is compiled again some day.
    let _ = file.set_modified(SystemTime::now());
    Ok(artifact)
}

#[cfg(test)]
mod tests;
