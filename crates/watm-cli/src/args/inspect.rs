//! `watm inspect`.

use std::path::PathBuf;

use super::LoadArgs;

/// Show what a module is, what it can do, and what is wrong with it
#[derive(Debug, clap::Args)]
#[command(
    long_about = INSPECT_ABOUT,
    after_help = "\
Examples:
  watm inspect plain.wasm
  watm inspect plain.wasm --json | jq -r .sha256"
)]
pub(crate) struct InspectArgs {
    /// The module: a .wasm file, or a .wat file in the text format
    pub(crate) module: PathBuf,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

const INSPECT_ABOUT: &str = "\
Show what a module is, what it can do, and what is wrong with it.

The file is read, checked against the interface WATM v1 and compiled; nothing of it is run. If there \
are problems, they are listed and the exit code is 1. A file that is not a WebAssembly module at \
all is an error, without output.

With --json, standard output is one object. Its fields are stable: later versions may add fields, \
but do not change or remove any.

  format     number: 1
  file       string: the path that was given
  name       string or null: the name that the module gives itself
  size       number: bytes of the file
  sha256     string: 64 lower-case hexadecimal digits
  ok         boolean: whether there are no problems
  interface  string or null: \"watm-v1\" if the module follows the interface
  roles      array of \"dialer\", \"fixed-dialer\", \"listener\", \"relay\"
  memory     null or object: min_pages, max_pages (number or null), of 64 KiB each
  producers  array of objects: field, name, version (the module's toolchain)
  imports    array of objects: module, name, kind and what belongs to the kind
  exports    array of objects: name, kind and what belongs to the kind
  problems   array of strings

A kind is \"function\" (with params and results, arrays of \"i32\", \"i64\", \"f32\", \"f64\", \
\"v128\", \"funcref\", \"externref\"), \"memory\" (with min_pages, max_pages, shared, memory64), \
\"table\", \"global\" or \"tag\".";
