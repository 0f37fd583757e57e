//! `watm completions`: the script with which a shell completes the command line.
//!
//! The script is made of the command line's own description, so that it has every option.
//! Knows no command, and nothing of what one does.

use clap::{ArgGroup, Command};
use clap_complete::aot::{Bash, Fish, Generator, Zsh};

use crate::args::{Args, CompletionsArgs, Shell};
use crate::terminal::failure::Failure;
use crate::terminal::output;

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    match args.shell {
        Shell::Bash => print(Bash),
        Shell::Fish => print(Fish),
        Shell::Zsh => print(Zsh),
    }
}

fn print(shell: impl Generator) -> Result<(), Failure> {
    let mut command = visible(&Args::described());
    command.set_bin_name("watm");
    command.build();
    output::write(|out| shell.try_generate(&command, out))
}

/// A command without what its help does not show either. The generators know no such thing.
fn visible(command: &Command) -> Command {
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .cloned()
        .collect();
    let groups = command.get_groups().map(|group| {
        let members = group.get_args();
        let members = members.filter(|id| arguments.iter().any(|one| one.get_id() == *id));
        ArgGroup::new(group.get_id().clone())
            .args(members.cloned())
            .multiple(true)
    });
    let subcommands = command.get_subcommands();
    let subcommands = subcommands.filter(|command| !command.is_hide_set());
    let mut copy = Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .groups(groups.collect::<Vec<_>>())
        .subcommands(subcommands.map(visible))
        .args(arguments);
    if let Some(version) = command.get_version() {
        copy = copy.version(version.to_owned());
    }
    copy
}
