//! Where to connect to, as an application says it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::net::address::{Address, AddressError};

/// What a dialer dials: anything that names a host and a port.
///
/// | from | example |
/// | --- | --- |
/// | text, `HOST:PORT` or `[IPV6]:PORT` | `"example.org:443"`, `"[2001:db8::1]:443"` |
/// | a host and a port | `("example.org", 443)`, `("2001:db8::1", 443)` |
/// | an IP address and a port | `(Ipv4Addr::LOCALHOST, 443)` |
/// | a [`SocketAddr`] | `listener.local_addr()` |
/// | an [`Address`] | `"example.org:443".parse::<Address>()?` |
///
/// Text is parsed when it is dialled, and so are its errors reported then.
///
/// ```
/// use std::net::Ipv4Addr;
/// use watm_wasmer::{Address, Target};
///
/// assert_eq!(Target::from("server.example:443").as_str(), "server.example:443");
/// assert_eq!(Target::from(("2001:db8::1", 443)).as_str(), "[2001:db8::1]:443");
/// assert_eq!(Target::from((Ipv4Addr::LOCALHOST, 80)).as_str(), "127.0.0.1:80");
/// let parsed: Address = "192.0.2.1:443".parse()?;
/// assert_eq!(Target::from(&parsed).as_str(), "192.0.2.1:443");
/// # Ok::<(), watm_wasmer::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Text(String),
    Parsed(Address),
}

impl Target {
    /// The address, or the text and what is wrong with it.
    pub(crate) fn into_address(self) -> Result<Address, (String, AddressError)> {
        match self.0 {
            Form::Parsed(address) => Ok(address),
            Form::Text(text) => text.parse().map_err(|error| (text, error)),
        }
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Text(text) => text,
            Form::Parsed(address) => address.as_str(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        Self(Form::Parsed(address))
    }
}

impl From<&Address> for Target {
    fn from(address: &Address) -> Self {
        address.clone().into()
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        Self(Form::Text(text))
    }
}

impl From<&String> for Target {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<(&str, u16)> for Target {
    /// The host may be an IPv6 address, without brackets or in them.
    fn from((host, port): (&str, u16)) -> Self {
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}").into()
        } else {
            format!("{host}:{port}").into()
        }
    }
}

impl From<(String, u16)> for Target {
    fn from((host, port): (String, u16)) -> Self {
        (host.as_str(), port).into()
    }
}

/// Text that is an address for certain.
macro_rules! from_display {
    ($($type:ty),*) => {$(
        impl From<$type> for Target {
            fn from(address: $type) -> Self {
                address.to_string().into()
            }
        }
    )*};
}

from_display!(SocketAddr, &SocketAddr, SocketAddrV4, SocketAddrV6);

macro_rules! from_ip {
    ($($type:ty),*) => {$(
        impl From<($type, u16)> for Target {
            fn from((ip, port): ($type, u16)) -> Self {
                SocketAddr::new(ip.into(), port).into()
            }
        }
    )*};
}

from_ip!(IpAddr, Ipv4Addr, Ipv6Addr);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(target: impl Into<Target>) -> String {
        let address = target.into().into_address();
        address.expect("an address").as_str().to_owned()
    }

    #[test]
    fn whatever_names_a_host_and_a_port_is_a_target() {
        let v6: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        assert_eq!(address("example.org:443"), "example.org:443");
        assert_eq!(address(String::from("example.org:443")), "example.org:443");
        assert_eq!(address(("example.org", 443)), "example.org:443");
        assert_eq!(address((Ipv4Addr::LOCALHOST, 0)), "127.0.0.1:0");
        for host in ["2001:db8::1", "[2001:db8::1]"] {
            assert_eq!(address((host, 443)), "[2001:db8::1]:443");
        }
        assert_eq!(address((v6, 443)), "[2001:db8::1]:443");
        assert_eq!(address(SocketAddr::from((v6, 443))), "[2001:db8::1]:443");
        let zoned = SocketAddrV6::new(v6, 443, 0, 3);
        assert_eq!(address(zoned), "[2001:db8::1%3]:443");
        let parsed: Address = "example.org:443".parse().expect("an address");
        assert_eq!(address(&parsed), "example.org:443");
    }

    #[test]
    fn what_is_no_address_is_told_with_its_text() {
        let error = Target::from(("exa mple", 1)).into_address();
        let text = Target::from("no port").into_address().expect_err("no port");
        assert_eq!(text, ("no port".to_owned(), AddressError::NoPort));
        drop(error);
    }
}
