//! `watm dial` and `watm dial-fixed`.

use std::path::PathBuf;

use clap::ArgGroup;

use super::value::{address, count};
use super::{LoadArgs, PolicyArgs, StockArgs, TransportArgs};

/// Connect to a server through a module
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Connect to a server through a module.\n\n\
        With --listen, every plain TCP connection that is accepted there is dialled through the \
        module, and bytes are copied both ways until both directions have ended.\n\n\
        Without --listen, standard input and output are the connection, as with netcat: the end \
        of standard input shuts down writing, and what still arrives is printed. A module \
        without half-close ends the whole transport at the end of either direction, so that the \
        answer may be cut off: see --keep-open.",
    after_help = "\
Examples:
  A local port that leads through the module to server:7000:
    watm dial --module plain.wasm --remote server:7000 --listen 127.0.0.1:8080

  One connection on standard input and output:
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | watm dial --module plain.wasm --remote server:7000 --keep-open

  A module with a configuration file, pinned to its hash:
    watm dial --module xor.wasm --sha256 9f86d0... --config key.txt --remote server:7000

  A module that finds the certificates of authorities where it looks for them:
    watm dial --module tls.wasm --file ca.pem:/etc/ssl/certs/ca.pem --remote server:443"
)]
pub(crate) struct DialArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    /// The server to dial, HOST:PORT or [IPV6]:PORT; of several addresses the first that answers
    #[arg(long, value_name = "HOST:PORT", value_parser = address::parse)]
    pub(crate) remote: String,

    #[command(flatten)]
    pub(crate) accept: AcceptArgs,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Connect to a server that the module chooses
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Connect to a server that the module chooses, as far as the address policy \
        allows it.\n\n\
        Otherwise this is like `watm dial`: with --listen, every plain TCP connection that is \
        accepted there is carried; without, standard input and output are the connection.",
    after_help = "\
Examples:
  watm dial-fixed --module fixed.wasm --config servers.txt --allow example.com:443
  watm dial-fixed --module fixed.wasm --listen 127.0.0.1:8080 --allow '*:443' --deny 10.0.0.0/8
  watm dial-fixed --module fixed.wasm --allow-all --deny 127.0.0.0/8 --deny ::1",
    // Without either, the module can reach nothing.
    group(ArgGroup::new("reachable").args(["allow", "allow_all"]).required(true).multiple(true))
)]
pub(crate) struct DialFixedArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    #[command(flatten)]
    pub(crate) accept: AcceptArgs,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Where plain connections come from, for the commands that dial.
#[derive(Debug, clap::Args)]
pub(crate) struct AcceptArgs {
    /// Accept plain TCP connections here and dial for each (repeatable): HOST:PORT, [IPV6]:PORT, or
    /// :PORT for all addresses of this machine; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", value_parser = address::parse_listen)]
    pub(crate) listen: Vec<String>,

    /// With --listen: the most connections that are carried at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 2048, requires = "listen",
        value_parser = count())]
    pub(crate) max_connections: u32,

    /// Without --listen: the end of standard input does not shut down writing
    ///
    /// For modules without half-close, which would end the transport before the answer came.
    #[arg(long, conflicts_with = "listen")]
    pub(crate) keep_open: bool,

    /// With --listen: print no `listening` lines
    #[arg(short, long, requires = "listen")]
    pub(crate) quiet: bool,
}
