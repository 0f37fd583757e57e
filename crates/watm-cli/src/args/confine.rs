//! Whether a command that runs for long gives up what it does not need.

use clap::ValueEnum;

/// Confinement.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ConfineArgs {
    /// Whether the command gives up the files, system calls and privileges that it does not need
    ///
    /// Modules run in a sandbox; this is for the case that one breaks out of it. The command then
    /// reaches only the files that the options name, can run no program, and can send no signal to
    /// others. A file that SIGHUP has read again may have been replaced, so that all of its directory
    /// can be read: keep modules in a directory of their own. docs/threat-model.md has the details.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Confine::Auto,
        help_heading = "Confinement")]
    confine: Confine,

    /// The same as --confine off: for debuggers, and for names that only a local service resolves
    #[arg(long, conflicts_with = "confine", help_heading = "Confinement")]
    no_confine: bool,
}

/// When a command is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Confine {
    /// As far as the system can, with a warning if system calls cannot be filtered
    Auto,
    /// Not at all
    Off,
    /// In all respects, or the command fails: Linux with Landlock and seccomp
    Required,
}

impl ConfineArgs {
    /// What both options say.
    pub(crate) fn when(self) -> Confine {
        if self.no_confine {
            Confine::Off
        } else {
            self.confine
        }
    }
}
