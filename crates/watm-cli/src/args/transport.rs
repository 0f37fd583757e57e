//! What a transport is given, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{Directory, GivenFile, Variable, duration, size};

/// Instances that are ready before there is a connection, for the commands that run for long.
#[derive(Debug, clap::Args)]
pub(crate) struct StockArgs {
    /// Instances of the module that are kept ready for new connections; 0 for none
    ///
    /// They have run the module's init, so that a connection only has to dial. Each takes about
    /// as much as an idle connection. Where standard input and output are the connection there
    /// are none.
    #[arg(long, value_name = "COUNT", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(0..=1024), help_heading = "Limits")]
    pub(crate) stock: u16,
}

/// What every command gives a transport: its surroundings, its time and its limits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TransportArgs {
    /// The module's configuration, which it reads as /conf/watm.cfg; up to 16 MiB
    #[arg(long, value_name = "FILE", help_heading = "What the module is given")]
    pub(crate) config: Option<PathBuf>,

    /// An environment variable for the module, NAME=VALUE (repeatable)
    #[arg(long, value_name = "K=V", help_heading = "What the module is given")]
    pub(crate) env: Vec<Variable>,

    /// An argument for the module (repeatable)
    #[arg(
        long,
        value_name = "X",
        allow_hyphen_values = true,
        help_heading = "What the module is given"
    )]
    pub(crate) arg: Vec<String>,

    /// A directory for the module: read-only, or with :rw also for writing (repeatable)
    ///
    /// GUEST is the absolute path that the module sees it under; it may be /, beside others below
    /// it.
    #[arg(
        long,
        value_name = "HOST:GUEST[:rw]",
        help_heading = "What the module is given"
    )]
    pub(crate) dir: Vec<Directory>,

    /// A file for the module, which is read once and then kept in memory, read-only (repeatable)
    ///
    /// GUEST is the absolute path that the module sees it under, such as /etc/ssl/certs/ca.pem. Up
    /// to 64 files of 64 MiB together.
    #[arg(
        long,
        value_name = "HOST:GUEST",
        help_heading = "What the module is given"
    )]
    pub(crate) file: Vec<GivenFile>,

    /// Give the module the standard streams of this command, in place of log lines (-v)
    ///
    /// Not possible where standard input and output are the connection.
    #[arg(long, help_heading = "What the module is given")]
    pub(crate) inherit_stdio: bool,

    /// How long one outgoing connection may take (such as 500ms, 3s, 2m, 1h)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse_positive,
        help_heading = "Time")]
    pub(crate) connect_timeout: Duration,

    /// How long the whole set-up of a transport may take, its handshake included
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse_positive,
        help_heading = "Time")]
    pub(crate) handshake_timeout: Duration,

    /// How long a transport has to end once it is closed, also when the command is told to stop
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse,
        help_heading = "Time")]
    pub(crate) close_grace: Duration,

    /// How long the last bytes may take to leave when a transport has ended
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse,
        help_heading = "Time")]
    pub(crate) drain_timeout: Duration,

    /// After how long without a byte a peer is asked whether it is still there; never with 0s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse,
        help_heading = "Time")]
    pub(crate) keepalive: Duration,

    /// Memory that one connection's instance of the module may use, in bytes
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = size::parse_memory,
        help_heading = "Limits")]
    pub(crate) memory_limit: u64,

    /// Descriptors that one connection's instance of the module may have
    #[arg(long, value_name = "COUNT", default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(3..=480), help_heading = "Limits")]
    pub(crate) descriptor_limit: u16,
}
