//! The first lines of a command that listens: where, a line for each address. Programs that start
//! the command wait for them, so they are flushed, and nothing of this program comes before them on
//! standard output.

use std::net::SocketAddr;

use super::failure::Failure;
use super::output;

pub(crate) fn announce(addresses: &[SocketAddr], quiet: bool) -> Result<(), Failure> {
    let mut lines = String::new();
    for address in addresses {
        log::info!("listening on {address}");
        lines.push_str(&format!("listening {address}\n"));
    }
    if quiet {
        return Ok(());
    }
    output::print(&lines)
}
