//! Durations: a whole number and a unit, such as `500ms`, `3s`, `2m` or `1h`.
//!
//! The crate `humantime` would also accept months, written `M`: a mistyped minute would then be a
//! month.

use std::time::Duration;

/// Longer than anybody waits, and far below what would overflow a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "" if !number.is_empty() => {
            return Err("the unit is missing; expected ms, s, m or h".into());
        }
        _ => return Err("expected a whole number and a unit, such as 500ms, 3s, 2m or 1h".into()),
    };
    if number.is_empty() {
        return Err("expected a whole number and a unit, such as 500ms, 3s, 2m or 1h".into());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "the maximum is one year (8760h)".into())
}

pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("the time must be more than 0".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse("8760h"), Ok(LONGEST));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for bad in [
            "",
            "3",
            "s",
            "ms",
            "-1s",
            "+1s",
            "1.5s",
            "3 s",
            "3S",
            "3sec",
            "s3",
            "8761h",
            "18446744073709551615h",
            "99999999999999999999s",
        ] {
            parse(bad).expect_err(bad);
        }
        assert!(parse("3").expect_err("no unit").contains("unit is missing"));
        parse_positive("0ms").expect_err("zero");
        assert_eq!(parse_positive("1ms"), Ok(Duration::from_millis(1)));
    }
}
