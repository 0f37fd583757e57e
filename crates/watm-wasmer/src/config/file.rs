//! The configuration file in TOML, as types: which keys there are, and what they hold.
//!
//! The comments on fields are the descriptions in the schema, `docs/watm-config.schema.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
#[cfg(test)]
use {schemars::JsonSchema, serde::Serialize};

use super::units::{Idle, MemorySize, PositiveTime, Size, Time};
use super::value::{HostPath, KeyOrFile, Name, Parsed, version, whole};
use crate::module::hash::ModuleHash;
use crate::net::address::{Address, ListenAddress};
use crate::net::nat64::Nat64Prefix;
use crate::net::policy::AddressEntry;
use crate::net::proxy::UpstreamProxy;
use crate::roles::front::proxy_header::ProxyProtocol;

/// A configuration file of watm: tunnels through WebAssembly Transport Modules.
#[derive(Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The version of the format: 1, which is the default.
    #[serde(default, deserialize_with = "version")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) version: Option<u64>,
    /// Public keys of minisign, or their files: each module has to be signed by one of them, unless
    /// its table names others. By default, no signature is demanded.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) trusted_keys: Option<Vec<Parsed<KeyOrFile>>>,
    /// Settings of all modules, unless a module has its own. The value of a key is replaced as a
    /// whole.
    #[serde(default)]
    pub(super) defaults: Settings,
    /// The tunnels, each under a line `[[tunnel]]`. There is at least one.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub(super) tunnel: Vec<TunnelTable>,
}

/// A module, the role that it is used in, and the addresses on both sides.
#[derive(Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct TunnelTable {
    /// The name of the tunnel: 1 to 64 characters. Each tunnel has another.
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    pub(super) name: Parsed<Name>,
    /// What the module is used as.
    pub(super) role: RoleName,
    /// The file of the module, or a table with the file and conditions.
    pub(super) module: ModuleKey,
    /// Addresses to listen on, as "HOST:PORT", "[IPV6]:PORT" or ":PORT", which means all addresses
    /// of this machine. Port 0 lets the system choose. Or "unix:/PATH", "unix:@NAME", and "fd:NAME"
    /// for sockets that systemd passes on.
    #[serde(default)]
    pub(super) listen: Vec<Parsed<ListenAddress>>,
    /// Whether a dialer or a fixed dialer is a proxy of SOCKS and HTTP for its plain clients; false
    /// by default. Without `remote`, a client is connected to where it asks; with it, the address
    /// that it asks for goes there in front of its bytes.
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "std::ops::Not::not"))]
    pub(super) socks: bool,
    /// The path of a file with the USER:PASSWORD that this proxy demands, in its first line. None by
    /// default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) socks_auth: Option<Parsed<HostPath>>,
    /// Whether each connection that is accepted begins with a header of the PROXY protocol, which
    /// names the client; false by default.
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "std::ops::Not::not"))]
    pub(super) proxy_protocol: bool,
    /// Where a dialer or a relay connects to, as "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH". A relay
    /// without it connects to where its module says.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) remote: Option<Parsed<Address>>,
    /// The plain server that a listener forwards to, as "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH".
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) forward: Option<Parsed<Address>>,
    /// Whether a listener forwards each client to where it asks, as far as the policy in its settings
    /// allows that; false by default.
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "std::ops::Not::not"))]
    pub(super) open_proxy: bool,
    /// The version of the PROXY protocol by which a listener tells the plain server who the client is:
    /// "v1" or "v2". It tells nothing by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) send_proxy_protocol: Option<Parsed<ProxyProtocol>>,
    /// The settings of this tunnel.
    #[serde(default)]
    pub(super) settings: Settings,
    /// The modules of a chain that stand between this one and the network; the last is next to the
    /// network. There are none by default.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 8)))]
    pub(super) below: Vec<BelowTable>,
}

/// A module of a chain. It has the same role as that of its tunnel, or is a dialer below a relay or
/// a fixed dialer.
#[derive(Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct BelowTable {
    /// The file of the module, or a table with the file and conditions.
    pub(super) module: ModuleKey,
    /// The settings of this module.
    #[serde(default)]
    pub(super) settings: Settings,
}

/// What a module is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(rename_all = "kebab-case")]
pub(super) enum RoleName {
    /// Plain connections go in, and the module's go to `remote`.
    Dialer,
    /// Plain connections go in, and the module's go to where the module says.
    FixedDialer,
    /// The module's connections come in, and plain ones go to `forward`.
    Listener,
    /// Connections come in, and the module's go to `remote`, or to where the module says.
    Relay,
}

/// The file of a module, alone or with conditions.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[cfg_attr(test, serde(untagged))]
pub(super) enum ModuleKey {
    /// The path of the file.
    File(Parsed<HostPath>),
    /// The file and the conditions under which it is loaded.
    Table(ModuleTable),
}

/// The file of a module, and the conditions under which it is loaded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleTable {
    /// The path of the file, relative to the directory of the configuration file.
    pub(super) file: Parsed<HostPath>,
    /// The SHA-256 that the file must have, in hexadecimal digits.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) sha256: Option<Parsed<ModuleHash>>,
    /// Public keys of minisign, or their files: the module has to be signed by one of them.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) trusted_keys: Option<Vec<Parsed<KeyOrFile>>>,
    /// The file of the signature; by default the name of the module with ".minisig" after it.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) signature: Option<Parsed<HostPath>>,
    /// Maximum size of the file, such as "64MiB", which is the default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) max_size: Option<Parsed<Size>>,
    /// Maximum time to compile the module, such as "60s", which is the default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) compile_timeout: Option<Parsed<PositiveTime>>,
}

/// What a module gets, and its limits.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The configuration of the module, which reads it as /conf/watm.cfg: the path of a file of at
    /// most 16 MiB, or a table with the text. There is none by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) config: Option<ConfigKey>,
    /// Arguments of the module, after argument 0, which is its name. None by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) args: Option<Vec<String>>,
    /// Environment variables of the module. None by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) env: Option<BTreeMap<String, String>>,
    /// Directories of the host that the module may use. None by default.
    #[cfg_attr(test, schemars(length(max = 16)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) dirs: Option<Vec<DirectoryTable>>,
    /// Files that the module finds in memory, of 64 MiB together. None by default.
    #[cfg_attr(test, schemars(length(max = 64)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) files: Option<Vec<FileTable>>,
    /// What the standard streams of the module are connected to: "log" (the default), "inherit" or
    /// "null", or a list of those that are the host's own, such as ["stderr"]; the others are
    /// "log".
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) stdio: Option<StdioKey>,
    /// The addresses that the module may choose by itself. None by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) policy: Option<PolicyTable>,
    /// Local addresses of outgoing connections, at most one for each family. The system chooses by
    /// default.
    #[cfg_attr(test, schemars(length(max = 2)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) source_addresses: Option<Vec<Parsed<IpAddr>>>,
    /// The network interface that outgoing connections are bound to, on Linux and Android. None by
    /// default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) interface: Option<String>,
    /// The mark of the packets of outgoing connections, on Linux and Android. None by default.
    #[serde(default, deserialize_with = "whole::<0, 4_294_967_295, _>")]
    #[cfg_attr(test, schemars(range(min = 0, max = 4_294_967_295_u64)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) mark: Option<u64>,
    /// The proxy that outgoing connections are made through, as "socks5://HOST:PORT" or
    /// "http://HOST:PORT". USER:PASSWORD@ may stand before the host, percent-encoded. None by
    /// default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) proxy: Option<Parsed<UpstreamProxy>>,
    /// Maximum time for one outgoing connection; "10s" by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) connect_timeout: Option<Parsed<PositiveTime>>,
    /// Maximum time to set up a transport, including its handshake; "30s" by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) setup_timeout: Option<Parsed<PositiveTime>>,
    /// Time that a transport has to end after a close; "3s" by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) close_grace: Option<Parsed<Time>>,
    /// Maximum time to deliver the last bytes after a transport has ended; "30s" by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) drain_timeout: Option<Parsed<Time>>,
    /// Idle time after which a TCP peer is probed, from "1s" to "9h"; "60s" by default. "0s"
    /// disables the probes.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) keepalive: Option<Parsed<Idle>>,
    /// Maximum memory of an instance of the module, at least "64KiB"; "256MiB" by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) memory_limit: Option<Parsed<MemorySize>>,
    /// Memory that an instance has from the start beyond what the module asks for; "1.5MiB" by
    /// default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) memory_headroom: Option<Parsed<Size>>,
    /// Maximum number of descriptors of an instance, from 3 to 480; 64 by default.
    #[serde(default, deserialize_with = "whole::<3, 480, _>")]
    #[cfg_attr(test, schemars(range(min = 3, max = 480)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) descriptor_limit: Option<u64>,
    /// Maximum number of accepted connections in their handshake; 256 by default.
    #[serde(default, deserialize_with = "whole::<1, 1_000_000, _>")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000_000)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) handshake_limit: Option<u64>,
    /// Maximum number of connections that wait for a program to accept them; 128 by default.
    #[serde(default, deserialize_with = "whole::<1, 1_000_000, _>")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000_000)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) backlog: Option<u64>,
    /// Maximum number of connections at the same time; 4096 by default.
    #[serde(default, deserialize_with = "whole::<1, 1_000_000, _>")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000_000)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) connection_limit: Option<u64>,
    /// Number of instances that are kept ready for new connections, up to 1024; 0 by default. The
    /// default of the command is 4.
    #[serde(default, deserialize_with = "whole::<0, 1024, _>")]
    #[cfg_attr(test, schemars(range(min = 0, max = 1024)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) spare_instances: Option<u64>,
    /// Maximum number of instances per second with which the pool is refilled; 200 by default.
    #[serde(default, deserialize_with = "whole::<1, 1_000_000, _>")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000_000)))]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) spare_refill_rate: Option<u64>,
    /// Whether a module that asks for it may have the host encrypt for it; true by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) host_aead: Option<bool>,
    /// Whether connections measure how long the module and the host work; false by default.
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(super) timing: Option<bool>,
}

/// Calls a macro with the name of each setting.
macro_rules! each_setting {
    ($do:ident) => {
        $do!(
            config,
            args,
            env,
            dirs,
            files,
            stdio,
            policy,
            source_addresses,
            interface,
            mark,
            proxy,
            connect_timeout,
            setup_timeout,
            close_grace,
            drain_timeout,
            keepalive,
            memory_limit,
            memory_headroom,
            descriptor_limit,
            handshake_limit,
            backlog,
            connection_limit,
            spare_instances,
            spare_refill_rate,
            host_aead,
            timing
        )
    };
}

impl Settings {
    /// The keys, in the order of the schema.
    #[cfg(test)]
    pub(super) const KEYS: &'static [&'static str] = {
        macro_rules! names {
            ($($name:ident),*) => { &[$(stringify!($name)),*] };
        }
        each_setting!(names)
    };

    /// Takes from `defaults` what is not set here.
    pub(super) fn or(mut self, defaults: &Self) -> Self {
        macro_rules! take {
            ($($name:ident),*) => {
                $(if self.$name.is_none() { self.$name.clone_from(&defaults.$name); })*
            };
        }
        each_setting!(take);
        self
    }

    /// Leaves a setting out. Returns whether there is a setting with this key.
    pub(super) fn clear(&mut self, key: &str) -> bool {
        macro_rules! clear {
            ($($name:ident),*) => {
                match key {
                    $(stringify!($name) => self.$name = None,)*
                    _ => return false,
                }
            };
        }
        each_setting!(clear);
        true
    }

    /// The keys that are set.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        macro_rules! list {
            ($($name:ident),*) => {
                $(if self.$name.is_some() { keys.push(stringify!($name)); })*
            };
        }
        each_setting!(list);
        keys
    }
}

impl fmt::Debug for Settings {
    /// The keys alone: a configuration or a variable may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settings").field(&self.keys()).finish()
    }
}

/// The configuration of a module: a file, or its text.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[cfg_attr(test, serde(untagged))]
pub(super) enum ConfigKey {
    /// The path of the file.
    File(Parsed<HostPath>),
    /// The text itself.
    Text(TextTable),
}

/// The text of a configuration.
#[derive(Clone, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct TextTable {
    /// The text.
    pub(super) text: String,
}

/// A directory of the host for a module.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryTable {
    /// The directory on the host, relative to the directory of the configuration file.
    pub(super) host: Parsed<HostPath>,
    /// The absolute path at which the module sees it, such as "/data" or "/".
    pub(super) guest: String,
    /// Whether the module may write to it; false by default.
    #[serde(default)]
    pub(super) writable: bool,
}

/// A file for a module, which is read once and kept in memory.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct FileTable {
    /// The file on the host, relative to the directory of the configuration file.
    pub(super) host: Parsed<HostPath>,
    /// The absolute path at which the module sees it, such as "/etc/ssl/certs/ca.pem".
    pub(super) guest: String,
}

/// What the standard streams of a module are connected to.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[cfg_attr(test, serde(untagged))]
pub(super) enum StdioKey {
    /// All of them to the same.
    All(StdioName),
    /// These to the host's own, the others to the log.
    These(Vec<StreamName>),
}

/// What all standard streams are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(rename_all = "kebab-case")]
pub(super) enum StdioName {
    /// Lines of output go to the log, and input is empty.
    Log,
    /// The host's own streams.
    Inherit,
    /// Output is dropped, and input is empty.
    Null,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(rename_all = "kebab-case")]
pub(super) enum StreamName {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The addresses that a module may choose by itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(JsonSchema, Serialize))]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyTable {
    /// Entries that allow, as "[tcp4://|tcp6://]HOST[:PORT]". HOST is a name, "*.NAME", an IP
    /// address, a CIDR block or "*".
    #[serde(default)]
    pub(super) allow: Vec<Parsed<AddressEntry>>,
    /// Entries that deny, whatever others allow.
    #[serde(default)]
    pub(super) deny: Vec<Parsed<AddressEntry>>,
    /// Whether addresses that no entry names are allowed, those of this machine and its network
    /// included; false by default.
    #[serde(default)]
    pub(super) allow_all: bool,
    /// NAT64 prefixes beside 64:ff9b::/96, whose addresses count as the IPv4 addresses in them.
    #[serde(default)]
    pub(super) nat64_prefixes: Vec<Parsed<Nat64Prefix>>,
}

/// Implements reading for an enum: one variant from a text, and the other from a table or a list.
macro_rules! either {
    ($name:ident, $expected:literal, $text:ident,
        |$visited:ident: $access:ident, $method:ident| $other:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;

                impl<'de> Visitor<'de> for Either {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        let text = serde::de::value::StrDeserializer::<E>::new(text);
                        Deserialize::deserialize(text).map($name::$text)
                    }

                    fn $method<A: $access<'de>>(self, $visited: A) -> Result<$name, A::Error> {
                        $other
                    }
                }

                deserializer.deserialize_any(Either)
            }
        }
    };
}

either!(
    ModuleKey,
    "a path in quotes, or a table such as { file = \"plain.wasm\", sha256 = \"..\" }",
    File,
    |map: MapAccess, visit_map| table(map).map(ModuleKey::Table)
);
either!(
    ConfigKey,
    "a path in quotes, or a table such as { text = \"..\" }",
    File,
    |map: MapAccess, visit_map| table(map).map(ConfigKey::Text)
);
either!(
    StdioKey,
    "\"log\", \"inherit\" or \"null\", or a list such as [\"stdout\", \"stderr\"]",
    All,
    |list: SeqAccess, visit_seq| {
        let list = serde::de::value::SeqAccessDeserializer::new(list);
        Deserialize::deserialize(list).map(StdioKey::These)
    }
);

fn table<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: A) -> Result<T, A::Error> {
    T::deserialize(MapAccessDeserializer::new(map))
}

impl ModuleKey {
    /// The file.
    pub(super) fn file(&self) -> &Parsed<HostPath> {
        match self {
            Self::File(file) => file,
            Self::Table(table) => &table.file,
        }
    }
}
