//! The command line: its commands and options, and the help that explains them.
//!
//! What an option's text means is decided in the files of this folder, one for each kind of
//! value, so that what makes no sense is refused before anything is done.

// Comments on options are the help that is printed: brackets in them are no links.
#![allow(rustdoc::broken_intra_doc_links)]

mod address;
mod directory;
mod duration;
mod file;
mod hash;
mod size;
mod variable;

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use watm_wasmer::{AddressEntry, Nat64Prefix};

pub(crate) use directory::Directory;
pub(crate) use file::GivenFile;
pub(crate) use hash::Hash;
pub(crate) use variable::Variable;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "watm",
    version,
    max_term_width = 100,
    about = "Carries traffic through WebAssembly Transport Modules (WATM v1)",
    long_about = "Carries traffic through WebAssembly Transport Modules (WATM v1).\n\n\
        A transport module is a WebAssembly file that implements a network transport: an \
        obfuscation, an encryption, a protocol wrapper. It runs in a sandbox and reaches nothing \
        that it was not given. `watm` puts plain TCP on one side of it and the transformed \
        bytes on the other.",
    after_help = TOP_EXAMPLES
)]
pub(crate) struct Args {
    /// Log more to standard error: -v what happens, -vv details, -vvv everything
    ///
    /// Warnings and errors are always logged. The environment variable RUST_LOG, if it is set,
    /// decides instead (for example RUST_LOG=watm=debug).
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 900)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const TOP_EXAMPLES: &str = "\
Examples:
  watm inspect plain.wasm               what a module can do, and what is wrong with it
  watm demo plain.wasm                  a file travels through it and comes out whole
  watm listen --module plain.wasm --listen 0.0.0.0:7000 --forward 127.0.0.1:80
  watm dial --module plain.wasm --remote server:7000 --listen 127.0.0.1:8080

The last two make a tunnel: a browser at http://127.0.0.1:8080 reaches port 80 of the server,
and what crosses the network is what the module makes of it.

Exit codes: 0 success, 1 failure, 2 wrong usage.
`watm COMMAND --help` explains each command.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(InspectArgs),
    Dial(DialArgs),
    DialFixed(DialFixedArgs),
    Listen(ListenArgs),
    Relay(RelayArgs),
    Demo(DemoArgs),
    Bench(BenchArgs),
    Cache(CacheArgs),
}

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

/// Connect to a server through a module
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Connect to a server through a module.\n\n\
        With --listen, every plain TCP connection that is accepted there is dialled through the \
        module, and bytes are copied both ways until both directions have ended.\n\n\
        Without --listen, standard input and output are the connection, as with netcat: the end \
        of standard input shuts down writing, and what still arrives is printed. A module \
        without half-close ends the whole transport at the end of either direction, so that the \
        answer may be cut off: see --keep-open.",
    after_help = "\
Examples:
  A local port that leads through the module to server:7000:
    watm dial --module plain.wasm --remote server:7000 --listen 127.0.0.1:8080

  One connection on standard input and output:
    printf 'GET / HTTP/1.0\\r\\n\\r\\n' | watm dial --module plain.wasm --remote server:7000 --keep-open

  A module with a configuration file, pinned to its hash:
    watm dial --module xor.wasm --sha256 9f86d0... --config key.txt --remote server:7000

  A module that finds the certificates of authorities where it looks for them:
    watm dial --module tls.wasm --file ca.pem:/etc/ssl/certs/ca.pem --remote server:443"
)]
pub(crate) struct DialArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    /// The server to dial, HOST:PORT or [IPV6]:PORT; of several addresses the first that answers
    #[arg(long, value_name = "HOST:PORT", value_parser = address::parse)]
    pub(crate) remote: String,

    #[command(flatten)]
    pub(crate) accept: AcceptArgs,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Connect to a server that the module chooses
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Connect to a server that the module chooses, as far as the address policy \
        allows it.\n\n\
        Otherwise this is like `watm dial`: with --listen, every plain TCP connection that is \
        accepted there is carried; without, standard input and output are the connection.",
    after_help = "\
Examples:
  watm dial-fixed --module fixed.wasm --config servers.txt --allow example.com:443
  watm dial-fixed --module fixed.wasm --listen 127.0.0.1:8080 --allow '*:443' --deny 10.0.0.0/8
  watm dial-fixed --module fixed.wasm --allow-all --deny 127.0.0.0/8 --deny ::1"
)]
pub(crate) struct DialFixedArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    #[command(flatten)]
    pub(crate) accept: AcceptArgs,

    #[command(flatten)]
    pub(crate) policy: RequiredPolicyArgs,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Accept connections, unwrap them through a module and forward them
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Accept connections, unwrap them through a module and forward them.\n\n\
        With --forward, what comes out of each connection goes to a plain TCP server, and its \
        answers go back, until both directions have ended.\n\n\
        Without --forward, the first connection whose transport is set up is carried on standard \
        input and output, and the command ends with it.",
    after_help = "\
Examples:
  In front of a web server:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --forward 127.0.0.1:80

  Receive one file:
    watm listen --module plain.wasm --listen 0.0.0.0:7000 --quiet > file

  On a port that the system chooses, which the first line of output names:
    watm listen --module plain.wasm --listen 127.0.0.1:0 --forward 127.0.0.1:80

  On all addresses of this machine, IPv4 and IPv6:
    watm listen --module plain.wasm --listen :7000 --forward 127.0.0.1:80"
)]
pub(crate) struct ListenArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    /// Where to listen (repeatable): HOST:PORT, [IPV6]:PORT, or :PORT for all addresses of this
    /// machine; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", required = true, value_parser = address::parse_listen)]
    pub(crate) listen: Vec<String>,

    /// The plain TCP server that gets what comes out, HOST:PORT or [IPV6]:PORT; of several
    /// addresses the first that answers
    #[arg(long, value_name = "HOST:PORT", value_parser = address::parse)]
    pub(crate) forward: Option<String>,

    /// The most connections that are carried at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4096, requires = "forward",
        value_parser = count())]
    pub(crate) max_connections: u32,

    /// Without --forward: the end of standard input does not shut down writing
    ///
    /// For modules without half-close, which would end the transport before the answer came.
    #[arg(long, conflicts_with = "forward")]
    pub(crate) keep_open: bool,

    /// Print no `listening` lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) handshakes: HandshakeArgs,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Accept connections and pass each on through a module to a remote
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Accept connections and pass each on through a module to a remote.\n\n\
        The remote is the one given with --remote, or one that the module chooses as far as \
        the address policy allows it.",
    after_help = "\
Examples:
  watm relay --module plain.wasm --listen 0.0.0.0:7000 --remote server:7000
  watm relay --module chooser.wasm --listen 0.0.0.0:7000 --allow '*.example.com:443'"
)]
pub(crate) struct RelayArgs {
    /// The module
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,

    /// Where to listen (repeatable): HOST:PORT, [IPV6]:PORT, or :PORT for all addresses of this
    /// machine; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", required = true, value_parser = address::parse_listen)]
    pub(crate) listen: Vec<String>,

    /// The remote to dial, HOST:PORT or [IPV6]:PORT; of several addresses the first that answers
    #[arg(long, value_name = "HOST:PORT", value_parser = address::parse,
        required_unless_present_any = ["allow", "allow_all"])]
    pub(crate) remote: Option<String>,

    /// Print no `listening` lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// The most connections that are carried at the same time; more wait in the system's queue
    #[arg(long, value_name = "COUNT", default_value_t = 4096, value_parser = count())]
    pub(crate) max_connections: u32,

    #[command(flatten)]
    pub(crate) policy: PolicyArgs,

    #[command(flatten)]
    pub(crate) handshakes: HandshakeArgs,

    #[command(flatten)]
    pub(crate) stock: StockArgs,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

/// Send a file through a module and back, and show that it comes out whole
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Send a file through a module and back, and show that it comes out whole.\n\n\
        In this one process, a listener unwraps connections and forwards them to a plain TCP \
        server, a dialer connects to it through the module, and the file travels there and \
        then back, over real sockets of this machine. The hashes of what went in and of what \
        came out on each side are printed, and how the first bytes looked on the wire between \
        the dialer and the listener.\n\n\
        The exit code is 0 if what came out is what went in.",
    after_help = "\
Examples:
  watm demo plain.wasm
  watm demo plain.wasm --size 1G
  watm demo xor.wasm --config key.txt --send photo.jpg"
)]
pub(crate) struct DemoArgs {
    /// The module, which has to be a dialer and a listener
    pub(crate) module: PathBuf,

    /// Bytes to make a file of; K, M and G stand for 2^10, 2^20 and 2^30
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse,
        conflicts_with = "send")]
    pub(crate) size: u64,

    /// The file to send, instead of one of random bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) send: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}

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

/// Instances that are ready before there is a connection, for the commands that run for long.
#[derive(Debug, clap::Args)]
pub(crate) struct StockArgs {
    /// Instances of the module that are kept ready for new connections; 0 for none
    ///
    /// They have run the module's init, so that a connection only has to dial. Each takes about
    /// as much as an idle connection. Where standard input and output are the connection there
    /// are none.
    #[arg(long, value_name = "COUNT", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(0..=1024), help_heading = "Limits")]
    pub(crate) stock: u16,
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

/// Where plain connections come from, for the commands that dial.
#[derive(Debug, clap::Args)]
pub(crate) struct AcceptArgs {
    /// Accept plain TCP connections here and dial for each (repeatable): HOST:PORT, [IPV6]:PORT, or
    /// :PORT for all addresses of this machine; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", value_parser = address::parse_listen)]
    pub(crate) listen: Vec<String>,

    /// With --listen: the most connections that are carried at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 2048, requires = "listen",
        value_parser = count())]
    pub(crate) max_connections: u32,

    /// Without --listen: the end of standard input does not shut down writing
    ///
    /// For modules without half-close, which would end the transport before the answer came.
    #[arg(long, conflicts_with = "listen")]
    pub(crate) keep_open: bool,

    /// With --listen: print no `listening` lines
    #[arg(short, long, requires = "listen")]
    pub(crate) quiet: bool,
}

/// Which addresses a module may choose.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Addresses that the module may choose (repeatable)")]
pub(crate) struct PolicyArgs {
    /// Allow these: [tcp4://|tcp6://]HOST[:PORT], where HOST is a name, *.NAME, an IP address, a
    /// CIDR block or *
    #[arg(long, value_name = "ENTRY")]
    pub(crate) allow: Vec<AddressEntry>,

    /// Deny these, whatever else is allowed; an IPv4 address also where it is mapped into IPv6, or
    /// carried by NAT64, 6to4 or Teredo
    #[arg(long, value_name = "ENTRY")]
    pub(crate) deny: Vec<AddressEntry>,

    /// Allow all that is not denied, this machine and its network included
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// A prefix of NAT64 beside 64:ff9b::/96: its addresses count as the IPv4 addresses that they
    /// carry
    #[arg(long, value_name = "PREFIX")]
    pub(crate) nat64_prefix: Vec<Nat64Prefix>,
}

/// Which addresses a module may choose, where it can do nothing without.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Addresses that the module may choose (repeatable)")]
pub(crate) struct RequiredPolicyArgs {
    /// Allow these: [tcp4://|tcp6://]HOST[:PORT], where HOST is a name, *.NAME, an IP address, a
    /// CIDR block or *
    #[arg(long, value_name = "ENTRY", required_unless_present = "allow_all")]
    pub(crate) allow: Vec<AddressEntry>,

    /// Deny these, whatever else is allowed; an IPv4 address also where it is mapped into IPv6, or
    /// carried by NAT64, 6to4 or Teredo
    #[arg(long, value_name = "ENTRY")]
    pub(crate) deny: Vec<AddressEntry>,

    /// Allow all that is not denied, this machine and its network included
    #[arg(long)]
    pub(crate) allow_all: bool,

    /// A prefix of NAT64 beside 64:ff9b::/96: its addresses count as the IPv4 addresses that they
    /// carry
    #[arg(long, value_name = "PREFIX")]
    pub(crate) nat64_prefix: Vec<Nat64Prefix>,
}

/// What is asked of a module file before it is loaded.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The module file")]
pub(crate) struct LoadArgs {
    /// Refuse the module unless its file has this SHA-256
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<Hash>,

    /// Refuse a module file of more than this many bytes
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse)]
    pub(crate) max_module_size: u64,

    /// Give up compiling the module after this long (such as 500ms, 3s, 2m, 1h)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse_positive)]
    pub(crate) compile_timeout: Duration,

    #[command(flatten)]
    pub(crate) cache: CacheDirectoryArgs,

    /// Compile the module each time, and keep nothing
    #[arg(long, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
}

/// Where compiled modules are kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CacheDirectoryArgs {
    /// Keep compiled modules in this directory [default: watm in $XDG_CACHE_HOME or ~/.cache]
    ///
    /// Only the user may be able to write it, since what is found there is run.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

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

/// How many transports may be in set-up, for the commands that accept through a module.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct HandshakeArgs {
    /// The most accepted connections whose handshake is in progress; one more drops the oldest
    ///
    /// The time that a relay takes to connect to its remote does not count.
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = count())]
    pub(crate) handshake_limit: u32,
}

/// What every command gives a transport: its surroundings, its time and its limits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TransportArgs {
    /// The module's configuration, which it reads as /conf/watm.cfg; up to 16 MiB
    #[arg(long, value_name = "FILE", help_heading = "What the module is given")]
    pub(crate) config: Option<PathBuf>,

    /// An environment variable for the module, NAME=VALUE (repeatable)
    #[arg(long, value_name = "K=V", help_heading = "What the module is given")]
    pub(crate) env: Vec<Variable>,

    /// An argument for the module (repeatable)
    #[arg(
        long,
        value_name = "X",
        allow_hyphen_values = true,
        help_heading = "What the module is given"
    )]
    pub(crate) arg: Vec<String>,

    /// A directory for the module: read-only, or with :rw also for writing (repeatable)
    ///
    /// GUEST is the absolute path that the module sees it under; it may be /, beside others below
    /// it.
    #[arg(
        long,
        value_name = "HOST:GUEST[:rw]",
        help_heading = "What the module is given"
    )]
    pub(crate) dir: Vec<Directory>,

    /// A file for the module, which is read once and then kept in memory, read-only (repeatable)
    ///
    /// GUEST is the absolute path that the module sees it under, such as /etc/ssl/certs/ca.pem. Up
    /// to 64 files of 64 MiB together.
    #[arg(
        long,
        value_name = "HOST:GUEST",
        help_heading = "What the module is given"
    )]
    pub(crate) file: Vec<GivenFile>,

    /// Give the module the standard streams of this command, in place of log lines (-v)
    ///
    /// Not possible where standard input and output are the connection.
    #[arg(long, help_heading = "What the module is given")]
    pub(crate) inherit_stdio: bool,

    /// How long one outgoing connection may take (such as 500ms, 3s, 2m, 1h)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse_positive,
        help_heading = "Time")]
    pub(crate) connect_timeout: Duration,

    /// How long the whole set-up of a transport may take, its handshake included
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse_positive,
        help_heading = "Time")]
    pub(crate) handshake_timeout: Duration,

    /// How long a transport has to end once it is closed, also when the command is told to stop
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse,
        help_heading = "Time")]
    pub(crate) close_grace: Duration,

    /// How long the last bytes may take to leave when a transport has ended
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse,
        help_heading = "Time")]
    pub(crate) drain_timeout: Duration,

    /// After how long without a byte a peer is asked whether it is still there; never with 0s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse,
        help_heading = "Time")]
    pub(crate) keepalive: Duration,

    /// Memory that one connection's instance of the module may use, in bytes
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = size::parse_memory,
        help_heading = "Limits")]
    pub(crate) memory_limit: u64,

    /// Descriptors that one connection's instance of the module may have
    #[arg(long, value_name = "COUNT", default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(3..=480), help_heading = "Limits")]
    pub(crate) descriptor_limit: u16,
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}

impl Args {
    /// Reads the command line of this process.
    pub(crate) fn from_command_line() -> Result<Self, clap::Error> {
        Self::try_parse().and_then(Self::checked)
    }

    /// Refuses what only the options together can tell.
    fn checked(self) -> Result<Self, clap::Error> {
        let (name, on_stdio) = match &self.command {
            Command::Dial(args) => (
                "dial",
                args.transport.inherit_stdio && args.accept.listen.is_empty(),
            ),
            Command::DialFixed(args) => (
                "dial-fixed",
                args.transport.inherit_stdio && args.accept.listen.is_empty(),
            ),
            Command::Listen(args) => (
                "listen",
                args.transport.inherit_stdio && args.forward.is_none(),
            ),
            _ => return Ok(self),
        };
        if !on_stdio {
            return Ok(self);
        }
        let mut command = Self::command();
        // So that the usage line printed is that of the command concerned.
        command.build();
        let command = command
            .find_subcommand_mut(name)
            .map_or_else(Self::command, |found| found.clone());
        let other = if name == "listen" {
            "--forward"
        } else {
            "--listen"
        };
        let message = format!(
            "--inherit-stdio needs {other}: without it, standard input and output are the \
             connection, and what the module prints would get into it"
        );
        let mut command = command;
        Err(command.error(ErrorKind::ArgumentConflict, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace()).and_then(Args::checked)
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let args = parse("watm dial --module m --remote h:1").expect("a command line");
        let Command::Dial(args) = args.command else {
            panic!("{args:?}");
        };
        assert_eq!(args.load.max_module_size, 64 << 20);
        assert_eq!(args.load.compile_timeout, Duration::from_secs(60));
        assert_eq!(args.transport.memory_limit, 256 << 20);
        assert_eq!(args.transport.close_grace, Duration::from_secs(3));
        assert_eq!(args.transport.keepalive, Duration::from_secs(60));
        assert_eq!(args.transport.connect_timeout, Duration::from_secs(10));
        assert_eq!(args.accept.max_connections, 2048);
    }

    #[test]
    fn a_module_may_not_print_into_the_connection() {
        for line in [
            "watm dial --module m --remote h:1 --inherit-stdio",
            "watm dial-fixed --module m --allow-all --inherit-stdio",
            "watm listen --module m --listen h:1 --inherit-stdio",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2);
            assert!(
                error.to_string().contains("--inherit-stdio needs"),
                "{error}"
            );
        }
        for line in [
            "watm dial --module m --remote h:1 --inherit-stdio --listen h:2",
            "watm listen --module m --listen h:1 --inherit-stdio --forward h:2",
            "watm relay --module m --listen h:1 --inherit-stdio --remote h:2",
        ] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn a_relay_and_a_fixed_dialer_need_somewhere_to_go() {
        for line in [
            "watm relay --module m --listen h:1",
            "watm relay --module m --listen h:1 --deny h:2",
            "watm dial-fixed --module m",
            "watm dial-fixed --module m --deny h:2",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2);
        }
        for line in [
            "watm relay --module m --listen h:1 --allow 10.0.0.0/8",
            "watm relay --module m --listen h:1 --allow-all",
            "watm dial-fixed --module m --allow a:1 --allow b:2",
        ] {
            parse(line).expect(line);
        }
    }

    #[test]
    fn there_may_be_several_addresses_to_listen_on() {
        let line = "watm dial --module m --remote h:1 --listen :1 --listen [::1%lo]:2 --quiet";
        let Command::Dial(args) = parse(line).expect(line).command else {
            panic!("not dial");
        };
        assert_eq!(args.accept.listen, [":1", "[::1%lo]:2"]);
        for line in [
            "watm listen --module m --listen *:1 --listen h:2",
            "watm relay --module m --remote h:1 --listen :1 --listen h:2",
            "watm dial-fixed --module m --allow-all --listen :1 --listen h:2",
        ] {
            parse(line).expect(line);
        }
        for line in [
            "watm listen --module m",
            "watm relay --module m --remote h:1",
            "watm dial --module m --remote :1",
            "watm listen --module m --listen :1 --forward :2",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2);
        }
    }

    #[test]
    fn an_argument_of_the_module_may_begin_with_a_hyphen() {
        let line = "watm dial --module m --remote h:1 --arg --verbose --arg -x";
        let Command::Dial(args) = parse(line).expect(line).command else {
            panic!("not dial");
        };
        assert_eq!(args.transport.arg, ["--verbose", "-x"]);
    }
}
