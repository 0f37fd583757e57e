//! The lines on top, and the rows of both tables.
//!
//! All text is escaped here: names come from files, modules and peers, and the process may be any.

use super::history::{Idle, Picture, Rates, Shown, seconds};
use super::table::{Cell, Column, Kind, Row, Tone};
use super::units::{amount, time};
use crate::monitor::report::{Bytes, Module, Tunnel};
use crate::terminal::escape::printable;

/// What tells a tunnel from others.
pub(super) type TunnelId = (String, String);
/// What tells a connection from others.
pub(super) type ConnectionId = (u64, u64);

const fn name(title: &'static str, rank: u8) -> Column {
    let kind = Kind::Name;
    Column { title, kind, rank }
}

const fn number(title: &'static str, rank: u8) -> Column {
    let kind = Kind::Number;
    Column { title, kind, rank }
}

pub(super) const TUNNELS: [Column; 13] = [
    name("TUNNEL", 0),
    name("ROLE", 5),
    name("STATE", 2),
    number("OPEN", 1),
    number("UP/s", 3),
    number("DOWN/s", 4),
    number("UP", 8),
    number("DOWN", 9),
    number("ACCEPTED", 10),
    number("FAILED", 6),
    name("MODULE", 11),
    name("LISTENING", 7),
    name("TARGET", 12),
];

pub(super) const CONNECTIONS: [Column; 11] = [
    number("ID", 8),
    name("TUNNEL", 1),
    name("CLIENT", 0),
    name("REMOTE", 6),
    name("STATE", 2),
    number("AGE", 5),
    number("IDLE", 7),
    number("UP/s", 3),
    number("DOWN/s", 4),
    number("UP", 9),
    number("DOWN", 10),
];

/// By what connections are sorted at first: the busiest come first.
pub(super) const BUSIEST: usize = 8;

/// `watm 0.1.0, process 4242, up 2h05m, ready`.
pub(super) fn process(picture: &Picture) -> (String, Tone) {
    let overview = &picture.overview;
    let (state, tone) = match &overview.unready {
        None => ("ready", Tone::Good),
        Some(reason) => (&**reason, Tone::Notable),
    };
    let text = format!(
        "watm {}, process {}, up {}, {}",
        printable(&overview.watm),
        overview.pid,
        time(seconds(overview.uptime_seconds)),
        printable(state),
    );
    (text, tone)
}

/// `3 connections, up 1.2 MB/s, down 34.0 MB/s, processor 12%, memory 34.0 MB, files 50 of 1024`.
pub(super) fn totals(picture: &Picture) -> String {
    let open: u64 = picture
        .overview
        .tunnels
        .iter()
        .fold(0, |sum, tunnel| sum.saturating_add(tunnel.connections));
    let plural = if open == 1 { "" } else { "s" };
    let mut parts = vec![format!("{open} connection{plural}")];
    let [up, down] = shown_rates(picture.rates);
    parts.push(format!(
        "up {}, down {}",
        per_second(&up),
        per_second(&down)
    ));
    if let Some(cpu) = picture.cpu {
        parts.push(format!("processor {:.0}%", cpu * 100.0));
    }
    let process = &picture.overview.process;
    if let Some(resident) = process.resident_bytes {
        parts.push(format!("memory {}", amount(resident as f64)));
    }
    if let Some(threads) = process.threads {
        parts.push(format!("threads {threads}"));
    }
    match (process.open_fds, process.max_fds) {
        (Some(open), Some(most)) => parts.push(format!("files {open} of {most}")),
        (Some(open), None) => parts.push(format!("files {open}")),
        _ => {}
    }
    parts.join(", ")
}

fn per_second(rate: &Cell) -> String {
    match &*rate.text {
        "-" => "-".to_owned(),
        text => format!("{text}/s"),
    }
}

fn shown_rates(rates: Option<Rates>) -> [Cell; 2] {
    match rates {
        Some(rates) => [rates.up, rates.down].map(|rate| Cell::number(rate, amount(rate))),
        None => [(); 2].map(|()| Cell::number(-1.0, "-")),
    }
}

fn count(value: u64) -> Cell {
    Cell::number(value as f64, value.to_string())
}

fn bytes(bytes: &Bytes, role: &str) -> [Cell; 2] {
    [bytes.up(role), bytes.down(role)].map(|bytes| Cell::number(bytes as f64, amount(bytes as f64)))
}

fn text(text: Option<&str>) -> Cell {
    Cell::text(text.map_or_else(|| "-".to_owned(), printable))
}

pub(super) fn tunnels(picture: &Picture) -> Vec<Row<TunnelId>> {
    let rows = picture.tunnels.iter();
    rows.map(|(tunnel, rates)| self::tunnel(tunnel, *rates))
        .collect()
}

fn tunnel(tunnel: &Tunnel, rates: Option<Rates>) -> Row<TunnelId> {
    let open = match tunnel.connection_limit {
        Some(limit) => format!("{}/{limit}", tunnel.connections),
        None => tunnel.connections.to_string(),
    };
    let is_full = tunnel
        .connection_limit
        .is_some_and(|limit| tunnel.connections >= limit);
    let open = Cell::number(tunnel.connections as f64, open);
    let failed = tunnel.refused.saturating_add(tunnel.failed);
    let [up_rate, down_rate] = shown_rates(rates);
    let [up, down] = bytes(&tunnel.bytes, &tunnel.role);
    let module = tunnel.module.as_ref().map(|Module { name, sha256 }| {
        let begin: String = sha256.chars().take(8).collect();
        format!("{name} {begin}")
    });
    Row {
        id: (tunnel.name.clone(), tunnel.role.clone()),
        cells: vec![
            text(Some(&tunnel.name)),
            text(Some(&tunnel.role)),
            tunnel_state(tunnel),
            open.toned(if is_full { Tone::Bad } else { Tone::Plain }),
            up_rate,
            down_rate,
            up,
            down,
            count(tunnel.accepted),
            count(failed).toned(if failed > 0 {
                Tone::Notable
            } else {
                Tone::Plain
            }),
            text(module.as_deref()),
            text(Some(&tunnel.listening.join(" "))),
            text(tunnel.target.as_deref()),
        ],
    }
}

fn tunnel_state(tunnel: &Tunnel) -> Cell {
    match &*tunnel.state {
        // The settings of before are used again.
        "up" if tunnel.taken_back => Cell::text("taken-back").toned(Tone::Bad),
        "up" => Cell::text("up").toned(Tone::Good),
        state => text(Some(state)).toned(Tone::Notable),
    }
}

/// The rows of the connections of one tunnel, or of all.
pub(super) fn connections(shown: &[Shown], of: Option<&TunnelId>) -> Vec<Row<ConnectionId>> {
    let is_of = |shown: &&Shown| {
        of.is_none_or(|(name, role)| {
            shown.connection.tunnel == *name && shown.connection.role == *role
        })
    };
    shown.iter().filter(is_of).map(connection).collect()
}

fn connection(shown: &Shown) -> Row<ConnectionId> {
    let connection = &shown.connection;
    let age = seconds(connection.age_seconds);
    let idle = match shown.idle {
        Idle::For(idle) => Cell::number(idle.as_secs_f64(), time(idle)),
        Idle::AtLeast(idle) => Cell::number(idle.as_secs_f64(), format!(">{}", time(idle))),
    };
    let [up_rate, down_rate] = shown_rates(shown.rates);
    let [up, down] = bytes(&connection.bytes, &connection.role);
    Row {
        id: (connection.server, connection.number),
        cells: vec![
            count(connection.number),
            text(Some(&connection.tunnel)),
            text(connection.client.as_deref()),
            text(connection.remote.as_deref()),
            connection_state(
                &connection.state,
                (connection.client_ended, connection.remote_ended),
            ),
            Cell::number(age.as_secs_f64(), time(age)),
            idle,
            up_rate,
            down_rate,
            up,
            down,
        ],
    }
}

fn connection_state(state: &str, ended: (bool, bool)) -> Cell {
    match (state, ended) {
        ("open", (false, false)) => Cell::text(state).toned(Tone::Good),
        ("open", (true, false)) => Cell::text("client-ended").toned(Tone::Notable),
        ("open", (false, true)) => Cell::text("remote-ended").toned(Tone::Notable),
        ("open", (true, true)) => Cell::text("both-ended").toned(Tone::Notable),
        _ => text(Some(state)).toned(Tone::Notable),
    }
}
