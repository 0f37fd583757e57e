//! The result: a table for people, or JSON for programs.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use serde::Serialize;
use watm_wasmer::TransportModule;

use super::measure::Pair;
use crate::failure::printable;
use crate::hex::hex;

/// The version of the JSON form: a new one only if a program that reads the old would be misled.
const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    BytesPerSecond,
    Seconds,
    Bytes,
    Count,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: &'static str,
    /// Bytes of one write, read or message, where there is one.
    size: Option<usize>,
    unit: Unit,
    /// Over raw TCP, where that has the same.
    tcp: Option<f64>,
    module: f64,
    /// The module's number by that of raw TCP.
    ratio: Option<f64>,
}

impl Row {
    /// The quantiles of samples that were taken side by side.
    pub(super) fn compared(
        name: &'static str,
        size: Option<usize>,
        unit: Unit,
        samples: &Pair,
        part: f64,
    ) -> Self {
        let (plain, through) = (samples.plain.at(part), samples.through.at(part));
        Self::new(name, size, unit, Some(plain), through)
    }

    pub(super) fn new(
        name: &'static str,
        size: Option<usize>,
        unit: Unit,
        tcp: Option<f64>,
        module: f64,
    ) -> Self {
        Self {
            name,
            size,
            unit,
            tcp,
            module,
            ratio: tcp.filter(|tcp| *tcp > 0.0).map(|tcp| module / tcp),
        }
    }
}

/// All that is shown. The JSON form is this, field by field; `watm bench --help` documents it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: u32,
    module: String,
    sha256: String,
    /// Whether the module's own listener stood at the far end.
    paired: bool,
    cores: usize,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(path: &Path, module: &TransportModule, paired: bool, rows: Vec<Row>) -> Self {
        Self {
            format: FORMAT,
            module: path.display().to_string(),
            sha256: hex(module.sha256()),
            paired,
            cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
            rows,
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let route = if self.paired {
            "dialer -> listener -> peer: both ends run the module"
        } else {
            "dialer -> peer: one end runs the module"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "module        {}", printable(&self.module));
        let _ = writeln!(text, "route         {route}");
        let _ = writeln!(text, "machine       {} cores, loopback", self.cores);
        let _ = writeln!(
            text,
            "\n{:<18}{:>8}{:>14}{:>14}{:>9}",
            "", "bytes", "raw TCP", "module", "ratio"
        );
        for row in &self.rows {
            let size = row.size.map(|size| size.to_string()).unwrap_or_default();
            let tcp = row.tcp.map(|tcp| shown(tcp, row.unit)).unwrap_or_default();
            let ratio = row
                .ratio
                .map(|ratio| format!("{ratio:.2}"))
                .unwrap_or_default();
            let line = format!(
                "{:<18}{size:>8}{tcp:>14}{:>14}{ratio:>9}",
                row.name,
                shown(row.module, row.unit)
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::BytesPerSecond => format!("{:.1} MB/s", value / 1e6),
        Unit::Seconds if value < 1e-3 => format!("{:.1} us", value * 1e6),
        Unit::Seconds => format!("{:.2} ms", value * 1e3),
        Unit::Bytes => format!("{:.1} kB", value / 1e3),
        Unit::Count => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_fits() {
        assert_eq!(shown(1.5e9, Unit::BytesPerSecond), "1500.0 MB/s");
        assert_eq!(shown(0.000_012_3, Unit::Seconds), "12.3 us");
        assert_eq!(shown(0.012_3, Unit::Seconds), "12.30 ms");
        assert_eq!(shown(150_000.0, Unit::Bytes), "150.0 kB");
        assert_eq!(shown(3.0, Unit::Count), "3.0");
    }

    #[test]
    fn a_ratio_needs_something_to_compare_with() {
        let ratio = |tcp| Row::new("x", None, Unit::Seconds, tcp, 3.0).ratio;
        assert_eq!(ratio(Some(2.0)), Some(1.5));
        assert_eq!(ratio(Some(0.0)), None);
        assert_eq!(ratio(None), None);
    }
}
