//! Addresses on the command line: `HOST:PORT` or `[IPV6]:PORT`. Only the form is looked at; names
//! are resolved when they are used.

pub(super) fn parse(text: &str) -> Result<String, String> {
    let expected = "expected HOST:PORT or [IPV6]:PORT";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .ok_or_else(|| format!("the port is missing; {expected}"))?,
        None => text
            .rsplit_once(':')
            .ok_or_else(|| format!("the port is missing; {expected}"))?,
    };
    if host.is_empty() {
        return Err(format!("the host is missing; {expected}"));
    }
    if host.contains(':') != text.starts_with('[') {
        return Err(format!(
            "brackets are for an IPv6 address and needed there; {expected}"
        ));
    }
    if port.parse::<u16>().is_err() || port.starts_with('+') {
        return Err("the port is not a number from 0 to 65535".into());
    }
    Ok(text.to_owned())
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
        ] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in [
            "", "host", "host:", ":80", "::1:80", "[::1]", "[::1]80", "[]:1", "[host]:1",
            "h:65536", "h:-1", "h:+1", "h:http",
        ] {
            parse(bad).expect_err(bad);
        }
    }
}
