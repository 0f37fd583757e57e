//! The configuration file of a command that runs for long.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Where the settings come from that are not on the command line.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ConfigFileArgs {
    /// Configuration file, in TOML or in the JSON form of the Go runtime
    ///
    /// It names the module, the addresses and the settings. Options on the command line replace
    /// what it says. `watm config check FILE` shows what it says.
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,

    /// The tunnel of the configuration file, if it has several
    #[arg(long, value_name = "NAME", requires = "config_file")]
    pub(crate) tunnel: Option<String>,

    /// The names of the options that are on the command line.
    #[arg(skip)]
    pub(crate) given: Vec<String>,
}

impl ConfigFileArgs {
    /// Notes which options are on the command line.
    pub(super) fn note(&mut self, matches: &ArgMatches) {
        let ids = matches.ids().map(|id| id.as_str());
        let given = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        self.given = given.map(str::to_owned).collect();
    }

    /// Whether an option is on the command line.
    pub(crate) fn is_given(&self, option: &str) -> bool {
        self.given.iter().any(|given| given == option)
    }
}
