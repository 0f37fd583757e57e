//! Which addresses a module may choose.
//!
//! The application's own addresses are never checked: the policy is about `water_dial`, where the
//! module names the remote.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::address::{Network, zoned};
use crate::forms;
use crate::nat64::Nat64Prefix;

/// Which remote addresses a module may dial on its own account.
///
/// The default denies everything. Entries that deny win over entries that allow, and what no
/// entry names falls to the default. A host name is resolved only if an entry for names could allow
/// it: a block does not, since looking a name up sends it out to others, and a module could put
/// anything into it. Then each address that it stands for is checked, so a name cannot smuggle a
/// denied address in; only addresses that passed are dialled.
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
/// An address may lead to another than the one that is written:
///
/// | address | leads to |
/// | --- | --- |
/// | mapped into IPv6, `::ffff:10.0.0.1` | that IPv4 address |
/// | unspecified, `0.0.0.0` or `::` | the loopback address, `127.0.0.1` or `::1` |
/// | of NAT64, in `64:ff9b::/96` or [another prefix](Self::nat64_prefix) | the IPv4 address in it |
/// | of 6to4, in `2002::/16` | the IPv4 address in it |
/// | of Teredo, in `2001::/32` | the IPv4 addresses of its server and of its client |
///
/// An entry that **denies** a block matches what is written and what it leads to: `127.0.0.0/8`
/// denies `::ffff:127.0.0.1`, `64:ff9b::127.0.0.1` and `0.0.0.0`, which `0.0.0.0/8` denies as well.
/// One that denies a network matches a mapped address both as IPv4 and as IPv6.
///
/// An entry that **allows** a block matches if the block holds all that the address leads to:
/// `10.0.0.0/8` allows `64:ff9b::10.0.0.1`; `::/0` does not, since it holds no IPv4 address. Two
/// kinds of entries allow addresses as they are written: a block within one of the prefixes above,
/// such as `2002:a00::/24`, and `0.0.0.0` or `::` alone. One that allows a network matches a mapped
/// address as IPv4.
///
/// Names and `*` allow whatever address the host has, and [`AddressPolicy::allow_all`] any.
///
/// The zone of an IPv6 address (`%eth0`) does not count: an entry has none and holds for an address
/// in every zone. A link-local address is denied and allowed like others, by an entry such as
/// `fe80::/10`.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Vec<AddressEntry>,
    deny: Vec<AddressEntry>,
    allow_others: bool,
    nat64: Vec<Nat64Prefix>,
}

impl AddressPolicy {
    /// Denies what no entry allows. This is the default.
    pub fn deny_all() -> Self {
        Self::default()
    }

    /// Allows what no entry denies, the host's own network included.
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

    /// Adds an entry that denies, whatever the others allow.
    pub fn deny(mut self, entry: AddressEntry) -> Self {
        self.deny.push(entry);
        self
    }

    /// Adds a prefix of NAT64, beside `64:ff9b::/96`: its addresses count as the IPv4 addresses
    /// that they carry, for all entries, whether they were added before or after.
    ///
    /// To be set where the network of the host has a translator with a prefix of its own, such as
    /// one in `64:ff9b:1::/48`.
    pub fn nat64_prefix(mut self, prefix: Nat64Prefix) -> Self {
        self.nat64.push(prefix);
        self
    }

    /// Whether any address that `host` could stand for may be dialled. Asked before a name is
    /// resolved, so that a module cannot send out names that are not its business.
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

    /// Whether `host` may be dialled at `address`, which it was resolved to.
    pub fn permits(&self, host: &str, address: SocketAddr) -> bool {
        let denies = |entry: &AddressEntry| entry.denies(host, address, &self.nat64);
        if self.deny.iter().any(denies) {
            return false;
        }
        let allows = |entry: &AddressEntry| entry.allows(host, address, &self.nat64);
        self.allow_others || self.allow.iter().any(allows)
    }
}

/// The address that a host is, with or without a zone; none if it is a name.
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
    /// `*.example.com`: any name below it.
    Below(String),
    /// Never one of IPv6 that lies within the addresses mapped into it: that is one of IPv4.
    Net(IpNet),
}

/// One entry of an [`AddressPolicy`], written `[NETWORK://]HOST[:PORT]`.
///
/// `NETWORK` is `tcp`, `tcp4` or `tcp6`; `HOST` is a name, `*.` and a name (any name below it),
/// `*` (any host), an IP address, or a CIDR block such as `10.0.0.0/8` or `2001:db8::/32`. An
/// IPv6 address or block with a port stands in brackets: `[2001:db8::/32]:443`. `PORT` is a number
/// from 1 to 65535; without one, all ports are meant.
///
/// Addresses and blocks within `::ffff:0:0/96` are those of IPv4 that they stand for:
/// `::ffff:127.0.0.0/104` is `127.0.0.0/8`. What an address counts as, when it is compared with an
/// entry, is said at [`AddressPolicy`].
///
/// # Errors
///
/// Parsing fails with [`AddressEntryError`] if the text is malformed, and if the entry could not
/// match: a block or an address whose family is not that of the network, an address with a zone
/// (`fe80::1%eth0`), a name that ends in a number (`127.1`, `2130706433`, `10.0.0`), a name of more
/// than 253 characters or with more than 63 between two dots, and port 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    network: Option<Network>,
    host: HostPattern,
    port: Option<u16>,
}

impl AddressEntry {
    /// Whether it could allow an address that the name `host` is resolved to. A block does not: to look a
    /// name up is to send it out, and a name can be made of anything.
    fn could_allow(&self, network: Network, host: &str, port: u16) -> bool {
        let network_matches = !matches!(
            (self.network, network),
            (Some(Network::Tcp4), Network::Tcp6) | (Some(Network::Tcp6), Network::Tcp4)
        );
        network_matches && self.matches_name(host) && self.matches_port(port)
    }

    /// Whether it denies the name `host`, whatever that stands for.
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
            // The zone of an address, behind a `%`, may look like the end of a name.
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
        // The unspecified address alone means itself, or it could not be allowed at all. A larger
        // block that happens to begin with it does not mean the loopback address.
        Some(loopback) => net.contains(&loopback) || *net == IpNet::from(end),
        None => net.contains(&end),
    })
}

/// Why a text is not an [`AddressEntry`].
///
/// The message quotes at most 200 characters of the text, with control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntryError {
    text: String,
    problem: &'static str,
}

impl fmt::Display for AddressEntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not an address entry: {}; expected [NETWORK://]HOST[:PORT], \
             for example example.com:443, 10.0.0.0/8 or tcp6://[2001:db8::/32]:443",
            self.text, self.problem
        )
    }
}

impl std::error::Error for AddressEntryError {}

/// A text as an error quotes it: not all of a long one, and nothing that moves a cursor.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 200;
    let mut quoted = String::new();
    let mut rest = text.chars();
    for c in rest.by_ref().take(MOST) {
        if c.is_control() {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    if rest.next().is_some() {
        quoted.push_str("..");
    }
    quoted
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
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed
                .split_once(']')
                .ok_or_else(|| error("a bracket is not closed"))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(error("something other than a port follows the bracket")),
            }
        } else if rest.matches(':').count() == 1 {
            let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
            (host, Some(port))
        } else {
            (rest, None)
        };
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
    // A number may have a sign, a port may not.
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(0) => Err("port 0 is never dialled: leave it out for all ports"),
        Ok(port) if digits => Ok(port),
        _ => Err("the port is not a number from 1 to 65535"),
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

/// A block, as one of IPv4 if all of it is mapped into IPv6.
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
    // The shortest name below another has a character and a dot more.
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

/// Whether a host with this last label is a number to the system, that is an IPv4 address that is
/// written in some other way, or nothing.
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
mod tests {
    use super::*;

    fn entry(text: &str) -> AddressEntry {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn check(policy: &AddressPolicy, host: &str, address: &str, expected: bool) {
        let address = address.parse().expect("an address");
        assert_eq!(
            policy.permits(host, address),
            expected,
            "{host} at {address}"
        );
    }

    #[test]
    fn nothing_is_permitted_by_default() {
        check(
            &AddressPolicy::default(),
            "127.0.0.1",
            "127.0.0.1:80",
            false,
        );
        check(
            &AddressPolicy::allow_all(),
            "127.0.0.1",
            "127.0.0.1:80",
            true,
        );
    }

    #[test]
    fn entries_match_by_host_address_block_and_port() {
        let policy = AddressPolicy::deny_all()
            .allow(entry("example.com:443"))
            .allow(entry("*.example.org"))
            .allow(entry("10.0.0.0/8:22"))
            .allow(entry("tcp6://[2001:db8::/32]:443"));
        check(&policy, "Example.COM.", "192.0.2.1:443", true);
        check(&policy, "example.com", "192.0.2.1:80", false);
        check(&policy, "a.example.org", "192.0.2.1:1", true);
        check(&policy, "example.org", "192.0.2.1:1", false);
        check(&policy, "badexample.org", "192.0.2.1:1", false);
        check(&policy, "10.9.9.9", "10.9.9.9:22", true);
        check(&policy, "10.9.9.9", "[::ffff:10.9.9.9]:22", true);
        check(&policy, "x", "[2001:db8::1]:443", true);
        check(&policy, "x", "[2001:db9::1]:443", false);
    }

    #[test]
    fn a_denied_address_stays_denied_under_any_name_or_form() {
        let policy = AddressPolicy::allow_all()
            .deny(entry("127.0.0.0/8"))
            .deny(entry("::1"));
        check(&policy, "innocent.example", "127.0.0.1:80", false);
        check(&policy, "2130706433", "127.0.0.1:80", false);
        check(&policy, "mapped", "[::ffff:127.0.0.1]:80", false);
        check(&policy, "localhost", "[::1]:80", false);
        check(&policy, "0.0.0.0", "0.0.0.0:80", false);
        check(&policy, "any", "[::]:80", false);
        check(&policy, "any", "[::ffff:0.0.0.0]:80", false);
        check(&policy, "innocent.example", "192.0.2.1:80", true);
    }

    #[test]
    fn names_that_no_entry_could_allow_are_known_before_they_are_resolved() {
        let policy = AddressPolicy::deny_all().allow(entry("*.example.com:443"));
        assert!(policy.could_permit(Network::Tcp, "a.example.com", 443));
        assert!(!policy.could_permit(Network::Tcp, "a.example.com", 80));
        assert!(!policy.could_permit(Network::Tcp, "secret.elsewhere.example", 443));
        let policy = AddressPolicy::deny_all().allow(entry("tcp4://10.0.0.0/8"));
        assert!(policy.could_permit(Network::Tcp, "10.0.0.1", 1));
        assert!(!policy.could_permit(Network::Tcp, "11.0.0.1", 1));
        // Looking it up would send it out.
        assert!(!policy.could_permit(Network::Tcp, "key-0123.a.name", 1));
        let policy = AddressPolicy::deny_all().allow(entry("tcp4://*"));
        assert!(policy.could_permit(Network::Tcp, "a.name", 1));
        assert!(!policy.could_permit(Network::Tcp6, "a.name", 1));
        assert!(!AddressPolicy::deny_all().could_permit(Network::Tcp, "a.name", 1));
        let policy = AddressPolicy::allow_all()
            .deny(entry("*.secret.example"))
            .deny(entry("other.example:80"));
        assert!(!policy.could_permit(Network::Tcp, "a.secret.example", 1));
        assert!(!policy.could_permit(Network::Tcp, "other.example", 80));
        assert!(policy.could_permit(Network::Tcp, "other.example", 81));
    }

    /// Everything is allowed but `entry`: each address is denied.
    #[track_caller]
    fn check_denied(entry_text: &str, addresses: &[&str]) {
        let policy = AddressPolicy::allow_all()
            .nat64_prefix("2001:db8:64::/48".parse().expect("a prefix"))
            .deny(entry(entry_text));
        for address in addresses {
            check(&policy, "a.name", address, false);
        }
        check(&policy, "a.name", "192.0.2.1:80", true);
        check(&policy, "a.name", "[::ffff:192.0.2.1]:80", true);
        check(&policy, "a.name", "[64:ff9b::192.0.2.1]:80", true);
        check(&policy, "a.name", "[2001:db8::1]:80", true);
    }

    #[test]
    fn an_entry_denies_what_is_written_and_what_it_leads_to() {
        check_denied(
            "0.0.0.0/8",
            &[
                "0.0.0.0:80",
                "0.0.0.1:80",
                "[::ffff:0.0.0.0]:80",
                "[64:ff9b::]:80",
            ],
        );
        check_denied("0.0.0.0", &["0.0.0.0:80", "[::ffff:0.0.0.0]:80"]);
        check_denied("::/128", &["[::]:80"]);
        check_denied("::", &["[::]:80"]);
        check_denied("::1", &["[::1]:80", "[::]:80"]);
        let loopback = [
            "127.0.0.1:80",
            "0.0.0.0:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:0.0.0.0]:80",
            "[64:ff9b::127.0.0.1]:80",
            "[64:ff9b::0.0.0.0]:80",
            "[2001:db8:64:7f00:0:100::]:80",
            "[2001:db8:64:7f00:ff00:1ff:ffff:ffff]:80",
            "[2001:db8:64::]:80",
            "[2002:7f00:1::1]:80",
            "[2002::1]:80",
            "[2001:0:7f00:1:8000:63bf:3fff:fdd2]:80",
            "[2001:0:4136:e378:8000:63bf:80ff:fffe]:80",
            "[2001:0:4136:e378:8000:63bf:ffff:ffff]:80",
        ];
        for text in [
            "127.0.0.0/8",
            "127.0.0.1",
            "::ffff:127.0.0.0/104",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1/128",
            "[::ffff:127.0.0.0/104]:80",
        ] {
            check_denied(text, &loopback);
        }
        // As it is written, whatever it leads to.
        for (text, address) in [
            ("64:ff9b::/97", "[64:ff9b::127.0.0.1]:80"),
            ("2001:db8:64::/48", "[2001:db8:64:a00:1::]:80"),
            ("2002::/16", "[2002:a00:1::1]:80"),
            ("2001::/32", "[2001:0:a00:1::1]:80"),
        ] {
            check_denied(text, &[address]);
        }
        let all = AddressPolicy::allow_all().deny(entry("::ffff:0:0/96"));
        for address in loopback.iter().filter(|address| !address.contains("db8")) {
            check(&all, "a.name", address, false);
        }
        check(&all, "a.name", "[::1]:80", true);
        check(&all, "a.name", "[2001:db8::1]:80", true);
    }

    #[test]
    fn an_entry_allows_only_what_it_leads_to() {
        let policy = |text| {
            AddressPolicy::deny_all()
                .allow(entry(text))
                .nat64_prefix("2001:db8:64::/96".parse().expect("a prefix"))
        };
        let everything = policy("::/0");
        check(&everything, "a.name", "[2001:db8::1]:80", true);
        check(&everything, "a.name", "[::1]:80", true);
        check(&everything, "a.name", "[::]:80", true);
        check(&everything, "a.name", "[64:ff9b:1::127.0.0.1]:80", true);
        for form in [
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::127.0.0.1]:80",
            "[2001:db8:64::127.0.0.1]:80",
            "[2002:7f00:1::1]:80",
            "[2001:0:4136:e378:8000:63bf:80ff:fffe]:80",
        ] {
            check(&everything, "a.name", form, false);
            check(&policy("2000::/3"), "a.name", form, false);
            check(&policy("126.0.0.0/8"), "a.name", form, false);
            check(&policy("0.0.0.0/0"), "a.name", form, true);
            check(&policy("*"), "a.name", form, true);
            check(&AddressPolicy::allow_all(), "a.name", form, true);
        }
        for form in [
            "[::ffff:10.0.0.1]:80",
            "[64:ff9b::10.0.0.1]:80",
            "[2001:db8:64::10.0.0.1]:80",
            "[2002:a00:1::1]:80",
            "[2001:0:a00:1:8000:63bf:f5ff:fffe]:80",
        ] {
            check(&policy("10.0.0.0/8"), "a.name", form, true);
            check(&policy("::ffff:10.0.0.0/104"), "a.name", form, true);
        }
        // The server alone is in the block, or the client alone.
        for form in [
            "[2001:0:a00:1:8000:63bf:3fff:fdd2]:80",
            "[2001:0:4136:e378:8000:63bf:f5ff:fffe]:80",
        ] {
            check(&policy("10.0.0.0/8"), "a.name", form, false);
        }
        // Blocks that nobody writes but for what they carry.
        for (text, form, other) in [
            (
                "64:ff9b::/96",
                "[64:ff9b::10.0.0.1]:80",
                "[2002:a00:1::1]:80",
            ),
            (
                "2001:db8:64::/96",
                "[2001:db8:64::10.0.0.1]:80",
                "10.0.0.1:80",
            ),
            ("2002:a00::/24", "[2002:a00:1::1]:80", "[2002:b00:1::1]:80"),
            ("2001::/32", "[2001:0:a00:1::1]:80", "[2001:1:a00:1::1]:80"),
        ] {
            check(&policy(text), "a.name", form, true);
            check(&policy(text), "a.name", other, false);
        }
        // Without the prefix it is a block like others.
        let unset = AddressPolicy::deny_all().allow(entry("2001:db8::/32"));
        let form = "[2001:db8:64::10.0.0.1]:80";
        check(&unset, "a.name", form, true);
        check(&policy("2001:db8::/32"), "a.name", form, false);
    }

    #[test]
    fn an_unspecified_address_is_allowed_as_the_loopback_address_or_by_itself() {
        let policy = |text| AddressPolicy::deny_all().allow(entry(text));
        check(&policy("127.0.0.1"), "any", "0.0.0.0:80", true);
        check(&policy("127.0.0.1"), "any", "[::]:80", false);
        check(&policy("::1"), "any", "[::]:80", true);
        check(&policy("::1"), "any", "0.0.0.0:80", false);
        check(&policy("0.0.0.0/8"), "any", "0.0.0.0:80", false);
        check(&policy("0.0.0.0/8"), "any", "0.0.0.1:80", true);
        check(&policy("0.0.0.0"), "any", "0.0.0.0:80", true);
        check(&policy("0.0.0.0"), "any", "[::ffff:0.0.0.0]:80", true);
        check(&policy("0.0.0.0"), "any", "127.0.0.1:80", false);
        check(&policy("::"), "any", "[::]:80", true);
        check(&policy("::"), "any", "[::1]:80", false);
    }

    #[test]
    fn a_network_that_denies_matches_a_mapped_address_in_both_forms() {
        for (text, v4, mapped, v6) in [
            ("tcp4://*", false, false, true),
            ("tcp6://*", true, false, false),
            ("tcp://*", false, false, false),
        ] {
            let policy = AddressPolicy::allow_all().deny(entry(text));
            check(&policy, "a.name", "10.0.0.1:80", v4);
            check(&policy, "a.name", "[::ffff:10.0.0.1]:80", mapped);
            check(&policy, "a.name", "[2001:db8::1]:80", v6);
        }
        for (text, v4, mapped, v6) in [
            ("tcp4://*", true, true, false),
            ("tcp6://*", false, false, true),
            ("tcp4://10.0.0.0/8", true, true, false),
            ("tcp4://[::ffff:10.0.0.0/104]", true, true, false),
        ] {
            let policy = AddressPolicy::deny_all().allow(entry(text));
            check(&policy, "a.name", "10.0.0.1:80", v4);
            check(&policy, "a.name", "[::ffff:10.0.0.1]:80", mapped);
            check(&policy, "a.name", "[2001:db8::1]:80", v6);
        }
    }

    #[test]
    fn prefixes_hold_for_entries_that_were_added_before_and_after() {
        let prefix = "2001:db8:64::/96".parse().expect("a prefix");
        let before = AddressPolicy::allow_all()
            .nat64_prefix(prefix)
            .deny(entry("10.0.0.0/8"));
        let after = AddressPolicy::allow_all()
            .deny(entry("10.0.0.0/8"))
            .nat64_prefix(prefix);
        for policy in [before, after] {
            check(&policy, "a.name", "[2001:db8:64::10.0.0.1]:80", false);
            check(&policy, "a.name", "[2001:db8:64::11.0.0.1]:80", true);
        }
    }

    #[test]
    fn what_is_said_of_an_address_before_and_after_it_is_resolved_is_the_same() {
        let policies = [
            AddressPolicy::allow_all().deny(entry("127.0.0.0/8")),
            AddressPolicy::allow_all().deny(entry("*:80")),
            AddressPolicy::allow_all().deny(entry("tcp6://*")),
            AddressPolicy::deny_all().allow(entry("127.0.0.0/8:80")),
            AddressPolicy::deny_all().allow(entry("::/0")),
            AddressPolicy::deny_all().allow(entry("fe80::/10")),
            AddressPolicy::deny_all().allow(entry("*.lan")),
        ];
        let mut permitted = 0;
        for policy in &policies {
            for (host, ip) in [
                ("127.0.0.1", "127.0.0.1"),
                ("0.0.0.0", "0.0.0.0"),
                ("::", "::"),
                ("::1%lo", "::1"),
                ("fe80::1%a.lan", "fe80::1"),
                ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
                ("64:ff9b::127.0.0.1", "64:ff9b::127.0.0.1"),
                ("2001:db8::1", "2001:db8::1"),
            ] {
                for port in [80, 443] {
                    let address = SocketAddr::new(ip.parse().expect("an address"), port);
                    let expected = policy.permits(host, address);
                    let said = policy.could_permit(Network::Tcp, host, port);
                    assert_eq!(said, expected, "{policy:?} for {host} at {port}");
                    permitted += u32::from(expected);
                }
            }
        }
        assert_eq!(permitted, 8 + 8 + 4 + 4 + 8 + 2);
    }

    #[test]
    fn a_zone_is_no_part_of_a_name() {
        let policy = AddressPolicy::deny_all().allow(entry("*.lan"));
        check(&policy, "a.lan", "192.0.2.1:80", true);
        check(&policy, "fe80::1%a.lan", "[fe80::1]:80", false);
        check(&policy, "fe80::1%a.lan", "[fe80::1%2]:80", false);
        let policy = AddressPolicy::deny_all().allow(entry("fe80::/10"));
        check(&policy, "fe80::1%a.lan", "[fe80::1%2]:80", true);
        check(
            &policy.deny(entry("fe80::1")),
            "fe80::1%eth0",
            "[fe80::1%3]:80",
            false,
        );
    }

    #[test]
    fn entries_that_make_no_sense_are_refused_with_a_reason() {
        for text in [
            "",
            "a b",
            "host:70000",
            "udp://x",
            "[::1",
            "10.0.0.0/40",
            "[::1]x",
            "*.",
            "http://*:x",
            "fe80::1%lo",
        ] {
            let error = text.parse::<AddressEntry>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn entries_that_could_never_match_are_refused_with_what_to_write_instead() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}aaaaaa", "abcdefg.".repeat(31));
        let long_below = format!("*.{}aaaa", "abcdefg.".repeat(31));
        let written_in_full = "in full, such as 127.0.0.1";
        for (text, reason) in [
            ("fe80::1%lo", "no zone"),
            ("[fe80::1%2]:80", "no zone"),
            ("127.1", written_in_full),
            ("127.1:80", written_in_full),
            ("2130706433", written_in_full),
            ("10.0.0", written_in_full),
            ("256.1.1.1", written_in_full),
            ("127.0.0.1.", written_in_full),
            ("0x7f000001", written_in_full),
            ("0X7F.0.0.0X1", written_in_full),
            ("0x", written_in_full),
            ("*.1", written_in_full),
            ("tcp4://0", written_in_full),
            ("127.1/8", "an address in full"),
            ("10/8", "an address in full"),
            (&long_label, "more than 63"),
            (&long_name, "more than 253"),
            (&long_below, "more than 253"),
            ("example.com:0", "leave it out"),
            ("[::1]:00", "leave it out"),
            ("*:+80", "from 1 to 65535"),
            ("*:", "from 1 to 65535"),
            ("*:65536", "from 1 to 65535"),
            ("tcp4://::1", "write tcp6://"),
            ("tcp4://[::/0]:80", "write tcp6://"),
            ("tcp4://[64:ff9b::/96]:80", "write tcp6://"),
            ("tcp6://10.0.0.0/8", "write tcp4://"),
            ("tcp6://[::ffff:10.0.0.1]:80", "write tcp4://"),
            ("tcp6://[::ffff:0:0/96]", "write tcp4://"),
        ] {
            let error = text.parse::<AddressEntry>().expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn names_at_the_limits_are_names() {
        let label = "a".repeat(63);
        let name = format!("{}aaaaa", "abcdefg.".repeat(31));
        let below = format!("*.{}aaa", "abcdefg.".repeat(31));
        for text in [
            &label, &name, &below, "0x7g", "1.0x7f.a", "7f", "1.com", "a-1", "x.1a", "_a.b",
        ] {
            entry(text);
        }
        assert_eq!(entry(&format!("{name}.")), entry(&name));
        assert_eq!(entry("*:1"), entry("[*]:1"));
    }

    #[test]
    fn errors_quote_little_and_nothing_that_moves_a_cursor() {
        let text = format!("\x1b[2J\n{}", "x".repeat(100_000));
        let error = text.parse::<AddressEntry>().expect_err("no entry");
        let message = error.to_string();
        assert!(message.starts_with("`\\u{1b}[2J\\nxxx"), "{message}");
        assert!(message.contains("x..` is not"), "{message}");
        assert_eq!(
            message.matches('x').count(),
            195 + "expected example example".matches('x').count()
        );
        let prefix = text.parse::<Nat64Prefix>().expect_err("no prefix");
        assert!(prefix.to_string().len() < 400, "{prefix}");
    }
}
