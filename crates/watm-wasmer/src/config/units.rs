//! Times and sizes as they are written in configuration files.
//!
//! Not the crates `humantime` and `bytesize`: the one takes `1M` for a month, and the other `1K`
//! for 1,000 bytes.

use std::str::FromStr;
use std::time::Duration;

/// Longer than anybody waits, and far below what would overflow a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// The unit of linear memory. No module works with less.
const PAGE: u64 = 65536;

const TIMES: &str = "expected a number and a unit, such as \"500ms\", \"1.5s\", \"2m\" or \"1h\"";
const SIZES: &str =
    "expected a number and a unit, such as \"64KiB\", \"1.5MiB\" or \"2GiB\", or a number of bytes";

/// A time: a number with up to nine decimals, and `ms`, `s`, `m` or `h`. At most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A time of more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositiveTime(pub(crate) Duration);

/// The idle time before a peer is probed: nothing for no probes, or from one second to nine hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Idle(pub(crate) Option<Duration>);

/// A size in bytes: a number, with decimals if they make whole bytes, and `B`, `KiB`, `MiB` or
/// `GiB` for powers of 1,024, or `K`, `M` or `G`, which are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A size of at least one page of linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemorySize(pub(crate) u64);

/// Splits a text into a number, which is given in parts of a thousand millionth, and a unit.
fn split(text: &str) -> Option<(u128, &str)> {
    const DECIMALS: usize = 9;
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, decimals) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (number, ""),
    };
    // A longer number does not fit once it is multiplied.
    if whole.is_empty() || whole.len() > 20 || decimals.len() > DECIMALS || decimals.contains('.') {
        return None;
    }
    let digits = format!("{whole}{decimals:0<DECIMALS$}");
    Some((digits.parse().ok()?, unit))
}

const PARTS: u128 = 1_000_000_000;

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text).ok_or(TIMES)?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 3600 * 1000,
            "" => return Err(format!("the unit is missing; {TIMES}")),
            _ => return Err(TIMES.into()),
        };
        // In parts of a thousand millionth of a millisecond, at most 30 + 7 digits.
        let nanoseconds = number * milliseconds / (PARTS / 1_000_000);
        u64::try_from(nanoseconds)
            .ok()
            .map(Duration::from_nanos)
            .filter(|time| *time <= LONGEST)
            .map(Self)
            .ok_or_else(|| "the maximum is one year (\"8760h\")".into())
    }
}

impl FromStr for PositiveTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Time(Duration::ZERO) => Err("the time must be more than 0".into()),
            Time(time) => Ok(Self(time)),
        }
    }
}

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Time(time) = text.parse()?;
        if time.is_zero() {
            return Ok(Self(None));
        }
        if time < Duration::from_secs(1) || time > Duration::from_secs(9 * 3600) {
            return Err("it must be from \"1s\" to \"9h\", or \"0s\" for no probes".into());
        }
        Ok(Self(Some(time)))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text).ok_or(SIZES)?;
        let shift = match unit {
            "" | "B" => 0,
            "K" | "KiB" => 10,
            "M" | "MiB" => 20,
            "G" | "GiB" => 30,
            _ => return Err(SIZES.into()),
        };
        let parts = number << shift;
        if parts % PARTS != 0 {
            return Err("this is not a whole number of bytes".into());
        }
        u64::try_from(parts / PARTS)
            .map(Self)
            .map_err(|_| "the number is too large".into())
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Size(size) if size < PAGE => {
                Err("it must be at least one page of 65536 bytes (\"64KiB\")".into())
            }
            Size(size) => Ok(Self(size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<Duration, String> {
        text.parse().map(|Time(time)| time)
    }

    fn size(text: &str) -> Result<u64, String> {
        text.parse().map(|Size(size)| size)
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(time("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("0.25ms"), Ok(Duration::from_micros(250)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time("8760h"), Ok(LONGEST));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        for bad in [
            "",
            "s",
            "10",
            "-1s",
            "+1s",
            "1 s",
            "1S",
            "1.s",
            ".5s",
            "1.2.3s",
            "1e3s",
            "8761h",
            "1.0000000001s",
            "99999999999999999999h",
            "999999999999999999999h",
            "1M",
            "1d",
        ] {
            time(bad).expect_err(bad);
        }
        assert!(time("10").expect_err("no unit").contains("unit is missing"));
        "0ms".parse::<PositiveTime>().expect_err("nothing");
    }

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        assert_eq!(size("1234"), Ok(1234));
        assert_eq!(size("12B"), Ok(12));
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("1.5MiB"), Ok(3 << 19));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "K",
            "-1",
            "1 M",
            "1MB",
            "1T",
            "0.3KiB",
            "1.5",
            "18446744073709551616",
            "17179869184G",
            "99999999999999999999G",
        ] {
            size(bad).expect_err(bad);
        }
        "65535".parse::<MemorySize>().expect_err("less than a page");
        assert_eq!("64K".parse(), Ok(MemorySize(65536)));
    }

    #[test]
    fn no_probes_are_a_time_of_nothing() {
        assert_eq!("0s".parse(), Ok(Idle(None)));
        assert_eq!("1s".parse(), Ok(Idle(Some(Duration::from_secs(1)))));
        for bad in ["999ms", "10h", "off"] {
            bad.parse::<Idle>().expect_err(bad);
        }
    }
}
