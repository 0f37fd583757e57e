//! `watm inspect`.

use std::path::PathBuf;

use super::LoadArgs;

/// Show what a module is, what it can do and what is wrong with it
#[derive(Debug, clap::Args)]
#[command(
    long_about = INSPECT_ABOUT,
    after_help = "\
Examples:
  watm inspect plain.wasm
  watm inspect plain.wasm --json | jq -r .sha256"
)]
pub(crate) struct InspectArgs {
    /// The module: a .wasm file, or a .wat file in text format
    pub(crate) module: PathBuf,

    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

const INSPECT_ABOUT: &str = "\
Shows what a module is, what it can do and what is wrong with it.

The file is read, checked against the WATM v1 interface and compiled. None of its code runs. If \
the module has problems, they are listed and the exit code is 1. A file that is not a WebAssembly \
module is an error and produces no output.

With --json, standard output is a single JSON object. Its fields are stable: later versions may \
add fields but never change or remove them.

  format     number: 1
  file       string: the path as given
  name       string or null: the name in the module's own name section
  size       number: the size of the file in bytes
  sha256     string: 64 lower-case hexadecimal digits
  signature  null or object: key (16 hexadecimal digits), trusted_comment; null without --trusted-key
  ok         boolean: whether the module is free of problems
  interface  string or null: \"watm-v1\" if the module follows the interface
  roles      array of \"dialer\", \"fixed-dialer\", \"listener\", \"relay\"
  memory     null or object: min_pages, max_pages (number or null), in pages of 64 KiB
  extensions array of objects: name (\"watm_ext_aead_v1\": the host encrypts for the module) and
             hindrance (string, or null: why this runtime cannot give it to the module)
  producers  array of objects: field, name, version (the module's toolchain)
  imports    array of objects: module, name, kind and the fields of that kind
  exports    array of objects: name, kind and the fields of that kind
  problems   array of strings

A kind is \"function\" (with params and results, arrays of \"i32\", \"i64\", \"f32\", \"f64\", \
\"v128\", \"funcref\", \"externref\"), \"memory\" (with min_pages, max_pages, shared, memory64), \
\"table\", \"global\" or \"tag\".";
