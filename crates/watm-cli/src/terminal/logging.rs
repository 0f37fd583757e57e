//! Log lines on standard error: which are written, in which form, and how many.
//!
//! Must never know what the lines are about.

mod format;
mod limit;

use std::env;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log as _};

use self::format::Line;
use self::limit::Limited;
use crate::args::{LogArgs, LogFormat};

/// What [`tell`] writes with, unless that is plain text.
static TELLER: OnceLock<env_logger::Logger> = OnceLock::new();

/// Starts logging. RUST_LOG takes precedence if it is set, and then --log. Otherwise -v selects the
/// level of this program, its library and the modules, and everything below (the engine) logs only
/// warnings. A command that provokes failures and reports them by itself logs nothing without -v.
pub(crate) fn start(args: &LogArgs, reports_failures: bool) {
    let level = match args.verbose {
        0 if reports_failures => LevelFilter::Off,
        verbose => level(verbose),
    };
    let mut builder = filtered(args, level);
    let format = match args.log_format {
        LogFormat::Text if is_journal(io::stderr().as_fd()) => LogFormat::Journald,
        format => format,
    };
    let logger = in_form(&mut builder, format).build();
    if format != LogFormat::Text {
        let mut teller = env_logger::Builder::new();
        let teller = in_form(teller.filter_level(LevelFilter::Trace), format);
        // It is set once in a process, as is the logger.
        let _ = TELLER.set(teller.build());
    }
    log::set_max_level(logger.filter());
    let _ = log::set_boxed_logger(Box::new(Limited::new(logger, args.log_limit)));
}

/// Starts logging with another form of lines, on standard output.
pub(crate) fn start_with(
    args: &LogArgs,
    line: impl Fn(&log::Record<'_>) -> String + Send + Sync + 'static,
) {
    let logger = filtered(args, level(args.verbose))
        .target(env_logger::Target::Stdout)
        .format(move |out, record| out.write_all(line(record).as_bytes()))
        .build();
    log::set_max_level(logger.filter());
    let _ = log::set_boxed_logger(Box::new(Limited::new(logger, args.log_limit)));
}

/// The level that -v selects.
fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// A logger with the levels of RUST_LOG, of --log, or else of -v.
fn filtered(args: &LogArgs, level: LevelFilter) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    match (env::var("RUST_LOG"), &args.log) {
        (Ok(filters), _) if !filters.is_empty() => builder.parse_filters(&filters),
        (_, Some(filters)) => builder.parse_filters(filters),
        _ => builder
            .filter_level(LevelFilter::Warn)
            // The prefix covers the targets `watm`, `watm_wasmer` and `watm::module::NAME`.
            .filter_module("watm", level),
    };
    builder
}

fn in_form(builder: &mut env_logger::Builder, format: LogFormat) -> &mut env_logger::Builder {
    match format {
        LogFormat::Text => builder,
        LogFormat::Json => builder.format(|out, record| {
            let timestamp = out.timestamp_millis().to_string();
            out.write_all(&Line::of(record).json(&timestamp))
        }),
        LogFormat::Journald => {
            builder.format(|out, record| out.write_all(Line::of(record).journald().as_bytes()))
        }
    }
}

/// Writes lines that a command tells its user on standard error, whatever is logged: in text as they
/// are, or else as log lines. A failed write does not matter.
pub(crate) fn tell(level: Level, text: &str) {
    let Some(teller) = TELLER.get() else {
        let _ = io::stderr().write_all(text.as_bytes());
        return;
    };
    for line in text.lines() {
        let line = line.strip_prefix("watm: ").unwrap_or(line);
        let mut record = log::Record::builder();
        let record = record.level(level).target("watm");
        teller.log(&record.args(format_args!("{line}")).build());
    }
}

/// Whether a stream is the one that systemd has connected to its journal.
fn is_journal(stream: BorrowedFd<'_>) -> bool {
    let Ok(journal) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(metadata) = stream
        .try_clone_to_owned()
        .and_then(|fd| File::from(fd).metadata())
    else {
        return false;
    };
    journal == format!("{}:{}", metadata.dev(), metadata.ino())
}
