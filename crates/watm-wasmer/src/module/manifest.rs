//! Manifests: files in TOML that name modules, what they must be, and what they are for.
//!
//! Knows how to find and verify what a manifest names. [`parse`] knows how a manifest is written.

mod parse;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use watm_abi::Roles;

use crate::error::{LoadError, ManifestError, ManifestProblem, Place, SignatureError};
use crate::module::file::{self, NO_WAITING, ReadError};
use crate::module::hash::ModuleHash;
use crate::module::info::ModuleInfo;
use crate::module::signature::{SIGNATURE_LIMIT, SignatureInfo, TrustedKey, signature_path};
use crate::module::{ModuleLoader, TransportModule};
use crate::nearest::nearest;

/// Maximum size of a manifest in bytes.
const MANIFEST_LIMIT: u64 = 256 << 10;
/// Maximum size of a configuration in bytes, which is kept in memory.
const CONFIG_LIMIT: u64 = 16 << 20;

/// A file in TOML that names modules, with the hash or the signature that each must have, its roles
/// and its configuration.
///
/// ```toml
/// # Keys whose signatures of modules count. Optional; with them, each module must be signed.
/// trusted_keys = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]
///
/// [[module]]
/// name = "plain"
/// file = "plain.wasm"
/// sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
/// signature = "plain.wasm.minisig"  # the default: the name of the file, and .minisig
/// roles = ["dialer", "listener"]    # optional; also fixed-dialer, relay
/// config = "plain.cfg"              # optional
/// config_sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
/// ```
///
/// A key that is not listed here is an error. A module without a hash in a manifest without trusted
/// keys is one as well.
///
/// # Paths
///
/// Paths are relative to the directory of the manifest. They do not lead out of it: `..` is refused,
/// and so is a symbolic link to elsewhere. A path may also be absolute, if the manifest says so.
///
/// # What a manifest is worth
///
/// Whoever can change a manifest can change its keys and its hashes. So it has to come from a place
/// that is as trustworthy as the program itself, or it is signed by a key that the program knows
/// ([`Manifest::from_signed_file`]). Then the program's key vouches for the manifest, and the
/// manifest's keys and hashes vouch for the modules. The program's keys do not count for modules,
/// nor the manifest's for the manifest.
///
/// A configuration without `config_sha256` is not verified.
///
/// ```no_run
/// use watm_wasmer::{Dialer, Manifest, TrustedKey};
///
/// let key: TrustedKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse()?;
/// // Reads modules.toml.minisig as well.
/// let manifest = Manifest::from_signed_file("modules.toml", &[key])?;
/// let module = manifest.load("plain")?;
/// let mut dialer = Dialer::builder(&module);
/// if let Some(config) = manifest.config("plain")? {
///     dialer = dialer.config(config);
/// }
/// let conn = dialer.build()?.dial("example.com:443")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    keys: Vec<TrustedKey>,
    modules: Vec<ManifestModule>,
    signature: Option<SignatureInfo>,
    loader: ModuleLoader,
}

/// A module that a manifest names.
///
/// ```
/// use watm_wasmer::{Manifest, ModuleHash};
///
/// let sha256 = ModuleHash::of(b"(module)");
/// let file = format!(
///     "[[module]]\nname = \"plain\"\nfile = \"plain.wasm\"\nsha256 = \"{sha256}\"\n"
/// );
/// let manifest = Manifest::parse(file, "/etc/transports/modules.toml")?;
/// for module in manifest.modules() {
///     println!("{}: {}", module.name(), module.file().display());
/// }
/// assert_eq!(manifest.modules()[0].sha256(), Some(sha256));
/// # Ok::<(), watm_wasmer::ManifestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManifestModule {
    name: String,
    file: Named<PathBuf>,
    sha256: Option<Named<ModuleHash>>,
    signature: Option<Named<PathBuf>>,
    roles: Option<Named<Roles>>,
    config: Option<Named<PathBuf>>,
    config_sha256: Option<Named<ModuleHash>>,
}

/// A value, and the line where it stands.
#[derive(Clone, Debug)]
struct Named<T> {
    value: T,
    line: usize,
}

/// What a manifest names, after it was verified. Nothing of it was compiled or run.
///
/// ```
/// use watm_wasmer::{Manifest, ModuleHash};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let sha256 = ModuleHash::of(&std::fs::read(file)?);
/// let manifest = format!(
///     "[[module]]\nname = \"plain\"\nfile = \"plain.wasm\"\nsha256 = \"{sha256}\"\n"
/// );
/// // The path says which directory the modules are in.
/// # let path = std::path::Path::new(file).with_file_name("modules.toml");
/// let manifest = Manifest::parse(manifest, path)?;
/// for module in manifest.modules() {
///     let verified = manifest.verify(module.name())?;
///     println!("{}: {}", module.name(), verified.info.roles());
///     // There are no trusted keys.
///     assert_eq!(verified.signature, None);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedModule {
    /// What the module declares.
    pub info: ModuleInfo,
    /// Who has signed it, if the manifest has trusted keys.
    pub signature: Option<SignatureInfo>,
}

impl Manifest {
    /// Reads a manifest of at most 256 KiB, which is taken at its word.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if it cannot be read or makes no sense. What it names is not looked at.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ManifestError> {
        let path = path.as_ref();
        Self::parse(&read_manifest(path)?, path)
    }

    /// Reads a manifest that one of `keys` must have signed. The signature is in the file beside it,
    /// with the same name and `.minisig`. It is verified before the manifest is parsed.
    ///
    /// # Errors
    ///
    /// As [`Manifest::from_file`], and if the signature does not hold.
    pub fn from_signed_file(
        path: impl AsRef<Path>,
        keys: &[TrustedKey],
    ) -> Result<Self, ManifestError> {
        let path = path.as_ref();
        let bytes = read_manifest(path)?;
        let verified = file::read(&signature_path(path), SIGNATURE_LIMIT)
            .map_err(SignatureError::from)
            .and_then(|signature| SignatureInfo::verify(&bytes, &signature, keys));
        let signature = verified
            .map_err(|error| ManifestError::new(path, None, ManifestProblem::Signature(error)))?;
        Ok(Self {
            signature: Some(signature),
            ..Self::parse(&bytes, path)?
        })
    }

    /// Parses a manifest that was read already. `path` is that of its file: messages name it, and
    /// other paths are relative to its directory.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if it makes no sense.
    pub fn parse(
        manifest: impl AsRef<[u8]>,
        path: impl AsRef<Path>,
    ) -> Result<Self, ManifestError> {
        let (manifest, path) = (manifest.as_ref(), path.as_ref());
        if manifest.len() as u64 > MANIFEST_LIMIT {
            return Err(too_large(path));
        }
        let parse::Parsed { keys, modules } = parse::parse(manifest, path)?;
        Ok(Self {
            path: path.to_owned(),
            keys,
            modules,
            signature: None,
            loader: ModuleLoader::new(),
        })
    }

    /// Sets the loader for modules, with its limits and its cache. Its hash, keys and signature are
    /// replaced by those of the manifest.
    pub fn loader(mut self, loader: ModuleLoader) -> Self {
        self.loader = loader;
        self
    }

    /// The file of the manifest.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who has signed the manifest, if that was verified.
    pub fn signature(&self) -> Option<&SignatureInfo> {
        self.signature.as_ref()
    }

    /// The keys that must have signed the modules. If there are none, hashes are what counts.
    pub fn trusted_keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// The modules, in the order of the manifest. There is at least one.
    pub fn modules(&self) -> &[ManifestModule] {
        &self.modules
    }

    /// Loads the module with this name, if it has the hash, the signature and the roles that the
    /// manifest says.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if there is no such module, or if it is not as it should be.
    pub fn load(&self, name: &str) -> Result<TransportModule, ManifestError> {
        let module = self.module(name)?;
        let (loader, bytes) = self.prepare(module)?;
        let loaded = loader
            .load(&bytes, Some(&self.resolved(&module.file.value)))
            .map_err(|error| self.load_error(module, error))?;
        self.check_roles(module, loaded.roles())?;
        Ok(loaded)
    }

    /// Verifies the module with this name and its configuration, and reads what the module declares,
    /// without compiling it.
    ///
    /// # Errors
    ///
    /// As [`Manifest::load`] and [`Manifest::config`], as far as that shows without compiling.
    pub fn verify(&self, name: &str) -> Result<VerifiedModule, ManifestError> {
        let module = self.module(name)?;
        let (loader, bytes) = self.prepare(module)?;
        let failed = |error| self.load_error(module, error);
        let signature = loader.verify(&bytes).map_err(failed)?;
        let info = ModuleInfo::parse(&bytes).map_err(failed)?;
        self.check_roles(module, info.roles())?;
        self.config(name)?;
        Ok(VerifiedModule { info, signature })
    }

    /// Reads the configuration of the module with this name, of at most 16 MiB. It has the hash that
    /// the manifest says, if it says one.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if there is no such module, or if its configuration cannot be read or has
    /// another hash.
    pub fn config(&self, name: &str) -> Result<Option<Vec<u8>>, ManifestError> {
        let module = self.module(name)?;
        let Some(config) = &module.config else {
            return Ok(None);
        };
        let bytes = self.read(&config.value, CONFIG_LIMIT).map_err(|error| {
            let source = match error {
                ReadError::Io(source) => source,
                ReadError::TooLarge { .. } => {
                    io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 16 MiB")
                }
            };
            let path = self.resolved(&config.value);
            self.error(
                config.line,
                "config",
                ManifestProblem::Config { path, source },
            )
        })?;
        if let Some(expected) = &module.config_sha256 {
            let found = ModuleHash::of(&bytes);
            if found != expected.value {
                let problem = ManifestProblem::ConfigHash {
                    expected: expected.value,
                    found,
                };
                return Err(self.error(expected.line, "config_sha256", problem));
            }
        }
        Ok(Some(bytes))
    }

    fn module(&self, name: &str) -> Result<&ManifestModule, ManifestError> {
        let mut modules = self.modules.iter();
        modules.find(|module| module.name == name).ok_or_else(|| {
            let names = self.modules.iter().map(ManifestModule::name);
            let problem = ManifestProblem::UnknownModule {
                name: name.chars().take(parse::NAME_LIMIT).collect(),
                nearest: nearest(name, names).map(str::to_owned),
            };
            ManifestError::new(&self.path, None, problem)
        })
    }

    /// Reads a module, and makes the loader that demands of it what the manifest says.
    fn prepare(&self, module: &ManifestModule) -> Result<(ModuleLoader, Vec<u8>), ManifestError> {
        let path = self.resolved(&module.file.value);
        let limit = self.loader.max_size;
        let bytes = self.read(&module.file.value, limit).map_err(|error| {
            self.load_error(
                module,
                match error {
                    ReadError::Io(source) => LoadError::Read { path, source },
                    ReadError::TooLarge { size } => LoadError::TooLarge { size, limit },
                },
            )
        })?;
        let mut loader = self.loader.clone();
        loader.sha256 = module.sha256.as_ref().map(|hash| hash.value);
        loader.demand = Default::default();
        if !self.keys.is_empty() {
            let file = module.signature_file();
            let signature = self.read(&file, SIGNATURE_LIMIT).map_err(|error| {
                let error = LoadError::Signature {
                    path: Some(self.resolved(&file)),
                    source: error.into(),
                };
                self.load_error(module, error)
            })?;
            loader = loader
                .trusted_keys(self.keys.iter().cloned())
                .signature(signature);
        }
        Ok((loader, bytes))
    }

    fn check_roles(&self, module: &ManifestModule, offered: Roles) -> Result<(), ManifestError> {
        let Some(roles) = &module.roles else {
            return Ok(());
        };
        let lacks = |role: &watm_abi::Role| !offered.contains(*role);
        let missing: Roles = roles.value.iter().filter(lacks).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.error(
            roles.line,
            "roles",
            ManifestProblem::Roles { missing, offered },
        ))
    }

    /// An error of loading, at the key that it is about.
    fn load_error(&self, module: &ManifestModule, error: LoadError) -> ManifestError {
        let (line, key) = match (&error, &module.sha256, &module.signature) {
            (LoadError::Hash { .. }, Some(hash), _) => (hash.line, "sha256"),
            (LoadError::Signature { .. }, _, Some(signature)) => (signature.line, "signature"),
            _ => (module.file.line, "file"),
        };
        // A message of the signature names its file.
        let error = match error {
            LoadError::Signature { path: None, source } => LoadError::Signature {
                path: Some(self.resolved(&module.signature_file())),
                source,
            },
            error => error,
        };
        self.error(line, key, ManifestProblem::Load(error))
    }

    fn error(&self, line: usize, key: &str, problem: ManifestProblem) -> ManifestError {
        let key = Some(key.to_owned());
        ManifestError::new(&self.path, Some(Place { line, key }), problem)
    }

    /// The directory of the manifest.
    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// Where a path of the manifest leads.
    fn resolved(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Reads a file that the manifest names. A relative path leads nowhere but below the directory
    /// of the manifest, whatever links there are.
    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
        if path.is_absolute() {
            return file::read(path, limit);
        }
        file::read_opened(self.open(path)?, limit)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let directory = Dir::open_ambient_dir(self.directory(), ambient_authority())?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(NO_WAITING);
        Ok(directory.open_with(path, &options)?.into_std())
    }
}

impl ManifestModule {
    /// The name of the module in the manifest: 1 to 64 characters that can be displayed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, as it is written in the manifest.
    pub fn file(&self) -> &Path {
        &self.file.value
    }

    /// The SHA-256 that the file must have.
    pub fn sha256(&self) -> Option<ModuleHash> {
        self.sha256.as_ref().map(|hash| hash.value)
    }

    /// The roles that the module must offer. It may offer others.
    pub fn roles(&self) -> Roles {
        self.roles
            .as_ref()
            .map(|roles| roles.value)
            .unwrap_or_default()
    }

    /// The file of the configuration, as it is written in the manifest.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_ref().map(|config| config.value.as_path())
    }

    /// The SHA-256 that the configuration must have.
    pub fn config_sha256(&self) -> Option<ModuleHash> {
        self.config_sha256.as_ref().map(|hash| hash.value)
    }

    fn signature_file(&self) -> PathBuf {
        match &self.signature {
            Some(file) => file.value.clone(),
            None => signature_path(&self.file.value),
        }
    }
}

fn read_manifest(path: &Path) -> Result<Vec<u8>, ManifestError> {
    file::read(path, MANIFEST_LIMIT).map_err(|error| match error {
        ReadError::Io(source) => ManifestError::new(path, None, ManifestProblem::Read(source)),
        ReadError::TooLarge { .. } => too_large(path),
    })
}

fn too_large(path: &Path) -> ManifestError {
    let limit = MANIFEST_LIMIT;
    ManifestError::new(path, None, ManifestProblem::TooLarge { limit })
}
