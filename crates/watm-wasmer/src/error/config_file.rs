//! Why a configuration file cannot be used.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use watm_abi::Excerpt;

use crate::error::{ConfigError, LoadError};

/// Why a configuration file, or what it names, cannot be used. The message names the file, the
/// line and column (of a file in TOML), and the key.
///
/// ```
/// use watm_wasmer::Config;
///
/// let file = "[[tunnel]]\nname = \"web\"\nrole = \"dailer\"\nmodule = \"plain.wasm\"\n";
/// let error = Config::from_toml(file, ".").expect_err("there is no such role");
/// assert_eq!((error.line(), error.key()), (Some(3), "tunnel[0].role"));
/// assert_eq!(error.code(), "invalid");
/// println!("{error}");
/// ```
#[derive(Debug)]
pub struct ConfigFileError {
    path: Option<PathBuf>,
    place: KeyPlace,
    // Errors are rare, and results are moved often.
    problem: Box<ConfigFileProblem>,
}

/// Where in a file: each part only if it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    /// Line and column, both from 1 on.
    pub(crate) position: Option<(usize, usize)>,
    /// The key with the tables that it is in, or nothing.
    pub(crate) key: String,
}

/// What is wrong with a configuration file, or with what it names.
///
/// ```
/// use watm_wasmer::{Config, ConfigFileProblem};
///
/// let file = "[[tunnel]]\nname = \"web\"\nrole = \"dialer\"\nmodul = \"plain.wasm\"\n";
/// let error = Config::from_toml(file, ".").expect_err("there is no such key");
/// match error.problem() {
///     ConfigFileProblem::UnknownKey { nearest } => assert_eq!(nearest, "module"),
///     problem => panic!("{problem}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigFileProblem {
    /// The file could not be read.
    Read(io::Error),
    /// The file is larger than any configuration file should be.
    TooLarge {
        /// The maximum size in bytes.
        limit: u64,
    },
    /// The file is not TOML or not JSON. The text says why.
    Syntax(String),
    /// A key is not known.
    UnknownKey {
        /// The known key that is most like it.
        nearest: String,
    },
    /// A value cannot be used, or does not go with others. The text says why, and what can be used.
    Invalid(String),
    /// A tunnel with this name was asked for, or one without a name among several.
    NoSuchTunnel(String),
    /// A file that is named in the configuration file could not be read.
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The module could not be loaded.
    Load(LoadError),
    /// A setting cannot be used, or the module lacks the role.
    Config(ConfigError),
}

impl ConfigFileError {
    pub(crate) fn new(
        path: Option<&Path>,
        place: KeyPlace,
        problem: impl Into<Box<ConfigFileProblem>>,
    ) -> Self {
        Self {
            path: path.map(Path::to_owned),
            place,
            problem: problem.into(),
        }
    }

    /// The configuration file, unless its text was given without one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line, from 1 on.
    pub fn line(&self) -> Option<usize> {
        self.place.position.map(|(line, _)| line)
    }

    /// The column in that line, in characters from 1 on.
    pub fn column(&self) -> Option<usize> {
        self.place.position.map(|(_, column)| column)
    }

    /// The key with the tables that it is in, such as `tunnel[0].settings.spare_instances`. Empty if the
    /// problem is about the file as a whole. Characters that would disturb a terminal are escaped.
    pub fn key(&self) -> &str {
        &self.place.key
    }

    /// What is wrong.
    pub fn problem(&self) -> &ConfigFileProblem {
        &self.problem
    }

    /// The kind that the error has as an [`io::Error`].
    pub fn kind(&self) -> io::ErrorKind {
        match &*self.problem {
            ConfigFileProblem::Read(source) | ConfigFileProblem::File { source, .. } => {
                source.kind()
            }
            ConfigFileProblem::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            ConfigFileProblem::Syntax(_)
            | ConfigFileProblem::UnknownKey { .. }
            | ConfigFileProblem::Invalid(_) => io::ErrorKind::InvalidData,
            ConfigFileProblem::NoSuchTunnel(_) => io::ErrorKind::NotFound,
            ConfigFileProblem::Load(error) => error.kind(),
            ConfigFileProblem::Config(error) => error.kind(),
        }
    }

    /// A word for the error that stays the same in all releases, for programs and logs: `read`,
    /// `too-large`, `syntax`, `unknown-key`, `invalid`, `no-such-tunnel`, `file`, or that of the
    /// [`LoadError`] or [`ConfigError`].
    pub fn code(&self) -> &'static str {
        match &*self.problem {
            ConfigFileProblem::Read(_) => "read",
            ConfigFileProblem::TooLarge { .. } => "too-large",
            ConfigFileProblem::Syntax(_) => "syntax",
            ConfigFileProblem::UnknownKey { .. } => "unknown-key",
            ConfigFileProblem::Invalid(_) => "invalid",
            ConfigFileProblem::NoSuchTunnel(_) => "no-such-tunnel",
            ConfigFileProblem::File { .. } => "file",
            ConfigFileProblem::Load(error) => error.code(),
            ConfigFileProblem::Config(error) => error.code(),
        }
    }
}

/// The place as it stands in messages: `line 3, column 5, `tunnel[0].name``.
impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some((line, column)) = self.position {
            write!(f, "line {line}, column {column}")?;
            between = ", ";
        }
        if !self.key.is_empty() {
            write!(f, "{between}`{}`", self.key)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.to_string();
        match &self.path {
            Some(path) => {
                let path = path.to_string_lossy();
                write!(f, "{}", Excerpt(&path))?;
                if !place.is_empty() {
                    write!(f, ", {place}")?;
                }
            }
            None if place.is_empty() => f.write_str("the configuration")?,
            None => f.write_str(&place)?,
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for ConfigFileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("the file could not be read"),
            Self::TooLarge { limit } => write!(f, "the file has more than {limit} bytes"),
            Self::Syntax(message) | Self::Invalid(message) | Self::NoSuchTunnel(message) => {
                f.write_str(message)
            }
            Self::UnknownKey { nearest } => write!(
                f,
                "this key is unknown; the nearest that there is is `{nearest}`"
            ),
            Self::File { path, .. } => {
                let path = path.to_string_lossy();
                write!(f, "the file {} could not be read", Excerpt(&path))
            }
            Self::Load(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl Error for ConfigFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.problem {
            ConfigFileProblem::Read(source) | ConfigFileProblem::File { source, .. } => {
                Some(source)
            }
            ConfigFileProblem::Load(error) => error.source(),
            ConfigFileProblem::Config(error) => error.source(),
            _ => None,
        }
    }
}
