//! `watm cache`.

use super::CacheDirectoryArgs;

/// Show or clear the cache of compiled modules
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows or clears the cache of compiled modules.\n\n\
        A module is compiled when it is first used. The result is stored, so that later starts are \
        fast. It is used only by the same version of watm on the same kind of processor. The cache \
        takes at most 512 MiB. The modules that have not been used for longest are removed \
        first.",
    after_help = "\
Examples:
  watm cache            show the directory and its compiled modules
  watm cache --clear    remove them all; running programs are not affected"
)]
pub(crate) struct CacheArgs {
    /// Remove all compiled modules
    #[arg(long)]
    pub(crate) clear: bool,

    #[command(flatten)]
    pub(crate) directory: CacheDirectoryArgs,
}
