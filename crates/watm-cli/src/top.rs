//! `watm top`: asks a running command again and again what it does, and shows that.

mod fetch;
mod screen;
mod table;
mod terminal;
mod view;

use std::io::{self, IsTerminal as _};

use crate::args::TopArgs;
use crate::terminal::failure::Failure;
use crate::terminal::output;

pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    // Whoever asks for the wrong address hears so before a screen is drawn.
    let first = fetch::fetch(&args.address).map_err(|error| {
        let message = format!("nothing to watch at {}", args.address);
        let hint = "start the command that serves with `--metrics ADDR`, and name the same address";
        Failure::because(message, error).hint(hint)
    })?;
    if args.json {
        return output::json(&first);
    }
    if args.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return output::print(&table::text(&first));
    }
    terminal::run(args, first)
}
