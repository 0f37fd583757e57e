//! The policy for the addresses that a module may choose.
//!
//! It never checks the application's own addresses. It applies to `water_dial`, where the module
//! names the remote.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::net::address::{Inseparable, Network, Parts, parts, port_number, quoted, zoned};
use crate::net::forms;
use crate::net::nat64::Nat64Prefix;

/// Which remote addresses a module may dial on its own account.
///
/// The default denies everything. Entries that deny take precedence over entries that allow, and
/// the default applies to whatever no entry names.
///
/// A host name is resolved only if an entry for names could allow it. An entry for a block is no
/// reason to resolve a name: a lookup sends the name to others, and a module could put anything
/// into it. After the lookup, each resolved address is checked, so a name cannot smuggle in a
/// denied address. Only addresses that pass are dialled.
///
/// ```
/// use watm_wasmer::AddressPolicy;
///
/// let policy = AddressPolicy::deny_all()
///     .allow("example.com:443".parse()?)
///     .allow("10.0.0.0/8".parse()?)
///     .deny("10.1.2.3".parse()?);
/// # Ok::<(), watm_wasmer::AddressEntryError>(())
/// ```
///
/// # What an address counts as
///
/// An address may lead to an address other than the one written:
///
/// | address | leads to |
/// | --- | --- |
/// | mapped into IPv6, `::ffff:10.0.0.1` | that IPv4 address |
/// | unspecified, `0.0.0.0` or `::` | the loopback address, `127.0.0.1` or `::1` |
/// | of NAT64, in `64:ff9b::/96` or [another prefix](Self::nat64_prefix) | the IPv4 address in it |
/// | of 6to4, in `2002::/16` | the IPv4 address in it |
/// | of Teredo, in `2001::/32` | the IPv4 addresses of its server and of its client |
///
/// An entry that **denies** a block matches both the address as written and what it leads to.
/// `127.0.0.0/8` denies `::ffff:127.0.0.1`, `64:ff9b::127.0.0.1` and `0.0.0.0`; `0.0.0.0/8` denies
/// `0.0.0.0` as well. An entry that denies a network matches a mapped address both as IPv4 and as
/// IPv6.
///
/// An entry that **allows** a block matches if the block holds everything that the address leads
/// to. `10.0.0.0/8` allows `64:ff9b::10.0.0.1`. `::/0` does not, because it holds no IPv4 address.
/// Two kinds of entries allow addresses as they are written: a block within one of the prefixes
/// above, such as `2002:a00::/24`, and `0.0.0.0` or `::` alone. An entry that allows a network
/// matches a mapped address as IPv4.
///
/// Names and `*` allow whatever address the host has. [`AddressPolicy::allow_all`] allows any
/// address.
///
/// The zone of an IPv6 address (`%eth0`) does not count: an entry has no zone and applies to an
/// address in every zone. A link-local address is denied and allowed like any other, by an entry
/// such as `fe80::/10`.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Vec<AddressEntry>,
    deny: Vec<AddressEntry>,
    allow_others: bool,
    nat64: Vec<Nat64Prefix>,
}

impl AddressPolicy {
    /// Denies whatever no entry allows. This is the default.
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// Allows whatever no entry denies, including the host's own network.
    pub fn allow_all() -> Self {
        Self {
            allow_others: true,
            ..Self::default()
        }
    }

    /// Adds an entry that allows.
    pub fn allow(mut self, entry: AddressEntry) -> Self {
        self.allow.push(entry);
        self
    }

    /// Adds an entry that denies, regardless of what other entries allow.
    pub fn deny(mut self, entry: AddressEntry) -> Self {
        self.deny.push(entry);
        self
    }

    /// Adds a NAT64 prefix, in addition to `64:ff9b::/96`. Its addresses count as the IPv4
    /// addresses that they carry. This applies to all entries, whether they were added before or
    /// after.
    ///
    /// Set this if the host's network has a translator with a prefix of its own, such as one in
    /// `64:ff9b:1::/48`.
    pub fn nat64_prefix(mut self, prefix: Nat64Prefix) -> Self {
        self.nat64.push(prefix);
        self
    }

    /// Whether any address that `host` could stand for may be dialled. This is checked before a
    /// name is resolved, so that a module cannot send out names that are none of its business.
    pub(crate) fn could_permit(&self, network: Network, host: &str, port: u16) -> bool {
        if let Some(ip) = literal(host) {
            return self.permits(host, SocketAddr::new(ip, port));
        }
        if self.deny.iter().any(|entry| entry.denies_name(host, port)) {
            return false;
        }
        self.allow_others
            || self
                .allow
                .iter()
                .any(|entry| entry.could_allow(network, host, port))
    }

    /// Whether `host` may be dialled at `address`, to which it was resolved.
    pub fn permits(&self, host: &str, address: SocketAddr) -> bool {
        let denies = |entry: &AddressEntry| entry.denies(host, address, &self.nat64);
        if self.deny.iter().any(denies) {
            return false;
        }
        let allows = |entry: &AddressEntry| entry.allows(host, address, &self.nat64);
        self.allow_others || self.allow.iter().any(allows)
    }
}

/// The IP address that a host is written as, with or without a zone; `None` if the host is a name.
fn literal(host: &str) -> Option<IpAddr> {
    match zoned(host) {
        Some((ip, _)) => Some(ip.into()),
        None => host.parse().ok(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(String),
    /// `*.example.com`: any name below that name.
    Below(String),
    /// Never an IPv6 block within the mapped addresses: such a block is stored as IPv4.
    Net(IpNet),
}

/// One entry of an [`AddressPolicy`], written `[NETWORK://]HOST[:PORT]`.
///
/// `NETWORK` is `tcp`, `tcp4` or `tcp6`. `HOST` is a name, `*.` and a name (any name below it), `*`
/// (any host), an IP address, or a CIDR block such as `10.0.0.0/8` or `2001:db8::/32`. An IPv6
/// address or block with a port is enclosed in brackets: `[2001:db8::/32]:443`. `PORT` is a number
/// from 1 to 65535. Without a port, the entry applies to all ports.
///
/// Addresses and blocks within `::ffff:0:0/96` are the IPv4 ones that they stand for:
/// `::ffff:127.0.0.0/104` is `127.0.0.0/8`. [`AddressPolicy`] describes what an address counts as
/// when it is compared with an entry.
///
/// # Errors
///
/// Parsing fails with [`AddressEntryError`] if the text is malformed, or if the entry could never
/// match: a block or an address whose family is not that of the network, an address with a zone
/// (`fe80::1%eth0`), a name that ends in a number (`127.1`, `2130706433`, `10.0.0`), a name with
/// more than 253 characters in all or more than 63 between two dots, or port 0.
///
/// ```
/// use watm_wasmer::{AddressEntry, AddressPolicy};
///
/// let entries = ["*.example.com:443", "tcp4://192.0.2.0/24", "[2001:db8::/32]:443"];
/// let mut policy = AddressPolicy::deny_all();
/// for entry in entries {
///     policy = policy.allow(entry.parse::<AddressEntry>()?);
/// }
/// assert!(policy.permits("a.example.com", "198.51.100.7:443".parse()?));
/// assert!(policy.permits("192.0.2.1", "192.0.2.1:80".parse()?));
/// assert!(!policy.permits("2001:db8::1", "[2001:db8::1]:80".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    network: Option<Network>,
    host: HostPattern,
    port: Option<u16>,
}

impl AddressEntry {
    /// Whether the entry could allow an address to which the name `host` is resolved. A block
    /// cannot: a lookup sends the name out, and a module could put anything into a name.
    fn could_allow(&self, network: Network, host: &str, port: u16) -> bool {
        let network_matches = !matches!(
            (self.network, network),
            (Some(Network::Tcp4), Network::Tcp6) | (Some(Network::Tcp6), Network::Tcp4)
        );
        network_matches && self.matches_name(host) && self.matches_port(port)
    }

    /// Whether the entry denies the name `host`, whatever the name stands for.
    fn denies_name(&self, host: &str, port: u16) -> bool {
        matches!(self.network, None | Some(Network::Tcp))
            && self.matches_name(host)
            && self.matches_port(port)
    }

    fn matches_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    fn matches_name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match &self.host {
            HostPattern::Any => true,
            // The zone of an address, after the `%`, may look like the end of a name.
            _ if host.contains(':') => false,
            HostPattern::Name(name) => host.eq_ignore_ascii_case(name),
            HostPattern::Below(parent) => {
                let host = host.to_ascii_lowercase();
                host.strip_suffix(parent.as_str())
                    .is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            HostPattern::Net(_) => false,
        }
    }

    fn denies(&self, host: &str, address: SocketAddr, nat64: &[Nat64Prefix]) -> bool {
        let ip = address.ip();
        let network = self.network.unwrap_or_default();
        let network_matches = network.admits(ip) || network.admits(ip.to_canonical());
        let host_matches = match &self.host {
            HostPattern::Net(net) => forms::forms(ip, nat64).any(|form| net.contains(&form)),
            _ => self.matches_name(host),
        };
        network_matches && host_matches && self.matches_port(address.port())
    }

    fn allows(&self, host: &str, address: SocketAddr, nat64: &[Nat64Prefix]) -> bool {
        let ip = address.ip();
        let network = self.network.unwrap_or_default();
        let host_matches = match &self.host {
            HostPattern::Net(net) => allows_all_ends(net, ip, nat64),
            _ => self.matches_name(host),
        };
        network.admits(ip.to_canonical()) && host_matches && self.matches_port(address.port())
    }
}

/// Whether a block allows everything that an address leads to.
fn allows_all_ends(net: &IpNet, ip: IpAddr, nat64: &[Nat64Prefix]) -> bool {
    if let IpNet::V6(block) = *net
        && forms::carries(block, nat64)
    {
        // Whoever writes such a block means the addresses that carry others.
        return net.contains(&ip);
    }
    forms::ends(ip, nat64).all(|end| match forms::loopback(end) {
        // An entry for the unspecified address alone means that address itself; otherwise it could
        // not be allowed at all. A larger block that happens to begin with it does not mean the
        // loopback address.
        Some(loopback) => net.contains(&loopback) || *net == IpNet::from(end),
        None => net.contains(&end),
    })
}

/// Why a string is not an [`AddressEntry`].
///
/// The message quotes at most 200 characters of the text, with control characters escaped.
///
/// ```
/// use watm_wasmer::AddressEntry;
///
/// // It could be meant as 127.0.0.1, and would never match.
/// let error = "127.1".parse::<AddressEntry>().expect_err("it is neither a name nor an address");
/// println!("{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an address entry: {problem}; expected [NETWORK://]HOST[:PORT], \
     for example example.com:443, 10.0.0.0/8 or tcp6://[2001:db8::/32]:443"
)]
pub struct AddressEntryError {
    text: String,
    problem: &'static str,
}

impl FromStr for AddressEntry {
    type Err = AddressEntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |problem| AddressEntryError {
            text: quoted(text),
            problem,
        };
        let (network, rest) = match text.split_once("://") {
            None => (None, text),
            Some((network, rest)) => {
                let network = network
                    .parse()
                    .map_err(|_| error("the network is not tcp, tcp4 or tcp6"))?;
                (Some(network), rest)
            }
        };
        let Parts { host, port, .. } = parts(rest).map_err(|why| {
            error(match why {
                Inseparable::Open => "a bracket is not closed",
                Inseparable::Trailing => "something other than a port follows the bracket",
            })
        })?;
        let port = port.map(parse_port).transpose().map_err(error)?;
        let host = parse_host(host).map_err(error)?;
        match (network, &host) {
            (Some(Network::Tcp4), HostPattern::Net(IpNet::V6(_))) => {
                return Err(error(
                    "tcp4 reaches no IPv6 address: write tcp6:// or no network",
                ));
            }
            (Some(Network::Tcp6), HostPattern::Net(IpNet::V4(_))) => {
                return Err(error(
                    "tcp6 reaches no IPv4 address, and one that is mapped into IPv6 counts as \
                     IPv4: write tcp4:// or no network",
                ));
            }
            _ => {}
        }
        Ok(Self {
            network,
            host,
            port,
        })
    }
}

fn parse_port(port: &str) -> Result<u16, &'static str> {
    match port_number(port) {
        Some(0) => Err("port 0 is never dialled: leave it out for all ports"),
        Some(port) => Ok(port),
        None => Err("the port is not a number from 1 to 65535"),
    }
}

fn parse_host(host: &str) -> Result<HostPattern, &'static str> {
    if host == "*" {
        return Ok(HostPattern::Any);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(HostPattern::Net(ip.to_canonical().into()));
    }
    if host.contains('%') {
        return Err("an entry has no zone, and holds in every zone: leave the % and the rest out");
    }
    if host.contains('/') {
        let net = host.parse::<IpNet>().map_err(
            |_| "the CIDR block is not an address in full and a length, such as 10.0.0.0/8",
        )?;
        return Ok(HostPattern::Net(canonical(net.trunc())));
    }
    parse_name(host)
}

/// A block in canonical form: as IPv4 if all of it is mapped into IPv6.
fn canonical(net: IpNet) -> IpNet {
    if let IpNet::V6(block) = net
        && forms::is_mapped(block)
        && let IpAddr::V4(ip) = net.network().to_canonical()
        && let Ok(block) = Ipv4Net::new(ip, block.prefix_len() - 96)
    {
        return block.into();
    }
    net
}

fn parse_name(host: &str) -> Result<HostPattern, &'static str> {
    const LONGEST_NAME: usize = 253;
    const LONGEST_LABEL: usize = 63;
    let (below, name) = match host.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let valid = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !name.split('.').all(valid) {
        return Err("the host is not a name, an address or a CIDR block");
    }
    if name.split('.').any(|label| label.len() > LONGEST_LABEL) {
        return Err("no name has more than 63 characters between two dots");
    }
    // The shortest name below another has one more character and a dot.
    if name.len() + if below { 2 } else { 0 } > LONGEST_NAME {
        return Err("no name has more than 253 characters");
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(
            "no name ends in a number: an address is written in full, such as 127.0.0.1, \
             and a block with its length, such as 127.0.0.0/8",
        );
    }
    let name = name.to_ascii_lowercase();
    Ok(if below {
        HostPattern::Below(name)
    } else {
        HostPattern::Name(name)
    })
}

/// Whether the system takes a host with this last label for a number: an IPv4 address written in
/// another way, or nothing valid.
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
