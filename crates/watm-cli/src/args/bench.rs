//! `watm bench`.

use std::path::PathBuf;

use super::{LoadArgs, TransportArgs};

/// Measure how fast a module is, compared with raw TCP in the same run
#[derive(Debug, clap::Args)]
#[command(
    long_about = BENCH_ABOUT,
    after_help = "\
Examples:
  watm bench plain.wasm --quick
  watm bench xor.wasm --config key.txt --plot xor.svg
  watm bench plain.wasm --only relay,command --clients 256
  watm bench plain.wasm --json | jq '.rows[] | select(.ratio < 0.8)'"
)]
pub(crate) struct BenchArgs {
    /// The module, which must be a dialer
    pub(crate) module: PathBuf,

    /// Print a JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Take fewer and smaller samples, to finish in seconds instead of minutes
    #[arg(long)]
    pub(crate) quick: bool,

    /// Run the module at both ends, even if a plain peer would do
    #[arg(long)]
    pub(crate) paired: bool,

    /// Clients that use `watm relay` and `watm dial --listen` at once, at most 1,000
    #[arg(long, value_name = "COUNT", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) clients: u16,

    /// Take only these measurements
    #[arg(long, value_name = "GROUP", value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<BenchGroup>,

    /// Also plot the ratios, as an SVG image
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Take almost no samples: for tests, which check the rows and not the numbers
    #[arg(long, hide = true, conflicts_with = "quick")]
    pub(crate) glance: bool,

    /// Run as one of the other processes of a measurement
    #[arg(long, hide = true, value_enum)]
    pub(crate) part: Option<BenchPart>,

    /// The address that this part connects to
    #[arg(long, hide = true, default_value = "")]
    pub(crate) target: String,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Measurements that belong together, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum BenchGroup {
    /// Throughput in one direction
    OneWay,
    /// Throughput in both directions at once
    BothWays,
    /// Round trips
    RoundTrips,
    /// Clients of `watm relay`
    Relay,
    /// Clients of `watm dial --listen`
    Command,
    /// Dialling, and the start of the command
    SetUp,
    /// Many connections, and what closed ones leave behind
    Many,
    /// System calls, host calls and time for each transfer
    Cost,
    /// The resources of an idle connection
    Idle,
}

/// The part that another process takes in a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BenchPart {
    /// The far end.
    Peer,
    /// The far end, behind the module's listener.
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
Measures how fast a module is on this machine, compared with raw TCP in the same run.

Traffic goes over loopback to a peer in a process of its own. Samples of the module and of raw TCP \
alternate. The report shows the median of each, and their ratio: the module's number divided by \
that of raw TCP. It covers

  throughput in one direction and in both at once, with writes and reads of several sizes
  round trips
  `watm relay` and `watm dial --listen`, compared with a relay that only copies: with one client,
    with many (--clients), and with a new one; the processor time and the resources of the process
  dialling, also while many connections are open
  what connections leave behind when they are closed
  many connections that transfer at once
  system calls and time per transfer
  the time the command takes to start
  the resources of an idle connection

A module that passes bytes through, or changes them one by one, understands a plain peer and runs \
at one end. Any other module runs at both ends, as it would in use. Its numbers then include the \
cost of a dialer and of a listener. What cannot be measured with a module is left out, and a note \
says why.

With --json, standard output is a single JSON object. Later versions may add fields and rows.

  format   number: 1
  module   string: the path as given
  sha256   string: 64 lower-case hexadecimal digits
  paired   boolean: whether the module ran at both ends
  cores    number: the cores of this machine
  rows     array of objects, described below
  notes    array of strings: what was left out or done differently, and why

A row has

  name         string
  size         number or null: bytes per write, read or message
  connections  number or null: how many were open, transferred or were closed
  unit         \"bytes_per_second\", \"per_second\", \"seconds\", \"bytes\", \"count\",
               \"per_megabyte\" (10^6 bytes), \"seconds_per_gigabyte\" (10^9 bytes)
               or \"share\" (1 is all)
  tcp          number or null: the same over raw TCP, or through a relay that only copies
               if the name begins with \"relay\" or \"command\"
  module       number
  ratio        number or null: module divided by tcp";
