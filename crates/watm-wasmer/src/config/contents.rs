//! Whether a tunnel is still what it was: whether two files say the same of it, and whether what it
//! names holds the same bytes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::file::{ConfigKey, ModuleKey, ModuleTable};
use super::resolved::read_regular;
use super::tunnel::Tunnel;
use super::value::KeyOrFile;
use crate::error::ConfigFileError;

/// Maximum size of a key or a signature that is looked at. Both have a few lines.
const SMALL: u64 = 64 << 10;

impl Tunnel {
    /// Whether this tunnel and `other`, of a later version of the file, make connections in the same
    /// way: in the same role, with the same modules under the same conditions, and with the same
    /// settings. Where they listen and where connections go is not compared, nor are the contents
    /// of files: see [`Tunnel::contents`].
    pub fn has_settings_of(&self, other: &Self) -> bool {
        let is_same = self.role == other.role
            && self.module_file() == other.module_file()
            && self.module == other.module
            && self.settings == other.settings
            && self.trusted_keys == other.trusted_keys;
        let mut parts = self.below.iter().zip(&other.below);
        is_same
            && self.below.len() == other.below.len()
            && parts.all(|(one, other)| one.has_settings_of(other))
    }

    /// A SHA-256 over the contents of all files that the tunnel names: modules, signatures, keys,
    /// configurations and files for modules. It is another if any of them changes. Directories are
    /// not looked into: each connection sees them as they are.
    ///
    /// # Errors
    ///
    /// [`ConfigFileError`] if a module, a configuration or another file for a module cannot be read.
    /// Keys and signatures that cannot be read are left to whoever loads the module.
    pub fn contents(&self) -> Result<[u8; 32], ConfigFileError> {
        let mut hash = Sha256::new();
        self.add_contents(&mut hash)?;
        Ok(hash.finalize().into())
    }

    /// The files that are read for the tunnel and the modules below it, now and when it is loaded
    /// again: the configuration file itself, modules, signatures, keys, configurations and files for
    /// modules, and the user name and password of a proxy. Some of them may not exist.
    pub fn files(&self) -> Vec<PathBuf> {
        let module = self.module_file();
        let mut files: Vec<PathBuf> = self.source.path.iter().cloned().collect();
        if let Some(keys) = self.key_files() {
            files.extend(keys);
            files.push(self.signature_file(&module));
        }
        files.push(module);
        if let Some(ConfigKey::File(path)) = &self.settings.config {
            files.push(self.source.base.join(&path.value.0));
        }
        let given = self.settings.files.iter().flatten();
        files.extend(given.map(|file| self.source.base.join(&file.host.value.0)));
        files.extend(self.socks_auth());
        files.extend(self.below.iter().flat_map(Self::files));
        files
    }

    /// The directories that the modules of the tunnel are given, and whether they may change what is
    /// in them.
    pub fn directories(&self) -> Vec<(PathBuf, bool)> {
        let own = self.settings.dirs.iter().flatten();
        let own = own.map(|dir| (self.source.base.join(&dir.host.value.0), dir.writable));
        own.chain(self.below.iter().flat_map(Self::directories))
            .collect()
    }

    fn add_contents(&self, hash: &mut Sha256) -> Result<(), ConfigFileError> {
        let file = self.module_file();
        let mut loader = self.loader.clone();
        if let ModuleKey::Table(table) = &self.module
            && let Some(size) = &table.max_size
        {
            loader = loader.max_size(size.value.0);
        }
        let bytes = loader.read_file(&file);
        add(hash, &bytes.map_err(|error| self.load_error(error))?);
        if let Some(keys) = self.key_files() {
            for path in keys.iter().chain([&self.signature_file(&file)]) {
                add(hash, &read_regular(path, SMALL).unwrap_or_default());
            }
        }
        let resolved = self.resolve()?;
        add(hash, &resolved.config.unwrap_or_default());
        for file in &resolved.files {
            add(hash, &file.bytes);
        }
        self.below
            .iter()
            .try_for_each(|part| part.add_contents(hash))
    }

    /// The files of the trusted keys, if a signature is demanded.
    fn key_files(&self) -> Option<Vec<PathBuf>> {
        let own = match &self.module {
            ModuleKey::Table(table) => table.trusted_keys.as_deref(),
            ModuleKey::File(_) => None,
        };
        let keys = own.or(self.trusted_keys.as_deref())?.iter();
        let files = keys.filter_map(|key| match &key.value {
            KeyOrFile::File(path) => Some(self.source.base.join(&path.0)),
            KeyOrFile::Key(_) => None,
        });
        Some(files.collect())
    }

    fn signature_file(&self, module: &Path) -> PathBuf {
        match &self.module {
            ModuleKey::Table(ModuleTable {
                signature: Some(path),
                ..
            }) => self.source.base.join(&path.value.0),
            _ => {
                let mut beside = OsString::from(module);
                beside.push(".minisig");
                beside.into()
            }
        }
    }
}

/// Adds bytes with their number, so that no two lists of files are alike.
fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}
