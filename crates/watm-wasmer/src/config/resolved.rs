//! The files that a configuration file names, read into memory, and what the builders would say of
//! them.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::file::{ConfigKey, Settings};
use super::node::Step;
use crate::error::{ConfigError, ConfigFileProblem};
use crate::host::arguments::Arguments;
use crate::host::preopens::{self, MemoryFile, Preopen};

/// Maximum size of a configuration of a module in bytes, which is kept in memory.
const CONFIG_LIMIT: u64 = 16 << 20;
/// Maximum total size of the files of a module: the limit of the builder.
const FILES_LIMIT: u64 = 64 << 20;

/// What a module is given, in the form of the builders.
pub(super) struct Resolved {
    pub(super) config: Option<Vec<u8>>,
    pub(super) dirs: Vec<Preopen>,
    pub(super) files: Vec<MemoryFile>,
}

/// What is wrong with a setting, and the steps to it in the table of settings.
pub(super) type Refused = (Vec<Step>, Box<ConfigFileProblem>);

impl Resolved {
    /// Reads the files that settings name. Relative paths start at `base`.
    pub(super) fn read(settings: &Settings, base: &Path) -> Result<Self, Refused> {
        check_platform(settings)?;
        let config = match &settings.config {
            None => None,
            Some(ConfigKey::Text(table)) => Some(table.text.clone().into_bytes()),
            Some(ConfigKey::File(path)) => {
                let path = base.join(&path.value.0);
                let bytes = read_regular(&path, CONFIG_LIMIT);
                Some(bytes.map_err(|source| {
                    let problem = ConfigFileProblem::File { path, source };
                    (vec!["config".into()], Box::new(problem))
                })?)
            }
        };
        let dirs = settings.dirs.iter().flatten();
        let dirs = dirs.map(|dir| Preopen {
            host: base.join(&dir.host.value.0),
            guest: dir.guest.clone(),
            writable: dir.writable,
        });
        let mut left = FILES_LIMIT;
        let mut files = Vec::new();
        for (index, file) in settings.files.iter().flatten().enumerate() {
            let path = base.join(&file.host.value.0);
            let bytes = read_regular(&path, left).map_err(|source| {
                let step = vec!["files".into(), index.into(), "host".into()];
                (step, Box::new(ConfigFileProblem::File { path, source }))
            })?;
            left -= bytes.len() as u64;
            files.push(MemoryFile {
                guest: file.guest.clone(),
                bytes: bytes.into(),
            });
        }
        Ok(Self {
            config,
            dirs: dirs.collect(),
            files,
        })
    }

    /// Checks what the builders check as well, for a module with this name.
    pub(super) fn check(&self, settings: &Settings, name: &str) -> Result<(), Refused> {
        let args = settings.args.as_deref().unwrap_or_default();
        let env: Vec<_> = settings.env.iter().flatten().collect();
        let env: Vec<_> = env
            .into_iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Arguments::new(name, args, &env).map_err(located)?;
        let config = self.config.as_ref().map(|config| config.as_slice().into());
        preopens::check(&self.dirs, &self.files, config.as_ref()).map_err(located)?;
        Ok(())
    }
}

/// Refuses what this system, or this build, does not have.
fn check_platform(settings: &Settings) -> Result<(), Refused> {
    let refused = |key: &str, message: &str| {
        let problem = ConfigFileProblem::Invalid(message.to_owned());
        Err((vec![key.into()], Box::new(problem)))
    };
    if cfg!(not(any(target_os = "android", target_os = "linux"))) {
        let message = "this is for Linux and Android";
        if settings.interface.is_some() {
            return refused("interface", message);
        }
        if settings.mark.is_some() {
            return refused("mark", message);
        }
    }
    if cfg!(not(feature = "aead")) && settings.host_aead == Some(true) {
        return refused(
            "host_aead",
            "this program was built without the feature `aead`",
        );
    }
    let addresses = settings.source_addresses.iter().flatten();
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.partition(|address| address.value.is_ipv4());
    if v4.len() > 1 || v6.len() > 1 {
        return refused("source_addresses", "there may be one for each family");
    }
    Ok(())
}

/// The error of a builder, at the key that it is about.
pub(super) fn located(error: ConfigError) -> Refused {
    let key = match &error {
        ConfigError::Role(_) => None,
        ConfigError::Directory { .. } => Some("dirs"),
        ConfigError::Invalid { setting, .. } => Some(match *setting {
            "dir" => "dirs",
            "file" => "files",
            "arg" => "args",
            setting => setting,
        }),
    };
    let steps = key.map(Step::from).into_iter().collect();
    (steps, Box::new(ConfigFileProblem::Config(error)))
}

/// Reads a regular file of at most `limit` bytes. Anything else might never end.
pub(super) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe that nobody writes to would wait for ever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() {
            io::ErrorKind::IsADirectory
        } else {
            io::ErrorKind::InvalidInput
        };
        return Err(io::Error::new(kind, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The directory of a file, which relative paths in it start at.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}
