//! Byte counts and speeds, for people.

use std::time::Duration;

/// `16336 bytes`, followed by the rounded form from one KiB upwards.
pub(crate) fn count(bytes: u64) -> String {
    let rounded = |unit: u32, name: &str| {
        // The rounding error does not matter for display.
        let value = bytes as f64 / f64::from(1u32 << unit);
        format!("{bytes} bytes ({value:.1} {name})")
    };
    match bytes {
        1 => "1 byte".to_owned(),
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => rounded(10, "KiB"),
        1_048_576..1_073_741_824 => rounded(20, "MiB"),
        _ => rounded(30, "GiB"),
    }
}

/// Megabytes (of 10^6) per second.
pub(crate) fn speed(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(1e-9);
    format!("{:.1} MB/s", bytes as f64 / 1e6 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_speeds_are_readable() {
        assert_eq!(count(0), "0 bytes");
        assert_eq!(count(1), "1 byte");
        assert_eq!(count(16336), "16336 bytes (16.0 KiB)");
        assert_eq!(count(64 << 20), "67108864 bytes (64.0 MiB)");
        assert_eq!(count(3 << 30), "3221225472 bytes (3.0 GiB)");
        assert_eq!(speed(500_000_000, Duration::from_secs(2)), "250.0 MB/s");
        assert!(speed(1, Duration::ZERO).ends_with("MB/s"));
    }
}
