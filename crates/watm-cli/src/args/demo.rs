//! `watm demo`.

use std::path::PathBuf;

use super::value::size;
use super::{LoadArgs, TransportArgs};

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
