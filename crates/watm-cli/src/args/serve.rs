//! `watm listen` and `watm relay`.

use std::path::PathBuf;

use clap::ArgGroup;
use watm_wasmer::{Address, ListenAddress, ProxyProtocol};

use super::value::count;
use super::{Args, ConfigFileArgs, PolicyArgs, RunArgs};

/// The default of --max-connections.
const CONNECTIONS: u32 = 4096;

/// Accept connections, unwrap them through a module and forward them
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Accepts connections, unwraps them through a module and forwards them.\n\n\
        With --forward, the command connects to a plain TCP server for each connection. It copies \
        the unwrapped bytes to the server and the answers back, until both directions have \
        ended.\n\n\
        With --open-proxy, each client says where it wants to be connected to.\n\n\
        Without either, standard input and output are the connection: the first one whose \
        transport is set up. The command exits when that connection ends.",
    after_help = "\
Examples:
  Put a module in front of a web server:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --forward 127.0.0.1:80

  Receive a single file:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --quiet > file

  Be the other end of `watm dial --socks --remote`, for the internet but not for this network:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --open-proxy --allow-all \\
      --deny 127.0.0.0/8 --deny ::1 --deny 10.0.0.0/8 --deny 192.168.0.0/16

  Let the system choose a port and read it from the first line of output:
    watm listen --module plain.wasm --listen 127.0.0.1:0 --forward 127.0.0.1:80

  Listen on all addresses of this machine, IPv4 and IPv6:
    watm listen --module plain.wasm --listen :7000 --forward 127.0.0.1:80

  Take everything from one of the tunnels of a file:
    watm listen --config-file watm.toml --tunnel web",
    group(ArgGroup::new("forwarding").args(["forward", "open_proxy", "config_file"]).multiple(true))
)]
pub(crate) struct ListenArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// Plain server to forward to, as HOST:PORT, [IPV6]:PORT or unix:/PATH
    ///
    /// If a name has several addresses, the first that answers is used.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) forward: Option<Address>,

    /// Forward each client to where it asks, within --allow and --deny
    ///
    /// A client sends the address in front of its bytes, in the form of SOCKS5, as clients of
    /// Shadowsocks and `watm dial --socks --remote` do. Nothing is allowed by default. Deny the
    /// addresses of your own network.
    #[arg(long, conflicts_with = "forward")]
    pub(crate) open_proxy: bool,

    /// Tell the server that is forwarded to who the client is, by a PROXY protocol header
    #[arg(long, value_name = "v1|v2", requires = "forwarding")]
    pub(crate) send_proxy_protocol: Option<ProxyProtocol>,

    /// Maximum number of concurrent connections (with --forward)
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS, requires = "forwarding",
        value_parser = count())]
    pub(crate) max_connections: u32,

    /// Do not shut down writing when standard input ends (without --forward)
    ///
    /// Use this for modules without half-close. They would end the transport before the answer
    /// arrives.
    #[arg(long, conflicts_with_all = ["forward", "open_proxy"])]
    pub(crate) keep_open: bool,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Accept connections and relay each one through a module to a remote
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Accepts connections and relays each one through a module to a remote.\n\n\
        The remote is the one given with --remote, or one that the module chooses within the \
        address policy.",
    after_help = "\
Examples:
  watm relay --module plain.wasm --listen 0.0.0.0:7000 --remote server:7000
  watm relay --module chooser.wasm --listen 0.0.0.0:7000 --allow '*.example.com:443'"
)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// Remote to dial, as HOST:PORT, [IPV6]:PORT or unix:/PATH
    ///
    /// If a name has several addresses, the first that answers is used.
    #[arg(long, value_name = "HOST:PORT",
        required_unless_present_any = ["allow", "allow_all", "config_file"])]
    pub(crate) remote: Option<Address>,

    /// Maximum number of concurrent connections; others wait in the system's queue
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS, value_parser = count())]
    pub(crate) max_connections: u32,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Options that `listen` and `relay` share.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The module file. Several are a chain (repeatable)
    ///
    /// Bytes that leave pass the first module first; the last is next to the network. Each takes its
    /// own --config, in the same order, if there is any; an empty one ('') is none.
    #[arg(long, value_name = "FILE", required_unless_present = "config_file")]
    pub(crate) module: Vec<PathBuf>,

    /// Address to listen on (repeatable)
    ///
    /// ADDR is HOST:PORT, [IPV6]:PORT, or :PORT for all addresses of this machine. Port 0 lets the
    /// system choose. Or it is unix:/PATH, unix:@NAME, or fd:NUMBER or fd:NAME for a socket that
    /// systemd passes on.
    #[arg(long, value_name = "ADDR", required_unless_present = "config_file")]
    pub(crate) listen: Vec<ListenAddress>,

    /// Expect a PROXY protocol header, v1 or v2, in front of each connection that is accepted
    ///
    /// It names the client. Let only your balancer connect: it is believed.
    #[arg(long)]
    pub(crate) proxy_protocol: bool,

    /// Do not print `listening` lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) source: ConfigFileArgs,

    /// Maximum number of accepted connections in their handshake; a further one drops the oldest
    ///
    /// While a relay connects to its remote, or --forward to its server, the connection does not
    /// count.
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = count(),
        help_heading = "Limits")]
    pub(crate) handshake_limit: u32,
}

impl ListenArgs {
    /// Rejects what clap cannot express.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        let policy = &self.policy;
        let allows = policy.allow_all || !policy.allow.is_empty();
        let says_something = allows || !policy.deny.is_empty() || !policy.nat64_prefix.is_empty();
        let from_file = self.serve.source.config_file.is_some();
        let message = if self.open_proxy && !allows && !from_file {
            "--open-proxy needs --allow or --allow-all: without them, nobody may go anywhere"
        } else if says_something && !self.open_proxy && !from_file {
            "--allow, --allow-all, --deny and --nat64-prefix need --open-proxy: otherwise, this \
             command chooses all addresses"
        } else {
            return Ok(());
        };
        Err(Args::conflict("listen", message))
    }
}
