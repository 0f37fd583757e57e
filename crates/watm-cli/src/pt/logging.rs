//! Log lines as tor reads them: `LOG SEVERITY=.. MESSAGE=".."` on standard output.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::lines::{quoted, say};
use super::scrub::scrubbed;

struct ToTor {
    filter: env_filter::Filter,
    with_addresses: bool,
}

/// Starts logging, at the level that -v selects: see [`crate::terminal::logging::start`].
pub(crate) fn start(verbose: u8, with_addresses: bool) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = env_filter::Builder::new();
    builder
        .filter_level(LevelFilter::Warn)
        .filter_module("watm", level);
    let filter = builder.build();
    log::set_max_level(filter.filter());
    // Nothing was started before.
    let _ = log::set_boxed_logger(Box::new(ToTor {
        filter,
        with_addresses,
    }));
}

impl Log for ToTor {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        let severity = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "notice",
            Level::Debug | Level::Trace => "debug",
        };
        let message = record.args().to_string();
        let message = if self.with_addresses {
            message
        } else {
            scrubbed(&message)
        };
        say(format_args!(
            "LOG SEVERITY={severity} MESSAGE={}",
            quoted(&message)
        ));
    }

    fn flush(&self) {}
}
