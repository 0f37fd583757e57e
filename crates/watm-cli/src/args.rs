//! The command line: commands, options and their help.
//!
//! Knows what a user may write, and rejects everything else before any work is done. Must never
//! know how a command does its work.

// Comments on options are the help text. Brackets in them are not links.
#![allow(rustdoc::broken_intra_doc_links)]

mod bench;
mod build;
mod cache;
mod check;
mod completions;
mod config;
mod config_file;
mod confine;
mod demo;
mod dial;
mod inspect;
mod load;
mod log;
mod metrics;
mod new;
mod policy;
mod pt;
mod run;
mod serve;
mod top;
mod transport;
mod trust;
mod value;
mod verify;

use std::ffi::OsString;
use std::fmt::Display;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches as _, Parser, Subcommand};

pub(crate) use bench::{BenchArgs, BenchGroup, BenchPart};
pub(crate) use build::BuildArgs;
pub(crate) use cache::CacheArgs;
pub(crate) use check::CheckArgs;
pub(crate) use completions::{CompletionsArgs, ManArgs, Shell};
pub(crate) use config::{ConfigArgs, ConfigCommand};
pub(crate) use config_file::ConfigFileArgs;
pub(crate) use confine::{Confine, ConfineArgs};
pub(crate) use demo::DemoArgs;
pub(crate) use dial::{AcceptArgs, DialArgs, DialFixedArgs};
pub(crate) use inspect::InspectArgs;
pub(crate) use load::{CacheDirectoryArgs, LoadArgs};
pub(crate) use log::{LogArgs, LogFormat};
pub(crate) use metrics::MetricsArgs;
pub(crate) use new::NewArgs;
pub(crate) use policy::PolicyArgs;
pub(crate) use pt::{PtArgs, ServerArg, TransportName};
pub(crate) use run::DaemonArgs;
pub(crate) use serve::{ListenArgs, RelayArgs};
pub(crate) use top::TopArgs;
pub(crate) use transport::{RunArgs, TransportArgs};
pub(crate) use trust::TrustArgs;
pub(crate) use value::{KeyOrFile, Language, ProjectName};
pub(crate) use verify::VerifyArgs;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "watm",
    version,
    max_term_width = 100,
    about = "Carry traffic through WebAssembly Transport Modules (WATM v1)",
    long_about = "Carries traffic through WebAssembly Transport Modules (WATM v1).\n\n\
        A transport module is a WebAssembly file that implements a network transport: obfuscation, \
        encryption or a protocol wrapper. It runs in a sandbox and can reach only what you give \
        it. `watm` connects plain TCP on one side of the module to the transformed bytes on the \
        other.",
    after_help = TOP_EXAMPLES
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) log: LogArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const TOP_EXAMPLES: &str = "\
Examples:
  watm new mytransport                  make a project for a module of your own
  watm build mytransport                build the module of a project
  watm inspect plain.wasm               show what a module can do, and its problems
  watm verify plain.wasm --trusted-key minisign.pub   check who has signed it
  watm check plain.wasm                 run it, and report how it behaves
  watm demo plain.wasm                  send a file through it and back, and compare
  watm listen --module plain.wasm --listen 0.0.0.0:7000 --forward 127.0.0.1:80
  watm dial --module plain.wasm --remote server:7000 --listen 127.0.0.1:8080
  watm run watm.toml                    run all tunnels of a configuration file
  watm top unix:/run/watm/metrics       show the tunnels of a command with --metrics

`listen` and `dial` form a tunnel: a browser at http://127.0.0.1:8080 reaches port 80 of the
server, and the network carries only what the module makes of the traffic.

Exit codes: 0 success, 1 failure, 2 usage error.
Run `watm COMMAND --help` for details on a command.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(NewArgs),
    Build(BuildArgs),
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Check(CheckArgs),
    Dial(DialArgs),
    DialFixed(DialFixedArgs),
    Listen(ListenArgs),
    Relay(RelayArgs),
    Pt(PtArgs),
    Run(DaemonArgs),
    Top(TopArgs),
    Demo(DemoArgs),
    Bench(BenchArgs),
    Config(ConfigArgs),
    Cache(CacheArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// The arguments that a command gets from these options, with the defaults of the command line.
pub(crate) fn of_options<A: clap::Args>(options: Vec<OsString>) -> Result<A, clap::Error> {
    let command = A::augment_args(clap::Command::new("watm").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(options)?)
}

impl Args {
    /// The command line, for descriptions of it.
    pub(crate) fn described() -> clap::Command {
        Self::command()
    }

    /// Reads the command line of this process.
    pub(crate) fn from_command_line() -> Result<Self, clap::Error> {
        Self::parsed(std::env::args_os())
    }

    /// Reads another command line.
    pub(crate) fn parsed(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(line)?;
        let mut args = Self::from_arg_matches(&matches)?;
        let file = match &mut args.command {
            Command::Dial(args) => Some(&mut args.source),
            Command::DialFixed(args) => Some(&mut args.source),
            Command::Listen(args) => Some(&mut args.serve.source),
            Command::Relay(args) => Some(&mut args.serve.source),
            _ => None,
        };
        if let (Some(file), Some((_, matches))) = (file, matches.subcommand()) {
            file.note(matches);
        }
        args.checked()
    }

    /// Rejects combinations of options that clap cannot express.
    fn checked(self) -> Result<Self, clap::Error> {
        match &self.command {
            Command::Listen(args) => args.check()?,
            Command::Pt(_) if self.log.log_format != LogFormat::Text => {
                let message = "--log-format is for other commands: tor reads what this one logs";
                return Err(Self::conflict("pt", message));
            }
            _ => {}
        }
        let (name, on_stdio) = match &self.command {
            Command::Dial(args) => (
                "dial",
                args.run.transport.inherit_stdio
                    && args.accept.is_stdio()
                    && args.source.config_file.is_none(),
            ),
            Command::DialFixed(args) => (
                "dial-fixed",
                args.run.transport.inherit_stdio
                    && args.accept.is_stdio()
                    && args.source.config_file.is_none(),
            ),
            Command::Listen(args) => (
                "listen",
                args.run.transport.inherit_stdio
                    && args.forward.is_none()
                    && !args.open_proxy
                    && args.serve.source.config_file.is_none(),
            ),
            Command::Verify(args) => {
                let for_one = args.sha256.is_some() || args.trust.signature.is_some();
                if for_one && args.files.len() > 1 {
                    let message = "--sha256 and --signature are those of one file: verify the \
                                   others in another run";
                    return Err(Self::conflict("verify", message));
                }
                return Ok(self);
            }
            _ => return Ok(self),
        };
        if !on_stdio {
            return Ok(self);
        }
        let other = if name == "listen" {
            "--forward"
        } else {
            "--listen"
        };
        let message = format!(
            "--inherit-stdio needs {other}: without it, standard input and output are the \
             connection, and the module's output would mix with it"
        );
        Err(Self::conflict(name, message))
    }

    /// An error about the options of a command.
    fn conflict(name: &str, message: impl Display) -> clap::Error {
        let mut command = Self::command();
        // The usage line that is printed is then that of this command.
        command.build();
        let command = command.find_subcommand_mut(name);
        let mut command = command.map_or_else(Self::command, |found| found.clone());
        command.error(ErrorKind::ArgumentConflict, message)
    }
}

#[cfg(test)]
mod tests;
