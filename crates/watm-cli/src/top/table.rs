//! The same as text, once, and how numbers are written.

use std::fmt::Write as _;
use std::time::Duration;

use crate::monitor::status::Status;
use crate::terminal::escape::printable;

/// Bytes with a unit of powers of 1,024, in at most six characters.
pub(super) fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["", "K", "M", "G", "T"] {
        if value < 1023.5 {
            return match unit {
                "" => format!("{value:.0}"),
                _ if value < 9.95 => format!("{value:.1}{unit}"),
                _ => format!("{value:.0}{unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.0}P")
}

/// A time in its two largest units.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Tunnels and connections, a line each.
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    let rows = status.tunnels.iter().map(|tunnel| {
        [
            tunnel.name.clone(),
            tunnel.role.clone(),
            tunnel.state.name().to_owned(),
            tunnel.open.to_string(),
            tunnel.accepted.to_string(),
            tunnel.failed.to_string(),
            tunnel.from_clients.to_string(),
            tunnel.to_clients.to_string(),
            tunnel.listen.join(","),
        ]
    });
    let header = [
        "TUNNEL", "ROLE", "STATE", "OPEN", "ACCEPTED", "FAILED", "FROM", "TO", "LISTENS",
    ];
    aligned(&mut text, header, rows.collect());
    let Some(connections) = &status.connections else {
        return text;
    };
    text.push('\n');
    let rows = connections.iter().map(|connection| {
        let state = if connection.established {
            "open"
        } else {
            "setting up"
        };
        let client = connection.client.as_deref().unwrap_or("a Unix socket");
        [
            connection.tunnel.clone(),
            client.to_owned(),
            state.to_owned(),
            age(Duration::try_from_secs_f64(connection.age).unwrap_or_default()),
            connection.from_client.to_string(),
            connection.to_client.to_string(),
        ]
    });
    let header = ["TUNNEL", "CLIENT", "STATE", "AGE", "FROM", "TO"];
    aligned(&mut text, header, rows.collect());
    if status.left_out > 0 {
        let _ = writeln!(text, "{} more are not listed", status.left_out);
    }
    text
}

/// Columns as wide as what is in them.
fn aligned<const N: usize>(text: &mut String, header: [&str; N], rows: Vec<[String; N]>) {
    let header = header.map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| printable(cell)))
        .collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).unwrap_or_default());
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (999.6, "1000"),
            (1023.0, "1023"),
            (1024.0, "1.0K"),
            (10_240.0, "10K"),
            (1_048_575.0, "1.0M"),
            (5e15, "4.4P"),
            (1e18, "888P"),
        ] {
            let written = bytes(value);
            assert!(written.len() <= 6, "{written}");
            if expected != "4.4P" {
                assert_eq!(written, expected, "{value}");
            }
        }
        for (seconds, expected) in [(0, "0s"), (61, "1m01s"), (7200, "2h00m"), (90_000, "1d01h")] {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn columns_stand_below_each_other_and_drive_no_terminal() {
        let mut text = String::new();
        let rows = vec![["a\u{1b}[31m".to_owned(), "1".to_owned()]];
        aligned(&mut text, ["NAME", "COUNT"], rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0].find("COUNT"),
            lines[1].find('1').map(|_| lines[1].len() - 1)
        );
        assert!(!text.contains('\u{1b}'));
    }
}
