//! `watm completions` and `watm man`: what a package of the command has beside the program.

use std::path::PathBuf;

/// Print a script with which a shell completes commands and options
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Prints a script with which a shell completes commands and options of watm.\n\n\
        The Debian package brings it along. Otherwise, save it where the shell looks for it, and \
        start a new shell.",
    after_help = "\
Examples:
  watm completions bash > ~/.local/share/bash-completion/completions/watm
  watm completions zsh > ~/.zfunc/_watm     (with `fpath+=~/.zfunc` before `compinit`)
  watm completions fish > ~/.config/fish/completions/watm.fish"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that there is a script for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Write the manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Writes the manual pages: watm.1 and one for each command, such as \
        watm-dial.1.\n\n\
        They say what --help says. The Debian package brings them along. Files with these names \
        are replaced.",
    after_help = "\
Examples:
  watm man ~/.local/share/man/man1
  man watm-dial"
)]
pub(crate) struct ManArgs {
    /// Directory to write to, which is made if it is missing
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
