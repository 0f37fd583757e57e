//! What tor tells a pluggable transport, in environment variables (pt-spec, section 3.2).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use watm_wasmer::UpstreamProxy;

use crate::plugin_options::{self, Pair};

/// The version of the protocol that this program speaks.
const VERSION: &str = "1";

/// What a transport is asked to be.
#[derive(Debug)]
pub(super) struct Environment {
    /// Where it may keep files.
    pub(super) state: PathBuf,
    /// Whether it ends with its standard input.
    pub(super) ends_with_stdin: bool,
    pub(super) bind_addresses: Vec<IpAddr>,
    pub(super) side: Side,
}

#[derive(Debug)]
pub(super) enum Side {
    Client(ClientSide),
    Server(ServerSide),
}

#[derive(Debug)]
pub(super) struct ClientSide {
    pub(super) transports: Vec<String>,
    /// The proxy to connect through, or why it cannot be used.
    pub(super) proxy: Option<Result<UpstreamProxy, String>>,
}

#[derive(Debug)]
pub(super) struct ServerSide {
    /// What is asked for, and where it is to listen.
    pub(super) transports: Vec<(String, Option<SocketAddr>)>,
    /// The options of each transport.
    pub(super) options: BTreeMap<String, Vec<Pair>>,
    pub(super) or_port: Option<SocketAddr>,
    /// The extended port, and the file with its cookie.
    pub(super) extended: Option<(SocketAddr, PathBuf)>,
}

/// Why there is no environment to work in: a line of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// `VERSION-ERROR no-version`
    Version,
    /// `ENV-ERROR` and a text.
    Environment(String),
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable::Environment(message.into()))
}

impl Environment {
    pub(super) fn read() -> Result<Self, Unusable> {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unusable> {
        let required = |name: &str| {
            variable(name).ok_or_else(|| Unusable::Environment(format!("{name} is not set")))
        };
        let versions = required("TOR_PT_MANAGED_TRANSPORT_VER")?;
        if !versions.split(',').any(|version| version == VERSION) {
            return Err(Unusable::Version);
        }
        let state = PathBuf::from(required("TOR_PT_STATE_LOCATION")?);
        if !state.is_absolute() {
            return refuse("TOR_PT_STATE_LOCATION is not an absolute path");
        }
        let client = variable("TOR_PT_CLIENT_TRANSPORTS");
        let server = variable("TOR_PT_SERVER_TRANSPORTS");
        let side = match (client, server) {
            (Some(_), Some(_)) => {
                return refuse(
                    "both TOR_PT_CLIENT_TRANSPORTS and TOR_PT_SERVER_TRANSPORTS are set",
                );
            }
            (None, None) => {
                return refuse(
                    "neither TOR_PT_CLIENT_TRANSPORTS nor TOR_PT_SERVER_TRANSPORTS is set",
                );
            }
            (Some(names), None) => Side::Client(ClientSide {
                transports: list(&names),
                proxy: variable("TOR_PT_PROXY").map(|proxy| {
                    let parsed = proxy.parse::<UpstreamProxy>();
                    parsed.map_err(|error| error.to_string())
                }),
            }),
            (None, Some(names)) => Side::Server(server_side(&variable, &names)?),
        };
        Ok(Self {
            state,
            ends_with_stdin: variable("TOR_PT_EXIT_ON_STDIN_CLOSE").as_deref() == Some("1"),
            bind_addresses: bind_addresses(&variable)?,
            side,
        })
    }
}

fn list(names: &str) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for name in names.split(',') {
        if !name.is_empty() && !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }
    list
}

fn bind_addresses(variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<IpAddr>, Unusable> {
    let mut addresses = Vec::new();
    if let Some(text) = variable("TOR_PT_OUTBOUND_BIND_ADDRESS_V4") {
        match text.parse::<Ipv4Addr>() {
            Ok(ip) => addresses.push(ip.into()),
            Err(_) => return refuse("TOR_PT_OUTBOUND_BIND_ADDRESS_V4 is not an IPv4 address"),
        }
    }
    if let Some(text) = variable("TOR_PT_OUTBOUND_BIND_ADDRESS_V6") {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        match bare.unwrap_or(&text).parse::<Ipv6Addr>() {
            Ok(ip) => addresses.push(ip.into()),
            Err(_) => return refuse("TOR_PT_OUTBOUND_BIND_ADDRESS_V6 is not an IPv6 address"),
        }
    }
    Ok(addresses)
}

fn server_side(
    variable: &impl Fn(&str) -> Option<String>,
    names: &str,
) -> Result<ServerSide, Unusable> {
    let mut bound = BTreeMap::new();
    for part in list(&variable("TOR_PT_SERVER_BINDADDR").unwrap_or_default()) {
        let parsed = part.split_once('-').and_then(|(name, address)| {
            Some((name.to_owned(), address.parse::<SocketAddr>().ok()?))
        });
        let Some((name, address)) = parsed else {
            return refuse("TOR_PT_SERVER_BINDADDR is not a list of NAME-ADDRESS:PORT");
        };
        bound.insert(name, address);
    }
    let port = |name: &str| match variable(name) {
        None => Ok(None),
        Some(text) => match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Some(address)),
            Err(_) => refuse(format!("{name} is not ADDRESS:PORT")),
        },
    };
    let or_port = port("TOR_PT_ORPORT")?;
    let extended = match (
        port("TOR_PT_EXTENDED_SERVER_PORT")?,
        variable("TOR_PT_AUTH_COOKIE_FILE"),
    ) {
        (Some(address), Some(file)) => Some((address, PathBuf::from(file))),
        (Some(_), None) if or_port.is_none() => {
            return refuse("TOR_PT_EXTENDED_SERVER_PORT is set without TOR_PT_AUTH_COOKIE_FILE");
        }
        _ => None,
    };
    if or_port.is_none() && extended.is_none() {
        return refuse("neither TOR_PT_ORPORT nor TOR_PT_EXTENDED_SERVER_PORT is set");
    }
    let transports = list(names).into_iter().map(|name| {
        let address = bound.get(&name).copied();
        (name, address)
    });
    Ok(ServerSide {
        transports: transports.collect(),
        options: options(&variable("TOR_PT_SERVER_TRANSPORT_OPTIONS").unwrap_or_default())?,
        or_port,
        extended,
    })
}

/// Splits `NAME:KEY=VALUE;NAME:KEY=VALUE` by names.
fn options(text: &str) -> Result<BTreeMap<String, Vec<Pair>>, Unusable> {
    let malformed = "TOR_PT_SERVER_TRANSPORT_OPTIONS is not a list of NAME:KEY=VALUE";
    let mut options: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    let Ok(pairs) = plugin_options::parse(text) else {
        return refuse(malformed);
    };
    for (key, value) in pairs {
        match (key.split_once(':'), value) {
            (Some((name, key)), Some(value)) if !key.is_empty() => {
                let of_name = options.entry(name.to_owned()).or_default();
                of_name.push((key.to_owned(), Some(value)));
            }
            _ => return refuse(malformed),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Environment, Unusable> {
        let common = [
            ("TOR_PT_MANAGED_TRANSPORT_VER", "1,2"),
            ("TOR_PT_STATE_LOCATION", "/state"),
        ];
        let all = [&common[..], variables].concat();
        // The last of a name counts.
        Environment::of(|name| {
            let found = all.iter().rev().find(|(known, _)| *known == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .filter(|value| !value.is_empty())
        })
    }

    #[test]
    fn a_client_gets_its_transports_and_a_proxy() {
        let environment = of(&[
            ("TOR_PT_CLIENT_TRANSPORTS", "a,b,a"),
            ("TOR_PT_PROXY", "socks5://me:pw@127.0.0.1:9000"),
            ("TOR_PT_EXIT_ON_STDIN_CLOSE", "1"),
            ("TOR_PT_OUTBOUND_BIND_ADDRESS_V6", "[2001:db8::4]"),
        ])
        .expect("a client");
        assert!(environment.ends_with_stdin);
        let ip: IpAddr = "2001:db8::4".parse().expect("an address");
        assert_eq!(environment.bind_addresses, [ip]);
        let Side::Client(client) = environment.side else {
            panic!("a server");
        };
        assert_eq!(client.transports, ["a", "b"]);
        let proxy = client.proxy.expect("one").expect("one that is known");
        assert_eq!(proxy.to_string(), "socks5://127.0.0.1:9000");
        let environment = of(&[
            ("TOR_PT_CLIENT_TRANSPORTS", "a"),
            ("TOR_PT_PROXY", "socks4a://127.0.0.1:9000"),
        ]);
        let Side::Client(client) = environment.expect("a client").side else {
            panic!("a server");
        };
        client.proxy.expect("one").expect_err("it is not known");
    }

    #[test]
    fn a_server_gets_addresses_and_options_by_name() {
        let environment = of(&[
            ("TOR_PT_SERVER_TRANSPORTS", "a,b"),
            ("TOR_PT_SERVER_BINDADDR", "a-127.0.0.1:1984,b-[::1]:4891"),
            ("TOR_PT_SERVER_TRANSPORT_OPTIONS", r"a:k=v\;w;b:x=;a:k=2"),
            ("TOR_PT_ORPORT", "127.0.0.1:9001"),
            ("TOR_PT_EXTENDED_SERVER_PORT", "127.0.0.1:9002"),
            ("TOR_PT_AUTH_COOKIE_FILE", "/cookie"),
        ]);
        let Side::Server(server) = environment.expect("a server").side else {
            panic!("a client");
        };
        let addresses: Vec<_> = server
            .transports
            .iter()
            .map(|(_, at)| at.expect("one").port())
            .collect();
        assert_eq!(addresses, [1984, 4891]);
        let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(server.options["a"], [pair("k", "v;w"), pair("k", "2")]);
        assert_eq!(server.options["b"], [pair("x", "")]);
        assert_eq!(server.extended.expect("one").1, PathBuf::from("/cookie"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let server = ("TOR_PT_SERVER_TRANSPORTS", "a");
        let or_port = ("TOR_PT_ORPORT", "127.0.0.1:9001");
        for (variables, part) in [
            (&[][..], "neither TOR_PT_CLIENT_TRANSPORTS"),
            (&[server, ("TOR_PT_CLIENT_TRANSPORTS", "a")], "both"),
            (
                &[("TOR_PT_STATE_LOCATION", ""), server, or_port],
                "TOR_PT_STATE_LOCATION",
            ),
            (
                &[("TOR_PT_STATE_LOCATION", "state"), server, or_port],
                "absolute",
            ),
            (
                &[("TOR_PT_MANAGED_TRANSPORT_VER", ""), server],
                "TOR_PT_MANAGED_TRANSPORT_VER",
            ),
            (&[server], "TOR_PT_ORPORT"),
            (&[server, ("TOR_PT_ORPORT", "9001")], "TOR_PT_ORPORT"),
            (
                &[server, or_port, ("TOR_PT_SERVER_BINDADDR", "a:1")],
                "BINDADDR",
            ),
            (
                &[server, or_port, ("TOR_PT_SERVER_TRANSPORT_OPTIONS", "k=v")],
                "OPTIONS",
            ),
            (
                &[server, ("TOR_PT_EXTENDED_SERVER_PORT", "127.0.0.1:1")],
                "COOKIE",
            ),
        ] {
            match of(variables) {
                Err(Unusable::Environment(message)) => assert!(message.contains(part), "{message}"),
                other => panic!("{variables:?}: {other:?}"),
            }
        }
        let version = of(&[("TOR_PT_MANAGED_TRANSPORT_VER", "2,3"), server, or_port]);
        assert_eq!(version.expect_err("not ours"), Unusable::Version);
    }
}
