//! Transport modules: files that follow the interface, and their compiled form.
//!
//! A file is looked at, checked and compiled here, before there is a connection. It knows neither
//! instances nor descriptors nor sockets.

pub(crate) mod cache;
pub(crate) mod complexity;
pub(crate) mod custom_sections;
pub(crate) mod data_segments;
pub(crate) mod engine;
pub(crate) mod extension;
pub(crate) mod file;
pub(crate) mod hash;
pub(crate) mod info;
pub(crate) mod instrument;
#[cfg(feature = "manifest")]
pub(crate) mod manifest;
pub(crate) mod recognise;
#[cfg(feature = "signatures")]
pub(crate) mod signature;
pub(crate) mod text;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_abi::{ModuleKind, Role, Roles};

use crate::error::LoadError;
use crate::module::cache::ArtifactCache;
use crate::module::engine::{Compiled, load_compiled};
use crate::module::extension::HostAead;
use crate::module::file::ReadError;
use crate::module::hash::{Hex, ModuleHash};
use crate::module::info::{ImportedFunction, ModuleInfo};
#[cfg(feature = "signatures")]
use crate::module::signature::{Demand, SIGNATURE_LIMIT, SignatureInfo, Source, TrustedKey};
use crate::module::text::to_binary;

/// Maximum size of a module file in bytes, unless the loader says otherwise.
const DEFAULT_SIZE_LIMIT: u64 = 64 << 20;

struct Inner {
    info: ModuleInfo,
    kind: ModuleKind,
    imported: Box<[ImportedFunction]>,
    name: String,
    compiled: Compiled,
    #[cfg(feature = "signatures")]
    signature: Option<SignatureInfo>,
}

/// A transport module, checked and compiled. Cheap to clone and to share between threads.
///
/// ```no_run
/// use watm_wasmer::{Dialer, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// println!("roles: {}", module.info().roles());
/// let dialer = Dialer::builder(&module).build()?;
/// let conn = dialer.dial("example.com:443")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TransportModule {
    inner: Arc<Inner>,
}

impl TransportModule {
    /// Loads a module from its bytes, in the binary or (with the feature `wat`, up to 512 KiB) the
    /// text format.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the module is too large, malformed, not a WATM v1 module or cannot be
    /// compiled.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, LoadError> {
        ModuleLoader::new().load_bytes(bytes)
    }

    /// Loads a module from a file.
    ///
    /// # Errors
    ///
    /// As [`TransportModule::from_bytes`], and [`LoadError::Read`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        ModuleLoader::new().load_file(path)
    }

    /// What the module declares.
    pub fn info(&self) -> &ModuleInfo {
        &self.inner.info
    }

    /// The roles that the module offers.
    pub fn roles(&self) -> Roles {
        self.inner.info.roles()
    }

    /// Whether the module offers `role`.
    pub fn has_role(&self, role: Role) -> bool {
        self.roles().contains(role)
    }

    /// The SHA-256 of the module.
    pub fn sha256(&self) -> ModuleHash {
        self.inner.info.sha256()
    }

    /// Who has signed the module, if the loader had trusted keys ([`ModuleLoader::trusted_keys`]).
    #[cfg(feature = "signatures")]
    pub fn signature(&self) -> Option<&SignatureInfo> {
        self.inner.signature.as_ref()
    }

    /// The name used in logs: the file's, else the module's own, else the start of its hash.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.inner.compiled
    }

    /// The functions of the interface that the module imports, each once.
    pub(crate) fn imported(&self) -> &[ImportedFunction] {
        &self.inner.imported
    }

    pub(crate) fn kind(&self) -> ModuleKind {
        self.inner.kind
    }
}

impl fmt::Debug for TransportModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportModule")
            .field("name", &self.inner.name)
            .field("sha256", &self.sha256())
            .field("roles", &self.roles())
            .finish_non_exhaustive()
    }
}

/// Loads transport modules under conditions: an expected hash, a signature, a size limit; and, with
/// a cache, without compiling them each time.
///
/// ```
/// use std::time::Duration;
/// use watm_wasmer::ModuleLoader;
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let loader = ModuleLoader::new()
///     .max_size(4 << 20)
///     .compile_timeout(Duration::from_secs(20))
///     .before_compiling(|bytes| println!("compiling a module of {bytes} bytes"));
/// let module = loader.load_file(file)?;
///
/// // The same in two steps, for a program that has other uses for the bytes.
/// let bytes = loader.read_file(file)?;
/// assert_eq!(loader.load_bytes(&bytes)?.sha256(), module.sha256());
/// # Ok::<(), watm_wasmer::LoadError>(())
/// ```
#[derive(Clone)]
pub struct ModuleLoader {
    sha256: Option<ModuleHash>,
    #[cfg(feature = "signatures")]
    demand: Demand,
    max_size: u64,
    compile_timeout: Duration,
    cache: Option<ArtifactCache>,
    before_compiling: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl fmt::Debug for ModuleLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ModuleLoader");
        #[cfg(feature = "signatures")]
        debug.field("trusted_keys", &self.demand.keys);
        debug
            .field("sha256", &self.sha256)
            .field("max_size", &self.max_size)
            .field("compile_timeout", &self.compile_timeout)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Default for ModuleLoader {
    fn default() -> Self {
        Self {
            sha256: None,
            #[cfg(feature = "signatures")]
            demand: Demand::default(),
            max_size: DEFAULT_SIZE_LIMIT,
            compile_timeout: engine::COMPILE_TIMEOUT,
            cache: None,
            before_compiling: None,
        }
    }
}

impl ModuleLoader {
    /// A loader without an expected hash, trusted keys or a cache, and with limits of 64 MiB and of 60 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses a module with another SHA-256, before it is parsed or compiled.
    pub fn sha256(mut self, expected: ModuleHash) -> Self {
        self.sha256 = Some(expected);
        self
    }

    /// Refuses a module that none of these keys has signed, before it is parsed or compiled. If there
    /// are none, every module is refused.
    ///
    /// The signature is that of minisign (`minisign -Sm plain.wasm`). It is read from the file beside
    /// the module's, with the same name and `.minisig`, unless [`ModuleLoader::signature`] or
    /// [`ModuleLoader::signature_file`] gives another. What is loaded is exactly the bytes that were
    /// verified: the file is read once.
    ///
    /// A signature says who has made a file, not which of their files it is: an older version is
    /// signed too. [`ModuleLoader::sha256`] names one.
    ///
    /// ```no_run
    /// use watm_wasmer::{ModuleLoader, TrustedKey};
    ///
    /// let key: TrustedKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse()?;
    /// // Reads plain.wasm.minisig as well.
    /// let module = ModuleLoader::new().trusted_keys([key]).load_file("plain.wasm")?;
    /// let signature = module.signature().expect("it was verified");
    /// println!("{signature}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "signatures")]
    pub fn trusted_keys(mut self, keys: impl IntoIterator<Item = TrustedKey>) -> Self {
        self.demand.keys = Some(keys.into_iter().collect());
        self
    }

    /// The signature of the module: the contents of a file that `minisign -S` has written, of at most
    /// 10 KiB. Without trusted keys, it is by an unknown key.
    #[cfg(feature = "signatures")]
    pub fn signature(mut self, signature: impl AsRef<[u8]>) -> Self {
        let signature = signature.as_ref();
        // What is too long stays too long, and is refused when the module is loaded.
        let kept = signature.len().min(SIGNATURE_LIMIT as usize + 1);
        self.demand.source = Source::Bytes(signature[..kept].into());
        self
    }

    /// The file with the signature of the module. It is read when the module is loaded.
    #[cfg(feature = "signatures")]
    pub fn signature_file(mut self, path: impl AsRef<Path>) -> Self {
        self.demand.source = Source::File(path.as_ref().to_owned());
        self
    }

    /// Refuses a module of more than this many bytes, before it is read whole.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Gives up compiling a module after this long; 60 seconds by default. A function that is being
    /// compiled then is finished first, which takes up to ten seconds on a fast machine.
    pub fn compile_timeout(mut self, limit: Duration) -> Self {
        self.compile_timeout = limit;
        self
    }

    /// Takes the compiled form of a module from `cache` if it is there, and keeps it there if not.
    /// Whether the module follows the interface is checked each time.
    pub fn cache(mut self, cache: &ArtifactCache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Calls `tell` with the size of a module in bytes right before it is compiled, on the same
    /// thread: a large one takes seconds. It is not called for what the cache has.
    pub fn before_compiling(mut self, tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.before_compiling = Some(Arc::new(tell));
        self
    }

    /// Loads a module from its bytes.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the module is too large or complex, has another hash, is not signed as it
    /// should be, is malformed, is not a WATM v1 module or cannot be compiled in time.
    pub fn load_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<TransportModule, LoadError> {
        self.load(bytes.as_ref(), None)
    }

    /// Loads a module from a file.
    ///
    /// # Errors
    ///
    /// As [`ModuleLoader::load_bytes`], and [`LoadError::Read`].
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<TransportModule, LoadError> {
        let path = path.as_ref();
        self.load(&self.read_file(path)?, Some(path))
    }

    /// Checks what is demanded of the bytes of a module before they are parsed: the size, the
    /// signature and the hash. Returns the signature if trusted keys are set.
    ///
    /// Loading does the same. This is for programs that look into a file by other means, such as
    /// [`ModuleInfo::parse`].
    ///
    /// # Errors
    ///
    /// [`LoadError::TooLarge`], [`LoadError::Signature`] and, after these, [`LoadError::Hash`].
    #[cfg(feature = "signatures")]
    pub fn verify(&self, bytes: impl AsRef<[u8]>) -> Result<Option<SignatureInfo>, LoadError> {
        self.verify_read(bytes.as_ref(), None)
    }

    /// The same of bytes that were read from `path`, beside which the signature is by default.
    #[cfg(feature = "signatures")]
    pub(crate) fn verify_read(
        &self,
        bytes: &[u8],
        path: Option<&Path>,
    ) -> Result<Option<SignatureInfo>, LoadError> {
        self.check_size(bytes)?;
        let signature = self.demand.verify(bytes, path)?;
        self.check_hash(bytes)?;
        Ok(signature)
    }

    /// Reads a module file within the size limit, without loading it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] and [`LoadError::TooLarge`].
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, LoadError> {
        let path = path.as_ref();
        file::read(path, self.max_size).map_err(|error| match error {
            ReadError::Io(source) => LoadError::Read {
                path: path.to_owned(),
                source,
            },
            ReadError::TooLarge { size } => LoadError::TooLarge {
                size,
                limit: self.max_size,
            },
        })
    }

    fn check_size(&self, bytes: &[u8]) -> Result<(), LoadError> {
        let size = bytes.len() as u64;
        if size > self.max_size {
            return Err(LoadError::TooLarge {
                size,
                limit: self.max_size,
            });
        }
        Ok(())
    }

    fn check_hash(&self, bytes: &[u8]) -> Result<(), LoadError> {
        if let Some(expected) = self.sha256 {
            let found = ModuleHash::of(bytes);
            if found != expected {
                return Err(LoadError::Hash { expected, found });
            }
        }
        Ok(())
    }

    /// Loads bytes that were read from `path`, if from a file.
    pub(crate) fn load(
        &self,
        bytes: &[u8],
        path: Option<&Path>,
    ) -> Result<TransportModule, LoadError> {
        self.check_size(bytes)?;
        #[cfg(feature = "signatures")]
        let signature = self.demand.verify(bytes, path)?;
        self.check_hash(bytes)?;
        let wasm = to_binary(bytes)?;
        let info = ModuleInfo::read(bytes, &wasm, self.sha256)?;
        let kind = info.entry()?.kind;
        let compile = || {
            let begun = Instant::now();
            complexity::check(&wasm, self.compile_timeout)?;
            let wasm = data_segments::joined(custom_sections::without(&wasm)?)?;
            if let Some(tell) = &self.before_compiling {
                tell(bytes.len() as u64);
            }
            compile(&wasm, begun, self.compile_timeout)
        };
        let compiled = match &self.cache {
            Some(cache) => cache.load_or(info.sha256(), compile)?,
            None => load_compiled(compile()?)?,
        };
        let name = path
            .and_then(Path::file_stem)
            .map(|stem| stem.to_string_lossy().into_owned())
            .or_else(|| info.name().map(str::to_owned))
            .map(|name| {
                name.chars()
                    .filter(|c| !c.is_control())
                    .take(64)
                    .collect::<String>()
            })
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| Hex(&info.sha256().as_bytes()[..6]).to_string());
        if cfg!(feature = "aead")
            && let HostAead::Hindered(reason) = info.host_aead()
        {
            log::warn!("the module {name} cannot have the host's AEAD: {reason}");
        }
        Ok(TransportModule {
            inner: Arc::new(Inner {
                imported: info.imported_functions(),
                info,
                kind,
                name,
                compiled,
                #[cfg(feature = "signatures")]
                signature,
            }),
        })
    }
}

fn compile(wasm: &[u8], begun: Instant, timeout: Duration) -> Result<Vec<u8>, LoadError> {
    let artifact = engine::compile(wasm, begun, timeout)?;
    log::info!(
        "compiled a module of {} bytes in {:.0?}",
        wasm.len(),
        begun.elapsed()
    );
    Ok(artifact)
}
