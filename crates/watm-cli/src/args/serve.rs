//! `watm listen` and `watm relay`.

use std::path::PathBuf;

use super::value::{address, count};
use super::{LoadArgs, PolicyArgs, StockArgs, TransportArgs};

/// Connections that a command carries at the same time, unless told otherwise.
const CONNECTIONS: u32 = 4096;

/// Accept connections, unwrap them through a module and forward them
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Accept connections, unwrap them through a module and forward them.\n\n\
        With --forward, what comes out of each connection goes to a plain TCP server, and its \
        answers go back, until both directions have ended.\n\n\
        Without --forward, the first connection whose transport is set up is carried on standard \
        input and output, and the command ends with it.",
    after_help = "\
Examples:
  In front of a web server:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --forward 127.0.0.1:80

  Receive one file:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --quiet > file

  On a port that the system chooses, which the first line of output names:
    watm listen --module plain.wasm --listen 127.0.0.1:0 --forward 127.0.0.1:80

  On all addresses of this machine, IPv4 and IPv6:
    watm listen --module plain.wasm --listen :7000 --forward 127.0.0.1:80"
)]
pub(crate) struct ListenArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// The plain TCP server that gets what comes out, HOST:PORT or [IPV6]:PORT; of several
    /// addresses the first that answers
    #[arg(long, value_name = "HOST:PORT", value_parser = address::parse)]
    pub(crate) forward: Option<String>,

    /// The most connections that are carried at the same time
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS, requires = "forward",
        value_parser = count())]
    pub(crate) max_connections: u32,

    /// Without --forward: the end of standard input does not shut down writing
    ///
    /// For modules without half-close, which would end the transport before the answer came.
    #[arg(long, conflicts_with = "forward")]
    pub(crate) keep_open: bool,
}

/// Accept connections and pass each on through a module to a remote
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Accept connections and pass each on through a module to a remote.\n\n\
        The remote is the one given with --remote, or one that the module chooses as far as \
        the address policy allows it.",
    after_help = "\
Examples:
  watm relay --module plain.wasm --listen 0.0.0.0:7000 --remote server:7000
  watm relay --module chooser.wasm --listen 0.0.0.0:7000 --allow '*.example.com:443'"
)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// The remote to dial, HOST:PORT or [IPV6]:PORT; of several addresses the first that answers
    #[arg(long, value_name = "HOST:PORT", value_parser = address::parse,
        required_unless_present_any = ["allow", "allow_all"])]
    pub(crate) remote: Option<String>,

    /// The most connections that are carried at the same time; more wait in the system's queue
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS, value_parser = count())]
    pub(crate) max_connections: u32,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// What the commands that accept through a module have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    /// Where to listen (repeatable): HOST:PORT, [IPV6]:PORT, or :PORT for all addresses of this
    /// machine; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", required = true, value_parser = address::parse_listen)]
    pub(crate) listen: Vec<String>,

    /// Print no `listening` lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// The most accepted connections whose handshake is in progress; one more drops the oldest
    ///
    /// The time that a relay takes to connect to its remote does not count.
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = count(),
        help_heading = "Limits")]
    pub(crate) handshake_limit: u32,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}
