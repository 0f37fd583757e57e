//! `watm config`.

use std::path::PathBuf;

use clap::Subcommand;

/// Check a configuration file
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Checks configuration files, in TOML or in the JSON form of the Go runtime.",
    after_help = "\
Examples:
  watm config check watm.toml
  watm config check water.json
  watm listen --config-file watm.toml --tunnel web"
)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with a configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show what a configuration file would run, and what is wrong with it
    ///
    /// Nothing is run, compiled or bound: modules are only inspected. A file whose name ends in
    /// .json, or that begins with `{`, is a configuration of the Go runtime; any other is TOML.
    ///
    /// The exit code is 1 if anything is wrong. Warnings alone are no failure.
    Check {
        /// The configuration file
        file: PathBuf,
    },
}
