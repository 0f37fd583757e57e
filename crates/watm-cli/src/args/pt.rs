//! `watm pt`.

use std::path::PathBuf;
use std::str::FromStr;

use super::{ConfineArgs, LoadArgs, TransportArgs};
use crate::plugin_options::{self, Pair};

/// Be a pluggable transport of Tor, client or server
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Is a pluggable transport of Tor, client or server, version 1 of the protocol.\n\n\
        tor, arti and other programs start it. It reads what they want from environment variables \
        (TOR_PT_*), and its standard output is for them. It ends with its standard input if they \
        say so, or with SIGTERM.\n\n\
        As a client, it is a proxy of SOCKS5, and the module dials the bridge that is asked for. \
        The arguments of a bridge line become the configuration of the module for that connection: \
        members of it if it is a JSON object or if there is none, as texts, and otherwise lines \
        NAME=VALUE at its end. As a server, the module unwraps what comes and tor gets it, over the \
        extended OR port if there is one. ServerTransportOptions become the configuration in the \
        same way.",
    after_help = "\
Examples:
  In the torrc of a client:
    UseBridges 1
    ClientTransportPlugin noise exec /usr/bin/watm pt --transport noise=/usr/share/watm/noise.wasm
    Bridge noise 192.0.2.1:443 FINGERPRINT psk=..

  In the torrc of a bridge:
    BridgeRelay 1
    ORPort 127.0.0.1:auto
    ExtORPort auto
    ServerTransportPlugin noise exec /usr/bin/watm pt --transport noise=/usr/share/watm/noise.wasm
    ServerTransportListenAddr noise 0.0.0.0:443
    ServerTransportOptions noise psk=.."
)]
pub(crate) struct PtArgs {
    /// A transport: its name, its module, and the configuration of that if it has one (repeatable)
    ///
    /// As NAME=MODULE or NAME=MODULE,config=FILE. The name is that in the torrc: letters, digits and
    /// underscores.
    #[arg(
        long,
        value_name = "NAME=MODULE[,config=FILE]",
        required_unless_present = "config_file"
    )]
    pub(crate) transport: Vec<TransportName>,

    /// Configuration file in TOML, whose tunnels are transports
    ///
    /// The name of a tunnel is that of its transport. Dialers are for clients, listeners for servers;
    /// their addresses are not used.
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,

    /// Argument that clients of a server's transport need, as NAME:KEY=VALUE (repeatable)
    ///
    /// tor publishes it with the bridge.
    #[arg(long, value_name = "NAME:KEY=VALUE")]
    pub(crate) server_arg: Vec<ServerArg>,

    /// Log addresses of clients and bridges, which are left out otherwise
    #[arg(long)]
    pub(crate) unsafe_logging: bool,

    #[command(flatten)]
    pub(crate) confine: ConfineArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport_options: TransportArgs,
}

/// A transport, its module, and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransportName {
    pub(crate) name: String,
    pub(crate) module: PathBuf,
    pub(crate) config: Option<PathBuf>,
}

impl FromStr for TransportName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text
            .split_once('=')
            .ok_or("expected NAME=MODULE or NAME=MODULE,config=FILE")?;
        if !is_name(name) {
            return Err("a name has letters, digits and underscores, and begins with no digit");
        }
        let (module, config) = match rest.split_once(",config=") {
            Some((module, config)) => (module, Some(config)),
            None => (rest, None),
        };
        if module.is_empty() || config == Some("") {
            return Err("expected NAME=MODULE or NAME=MODULE,config=FILE");
        }
        Ok(Self {
            name: name.to_owned(),
            module: module.into(),
            config: config.map(PathBuf::from),
        })
    }
}

/// Whether a text is the name of a transport, which has to be one of C.
pub(crate) fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// An argument that clients need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerArg {
    pub(crate) transport: String,
    pub(crate) arg: Pair,
}

impl FromStr for ServerArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = "expected NAME:KEY=VALUE";
        let (transport, rest) = text.split_once(':').ok_or(malformed)?;
        let mut pairs = plugin_options::parse(rest).map_err(|_| malformed)?;
        match (is_name(transport), pairs.pop(), pairs.is_empty()) {
            (true, Some(arg @ (_, Some(_))), true) => Ok(Self {
                transport: transport.to_owned(),
                arg,
            }),
            _ => Err(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_has_a_name_and_a_module() {
        let parsed: TransportName = "a_1=/x/y.wasm,config=/k,1".parse().expect("one");
        assert_eq!(parsed.name, "a_1");
        assert_eq!(parsed.module, PathBuf::from("/x/y.wasm"));
        assert_eq!(parsed.config, Some(PathBuf::from("/k,1")));
        for text in ["", "a", "1a=x", "a-b=x", "a=", "a=x,config=", "=x"] {
            assert!(text.parse::<TransportName>().is_err(), "{text}");
        }
        let arg: ServerArg = r"a:k=v\;w=x".parse().expect("one");
        assert_eq!(arg.arg, ("k".into(), Some("v;w=x".into())));
        for text in ["a:k", "k=v", "a:k=v;l=w", "-:k=v"] {
            assert!(text.parse::<ServerArg>().is_err(), "{text}");
        }
    }
}
