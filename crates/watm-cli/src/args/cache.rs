//! `watm cache`.

use super::CacheDirectoryArgs;

/// Show or clear the compiled modules that are kept on disk
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows or clears the compiled modules that are kept on disk.\n\n\
        A module is compiled when it is first used and kept, so that later starts are quick. What \
        is kept for another version of watm or another processor is never used. Altogether it \
        takes 512 MiB at most; what was not used for longest goes first.",
    after_help = "\
Examples:
  watm cache            where, how many, how large, when last used
  watm cache --clear    remove all; running programs are not disturbed"
)]
pub(crate) struct CacheArgs {
    /// Remove all of them
    #[arg(long)]
    pub(crate) clear: bool,

    #[command(flatten)]
    pub(crate) directory: CacheDirectoryArgs,
}
