//! Where a running command shows its numbers: what its `--metrics` names, or the address in its log.

use watm_wasmer::ListenAddress;

pub(crate) fn parse(text: &str) -> Result<ListenAddress, String> {
    let plain = text.strip_prefix("http://").map(|rest| {
        let end = rest.find('/').unwrap_or(rest.len());
        &rest[..end]
    });
    let expected = "expected HOST:PORT, unix:/PATH or unix:@NAME";
    if text.starts_with("fd:") {
        return Err(format!(
            "{expected}: a descriptor is not where others connect to"
        ));
    }
    plain
        .unwrap_or(text)
        .parse()
        .map_err(|error| format!("{error}; {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_the_option_or_of_the_log() {
        for (text, address) in [
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("http://127.0.0.1:9464/metrics", "127.0.0.1:9464"),
            ("http://[::1]:80", "[::1]:80"),
            (":9464", ":9464"),
            ("unix:/run/watm/metrics", "unix:/run/watm/metrics"),
            ("unix:@watm", "unix:@watm"),
        ] {
            let parsed = parse(text).expect(text);
            assert_eq!(parsed.as_str(), address);
        }
        for bad in ["", "9464", "fd:3", "https://a:1/", "host", "unix:"] {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains("expected HOST:PORT"), "{bad}: {error}");
        }
    }
}
