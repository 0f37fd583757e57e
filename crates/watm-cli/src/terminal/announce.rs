//! The first lines of a command that listens: one for each address. Programs that start the command
//! wait for these lines, so they are flushed and come first on standard output.

use super::escape::printable;
use super::failure::Failure;
use super::output;

pub(crate) fn announce<'a>(
    addresses: impl IntoIterator<Item = &'a str>,
    quiet: bool,
) -> Result<(), Failure> {
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

/// The same for the tunnels of a file, with their names.
pub(crate) fn announce_tunnels(addresses: &[(String, String)], quiet: bool) -> Result<(), Failure> {
    let mut lines = String::new();
    for (name, address) in addresses {
        log::info!("tunnel `{name}`: listening on {address}");
        lines.push_str(&format!("listening {} {address}\n", printable(name)));
    }
    if quiet || lines.is_empty() {
        return Ok(());
    }
    output::print(&lines)
}
