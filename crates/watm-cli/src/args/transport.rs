//! What a transport gets, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use watm_wasmer::UpstreamProxy;

use super::value::{Directory, GivenFile, Variable, duration, size};
use super::{ConfineArgs, LoadArgs, MetricsArgs};

/// Options of the commands that run for long. They follow the options of a command itself, since
/// clap puts whatever comes after them under their headings.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Number of module instances to keep ready for new connections; 0 for none
    ///
    /// A ready instance has already run the module's init. Each takes about as much memory as an
    /// idle connection. No instances are kept ready if standard input and output are the
    /// connection.
    #[arg(long, value_name = "COUNT", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(0..=1024), help_heading = "Limits")]
    pub(crate) spare_instances: u16,

    /// Make the outgoing connections through this proxy: socks5://HOST:PORT or http://HOST:PORT
    ///
    /// USER:PASSWORD@ may stand before the host, percent-encoded. The proxy resolves names, except
    /// those that the module chose, whose addresses have to be allowed.
    #[arg(long, value_name = "URL", help_heading = "Network")]
    pub(crate) proxy: Option<UpstreamProxy>,

    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,

    #[command(flatten)]
    pub(crate) confine: ConfineArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// What every command gives a transport: its environment, its time and its limits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TransportArgs {
    /// Configuration of the module, which reads it as /conf/watm.cfg; at most 16 MiB
    ///
    /// It is given once for each module.
    #[arg(long, value_name = "FILE", help_heading = "Module environment",
        value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) config: Vec<PathBuf>,

    /// Environment variable for the module, as NAME=VALUE (repeatable)
    #[arg(long, value_name = "K=V", help_heading = "Module environment")]
    pub(crate) env: Vec<Variable>,

    /// Command-line argument for the module (repeatable)
    #[arg(
        long,
        value_name = "X",
        allow_hyphen_values = true,
        help_heading = "Module environment"
    )]
    pub(crate) arg: Vec<String>,

    /// Directory for the module, read-only unless :rw is given (repeatable)
    ///
    /// GUEST is the absolute path at which the module sees it. It may be /, even with other
    /// directories below it.
    #[arg(
        long,
        value_name = "HOST:GUEST[:rw]",
        help_heading = "Module environment"
    )]
    pub(crate) dir: Vec<Directory>,

    /// Read-only file for the module (repeatable)
    ///
    /// The file is read once and kept in memory. GUEST is the absolute path at which the module
    /// sees it, such as /etc/ssl/certs/ca.pem. At most 64 files with 64 MiB in total.
    #[arg(long, value_name = "HOST:GUEST", help_heading = "Module environment")]
    pub(crate) file: Vec<GivenFile>,

    /// Give the module the standard streams of this command, instead of logging its output (-v)
    ///
    /// This is not possible if standard input and output are the connection.
    #[arg(long, help_heading = "Module environment")]
    pub(crate) inherit_stdio: bool,

    /// Have a module that would let the host encrypt for it use its own cipher
    ///
    /// That is what it does on other hosts, so that this is for authors of modules. `watm inspect`
    /// shows which modules take the extension `watm_ext_aead_v1`.
    #[arg(long, help_heading = "Module environment")]
    pub(crate) no_host_aead: bool,

    /// Maximum time to establish an outgoing connection (for example 500ms, 3s, 2m, 1h)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse_positive,
        help_heading = "Timeouts")]
    pub(crate) connect_timeout: Duration,

    /// Maximum time to set up a transport, including its handshake
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse_positive,
        help_heading = "Timeouts")]
    pub(crate) setup_timeout: Duration,

    /// Time a transport has to end after it is closed or the command is told to stop
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse,
        help_heading = "Timeouts")]
    pub(crate) close_grace: Duration,

    /// Maximum time to deliver the last bytes after a transport has ended
    ///
    /// A plain client or server that is slow, but takes bytes within this time, has it anew.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse,
        help_heading = "Timeouts")]
    pub(crate) drain_timeout: Duration,

    /// Idle time after which a peer is probed; 0s disables probing
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse,
        help_heading = "Timeouts")]
    pub(crate) keepalive: Duration,

    /// Maximum memory of each module instance, in bytes or with a suffix: K, M, G
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = size::parse_memory,
        help_heading = "Limits")]
    pub(crate) memory_limit: u64,

    /// Memory that each module instance has from the start beyond what it asks for
    #[arg(long, value_name = "BYTES", default_value = "1536K", value_parser = size::parse,
        help_heading = "Limits")]
    pub(crate) memory_headroom: u64,

    /// Maximum number of descriptors of each module instance
    #[arg(long, value_name = "COUNT", default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(3..=480), help_heading = "Limits")]
    pub(crate) descriptor_limit: u16,
}
