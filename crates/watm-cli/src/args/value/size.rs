//! Sizes in bytes: a whole number, optionally followed by K, M or G (also KiB, MiB, GiB) for 2^10,
//! 2^20 and 2^30.
//!
//! The crate `bytesize` takes K, M and G for powers of 1000.

/// The unit of WebAssembly memories. No module works with less.
const PAGE: u64 = 65536;

pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        _ => return Err("expected a whole number, optionally followed by K, M or G".into()),
    };
    if number.is_empty() {
        return Err("expected a whole number, optionally followed by K, M or G".into());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "the number is too large".into())
}

pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    match parse(text)? {
        size if size < PAGE => Err(format!(
            "the size must be at least one page of {PAGE} bytes (64K)"
        )),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("1234"), Ok(1234));
        assert_eq!(parse("64K"), Ok(65536));
        assert_eq!(parse("1M"), Ok(1 << 20));
        assert_eq!(parse("1m"), Ok(1 << 20));
        assert_eq!(parse("3MiB"), Ok(3 << 20));
        assert_eq!(parse("2G"), Ok(2 << 30));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in [
            "",
            "K",
            "-1",
            "+1",
            "1.5M",
            "1 M",
            "1MB",
            "1T",
            "M1",
            "17179869184G",
            "99999999999999999999",
        ] {
            parse(bad).expect_err(bad);
        }
        parse_memory("65535").expect_err("less than a page");
        assert_eq!(parse_memory("64K"), Ok(65536));
    }
}
