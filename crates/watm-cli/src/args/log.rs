//! What is logged, and how.

use clap::{ArgAction, ValueEnum};

/// Log lines on standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Log more to standard error: -v for events, -vv for details, -vvv for everything
    ///
    /// Warnings and errors are always logged. --log takes precedence, and the environment variable
    /// RUST_LOG before it, if it is set.
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 900)]
    pub(crate) verbose: u8,

    /// Levels to log, in the syntax of RUST_LOG (for example watm=info,watm::module=debug)
    #[arg(long, value_name = "LEVELS", global = true, display_order = 901,
        value_parser = levels)]
    pub(crate) log: Option<String>,

    /// The form of log lines
    #[arg(long, value_name = "FORMAT", global = true, display_order = 902, value_enum,
        default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// Maximum number of lines of one kind within ten seconds; 0 for no limit
    ///
    /// Lines of one kind come from the same place of the program. A line then says how many were
    /// left out. Lines of -vv and -vvv are not limited.
    #[arg(
        long,
        value_name = "COUNT",
        global = true,
        display_order = 903,
        default_value_t = 100
    )]
    pub(crate) log_limit: u32,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; as journald if standard error is connected to the journal of systemd
    Text,
    /// An object for each line, with timestamp, level, target and message
    Json,
    /// The priority of syslog in angle brackets before the message, without the time
    Journald,
}

/// Checks what the logger would only complain about.
fn levels(text: &str) -> Result<String, String> {
    match env_filter::Builder::new().try_parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; expected LEVEL or TARGET=LEVEL with commas between them, with the levels \
             off, error, warn, info, debug and trace"
        )),
    }
}
