//! The module file and the cache of its compiled form.

use std::path::PathBuf;
use std::time::Duration;

use watm_wasmer::ModuleHash;

use super::TrustArgs;
use super::value::{duration, size};

/// The conditions for loading a module file.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Module file")]
pub(crate) struct LoadArgs {
    /// Reject the module unless its file has this SHA-256
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<ModuleHash>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    /// Maximum size of the module file, in bytes or with a suffix: K, M, G
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse)]
    pub(crate) max_module_size: u64,

    /// Maximum time to compile the module (for example 500ms, 3s, 2m, 1h)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse_positive)]
    pub(crate) compile_timeout: Duration,

    #[command(flatten)]
    pub(crate) cache: CacheDirectoryArgs,

    /// Compile the module each time and do not store the result
    #[arg(long, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
}

/// The directory of the cache.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CacheDirectoryArgs {
    /// Directory for compiled modules [default: watm in $XDG_CACHE_HOME or ~/.cache]
    ///
    /// Other users must not be able to write to it, since its contents are executed.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}
