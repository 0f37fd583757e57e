//! The command line: its commands and options, and the help that explains them.
//!
//! What an option's text means is decided in the files of this folder, one for each kind of
//! value, so that what makes no sense is refused before anything is done.

// Comments on options are the help that is printed: brackets in them are no links.
#![allow(rustdoc::broken_intra_doc_links)]

mod bench;
mod cache;
mod demo;
mod dial;
mod inspect;
mod load;
mod policy;
mod serve;
mod transport;
mod value;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

pub(crate) use bench::{BenchArgs, BenchPart};
pub(crate) use cache::CacheArgs;
pub(crate) use demo::DemoArgs;
pub(crate) use dial::{AcceptArgs, DialArgs, DialFixedArgs};
pub(crate) use inspect::InspectArgs;
pub(crate) use load::{CacheDirectoryArgs, LoadArgs};
pub(crate) use policy::PolicyArgs;
pub(crate) use serve::{ListenArgs, RelayArgs};
pub(crate) use transport::{StockArgs, TransportArgs};
pub(crate) use value::address;

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

/// The arguments of a command that these options give, with the defaults of the command line.
pub(crate) fn of_options<A: clap::Args>(options: Vec<OsString>) -> Result<A, clap::Error> {
    let command = A::augment_args(clap::Command::new("watm").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(options)?)
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
                args.serve.transport.inherit_stdio && args.forward.is_none(),
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
mod tests;
