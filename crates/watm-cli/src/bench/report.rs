//! The report: a table for people, or JSON for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use serde::Serialize;
use watm_wasmer::TransportModule;

use super::measure::Pair;
use crate::args::BenchGroup as Group;
use crate::terminal::escape::printable;

/// The version of the JSON format. It changes only if programs that read the old one would be
/// misled.
const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    BytesPerSecond,
    PerSecond,
    Seconds,
    Bytes,
    Count,
    PerMegabyte,
    SecondsPerGigabyte,
    Share,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(skip)]
    pub(super) group: Group,
    pub(super) name: &'static str,
    /// Bytes per write, read or message, if applicable.
    pub(super) size: Option<usize>,
    /// Connections that were open, transferred or were closed, if there was more than one.
    pub(super) connections: Option<usize>,
    pub(super) unit: Unit,
    /// The same over raw TCP or through a plain relay, if applicable.
    tcp: Option<f64>,
    module: f64,
    /// The module's number divided by that of raw TCP.
    pub(super) ratio: Option<f64>,
}

impl Group {
    /// The heading of its rows.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::OneWay => "one direction",
            Self::BothWays => "both directions at once",
            Self::RoundTrips => "round trips",
            Self::Relay => "`watm relay`, compared with a relay that only copies",
            Self::Command => "`watm dial --listen`, compared with a relay that only copies",
            Self::SetUp => "setting up",
            Self::Many => "many connections",
            Self::Cost => "cost",
            Self::Idle => "idle connection",
        }
    }
}

impl Unit {
    /// Whether larger numbers are better.
    pub(super) fn more_is_better(self) -> bool {
        match self {
            Self::BytesPerSecond | Self::PerSecond | Self::Share => true,
            Self::Seconds
            | Self::Bytes
            | Self::Count
            | Self::PerMegabyte
            | Self::SecondsPerGigabyte => false,
        }
    }
}

impl Row {
    pub(super) fn new(group: Group, name: &'static str, unit: Unit, module: f64) -> Self {
        Self {
            group,
            name,
            size: None,
            connections: None,
            unit,
            tcp: None,
            module,
            ratio: None,
        }
    }

    /// Compares a quantile of samples that were taken in turn.
    pub(super) fn compared(
        group: Group,
        name: &'static str,
        unit: Unit,
        samples: &Pair,
        part: f64,
    ) -> Self {
        let (plain, through) = (samples.plain.at(part), samples.through.at(part));
        Self::new(group, name, unit, through).beside(plain)
    }

    pub(super) fn size(self, size: usize) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }

    pub(super) fn connections(self, connections: usize) -> Self {
        Self {
            connections: Some(connections),
            ..self
        }
    }

    /// Adds the number of raw TCP or of the plain relay.
    pub(super) fn beside(self, tcp: f64) -> Self {
        Self {
            tcp: Some(tcp),
            ratio: (tcp > 0.0).then(|| self.module / tcp),
            ..self
        }
    }

    fn line(&self) -> String {
        let whole = |number: Option<usize>| number.map(|number| number.to_string());
        let value = |value| shown(value, self.unit);
        let line = format!(
            "  {:<24}{:>7}{:>7}{:>14}{:>14}{:>8}",
            self.name,
            whole(self.size).unwrap_or_default(),
            whole(self.connections).unwrap_or_default(),
            self.tcp.map(value).unwrap_or_default(),
            value(self.module),
            self.ratio.map(ratio).unwrap_or_default()
        );
        line.trim_end().to_owned()
    }
}

/// Everything that is shown. The JSON format has these fields; `watm bench --help` documents them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: u32,
    pub(super) module: String,
    sha256: String,
    /// Whether the module's own listener was at the far end.
    paired: bool,
    cores: usize,
    pub(super) rows: Vec<Row>,
    /// What was left out or done differently, and why.
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(
        path: &Path,
        module: &TransportModule,
        paired: bool,
        rows: Vec<Row>,
        notes: Vec<String>,
    ) -> Self {
        Self {
            format: FORMAT,
            module: path.display().to_string(),
            sha256: module.sha256().to_string(),
            paired,
            cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
            rows,
            notes,
        }
    }

    /// A report for a module that does not exist.
    #[cfg(test)]
    pub(super) fn of_rows(module: &str, rows: Vec<Row>) -> Self {
        Self {
            format: FORMAT,
            module: module.to_owned(),
            sha256: String::new(),
            paired: false,
            cores: 1,
            rows,
            notes: Vec::new(),
        }
    }

    pub(super) fn route(&self) -> &'static str {
        if self.paired {
            "dialer -> listener -> peer: both ends run the module"
        } else {
            "dialer -> peer: one end runs the module"
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "module        {}", printable(&self.module));
        let _ = writeln!(text, "route         {}", self.route());
        let _ = writeln!(text, "machine       {} cores, loopback", self.cores);
        let _ = writeln!(
            text,
            "\n{:<26}{:>7}{:>7}{:>14}{:>14}{:>8}",
            "", "bytes", "conns", "raw TCP", "module", "ratio"
        );
        for rows in self.rows.chunk_by(|one, next| one.group == next.group) {
            if let Some(first) = rows.first() {
                let _ = writeln!(text, "{}", first.group.heading());
            }
            for row in rows {
                let _ = writeln!(text, "{}", row.line());
            }
        }
        if !self.notes.is_empty() {
            text.push_str("\nnotes\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {}", printable(note));
        }
        text
    }
}

pub(super) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::BytesPerSecond => format!("{:.1} MB/s", value / 1e6),
        Unit::PerSecond => format!("{value:.0} /s"),
        Unit::Seconds if value < 1e-3 => format!("{:.1} us", value * 1e6),
        Unit::Seconds => format!("{:.2} ms", value * 1e3),
        Unit::Bytes => format!("{:.1} kB", value / 1e3),
        Unit::Count => format!("{value:.1}"),
        Unit::PerMegabyte => format!("{value:.1} /MB"),
        Unit::SecondsPerGigabyte => format!("{value:.2} s/GB"),
        Unit::Share => format!("{:.1} %", value * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_fits() {
        assert_eq!(shown(1.5e9, Unit::BytesPerSecond), "1500.0 MB/s");
        assert_eq!(shown(12_345.6, Unit::PerSecond), "12346 /s");
        assert_eq!(shown(0.000_012_3, Unit::Seconds), "12.3 us");
        assert_eq!(shown(0.012_3, Unit::Seconds), "12.30 ms");
        assert_eq!(shown(-150_000.0, Unit::Bytes), "-150.0 kB");
        assert_eq!(shown(3.0, Unit::Count), "3.0");
        assert_eq!(shown(61.04, Unit::PerMegabyte), "61.0 /MB");
        assert_eq!(shown(1.234, Unit::SecondsPerGigabyte), "1.23 s/GB");
        assert_eq!(shown(0.834, Unit::Share), "83.4 %");
    }

    #[test]
    fn a_ratio_needs_something_to_compare_with() {
        let row = || Row::new(Group::OneWay, "x", Unit::Seconds, 3.0);
        assert_eq!(row().beside(2.0).ratio, Some(1.5));
        assert_eq!(row().beside(0.0).ratio, None);
        assert_eq!(row().ratio, None);
    }
}
