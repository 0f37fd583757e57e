//! Addresses as they are written, and what they stand for: networks, hosts and ports, zones.
//!
//! Knows nothing of sockets and of what is allowed.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::ops::Range;
use std::str::FromStr;

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Socket, Type};
use watm_abi::Excerpt;

/// The maximum length of the path of a Unix socket, or of `@` and its name. The system has room for
/// one more byte.
const UNIX_LIMIT: usize = 107;

/// The network of an address, as `water_dial` names it.
///
/// ```
/// use watm_wasmer::{DialOptions, Network};
///
/// // A setting of the user: `tcp`, `tcp4` or `tcp6`.
/// let network: Network = "tcp4".parse()?;
/// assert_eq!(network, Network::Tcp4);
/// let options = DialOptions::new().network(network);
/// # Ok::<(), watm_wasmer::UnknownNetwork>(())
/// ```
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
///
/// ```
/// use watm_wasmer::Network;
///
/// let error = "udp".parse::<Network>().expect_err("there is no such network");
/// assert_eq!(error.to_string(), "the network \"udp\" is not known; expected tcp, tcp4 or tcp6");
/// ```
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

/// The address of a remote: `host:port`, `[v6]:port` or `unix:/path`.
///
/// `host` is a name or an IPv4 address, and `v6` is an IPv6 address. An IPv6 address may have a
/// zone, which is the name or the number of a network interface: `[fe80::1%eth0]:443`. `port` is a
/// number from 0 to 65535, without a sign.
///
/// `unix:` stands before the absolute path of a Unix socket, or before `@` and the name of an abstract
/// one (Linux, Android): `unix:/run/app.sock`, `unix:@app`. Modules cannot choose such an address.
///
/// Parsing checks the form only. Names and zones are looked up when the address is dialled. Two
/// addresses are equal if they are written alike.
///
/// ```
/// use watm_wasmer::Address;
///
/// let address: Address = "[fe80::1%eth0]:443".parse()?;
/// assert_eq!(address.host(), "fe80::1%eth0");
/// assert_eq!(address.port(), 443);
/// assert_eq!(address.as_str(), "[fe80::1%eth0]:443");
/// # Ok::<(), watm_wasmer::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    /// Where the host stands in the text.
    host: Range<usize>,
    port: u16,
    is_unix: bool,
}

impl Address {
    /// Parses the text of an application. The error quotes the text.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        text.parse().map_err(|error| invalid(text, error))
    }

    /// Parses the text of a module, or of whoever else may not reach the Unix sockets of this machine.
    pub(crate) fn parse_ip(text: &str) -> io::Result<Self> {
        of_ip(text).map_err(|error| invalid(text, error))
    }

    /// The host, without brackets; the path or the name of a Unix socket.
    pub fn host(&self) -> &str {
        &self.text[self.host.clone()]
    }

    /// The port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of a Unix socket, or `@` and its name. `None` if the address is not one.
    ///
    /// ```
    /// use watm_wasmer::Address;
    ///
    /// let address: Address = "unix:/run/app.sock".parse()?;
    /// assert_eq!(address.unix(), Some("/run/app.sock"));
    /// assert_eq!("unix:80".parse::<Address>()?.unix(), None);
    /// # Ok::<(), watm_wasmer::AddressError>(())
    /// ```
    pub fn unix(&self) -> Option<&str> {
        self.is_unix.then(|| self.host())
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match unix_path(text)? {
            Some(path) => Ok(Self {
                text: text.into(),
                host: text.len() - path.len()..text.len(),
                port: 0,
                is_unix: true,
            }),
            None => of_ip(text),
        }
    }
}

/// Parses what is no Unix socket.
fn of_ip(text: &str) -> Result<Address, AddressError> {
    let Parts {
        host,
        in_brackets,
        port,
    } = parts(text)?;
    if host.contains(':') != in_brackets && !host.is_empty() {
        return Err(AddressError::Brackets);
    }
    let port = port.ok_or(AddressError::NoPort)?;
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    if in_brackets {
        check_ipv6(host)?;
    }
    let port = port_number(port).ok_or(AddressError::Port)?;
    let start = usize::from(in_brackets);
    Ok(Address {
        text: text.into(),
        host: start..start + host.len(),
        port,
        is_unix: false,
    })
}

/// The path of a Unix socket, or `@` and its name, if the text is that of one.
fn unix_path(text: &str) -> Result<Option<&str>, AddressError> {
    let Some(path) = text.strip_prefix("unix:") else {
        return Ok(None);
    };
    // `unix:80` is a port of a host with that name.
    if !path.starts_with(['/', '@']) {
        return Ok(None);
    }
    if path.len() < 2 || path.len() > UNIX_LIMIT || path.contains('\0') {
        return Err(AddressError::Unix);
    }
    Ok(Some(path))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for Address {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// An address to listen on: an [`Address`]; `:port` or `*:port`, which mean all addresses of this
/// machine; or `fd:NUMBER` or `fd:NAME`, a socket that the process was started with.
///
/// `fd:NAME` stands for the sockets with that name which systemd passes on (`FileDescriptorName=` of
/// a socket unit), and `fd:3` for descriptor 3, which is the first that systemd passes on. They have
/// to be stream sockets that listen.
///
/// ```
/// use watm_wasmer::ListenAddress;
///
/// let all: ListenAddress = ":8080".parse()?;
/// assert_eq!((all.host(), all.port()), (None, 8080));
/// let one: ListenAddress = "[::1]:8080".parse()?;
/// assert_eq!((one.host(), one.port()), (Some("::1"), 8080));
/// # Ok::<(), watm_wasmer::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(Listen);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Listen {
    All { text: Box<str>, port: u16 },
    At(Address),
    Inherited { text: Box<str>, which: Inherited },
}

/// Which sockets of those that the process was started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Inherited {
    Number(i32),
    Name(Box<str>),
}

impl ListenAddress {
    /// Parses the text of an application. The error quotes the text.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        text.parse().map_err(|error| invalid(text, error))
    }

    /// The host, without brackets. `None` stands for all addresses of this machine, and for sockets
    /// that were inherited.
    pub fn host(&self) -> Option<&str> {
        match &self.0 {
            Listen::All { .. } | Listen::Inherited { .. } => None,
            Listen::At(address) => Some(address.host()),
        }
    }

    /// The port. 0 lets the system choose, and stands for what has none.
    pub fn port(&self) -> u16 {
        match &self.0 {
            Listen::All { port, .. } => *port,
            Listen::At(address) => address.port(),
            Listen::Inherited { .. } => 0,
        }
    }

    /// The path of a Unix socket, or `@` and its name. `None` if the address is not one.
    pub fn unix(&self) -> Option<&str> {
        match &self.0 {
            Listen::At(address) => address.unix(),
            _ => None,
        }
    }

    /// The sockets that were inherited, if it stands for some.
    pub(crate) fn inherited(&self) -> Option<&Inherited> {
        match &self.0 {
            Listen::Inherited { which, .. } => Some(which),
            _ => None,
        }
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Listen::All { text, .. } | Listen::Inherited { text, .. } => text,
            Listen::At(address) => address.as_str(),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(which) = inherited(text)? {
            let text = text.into();
            return Ok(Self(Listen::Inherited { text, which }));
        }
        Ok(Self(match parts(text)? {
            Parts {
                host: "" | "*",
                in_brackets: false,
                port: Some(port),
            } => Listen::All {
                text: text.into(),
                port: port_number(port).ok_or(AddressError::Port)?,
            },
            _ => Listen::At(text.parse()?),
        }))
    }
}

/// The sockets that `fd:NUMBER` or `fd:NAME` stands for.
fn inherited(text: &str) -> Result<Option<Inherited>, AddressError> {
    let Some(which) = text.strip_prefix("fd:") else {
        return Ok(None);
    };
    let is_number = which.bytes().all(|byte| byte.is_ascii_digit());
    // The names that systemd allows.
    let is_name = which.len() <= 255
        && which
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':');
    match which {
        "" => Err(AddressError::Inherited),
        _ if is_number => match which.parse() {
            Ok(number) if number > 2 => Ok(Some(Inherited::Number(number))),
            _ => Err(AddressError::Inherited),
        },
        _ if is_name => Ok(Some(Inherited::Name(which.into()))),
        _ => Err(AddressError::Inherited),
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for ListenAddress {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Why a text is not an [`Address`] or a [`ListenAddress`].
///
/// The message does not quote the text.
///
/// ```
/// use watm_wasmer::{Address, AddressError};
///
/// // A port that the user has left out is that of HTTPS.
/// let parsed = |text: &str| match text.parse::<Address>() {
///     Err(AddressError::NoPort) => format!("{text}:443").parse(),
///     result => result,
/// };
/// assert_eq!(parsed("server.example")?.port(), 443);
/// assert_eq!(parsed("2001:db8::1"), Err(AddressError::Brackets));
/// # Ok::<(), AddressError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no port.
    #[error("the port is missing; expected HOST:PORT or [IPV6]:PORT")]
    NoPort,
    /// There is no host, and this is not an address to listen on.
    #[error("the host is missing; expected HOST:PORT or [IPV6]:PORT")]
    NoHost,
    /// An IPv6 address is not in brackets, or something else is.
    #[error(
        "an IPv6 address must be in brackets, and no other host may be; \
         expected HOST:PORT or [IPV6]:PORT"
    )]
    Brackets,
    /// What is in brackets is not an IPv6 address.
    #[error("the text in brackets is not an IPv6 address")]
    Ipv6,
    /// A `%` is not followed by the zone of the IPv6 address.
    #[error("the zone after % is missing; expected the name or number of a network interface")]
    NoZone,
    /// The port is not a number, or too large.
    #[error("the port must be a number from 0 to 65535")]
    Port,
    /// The path or the name of a Unix socket is missing, too long, or contains a zero.
    #[error("expected unix:/PATH or unix:@NAME, with at most 107 bytes after unix:")]
    Unix,
    /// The number or the name of an inherited socket is none.
    #[error("expected fd:NUMBER, from fd:3, or fd:NAME as systemd passes sockets on")]
    Inherited,
}

pub(crate) fn invalid(address: &str, error: AddressError) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("`{}` is not an address: {error}", Excerpt(address)),
    )
}

/// A host and an optional port, as they are written. Neither is checked.
pub(crate) struct Parts<'t> {
    /// Without brackets.
    pub(crate) host: &'t str,
    pub(crate) in_brackets: bool,
    pub(crate) port: Option<&'t str>,
}

/// Why a text has no such parts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inseparable {
    /// A bracket is not closed.
    Open,
    /// Something other than a port follows the bracket.
    Trailing,
}

impl From<Inseparable> for AddressError {
    fn from(_: Inseparable) -> Self {
        Self::NoPort
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`. A text with several colons and no brackets is
/// a host.
pub(crate) fn parts(text: &str) -> Result<Parts<'_>, Inseparable> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(Inseparable::Open)?;
        let port = after.strip_prefix(':');
        if port.is_none() && !after.is_empty() {
            return Err(Inseparable::Trailing);
        }
        return Ok(Parts {
            host,
            in_brackets: true,
            port,
        });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    Ok(Parts {
        host,
        in_brackets: false,
        port,
    })
}

/// The number of a port. Unlike other numbers, it has no sign.
pub(crate) fn port_number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

fn check_ipv6(host: &str) -> Result<(), AddressError> {
    let (ip, zone) = match host.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (host, None),
    };
    if ip.parse::<Ipv6Addr>().is_err() {
        return Err(AddressError::Ipv6);
    }
    if zone == Some("") {
        return Err(AddressError::NoZone);
    }
    Ok(())
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

/// Whether a host is an IP address, with or without a zone.
pub(crate) fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || zoned(host).is_some()
}

/// The IPv6 address and the zone of a host such as `fe80::1%eth0`; none if it is no such thing.
pub(crate) fn zoned(host: &str) -> Option<(Ipv6Addr, &str)> {
    let (ip, zone) = host.split_once('%')?;
    Some((ip.parse().ok()?, zone))
}

/// The IPv4 address that an IPv6 address is mapped from (`::ffff:192.0.2.1`), or else the address
/// itself. This is the form in which people know the address of a client.
///
/// ```
/// use watm_wasmer::plain::canonical;
///
/// // A client of IPv4, as a socket for both families names it.
/// let client = "[::ffff:192.0.2.1]:50000".parse()?;
/// assert_eq!(canonical(client).to_string(), "192.0.2.1:50000");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

/// The client of a connection that was accepted, as a log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) Option<SocketAddr>);

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("of a Unix socket"),
        }
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
    fn an_address_has_a_host_and_a_port() {
        for (text, host, port) in [
            ("example.com:443", "example.com", 443),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("localhost:65535", "localhost", 65535),
            ("a_b%c:080", "a_b%c", 80),
            ("[::1]:80", "::1", 80),
            ("[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
            ("[fe80::1%2]:80", "fe80::1%2", 80),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!((address.host(), address.port()), (Some(host), port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        use AddressError::{Brackets, Ipv6, NoHost, NoPort, NoZone, Port};
        for (text, expected) in [
            ("", NoPort),
            ("host", NoPort),
            ("[::1]", NoPort),
            ("[::1]80", NoPort),
            ("[::1", NoPort),
            ("[]:1", NoHost),
            ("::1", Brackets),
            ("::1:80", Brackets),
            ("::80", Brackets),
            ("*:1:2", Brackets),
            ("fe80::1%eth0:80", Brackets),
            ("[host]:1", Brackets),
            ("[127.0.0.1]:1", Brackets),
            ("[*]:1", Brackets),
            ("[a:b]:1", Ipv6),
            ("[eth0%fe80::1]:80", Ipv6),
            ("[fe80::1%]:80", NoZone),
            ("host:", Port),
            ("h:65536", Port),
            ("h:-1", Port),
            ("h:+1", Port),
            ("h:http", Port),
            ("[::1]:80]:90", Port),
        ] {
            assert_eq!(text.parse::<Address>(), Err(expected), "{text}");
            assert_eq!(text.parse::<ListenAddress>(), Err(expected), "{text}");
            let error = Address::parse(text).expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn an_address_to_listen_on_needs_no_host() {
        for (text, port) in [(":8080", 8080), ("*:8080", 8080), (":0", 0)] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!((address.host(), address.port()), (None, port));
            assert_eq!(address.as_str(), text);
        }
        assert_eq!(":8080".parse::<Address>(), Err(AddressError::NoHost));
        for (text, expected) in [
            (":", AddressError::Port),
            ("*:", AddressError::Port),
            (":http", AddressError::Port),
            (":65536", AddressError::Port),
            (":+1", AddressError::Port),
            ("*", AddressError::NoPort),
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(expected), "{text}");
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
