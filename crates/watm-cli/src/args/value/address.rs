//! Addresses: `HOST:PORT` or `[IPV6]:PORT`. Only the form is checked. Names, and zones of IPv6
//! addresses (`[fe80::1%eth0]`), are resolved when they are used.

use std::net::Ipv6Addr;

/// The host, without brackets, and the port of `HOST:PORT` or `[HOST]:PORT`.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.rsplit_once(':'),
    }
}

/// An address to connect to.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let expected = "expected HOST:PORT or [IPV6]:PORT";
    let (host, port) = split(text).ok_or_else(|| format!("the port is missing; {expected}"))?;
    if host.is_empty() {
        return Err(format!("the host is missing; {expected}"));
    }
    if host.contains(':') != text.starts_with('[') {
        return Err(format!(
            "an IPv6 address must be in brackets, and no other host may be; {expected}"
        ));
    }
    if host.contains(':') {
        check_ipv6(host)?;
    }
    check_port(port)?;
    Ok(text.to_owned())
}

/// An address to listen on. The host may be omitted.
pub(crate) fn parse_listen(text: &str) -> Result<String, String> {
    let port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':'));
    // `::1` begins with a colon as well.
    match port.filter(|port| !port.contains(':')) {
        Some(port) => check_port(port).map(|()| text.to_owned()),
        None => parse(text),
    }
}

fn check_port(port: &str) -> Result<(), String> {
    if port.parse::<u16>().is_err() || port.starts_with('+') {
        return Err("the port must be a number from 0 to 65535".into());
    }
    Ok(())
}

fn check_ipv6(host: &str) -> Result<(), String> {
    let (ip, zone) = match host.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (host, None),
    };
    if ip.parse::<Ipv6Addr>().is_err() {
        return Err("the text in brackets is not an IPv6 address".into());
    }
    if zone == Some("") {
        return Err(
            "the zone after % is missing; expected the name or number of a network interface"
                .into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in [
            "example.com:443",
            "127.0.0.1:0",
            "[::1]:80",
            "localhost:65535",
            "[fe80::1%eth0]:80",
            "[fe80::1%2]:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert_eq!(parse(good).as_deref(), Ok(good));
            assert_eq!(parse_listen(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "host",
            "host:",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[]:1",
            "[host]:1",
            "[127.0.0.1]:1",
            "[a:b]:1",
            "[fe80::1%]:80",
            "[eth0%fe80::1]:80",
            "fe80::1%eth0:80",
            "h:65536",
            "h:-1",
            "h:+1",
            "h:http",
        ] {
            parse(bad).expect_err(bad);
            parse_listen(bad).expect_err(bad);
        }
    }

    #[test]
    fn an_address_to_listen_on_may_have_no_host() {
        for all in [":8080", "*:8080", ":0"] {
            assert_eq!(parse_listen(all).as_deref(), Ok(all));
        }
        parse(":8080").expect_err("it leads nowhere");
        for bad in [":", "*:", "*", "::80", ":http", ":65536", "*:1:2", ":+1"] {
            parse_listen(bad).expect_err(bad);
        }
    }
}
