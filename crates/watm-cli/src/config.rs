//! `watm config check`: shows what a configuration file would run, without running it.

use std::io::{self, Write};

use watm_wasmer::{Config, ModuleInfo, Role, Tunnel};

use crate::args::{ConfigArgs, ConfigCommand};
use crate::inspect::role_name;
use crate::terminal::bytes::count;
use crate::terminal::escape::printable;
use crate::terminal::failure::{Failure, chain};
use crate::terminal::output;

pub(crate) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let ConfigCommand::Check { file } = &args.command;
    let config = Config::from_file(file)?;
    let checked: Vec<_> = config.tunnels().iter().map(Tunnel::check).collect();
    let mut problems = Vec::new();
    for error in checked.iter().filter_map(|checked| checked.as_ref().err()) {
        let problem = chain(error);
        // What is wrong with a default is wrong with each tunnel.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    output::write(|out| {
        for (tunnel, checked) in config.tunnels().iter().zip(&checked) {
            write_tunnel(out, tunnel, checked.as_ref().ok())?;
        }
        list(out, "warnings", config.warnings())?;
        list(out, "problems", &problems)
    })?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

fn write_tunnel(out: &mut dyn Write, tunnel: &Tunnel, info: Option<&ModuleInfo>) -> io::Result<()> {
    let mut line = |label: &str, value: &str| writeln!(out, "{label:<17} {}", printable(value));
    if let Some(name) = tunnel.name() {
        line("tunnel", name)?;
    }
    let role = match tunnel.role() {
        Some(role) => role_name(role).to_owned(),
        None => "chosen by the command or the program".to_owned(),
    };
    line("role", &role)?;
    line("module", &tunnel.module_file().to_string_lossy())?;
    if let Some(info) = info {
        let roles: Vec<&str> = info.roles().iter().map(role_name).collect();
        let size = count(info.size());
        line("", &format!("{size}, with the roles {}", roles.join(", ")))?;
        let pinned = tunnel.sha256().map_or(" (not pinned)", |_| "");
        line("sha256", &format!("{}{pinned}", info.sha256()))?;
    }
    line("from", &source(tunnel))?;
    line("to", target(tunnel))?;
    for (key, value) in tunnel.settings() {
        line(key, &value)?;
    }
    for part in tunnel.below() {
        line("below", &part.module_file().to_string_lossy())?;
        for (key, value) in part.settings() {
            line("", &format!("{key}: {value}"))?;
        }
    }
    writeln!(out)
}

/// Where connections come from.
fn source(tunnel: &Tunnel) -> String {
    let listen: Vec<&str> = tunnel.listen().iter().map(|one| one.as_str()).collect();
    if !listen.is_empty() {
        return listen.join(", ");
    }
    let own = match tunnel.role() {
        Some(Role::Dialer | Role::FixedDialer) => "standard input and output, or a program",
        _ => "an address that is given later",
    };
    own.to_owned()
}

/// Where they go.
fn target(tunnel: &Tunnel) -> &str {
    let address = match tunnel.role() {
        Some(Role::Listener) => tunnel.forward(),
        _ => tunnel.remote(),
    };
    match (address, tunnel.role()) {
        (Some(address), _) => address.as_str(),
        (None, Some(Role::Listener)) => "standard input and output, or a program",
        (None, Some(Role::FixedDialer | Role::Relay)) => "what the module chooses",
        _ => "an address that is given later",
    }
}

fn list(out: &mut dyn Write, title: &str, lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return writeln!(out, "{title:<17} none");
    }
    writeln!(out, "{title:<17} {}", lines.len())?;
    for text in lines {
        writeln!(out, "  {}", printable(text))?;
    }
    Ok(())
}
