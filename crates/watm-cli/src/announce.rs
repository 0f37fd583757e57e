//! The first line of a command that listens: where. Programs that start the command wait for it,
//! so it is flushed, and nothing of this program comes before it on standard output.

use std::net::SocketAddr;

use crate::failure::Failure;
use crate::output;

pub(crate) fn announce(address: SocketAddr, quiet: bool) -> Result<(), Failure> {
    log::info!("listening on {address}");
    if quiet {
        return Ok(());
    }
    output::print(&format!("listening {address}\n"))
}
