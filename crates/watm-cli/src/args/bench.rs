//! `watm bench`.

use std::path::PathBuf;

use super::{LoadArgs, TransportArgs};

/// Measure how fast a module is, beside raw TCP in the same run
#[derive(Debug, clap::Args)]
#[command(
    long_about = BENCH_ABOUT,
    after_help = "\
Examples:
  watm bench plain.wasm --quick
  watm bench xor.wasm --config key.txt --plot xor.svg
  watm bench plain.wasm --json | jq '.rows[] | select(.ratio < 0.8)'"
)]
pub(crate) struct BenchArgs {
    /// The module, which has to be a dialer
    pub(crate) module: PathBuf,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Take fewer and smaller samples: some seconds instead of some minutes
    #[arg(long)]
    pub(crate) quick: bool,

    /// Run the module at both ends, also if a plain peer would do
    #[arg(long)]
    pub(crate) paired: bool,

    /// Also draw the ratios, as an SVG image
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Take hardly any samples: for tests, which look for the rows and not for the numbers
    #[arg(long, hide = true, conflicts_with = "quick")]
    pub(crate) glance: bool,

    /// Be one of the other processes of a measurement
    #[arg(long, hide = true, value_enum)]
    pub(crate) part: Option<BenchPart>,

    /// Where that part leads to
    #[arg(long, hide = true, default_value = "")]
    pub(crate) target: String,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// What another process of a measurement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BenchPart {
    /// The far end.
    Peer,
    /// The far end, with the module's listener before it.
    PairedPeer,
    /// A relay that only copies.
    PlainRelay,
    /// `watm relay`.
    Relay,
    /// `watm dial --listen`.
    Dial,
    /// `watm dial` on standard input and output.
    DialStdio,
}

const BENCH_ABOUT: &str = "\
Measures how fast a module is on this machine, beside raw TCP in the same run.

Over loopback, to a peer that is a process of its own. Samples of the module and of raw TCP take \
turns; medians are shown, and their ratio: the module's number by that of raw TCP. What is \
measured: bytes a second in one direction and in both at once, with writes and reads of several \
sizes; round trips; the same through `watm relay` and `watm dial --listen`, beside a relay that only \
copies; dialling, also while many connections are open; what connections leave when they are \
closed; many that carry at once; system calls and time for what is carried; the start of the \
command; and what an idle connection keeps.

A module that a plain peer understands (one that passes bytes through or changes them one by one) \
runs at one end. Any other one runs at both ends, as it would in use: then its numbers hold the \
cost of a dialer and of a listener. What cannot be measured with a module is left out, and a note \
says why.

With --json, standard output is one object. Later versions may add fields and rows.

  format   number: 1
  module   string: the path that was given
  sha256   string: 64 lower-case hexadecimal digits
  paired   boolean: whether the module ran at both ends
  cores    number: of this machine
  rows     array of objects, see below
  notes    array of strings: what was left out or done otherwise, and why

A row has

  name         string
  size         number or null: bytes of a write, read or message
  connections  number or null: how many are open, carry, or were closed
  unit         \"bytes_per_second\", \"per_second\", \"seconds\", \"bytes\", \"count\", \
\"per_megabyte\" (of 10^6 bytes) or \"share\" (1 is all)
  tcp          number or null: the same over raw TCP; through a relay that only copies where the \
name begins with \"relay\" or \"command\"
  module       number
  ratio        number or null: module by tcp";
