//! What a run took, whether that is within its limits, and the table of all runs.

use std::time::Duration;

use crate::case::Limits;
use crate::child::{End, Ended};

const MEBIBYTE: u64 = 1 << 20;

/// What a run took.
pub(crate) struct Report {
    pub(crate) outcome: String,
    pub(crate) processor: Duration,
    /// Peak memory beyond that for an ordinary module, in bytes.
    pub(crate) peak: u64,
    /// Length of the longest line, in characters.
    pub(crate) line: usize,
    /// Number of bytes written to both streams.
    pub(crate) written: u64,
    pub(crate) limit: String,
    /// Everything that is wrong.
    pub(crate) faults: Vec<String>,
}

impl Report {
    /// Reports what an ended command took, beyond the baseline of its memory.
    pub(crate) fn of(ended: &Ended, baseline: u64, limits: &Limits) -> Self {
        let mut report = Self {
            outcome: ended.end.to_string(),
            processor: ended.processor,
            peak: ended.peak.saturating_sub(baseline),
            line: ended.stdout.longest.max(ended.stderr.longest),
            written: ended.stdout.bytes + ended.stderr.bytes,
            limit: limits.text(),
            faults: Vec::new(),
        };
        match &ended.end {
            End::Code(_) => {}
            end => report.fault(end.to_string()),
        }
        if ended.panicked() {
            report.fault("it panicked");
        }
        if report.processor > limits.processor {
            report.fault("too much processor time");
        }
        if report.peak > limits.memory {
            report.fault("too much memory");
        }
        if limits.line.is_some_and(|most| report.line > most) {
            report.fault("a line is too long");
        }
        report
    }

    /// Reports a run that came to no measurable end.
    pub(crate) fn without(fault: String) -> Self {
        Self {
            outcome: "none".into(),
            processor: Duration::ZERO,
            peak: 0,
            line: 0,
            written: 0,
            limit: String::new(),
            faults: vec![fault],
        }
    }

    pub(crate) fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Records a fault if there is one.
    pub(crate) fn expect(&mut self, result: Result<(), String>) {
        if let Err(fault) = result {
            self.faults.push(fault);
        }
    }
}

/// The first lines of the table.
pub(crate) const HEAD: &str = "\
| case | input bytes | outcome | processor s | peak MiB | longest line | written bytes | limit: time, memory, line | verdict |
| --- | ---: | --- | ---: | ---: | ---: | ---: | --- | --- |";

/// A row of the table.
pub(crate) fn row(name: &str, input: u64, report: &Report) -> String {
    let verdict = if report.faults.is_empty() {
        "ok".to_owned()
    } else {
        format!("**{}**", report.faults.join("; "))
    };
    format!(
        "| {} | {input} | {} | {:.2} | {:.1} | {} | {} | {} | {} |",
        cell(name),
        cell(&report.outcome),
        report.processor.as_secs_f64(),
        report.peak as f64 / MEBIBYTE as f64,
        report.line,
        report.written,
        report.limit,
        cell(&verdict),
    )
}

/// The text without characters that end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
