//! `watm run`.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{KeyOrFile, duration, size};
use super::{CacheDirectoryArgs, ConfineArgs, LoadArgs, MetricsArgs, TrustArgs};

/// Run all tunnels of a configuration file, as a daemon
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Runs all tunnels of a configuration file in one process, as a daemon.\n\n\
        Each tunnel serves plain clients, so each needs `listen`, and a dialer `remote` and a \
        listener `forward` as well. All modules are loaded and all addresses are bound before \
        anything starts: if one of them fails, nothing does.\n\n\
        SIGHUP has the file read again. Tunnels that are as before are not touched. Changed ones \
        take new connections with the new settings, while old connections go on. Removed ones \
        accept no more. If anything in the new file cannot be used, nothing changes, and the log \
        says why. SIGTERM and SIGINT end all tunnels, a second one at once.\n\n\
        Under systemd, the command is of Type=notify-reload (or notify), and answers WatchdogSec. \
        docs/operating.md has units, metrics and all signals.",
    after_help = "\
Examples:
  watm run watm.toml
  watm run watm.toml --only web --only mail
  watm run watm.toml --metrics 127.0.0.1:9464 --log-format json

For each address, a line `listening NAME ADDRESS` is printed.
Exit codes: 0 told to end, 1 failure, 2 usage error or a file that cannot be used."
)]
pub(crate) struct DaemonArgs {
    /// The configuration file, in TOML
    ///
    /// `watm config check FILE` shows what it says.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Run this tunnel alone (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,

    /// Do not print `listening` lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Maximum time that open connections have when their tunnel is removed or moves elsewhere
    ///
    /// Without it, they go on until they end by themselves or the command does.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) drain: Option<Duration>,

    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,

    #[command(flatten)]
    pub(crate) confine: ConfineArgs,

    /// Reject modules that none of the trusted keys has signed: a public key of minisign, or its
    /// file (repeatable)
    ///
    /// It replaces all `trusted_keys` of the file. The signature of each module is in the file
    /// beside it, with the same name and .minisig, unless the file names another.
    #[arg(long, value_name = "KEY", help_heading = "Module files")]
    pub(crate) trusted_key: Vec<KeyOrFile>,

    /// Maximum size of a module file, in bytes or with a suffix: K, M, G; `max_size` of the file
    /// replaces it
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse,
        help_heading = "Module files")]
    pub(crate) max_module_size: u64,

    /// Maximum time to compile a module; `compile_timeout` of the file replaces it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse_positive,
        help_heading = "Module files")]
    pub(crate) compile_timeout: Duration,

    #[command(flatten, next_help_heading = "Module files")]
    pub(crate) cache: CacheDirectoryArgs,

    /// Compile the modules each time and do not store the result
    #[arg(long, conflicts_with = "cache_dir", help_heading = "Module files")]
    pub(crate) no_cache: bool,
}

impl DaemonArgs {
    /// The conditions for loading, in the form of the other commands.
    pub(crate) fn load(&self) -> LoadArgs {
        LoadArgs {
            sha256: None,
            trust: TrustArgs {
                trusted_key: self.trusted_key.clone(),
                signature: None,
            },
            max_module_size: self.max_module_size,
            compile_timeout: self.compile_timeout,
            cache: self.cache.clone(),
            no_cache: self.no_cache,
        }
    }
}
