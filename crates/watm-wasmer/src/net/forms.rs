//! The forms of an address: how it is written, what it stands for and where it leads.
//!
//! This file knows how the system and the network interpret an address. It must never know what is
//! allowed.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::net::nat64::Nat64Prefix;

const SIX_TO_FOUR: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);
const TEREDO: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// All forms of an address: the address as written, what it leads to, and the loopback address that
/// replaces an unspecified one.
pub(crate) fn forms(ip: IpAddr, nat64: &[Nat64Prefix]) -> impl Iterator<Item = IpAddr> {
    iter::once(ip)
        .chain(ends(ip, nat64))
        .flat_map(|form| [Some(form), loopback(form)])
        .flatten()
}

/// What an address leads to: the IPv4 addresses that it carries, or else the address itself. A
/// mapped address counts as IPv4.
pub(crate) fn ends(ip: IpAddr, nat64: &[Nat64Prefix]) -> impl Iterator<Item = IpAddr> {
    let ip = ip.to_canonical();
    let v6 = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip),
    };
    let mut carried = v6
        .into_iter()
        .flat_map(|ip| carried(ip, nat64))
        .map(IpAddr::V4)
        .peekable();
    let itself = carried.peek().is_none().then_some(ip);
    carried.chain(itself)
}

/// The loopback address to which the system connects in place of an unspecified one.
pub(crate) fn loopback(ip: IpAddr) -> Option<IpAddr> {
    ip.is_unspecified().then_some(match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

/// Whether every address of a block carries IPv4 addresses, all in the same way.
pub(crate) fn carries(block: Ipv6Net, nat64: &[Nat64Prefix]) -> bool {
    prefixes(nat64)
        .map(Nat64Prefix::block)
        .chain([SIX_TO_FOUR, TEREDO])
        .any(|outer| outer.contains(&block))
}

/// Whether every address of a block is an IPv4 address mapped into IPv6.
pub(crate) fn is_mapped(block: Ipv6Net) -> bool {
    MAPPED.contains(&block)
}

/// The IPv4 addresses that an IPv6 address carries.
fn carried(ip: Ipv6Addr, nat64: &[Nat64Prefix]) -> impl Iterator<Item = Ipv4Addr> {
    prefixes(nat64)
        .filter_map(move |prefix| prefix.carried(ip))
        .chain(six_to_four(ip))
        .chain(teredo(ip).into_iter().flatten())
}

fn prefixes(nat64: &[Nat64Prefix]) -> impl Iterator<Item = Nat64Prefix> {
    iter::once(Nat64Prefix::WELL_KNOWN).chain(nat64.iter().copied())
}

/// The router of a 6to4 address (RFC 3056).
fn six_to_four(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, a, b, c, d, ..] = ip.octets();
    SIX_TO_FOUR.contains(&ip).then_some([a, b, c, d].into())
}

/// The server and the client of a Teredo address (RFC 4380). The client's bits are inverted.
fn teredo(ip: Ipv6Addr) -> Option<[Ipv4Addr; 2]> {
    let [_, _, _, _, a, b, c, d, .., w, x, y, z] = ip.octets();
    let (server, client) = ([a, b, c, d], [!w, !x, !y, !z]);
    TEREDO
        .contains(&ip)
        .then_some([server.into(), client.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ip: &str, expected: &[&str]) {
        let nat64 = ["2001:db8:64::/96", "2001:db8:64::/48"];
        let nat64 = nat64.map(|prefix| prefix.parse().expect("a prefix"));
        let found = forms(ip.parse().expect("an address"), &nat64);
        let found: Vec<_> = found.map(|form| form.to_string()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_address_has_all_the_forms_in_which_it_reaches_something() {
        check("10.0.0.1", &["10.0.0.1", "10.0.0.1"]);
        check("2001:db8::1", &["2001:db8::1", "2001:db8::1"]);
        check("::ffff:10.0.0.1", &["::ffff:10.0.0.1", "10.0.0.1"]);
        check("0.0.0.0", &["0.0.0.0", "127.0.0.1", "0.0.0.0", "127.0.0.1"]);
        check("::", &["::", "::1", "::", "::1"]);
        check(
            "::ffff:0.0.0.0",
            &["::ffff:0.0.0.0", "0.0.0.0", "127.0.0.1"],
        );
        check("64:ff9b::a00:1", &["64:ff9b::a00:1", "10.0.0.1"]);
        check("64:ff9b::", &["64:ff9b::", "0.0.0.0", "127.0.0.1"]);
        check("64:ff9b:0:0:1::a00:1", &["64:ff9b::1:0:a00:1"; 2]);
        check("2002:a00:1::1", &["2002:a00:1::1", "10.0.0.1"]);
        // The example of RFC 4380.
        check(
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            &[
                "2001:0:4136:e378:8000:63bf:3fff:fdd2",
                "65.54.227.120",
                "192.0.2.45",
            ],
        );
        // It lies within two prefixes.
        check(
            "2001:db8:64::a00:1",
            &["2001:db8:64::a00:1", "10.0.0.1", "0.0.0.0", "127.0.0.1"],
        );
    }
}
