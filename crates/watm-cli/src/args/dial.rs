//! `watm dial` and `watm dial-fixed`.

use std::path::PathBuf;

use clap::ArgGroup;
use watm_wasmer::{Address, ListenAddress};

use super::value::count;
use super::{ConfigFileArgs, PolicyArgs, RunArgs};

/// Connect to a server through a module
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Connects to a server through a module.\n\n\
        With --listen, the command accepts plain TCP connections and dials the server through the \
        module for each of them. With --socks, it is a proxy for them. It copies bytes both ways until both directions have ended.\n\n\
        Without --listen, standard input and output are the connection, as with netcat. The end \
        of standard input shuts down writing, and the command prints what still arrives. A module \
        without half-close ends the whole transport when either direction ends. This can cut the \
        answer short: see --keep-open.",
    after_help = "\
Examples:
  Open a local port that leads through the module to server:7000:
    watm dial --module plain.wasm --remote server:7000 --listen 127.0.0.1:8080

  Be a SOCKS and HTTP proxy for a browser, whose traffic a Shadowsocks server passes on:
    watm dial --module shadowsocks.wasm --config key.txt --remote server:8388 --socks 127.0.0.1:1080

  Use standard input and output as the connection:
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | watm dial --module plain.wasm --remote server:7000 --keep-open

  Pin a module to its hash and give it a configuration file:
    watm dial --module xor.wasm --sha256 9f86d0... --config key.txt --remote server:7000

  Pad what a second module then encrypts:
    watm dial --module padding.wasm --config '' --module xor.wasm --config key.txt --remote server:7000

  Give a module the CA certificates where it looks for them:
    watm dial --module tls.wasm --file ca.pem:/etc/ssl/certs/ca.pem --remote server:443

  Take everything from a file, but listen elsewhere:
    watm dial --config-file watm.toml --listen 127.0.0.1:0",
    group(ArgGroup::new("accepting").args(["listen", "socks", "config_file"]).multiple(true))
)]
pub(crate) struct DialArgs {
    /// The module file. Several are a chain (repeatable)
    ///
    /// Bytes that leave pass the first module first; the last is next to the network. Each takes its
    /// own --config, in the same order, if there is any; an empty one ('') is none.
    #[arg(long, value_name = "FILE", required_unless_present = "config_file")]
    pub(crate) module: Vec<PathBuf>,

    /// Server to dial, as HOST:PORT, [IPV6]:PORT or unix:/PATH
    ///
    /// If a name has several addresses, the first that answers is used. With --socks, the address
    /// that a client asks for goes to the server in front of the bytes of the client, as Shadowsocks
    /// servers and `watm listen --open-proxy` read it.
    #[arg(
        long,
        value_name = "HOST:PORT",
        required_unless_present_any = ["config_file", "socks"]
    )]
    pub(crate) remote: Option<Address>,

    #[command(flatten)]
    pub(crate) accept: AcceptArgs,

    #[command(flatten)]
    pub(crate) source: ConfigFileArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Connect to a server that the module chooses
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Connects to a server that the module chooses, within the address policy.\n\n\
        Otherwise this command works like `watm dial`. With --listen, it accepts plain TCP \
        connections and dials for each of them. Without --listen, standard input and output are \
        the connection.",
    after_help = "\
Examples:
  watm dial-fixed --module fixed.wasm --config servers.txt --allow example.com:443
  watm dial-fixed --module fixed.wasm --listen 127.0.0.1:8080 --allow '*:443' --deny 10.0.0.0/8
  watm dial-fixed --module fixed.wasm --allow-all --deny 127.0.0.0/8 --deny ::1",
    // Without one of them, the module cannot reach any address.
    group(ArgGroup::new("reachable").args(["allow", "allow_all", "config_file"]).required(true)
        .multiple(true)),
    group(ArgGroup::new("accepting").args(["listen", "socks", "config_file"]).multiple(true))
)]
pub(crate) struct DialFixedArgs {
    /// The module file. Several are a chain (repeatable)
    ///
    /// Bytes that leave pass the first module first; the last is next to the network. Each takes its
    /// own --config, in the same order, if there is any; an empty one ('') is none.
    #[arg(long, value_name = "FILE", required_unless_present = "config_file")]
    pub(crate) module: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) accept: AcceptArgs,

    #[command(flatten)]
    pub(crate) source: ConfigFileArgs,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Where the commands that dial get plain connections from.
#[derive(Debug, clap::Args)]
pub(crate) struct AcceptArgs {
    /// Address to accept plain TCP connections on, dialling for each one (repeatable)
    ///
    /// ADDR is HOST:PORT, [IPV6]:PORT, or :PORT for all addresses of this machine. Port 0 lets the
    /// system choose. Or it is unix:/PATH, unix:@NAME, or fd:NUMBER or fd:NAME for a socket that
    /// systemd passes on.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<ListenAddress>,

    /// Address to be a proxy on: SOCKS5, SOCKS4a and HTTP CONNECT (repeatable)
    ///
    /// ADDR is as with --listen. Whoever can connect can use the proxy: choose an address of this
    /// machine, such as 127.0.0.1:1080, or see --socks-auth.
    #[arg(long, value_name = "ADDR", conflicts_with = "listen")]
    pub(crate) socks: Vec<ListenAddress>,

    /// File with the USER:PASSWORD that the proxy demands, in its first line (with --socks)
    #[arg(long, value_name = "FILE", requires = "socks")]
    pub(crate) socks_auth: Option<PathBuf>,

    /// Expect a PROXY protocol header, v1 or v2, in front of each connection that is accepted
    ///
    /// It names the client. Let only your balancer connect: it is believed.
    #[arg(long, requires = "accepting")]
    pub(crate) proxy_protocol: bool,

    /// Maximum number of concurrent connections (with --listen)
    #[arg(long, value_name = "COUNT", default_value_t = 4096, requires = "accepting",
        value_parser = count())]
    pub(crate) max_connections: u32,

    /// Do not shut down writing when standard input ends (without --listen)
    ///
    /// Use this for modules without half-close. They would end the transport before the answer
    /// arrives.
    #[arg(long, conflicts_with_all = ["listen", "socks"])]
    pub(crate) keep_open: bool,

    /// Do not print `listening` lines (with --listen)
    #[arg(short, long, requires = "accepting")]
    pub(crate) quiet: bool,
}

impl AcceptArgs {
    /// Whether standard input and output are the connection, unless a file says otherwise.
    pub(crate) fn is_stdio(&self) -> bool {
        self.listen.is_empty() && self.socks.is_empty()
    }
}
