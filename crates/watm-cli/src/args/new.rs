//! `watm new`.

use std::path::PathBuf;

use super::value::{Language, ProjectName};

/// Make a project for a module of your own
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Makes a project for a module of your own.\n\n\
        It is complete: a small transport to start from, a test, the library for authors with its \
        licence, a key to try it with, and a README.md with all steps. Nothing is fetched, then \
        or later. An existing directory is used only if it is empty.",
    after_help = "\
Examples:
  watm new mytransport
  watm new mytransport --lang go --path ~/src/mytransport"
)]
pub(crate) struct NewArgs {
    /// Name of the project and of its module: letters, digits, `-` and `_`, at most 64
    pub(crate) name: ProjectName,

    /// Language of the project
    #[arg(long, value_name = "LANGUAGE", value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,

    /// Directory to make [default: NAME in the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
}
