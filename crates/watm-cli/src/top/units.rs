//! Amounts and times in few characters, for tables.

use std::time::Duration;

/// `812 B`, `1.2 kB`, `34.0 MB`: in powers of 1000.
pub(super) fn amount(bytes: f64) -> String {
    let mut value = if bytes.is_finite() {
        bytes.max(0.0)
    } else {
        0.0
    };
    let mut units = ["kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = "B";
    // What would be rounded to 1000.0 has the next unit.
    while value >= 999.95
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" {
        return format!("{value:.0} B");
    }
    format!("{value:.1} {unit}")
}

/// `4s`, `3m12s`, `2h05m`, `3d04h`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_that_fits() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (812.4, "812 B"),
            (999.96, "1.0 kB"),
            (1_234.0, "1.2 kB"),
            (999_960.0, "1.0 MB"),
            (34e6, "34.0 MB"),
            (7e9, "7.0 GB"),
            (2e12, "2.0 TB"),
            (3e18, "3000.0 PB"),
            (-1.0, "0 B"),
            (f64::NAN, "0 B"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }

    #[test]
    fn times_have_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (192, "3m12s"),
            (7500, "2h05m"),
            (273_600, "3d04h"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }
}
