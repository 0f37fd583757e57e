//! The first line of a command that listens: where. Programs that start the command wait for it,
//! so it is flushed, and nothing of this program comes before it on standard output.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::failure::Failure;

pub(crate) fn announce(address: SocketAddr, quiet: bool) -> Result<(), Failure> {
    log::info!("listening on {address}");
    if quiet {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening {address}")
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}
