//! Addresses as they are written, and what they stand for: networks, hosts and ports, zones.
//!
//! Knows nothing of sockets and of what is allowed.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::str::FromStr;

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Socket, Type};
use watm_abi::Excerpt;

/// The network of an address, as `water_dial` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Network {
    /// `tcp`: over IPv4 or IPv6.
    #[default]
    Tcp,
    /// `tcp4`: over IPv4 alone.
    Tcp4,
    /// `tcp6`: over IPv6 alone.
    Tcp6,
}

impl Network {
    pub(crate) fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Tcp => true,
            Self::Tcp4 => ip.is_ipv4(),
            Self::Tcp6 => ip.is_ipv6(),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
        })
    }
}

/// A network that the runtime does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network {0:?} is not known; expected tcp, tcp4 or tcp6")]
pub struct UnknownNetwork(String);

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "tcp4" => Ok(Self::Tcp4),
            "tcp6" => Ok(Self::Tcp6),
            _ => Err(UnknownNetwork(text.chars().take(32).collect())),
        }
    }
}

/// Splits `host:port` or `[v6]:port`; the address in brackets may have a zone (`[fe80::1%eth0]`).
pub(crate) fn split_address(address: &str) -> io::Result<(&str, u16)> {
    let expected = "expected host:port or [v6]:port";
    let invalid = |problem| invalid(address, problem, expected);
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .ok_or_else(|| invalid("the port is missing"))?,
        None => address
            .rsplit_once(':')
            .ok_or_else(|| invalid("the port is missing"))?,
    };
    if host.is_empty() {
        return Err(invalid("the host is missing"));
    }
    if host.contains(':') && !address.starts_with('[') {
        return Err(invalid("an IPv6 address with a port stands in brackets"));
    }
    if zoned(host).is_some_and(|(_, zone)| zone.is_empty()) {
        return Err(invalid("the zone behind the % is missing"));
    }
    let port = port
        .parse()
        .map_err(|_| invalid("the port is not a number up to 65535"))?;
    Ok((host, port))
}

/// Splits an address to listen on, which is one for [`split_address`], or `:port` or `*:port`.
/// These two mean all addresses of this machine, and have no host.
pub(crate) fn split_listen_address(address: &str) -> io::Result<(Option<&str>, u16)> {
    let Some(port) = address
        .strip_prefix("*:")
        .or_else(|| address.strip_prefix(':'))
        // `::1:80` begins with a colon as well.
        .filter(|port| !port.contains(':'))
    else {
        return split_address(address).map(|(host, port)| (Some(host), port));
    };
    let port = port.parse().map_err(|_| {
        invalid(
            address,
            "the port is not a number up to 65535",
            "expected host:port, [v6]:port, or :port for all addresses",
        )
    })?;
    Ok((None, port))
}

fn invalid(address: &str, problem: &str, expected: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "`{}` is not an address: {problem}; {expected}",
            Excerpt(address)
        ),
    )
}

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

/// The IPv6 address and the zone of a host such as `fe80::1%eth0`; none if it is no such thing.
pub(crate) fn zoned(host: &str) -> Option<(Ipv6Addr, &str)> {
    let (ip, zone) = host.split_once('%')?;
    Some((ip.parse().ok()?, zone))
}

/// The IPv4 address that an IPv6 address is mapped from (`::ffff:192.0.2.1`), or else the address
/// itself. This is the form in which people know the address of a client.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

/// The addresses that a host stands for, in the system's order of preference. May block for as long
/// as the system takes to look up a name.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match zoned(host) {
        // The system's own resolver knows names of zones for some addresses only.
        Some((ip, zone)) => {
            let address = SocketAddrV6::new(ip, port, 0, scope_id(zone)?);
            Ok(vec![address.into()])
        }
        None => Ok((host, port).to_socket_addrs()?.collect()),
    }
}

/// The number of a zone: the name of an interface, or its number.
fn scope_id(zone: &str) -> io::Result<u32> {
    let unknown = || {
        io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("this machine has no network interface `{}`", Excerpt(zone)),
        )
    };
    // The system answers over any socket.
    let index = Socket::new(Domain::UNIX, Type::DGRAM, None)
        .and_then(|socket| Ok(name_to_index(&socket, zone)?));
    index.or_else(|_| zone.parse().map_err(|_| unknown()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn addresses_are_split_at_the_port() {
        for (address, expected) in [
            ("example.com:80", ("example.com", 80)),
            ("[::1]:443", ("::1", 443)),
            ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
            ("[fe80::1%2]:80", ("fe80::1%2", 80)),
        ] {
            assert_eq!(split_address(address).expect(address), expected);
        }
        for bad in [
            "",
            "host",
            "host:",
            ":80",
            "::1:80",
            "[::1]",
            "[::1]80",
            "h:99999",
            "[]:1",
            "[fe80::1%]:80",
            "fe80::1%eth0:80",
        ] {
            let error = split_address(bad).expect_err(bad);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn an_address_to_listen_on_needs_no_host() {
        for (address, expected) in [
            (":8080", (None, 8080)),
            ("*:8080", (None, 8080)),
            (":0", (None, 0)),
            ("[::]:80", (Some("::"), 80)),
            ("localhost:80", (Some("localhost"), 80)),
            ("[fe80::1%eth0]:80", (Some("fe80::1%eth0"), 80)),
        ] {
            assert_eq!(split_listen_address(address).expect(address), expected);
        }
        for bad in [
            "", ":", "*:", "*", "::1:80", ":http", ":65536", "*:1:2", "::80",
        ] {
            let error = split_listen_address(bad).expect_err(bad);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn networks_are_known_by_name() {
        assert_eq!("tcp4".parse(), Ok(Network::Tcp4));
        assert!("udp".parse::<Network>().is_err());
    }

    #[test]
    fn zones_are_names_or_numbers_of_interfaces() {
        let loopback = |host| match resolve(host, 80).expect(host)[..] {
            [SocketAddr::V6(address)] => address,
            ref other => panic!("{host}: {other:?}"),
        };
        assert_eq!(loopback("fe80::1%7").scope_id(), 7);
        assert_eq!(loopback("fe80::1%7").ip().segments()[0], 0xfe80);
        // The first interface of a Linux system is the loopback interface.
        #[cfg(target_os = "linux")]
        assert_eq!(loopback("::1%lo").scope_id(), 1);
        let long = format!("fe80::1%{}", "x".repeat(300));
        for unknown in [
            "fe80::1%no-such",
            "fe80::1%4294967296",
            "fe80::1%a\0b",
            &long,
        ] {
            let error = resolve(unknown, 80).expect_err(unknown);
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
            assert!(
                error.to_string().contains("no network interface"),
                "{error}"
            );
        }
        let plain = resolve("127.0.0.1", 80).expect("an address");
        assert_eq!(plain, [SocketAddr::from((Ipv4Addr::LOCALHOST, 80))]);
        assert_eq!(zoned("127.0.0.1%lo"), None);
        assert_eq!(zoned("a%b"), None);
    }
}
