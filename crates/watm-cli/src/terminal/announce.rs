//! The first lines of a command that listens: one for each address. Programs that start the command
//! wait for these lines, so they are flushed and come first on standard output.

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
