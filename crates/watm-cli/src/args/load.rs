//! The module file, and where its compiled form is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{Hash, duration, size};

/// What is asked of a module file before it is loaded.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The module file")]
pub(crate) struct LoadArgs {
    /// Refuse the module unless its file has this SHA-256
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<Hash>,

    /// Refuse a module file of more than this many bytes
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse)]
    pub(crate) max_module_size: u64,

    /// Give up compiling the module after this long (such as 500ms, 3s, 2m, 1h)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse_positive)]
    pub(crate) compile_timeout: Duration,

    #[command(flatten)]
    pub(crate) cache: CacheDirectoryArgs,

    /// Compile the module each time, and keep nothing
    #[arg(long, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
}

/// Where compiled modules are kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CacheDirectoryArgs {
    /// Keep compiled modules in this directory [default: watm in $XDG_CACHE_HOME or ~/.cache]
    ///
    /// Only the user may be able to write it, since what is found there is run.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}
