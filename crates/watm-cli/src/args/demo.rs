//! `watm demo`.

use std::path::PathBuf;

use super::value::size;
use super::{LoadArgs, TransportArgs};

/// Send a file through a module and back, and check that it arrives intact
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Sends a file through a module and back, and checks that it arrives intact.\n\n\
        Everything runs in this process, over real sockets of this machine. A dialer connects \
        through the module to a listener. The listener unwraps the connection and forwards it to \
        a plain TCP server. The file travels to the server and then back. The command prints the \
        hash of the file, the hashes of what arrived on each side, and the first bytes on the \
        wire between the dialer and the listener.\n\n\
        The exit code is 0 if the file arrived intact both times.",
    after_help = "\
Examples:
  watm demo plain.wasm
  watm demo plain.wasm --size 1G
  watm demo xor.wasm --config key.txt --send photo.jpg"
)]
pub(crate) struct DemoArgs {
    /// The module, which must be both a dialer and a listener
    pub(crate) module: PathBuf,

    /// Size of the random file to send, in bytes or with a suffix: K (2^10), M (2^20), G (2^30)
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse,
        conflicts_with = "send")]
    pub(crate) size: u64,

    /// Send this file instead of random bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) send: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) load: LoadArgs,

    #[command(flatten)]
    pub(crate) transport: TransportArgs,
}
