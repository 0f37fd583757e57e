//! `watm check`.

use std::path::PathBuf;

use clap::ValueEnum;
use watm_abi::Role;

use super::value::size;
use super::{LoadArgs, TransportArgs};

/// Check how a module behaves, in each of its roles and under load
#[derive(Debug, clap::Args)]
#[command(
    long_about = CHECK_ABOUT,
    after_help = "\
Examples:
  watm check plain.wasm
  watm check xor.wasm --config key.txt --role dialer
  watm check client.wasm --config client.json --peer server.wasm --peer-config server.json
  watm check plain.wasm --json --strict"
)]
pub(crate) struct CheckArgs {
    /// The module: a .wasm file, or a .wat file in text format
    pub(crate) module: PathBuf,

    /// Check this role alone (repeatable)
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: Vec<RoleArg>,

    /// Print a JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// Exit with code 1 for warnings too
    #[arg(long)]
    pub(crate) strict: bool,

    /// Module at the other end of the connection, in place of the module itself
    #[arg(long, value_name = "MODULE")]
    pub(crate) peer: Option<PathBuf>,

    /// Configuration of the module at the other end, in place of that of --config
    #[arg(long, value_name = "FILE")]
    pub(crate) peer_config: Option<PathBuf>,

    /// Size of the largest transfer, in bytes or with a suffix: K (2^10), M (2^20), G (2^30)
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = size::parse)]
    pub(crate) size: u64,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// A role on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    Dialer,
    FixedDialer,
    Listener,
    Relay,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Dialer => Self::Dialer,
            RoleArg::FixedDialer => Self::FixedDialer,
            RoleArg::Listener => Self::Listener,
            RoleArg::Relay => Self::Relay,
        }
    }
}

const CHECK_ABOUT: &str = "\
Runs a module and reports how it behaves.

Everything runs in this process and on the loopback interface, with about 10 seconds for each role. \
The module is connected to itself in the opposite role: what a dialer makes of the bytes, a \
listener of the same module turns back. --peer names another module for that. All connections that \
the module asks for lead to that partner, whatever their address. A module that passes bytes \
through unchanged needs no partner.

A rule that is broken is an error, a warning or a note. An error is what no host or user can live \
with. A warning is what breaks on other hosts, under load or with time. The report says what was \
seen, what is asked and how to mend it. docs/authors.md explains each rule.

The exit code is 1 if there is an error; with --strict, also if there is a warning.

With --json, standard output is a single JSON object. Its fields are stable: later versions may \
add fields and rules but never change or remove them.

  format     number: 1
  file       string: the path as given
  sha256     string: 64 lower-case hexadecimal digits
  roles      array of \"dialer\", \"fixed-dialer\", \"listener\", \"relay\"
  ok         boolean: whether the exit code is 0
  errors, warnings, notes  numbers: how many rules are broken
  checks     array of objects: rule, role (or null), status (\"passed\", \"broken\", \"skipped\"), \
severity (\"error\", \"warning\", \"note\"), seen; if broken also asks, remedy";
