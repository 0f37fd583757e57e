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
    #[arg(long, conflicts_with = "inherit_stdio")]
    pub(crate) json: bool,

    /// Exit with code 1 for warnings, and for checks that could not be made
    #[arg(long)]
    pub(crate) strict: bool,

    /// Module at the other end of the connection, in place of the module itself
    #[arg(long, value_name = "MODULE")]
    pub(crate) peer: Option<PathBuf>,

    /// Configuration of the module at the other end, in place of that of --config
    #[arg(long, value_name = "FILE")]
    pub(crate) peer_config: Option<PathBuf>,

    /// Size of the largest transfer, from 16K to 256M, in bytes or with a suffix: K (2^10), M (2^20)
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = parse_size)]
    pub(crate) size: u64,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = size::parse(text)?;
    if (16 << 10..=256 << 20).contains(&size) {
        Ok(size)
    } else {
        Err("it must be from 16K to 256M".into())
    }
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

Everything runs in this process and on the loopback interface, and takes some seconds for each \
role. The module is connected to itself in the opposite role: what a dialer makes of the bytes, a \
listener of the same module turns back. --peer names another module for that. The connections that \
the module asks for while it is set up lead to that partner, whatever their addresses, and the one \
that it uses is checked. A relay is tried with plain clients, and then with dialers. A module that \
passes bytes through unchanged needs no partner. If the two ends need different configurations, give the other \
end's with --peer-config, and check one role at a time with --role.

A rule that is broken is an error, a warning or a note. An error breaks the transport for its users. \
A warning breaks it on other hosts, under load or with time. The report says what was seen, what is \
asked and how to mend it. docs/authors.md explains each rule.

The exit code is 0 if the module passes. It is 1 if there is an error; with --strict, also if there \
is a warning, or if a check could not be made. It is 2 if the command line makes no sense. It is 3 \
if the module could not be checked: a file cannot be read, or is no module; the module does not have \
the role; the machine lacks something. Then standard error says why, and the report is missing or \
incomplete.

With --json, standard output is a single JSON object. Its fields are stable: later versions may \
add fields and rules but never change or remove them.

  format     number: 1
  file       string: the path as given
  sha256     string: 64 lower-case hexadecimal digits
  roles      array of \"dialer\", \"fixed-dialer\", \"listener\", \"relay\"
  ok         boolean: whether the exit code is 0
  errors, warnings, notes  numbers: how many checks found a rule broken
  skipped    number: how many checks could not be made
  checks     array of objects: rule, role (or null), status (\"passed\", \"broken\", \"skipped\"), \
severity (\"error\", \"warning\", \"note\"), seen; if broken also asks, remedy; if measured also pauses
  pauses     object, of the rule \"pauses\": what the module computed between two calls to the host
    stretches, pauses  numbers: how many there were, and how many of them were pauses
    median, longest    numbers: seconds of a stretch
    total              number: seconds of all pauses
    computed, run      numbers: seconds of all stretches, and of the whole run
    share_of_computed, share_of_run  numbers from 0 to 1: total / computed, total / run
    over_100_ms        number: how many stretches were longer than 0.1 seconds";
