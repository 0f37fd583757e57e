//! `watm man`: the manual pages, made of the same texts as the help.
//!
//! A page has the examples of a command and its exit codes in sections of their own, where readers
//! of manuals look for them. Knows no command beyond its description.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::{Args, ManArgs};
use crate::terminal::escape::printable;
use crate::terminal::failure::Failure;
use crate::terminal::output;

/// What a page says of exit codes: those of all commands, and those that one has beside.
const EXIT_CODES: [(&str, &str); 3] = [
    ("0", "Success."),
    ("1", "Failure. A message on standard error says why."),
    ("2", "The command line makes no sense. Nothing was done."),
];

pub(crate) fn run(args: &ManArgs) -> Result<(), Failure> {
    let directory = &args.directory;
    let shown = printable(&directory.display().to_string());
    let failed = |error| Failure::because(format!("cannot write manual pages to {shown}"), error);
    fs::create_dir_all(directory).map_err(failed)?;
    let mut command = Args::described().disable_help_subcommand(true);
    command.build();
    let pages = write(&command, None, directory).map_err(failed)?;
    output::print(&format!("wrote         {pages} pages to {shown}\n"))
}

/// Writes the page of a command and those of its subcommands, and returns how many there are.
fn write(command: &Command, above: Option<&str>, directory: &Path) -> io::Result<usize> {
    let name = name(command);
    fs::write(directory.join(format!("{name}.1")), page(command, above)?)?;
    let mut pages = 1;
    let subcommands = command.get_subcommands();
    for command in subcommands.filter(|command| !command.is_hide_set()) {
        pages += write(command, Some(name), directory)?;
    }
    Ok(pages)
}

/// `watm-dial` for `watm dial`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn page(command: &Command, above: Option<&str>) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut made = Vec::new();
    man.render_name_section(&mut made)?;
    synopsis(command).to_writer(&mut made)?;
    man.render_description_section(&mut made)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut made)?;
    }
    man.render_options_section(&mut made)?;
    let mut rest = Roff::new();
    exit_status(&mut rest, command);
    if let Some(examples) = command.get_after_help() {
        after_help(&mut rest, &examples.to_string());
    }
    if let Some(above) = above {
        see_also(&mut rest, above);
    }
    let made = String::from_utf8(made).map_err(io::Error::other)?;
    // Without a date, so that the pages of a release are the same whenever they are made.
    let title = name(command).to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    let head = format!(".TH {title} 1 \"\" \"watm {version}\" \"User Commands\"\n");
    Ok([head, spaced(&made), rest.to_roff()].concat().into_bytes())
}

/// Puts a request in the place of empty lines, which separate the paragraphs of an option, and of
/// the line breaks beside them.
fn spaced(text: &str) -> String {
    let mut spaced = String::new();
    // What stands between two lines of text.
    let mut between = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line == ".br" {
            between.push(line);
            continue;
        }
        match between[..] {
            [] => {}
            [".br"] => spaced.push_str(".br\n"),
            _ => spaced.push_str(".sp\n"),
        }
        between.clear();
        spaced.push_str(line);
        spaced.push('\n');
    }
    spaced
}

/// The usage as the help has it, which names what is required, and not each option.
fn synopsis(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let usage = command.clone().render_usage().to_string();
    let forms = usage.trim_start_matches("Usage:").lines().map(str::trim);
    for (i, form) in forms.filter(|form| !form.is_empty()).enumerate() {
        if i > 0 {
            roff.control("br", []);
        }
        match form.strip_prefix(name) {
            Some(rest) => roff.text([bold(name), roman(rest)]),
            None => roff.text([roman(form)]),
        };
    }
    roff
}

fn exit_status(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["EXIT STATUS"]);
    let own = (name(command) == "watm-check").then_some(("3", "The module could not be checked."));
    for (code, text) in EXIT_CODES.into_iter().chain(own) {
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(text)]);
    }
}

/// What stands behind the options in the help: examples, which are indented and stay as they are,
/// and sentences. Empty lines are between them.
fn after_help(roff: &mut Roff, text: &str) {
    roff.control("SH", ["EXAMPLES"]);
    let text = text.trim_start_matches("Examples:").trim_matches('\n');
    for (i, part) in text.split("\n\n").enumerate() {
        let is_example = part.starts_with(' ');
        if i > 0 {
            roff.control("PP", []);
        }
        if is_example {
            roff.control("EX", []);
        }
        for line in part.lines() {
            roff.text([roman(line)]);
        }
        if is_example {
            roff.control("EE", []);
        }
    }
}

/// The page that leads here.
fn see_also(roff: &mut Roff, above: &str) {
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold(above), roman("(1)")]);
}
