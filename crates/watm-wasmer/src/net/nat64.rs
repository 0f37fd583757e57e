//! NAT64 prefixes: where an IPv6 address leads if a translator answers for it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv6Net;

use crate::net::address::quoted;

/// A NAT64 prefix: a translator forwards what is sent to its addresses to IPv4 (RFC 6052).
///
/// A prefix is written as a block, such as `2001:db8:64::/96`. Its length is 32, 40, 48, 56, 64 or
/// 96 bits. Bits 64 to 71 are zero, and so are the bits beyond its length. Blocks whose addresses
/// have a meaning of their own (`::/32` to `::/96`, `::ffff:0:0/96`) are not NAT64 prefixes.
///
/// ```
/// use watm_wasmer::{AddressPolicy, Nat64Prefix};
///
/// let prefix: Nat64Prefix = "2001:db8:64::/96".parse()?;
/// let policy = AddressPolicy::allow_all()
///     .nat64_prefix(prefix)
///     .deny("10.0.0.0/8".parse()?);
/// assert!(!policy.permits("a.name", "[2001:db8:64::10.1.2.3]:443".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nat64Prefix(Ipv6Net);

impl Nat64Prefix {
    /// `64:ff9b::/96`, which every translator may use.
    pub(crate) const WELL_KNOWN: Self = Self(Ipv6Net::new_assert(
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
        96,
    ));

    pub(crate) fn block(self) -> Ipv6Net {
        self.0
    }

    /// The IPv4 address that `ip` carries; `None` if `ip` is outside the prefix.
    pub(crate) fn carried(self, ip: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.0.contains(&ip) {
            return None;
        }
        let behind = usize::from(self.0.prefix_len() / 8);
        let octets = ip.octets();
        let mut carried = [0; 4];
        // The IPv4 address skips octet 8, which holds bits 64 to 71.
        let from = octets.iter().enumerate().skip(behind);
        let from = from.filter(|(index, _)| *index != 8);
        for (to, (_, octet)) in carried.iter_mut().zip(from) {
            *to = *octet;
        }
        Some(carried.into())
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a string is not a [`Nat64Prefix`].
///
/// ```
/// use watm_wasmer::Nat64Prefix;
///
/// let error = "2001:db8:64::/97".parse::<Nat64Prefix>().expect_err("its length is none");
/// assert!(error.to_string().contains("its length is not 32, 40, 48, 56, 64 or 96"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a NAT64 prefix: {problem}; expected an IPv6 block, for example 2001:db8:64::/96"
)]
pub struct Nat64PrefixError {
    text: String,
    problem: &'static str,
}

impl FromStr for Nat64Prefix {
    type Err = Nat64PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |problem| Nat64PrefixError {
            text: quoted(text),
            problem,
        };
        let block: Ipv6Net = text
            .parse()
            .map_err(|_| error("it is not an IPv6 address, a slash and a length"))?;
        if !matches!(block.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(error("its length is not 32, 40, 48, 56, 64 or 96"));
        }
        if block.trunc() != block {
            return Err(error("bits are set behind its length"));
        }
        if block.network().octets()[8] != 0 {
            return Err(error("bits 64 to 71 are not zero"));
        }
        if block.contains(&Ipv6Addr::LOCALHOST)
            || block.contains(&Ipv4Addr::LOCALHOST.to_ipv6_mapped())
        {
            return Err(error("its addresses have a meaning of their own"));
        }
        Ok(Self(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Nat64Prefix {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The table of RFC 6052, section 2.4.
    #[test]
    fn an_address_is_found_behind_a_prefix_of_each_length() {
        for (text, ip) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
            // Bits 64 to 71, and the bits after the IPv4 address, do not matter.
            ("2001:db8:122::/48", "2001:db8:122:c000:ff02:21ff:ffff:ffff"),
        ] {
            let ip: Ipv6Addr = ip.parse().expect("an address");
            let expected = Some(Ipv4Addr::new(192, 0, 2, 33));
            assert_eq!(prefix(text).carried(ip), expected, "{text}");
            assert_eq!(prefix(text).carried(Ipv6Addr::LOCALHOST), None);
            assert_eq!(prefix(text).to_string(), text);
        }
        assert_eq!(prefix("64:ff9b::/96"), Nat64Prefix::WELL_KNOWN);
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "a slash and a length"),
            ("2001:db8:64::", "a slash and a length"),
            ("10.0.0.0/8", "a slash and a length"),
            ("::ffff:10.0.0.0/96/1", "a slash and a length"),
            ("2001:db8:64::/95", "32, 40, 48, 56, 64 or 96"),
            ("2001:db8:64::/0", "32, 40, 48, 56, 64 or 96"),
            ("2001:db8:64::/128", "32, 40, 48, 56, 64 or 96"),
            ("2001:db8:64::1/96", "behind its length"),
            ("2001:db8:64::/32", "behind its length"),
            ("2001:db8:0:0:100::/96", "bits 64 to 71"),
            ("2001:db8:0:0:8000::/96", "bits 64 to 71"),
            ("::/96", "a meaning of their own"),
            ("::/32", "a meaning of their own"),
            ("::ffff:0:0/96", "a meaning of their own"),
        ] {
            let error = text.parse::<Nat64Prefix>().expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
            assert!(error.contains(text), "{error}");
        }
    }
}
