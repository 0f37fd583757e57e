//! Which addresses a module may choose.
//!
//! The application's own addresses are never checked: the policy is about `water_dial`, where the
//! module names the remote.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::connect::Network;

/// Which remote addresses a module may dial on its own account.
///
/// The default denies everything. Entries that deny win over entries that allow, and what no
/// entry names falls to the default. A host name is resolved first and each address it stands
/// for is checked, so a name cannot smuggle a denied address in; only addresses that passed are
/// dialled. IPv4 addresses in their IPv6-mapped form count as IPv4.
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
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Vec<AddressEntry>,
    deny: Vec<AddressEntry>,
    allow_others: bool,
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

    /// Whether any address that `host` could stand for may be dialled. Asked before a name is
    /// resolved, so that a module cannot send out names that are not its business.
    pub(crate) fn could_permit(&self, network: Network, host: &str, port: u16) -> bool {
        self.allow_others
            || self
                .allow
                .iter()
                .any(|entry| entry.could_match(network, host, port))
    }

    /// Whether `host` may be dialled at `address`, which it was resolved to.
    pub fn permits(&self, host: &str, address: SocketAddr) -> bool {
        let matches = |entry: &AddressEntry| entry.matches(host, address);
        if self.deny.iter().any(matches) {
            return false;
        }
        self.allow_others || self.allow.iter().any(matches)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(String),
    /// `*.example.com`: any name below it.
    Below(String),
    Net(IpNet),
}

/// One entry of an [`AddressPolicy`], written `[NETWORK://]HOST[:PORT]`.
///
/// `NETWORK` is `tcp`, `tcp4` or `tcp6`; `HOST` is a name, `*.` and a name (any name below it),
/// `*` (any host), an IP address, or a CIDR block such as `10.0.0.0/8` or `2001:db8::/32`. An
/// IPv6 address or block with a port stands in brackets: `[2001:db8::/32]:443`. Without a port,
/// all ports are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    network: Option<Network>,
    host: HostPattern,
    port: Option<u16>,
}

impl AddressEntry {
    fn could_match(&self, network: Network, host: &str, port: u16) -> bool {
        let network_matches = !matches!(
            (self.network, network),
            (Some(Network::Tcp4), Network::Tcp6) | (Some(Network::Tcp6), Network::Tcp4)
        );
        let host_matches = match (&self.host, host.parse::<IpAddr>()) {
            (HostPattern::Net(net), Ok(ip)) => net.contains(&effective(ip)),
            // What a name stands for is known only once it is resolved.
            (HostPattern::Net(_), Err(_)) => true,
            _ => self.matches_name(host),
        };
        network_matches && host_matches && self.port.is_none_or(|own| own == port)
    }

    fn matches_name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match &self.host {
            HostPattern::Any => true,
            HostPattern::Name(name) => host.eq_ignore_ascii_case(name),
            HostPattern::Below(parent) => {
                let host = host.to_ascii_lowercase();
                host.strip_suffix(parent.as_str())
                    .is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            HostPattern::Net(_) => false,
        }
    }

    fn matches(&self, host: &str, address: SocketAddr) -> bool {
        let ip = effective(address.ip());
        let network_matches = match self.network {
            None | Some(Network::Tcp) => true,
            Some(Network::Tcp4) => ip.is_ipv4(),
            Some(Network::Tcp6) => ip.is_ipv6(),
        };
        let host_matches = match &self.host {
            HostPattern::Net(net) => net.contains(&ip),
            _ => self.matches_name(host),
        };
        network_matches && host_matches && self.port.is_none_or(|port| port == address.port())
    }
}

/// The address that is reached in the end: IPv4 in its IPv6 form is IPv4, and the unspecified
/// address reaches the host itself.
fn effective(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Why a text is not an [`AddressEntry`].
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

impl FromStr for AddressEntry {
    type Err = AddressEntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |problem| AddressEntryError {
            text: text.to_owned(),
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
        let port = match port {
            None => None,
            Some(port) => Some(
                port.parse()
                    .map_err(|_| error("the port is not a number up to 65535"))?,
            ),
        };
        let host = parse_host(host).map_err(error)?;
        Ok(Self {
            network,
            host,
            port,
        })
    }
}

fn parse_host(host: &str) -> Result<HostPattern, &'static str> {
    if host == "*" {
        return Ok(HostPattern::Any);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(HostPattern::Net(ip.to_canonical().into()));
    }
    if host.contains('/') {
        let net = host
            .parse::<IpNet>()
            .map_err(|_| "the CIDR block is not valid")?;
        return Ok(HostPattern::Net(net.trunc()));
    }
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
    let name = name.to_ascii_lowercase();
    Ok(if below {
        HostPattern::Below(name)
    } else {
        HostPattern::Name(name)
    })
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
        assert!(policy.could_permit(Network::Tcp, "a.name", 1));
        assert!(!policy.could_permit(Network::Tcp, "11.0.0.1", 1));
        assert!(!policy.could_permit(Network::Tcp6, "a.name", 1));
        assert!(!AddressPolicy::deny_all().could_permit(Network::Tcp, "a.name", 1));
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
        ] {
            let error = text.parse::<AddressEntry>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
