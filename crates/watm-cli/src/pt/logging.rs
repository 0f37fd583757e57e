//! Log lines as tor reads them: `LOG SEVERITY=.. MESSAGE=".."` on standard output.

use log::{Level, Record};

use super::lines::quoted;
use super::scrub::scrubbed;
use crate::args::LogArgs;
use crate::terminal::logging::start_with;

/// Starts logging, with the levels and the limit of other commands.
pub(crate) fn start(args: &LogArgs, with_addresses: bool) {
    start_with(args, move |record| line(record, with_addresses));
}

fn line(record: &Record<'_>, with_addresses: bool) -> String {
    let severity = match record.level() {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "notice",
        Level::Debug | Level::Trace => "debug",
    };
    let message = record.args().to_string();
    let message = if with_addresses {
        message
    } else {
        scrubbed(&message)
    };
    format!("LOG SEVERITY={severity} MESSAGE={}\n", quoted(&message))
}
