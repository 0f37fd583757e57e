//! `watm verify`.

use std::path::PathBuf;

use watm_wasmer::ModuleHash;

use super::TrustArgs;
use super::value::size;

/// Verify signatures and hashes of modules and manifests, without running anything
#[derive(Debug, clap::Args)]
#[command(
    long_about = VERIFY_ABOUT,
    after_help = "\
Examples:
  minisign -Sm plain.wasm                     sign a module (of the package minisign)
  watm verify plain.wasm --trusted-key minisign.pub
  watm verify modules.toml --trusted-key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
  watm verify modules.toml --trust-manifest   the manifest is your own, what it names is not"
)]
pub(crate) struct VerifyArgs {
    /// The files: modules, or manifests (.toml)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    /// Reject the file unless it has this SHA-256
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<ModuleHash>,

    /// Take manifests at their word if no key and no hash is given
    #[arg(long, conflicts_with_all = ["trusted_key", "sha256"])]
    pub(crate) trust_manifest: bool,

    /// Maximum size of each file, in bytes or with a suffix: K, M, G
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse)]
    pub(crate) max_module_size: u64,

    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

const VERIFY_ABOUT: &str = "\
Verifies signatures and hashes of modules and manifests, and says what vouches for each.

A file holds if it has the hash of --sha256 and if one of the trusted keys has signed it, whichever \
of the two is given. If neither is given, nothing vouches for the file, and it does not hold. What \
does not hold is not parsed. What holds is parsed, and its roles are shown. Nothing is compiled or \
run.

A manifest names modules, with the hash or the keys that vouch for each (the type Manifest of the \
library watm-wasmer documents the format). The keys and the hash of the command line vouch for the \
manifest, and the manifest's own keys and hashes for the modules that it names. The modules must \
offer the roles that the manifest says. With --trust-manifest, the manifest needs nothing to vouch \
for it: use this for manifests that you have written.

The exit code is 0 if everything holds, and otherwise 1.

With --json, standard output is a single JSON object. Its fields are stable: later versions may \
add fields but never change or remove them.

  format     number: 1
  ok         boolean: whether everything holds
  files      array of objects, one for each file:
    file       string: the path as given
    kind       \"module\", \"manifest\" or null if the file does not hold
    ok         boolean: whether the file, and what it names, holds
    size       number or null: in bytes
    sha256     string or null: 64 lower-case hexadecimal digits
    pinned     boolean: whether this hash was demanded
    signature  null or object: key (16 hexadecimal digits), trusted_comment
    roles      array of \"dialer\", \"fixed-dialer\", \"listener\", \"relay\": what a module offers
    modules    array of objects, for each module that a manifest names: name, file, ok, size, \
sha256, pinned, signature, roles, config (null or object: file, pinned), problems
    problems   array of strings";
