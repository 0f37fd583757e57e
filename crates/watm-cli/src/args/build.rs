//! `watm build`.

use std::path::PathBuf;

use super::CacheDirectoryArgs;
use super::value::Language;

/// Build the module of a project
#[derive(Debug, clap::Args)]
#[command(
    long_about = BUILD_ABOUT,
    after_help = "\
Examples:
  watm build
  watm build mytransport -o /srv/modules/mytransport.wasm
  CC=clang-19 watm build mytransport"
)]
pub(crate) struct BuildArgs {
    /// Directory of the project
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,

    /// Language of the project [default: what its files say]
    #[arg(long, value_name = "LANGUAGE", value_enum)]
    pub(crate) lang: Option<Language>,

    /// File to write [default: NAME.wasm in the directory of the project]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Build for debugging: without optimisations, and with the names of functions
    #[arg(long)]
    pub(crate) debug: bool,

    #[command(flatten)]
    pub(crate) cache: CacheDirectoryArgs,

    /// Compile the module for the check alone and do not store the result
    #[arg(long, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
}

const BUILD_ABOUT: &str = "\
Builds the module of a project, with the compiler of its language, and checks it as `watm inspect` \
does.

  Cargo.toml  Rust: cargo, for wasm32-wasip1
  go.mod      Go: version 1.24 or later, for wasip1/wasm
  *.c         C: clang with wasi-libc, or zig; with watm/watm.c, if it is there

The environment variables CARGO and RUSTC, GO and CC choose another compiler. Use -v to see the \
commands that run. If a compiler is missing, the message says how to install it.";
