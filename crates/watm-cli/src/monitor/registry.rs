//! The servers of this process and their numbers, which never fall: also not when a server takes the
//! place of another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use watm_wasmer::{OpenConnection, Role, ServerHandle, ServerStats};

use super::report;
use crate::inspect::role_name;

/// What serves a tunnel, or has served it.
pub(crate) struct Served {
    pub(crate) tunnel: String,
    pub(crate) role: Role,
    pub(crate) server: Arc<ServerHandle>,
}

/// The numbers of a tunnel.
pub(crate) struct TunnelNumbers {
    pub(crate) tunnel: String,
    pub(crate) role: Role,
    /// Whether it accepts connections.
    pub(crate) is_up: bool,
    /// Whether it has the settings of before since the new ones failed.
    pub(crate) is_taken_back: bool,
    /// Connections of servers that accept no more.
    pub(crate) leaving: u64,
    pub(crate) stats: ServerStats,
}

/// How often the file was read again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reloads {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// When the settings that are used were read, in seconds since 1970.
    pub(crate) last: f64,
}

/// A few numbers for a line of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) tunnels: usize,
    pub(crate) connections: u64,
}

/// All servers of the process.
pub(crate) struct Registry(Mutex<State>);

struct State {
    servers: Vec<Entry>,
    /// How many servers there have been.
    count: u64,
    /// What servers have done that are gone.
    past: BTreeMap<(String, &'static str), Past>,
    unready: Option<&'static str>,
    reloads: Reloads,
}

struct Entry {
    served: Served,
    number: u64,
    is_leaving: bool,
}

struct Past {
    role: Role,
    stats: ServerStats,
}

impl Registry {
    /// Nothing is served yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            servers: Vec::new(),
            count: 0,
            past: BTreeMap::new(),
            unready: Some("starting"),
            reloads: Reloads::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server accepts connections from now on.
    pub(crate) fn add(&self, served: Served) {
        let mut state = self.lock();
        state.count += 1;
        let number = state.count;
        state.servers.push(Entry {
            served,
            number,
            is_leaving: false,
        });
    }

    /// A server accepts no more, and its connections go on.
    pub(crate) fn leave(&self, server: &Arc<ServerHandle>) {
        for entry in &mut self.lock().servers {
            entry.is_leaving |= Arc::ptr_eq(&entry.served.server, server);
        }
    }

    /// A server is gone.
    pub(crate) fn remove(&self, server: &Arc<ServerHandle>) {
        let mut state = self.lock();
        let is_it = |entry: &Entry| Arc::ptr_eq(&entry.served.server, server);
        let Some(at) = state.servers.iter().position(is_it) else {
            return;
        };
        let Served {
            tunnel,
            role,
            server,
        } = state.servers.swap_remove(at).served;
        let past = state.past.entry((tunnel, role.name()));
        let past = past.or_insert(Past {
            role,
            stats: ServerStats::default(),
        });
        add(&mut past.stats, &server.totals());
        past.stats.active = 0;
    }

    /// Whether and why the process does not serve as it should.
    pub(crate) fn set_unready(&self, reason: Option<&'static str>) {
        self.lock().unready = reason;
    }

    pub(crate) fn unready(&self) -> Option<&'static str> {
        self.lock().unready
    }

    /// Settings were read and are used.
    pub(crate) fn loaded(&self, is_reload: bool) {
        let mut state = self.lock();
        state.reloads.done += u64::from(is_reload);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        state.reloads.last = now.unwrap_or_default().as_secs_f64();
    }

    /// Settings could not be used.
    pub(crate) fn reload_failed(&self) {
        self.lock().reloads.failed += 1;
    }

    pub(crate) fn reloads(&self) -> Reloads {
        self.lock().reloads
    }

    pub(crate) fn summary(&self) -> Summary {
        let state = self.lock();
        Summary {
            tunnels: state
                .servers
                .iter()
                .filter(|entry| !entry.is_leaving)
                .count(),
            connections: state
                .servers
                .iter()
                .map(|entry| entry.served.server.stats().active)
                .sum(),
        }
    }

    /// The numbers of each tunnel that there is or was.
    pub(crate) fn tunnels(&self) -> Vec<TunnelNumbers> {
        let state = self.lock();
        let mut tunnels = BTreeMap::new();
        for ((tunnel, name), past) in &state.past {
            let mut numbers = TunnelNumbers::new(tunnel, past.role);
            numbers.stats = past.stats;
            tunnels.insert((tunnel.as_str(), *name), numbers);
        }
        for Entry {
            served, is_leaving, ..
        } in &state.servers
        {
            let key = (served.tunnel.as_str(), served.role.name());
            let numbers = tunnels.entry(key);
            let numbers =
                numbers.or_insert_with(|| TunnelNumbers::new(&served.tunnel, served.role));
            let stats = served.server.totals();
            add(&mut numbers.stats, &stats);
            if *is_leaving {
                numbers.leaving += stats.active;
            } else {
                numbers.is_up = true;
                numbers.is_taken_back = served.server.is_taken_back();
            }
        }
        tunnels.into_values().collect()
    }

    /// The same for `/tunnels`, with what is known of the servers that accept.
    pub(crate) fn report(&self) -> Vec<report::Tunnel> {
        let mut tunnels: Vec<_> = self.tunnels().iter().map(described).collect();
        for Entry {
            served, is_leaving, ..
        } in &self.lock().servers
        {
            let is_its = |tunnel: &&mut report::Tunnel| {
                tunnel.name == served.tunnel && tunnel.role == role_name(served.role)
            };
            let Some(tunnel) = tunnels.iter_mut().find(is_its) else {
                continue;
            };
            if *is_leaving {
                continue;
            }
            let Served { server, .. } = served;
            let module = server.module();
            tunnel.module = Some(report::Module {
                name: module.name().to_owned(),
                sha256: module.sha256().to_string(),
            });
            tunnel.listening = server.listening_on().map(str::to_owned).collect();
            tunnel.target = server.target().map(ToString::to_string);
            tunnel.connection_limit = Some(server.connection_limit() as u64);
        }
        tunnels
    }

    /// The connections that are open, up to a bound.
    pub(crate) fn connections(&self) -> report::Connections {
        let state = self.lock();
        let mut report = report::Connections::default();
        for Entry { served, number, .. } in &state.servers {
            let open = served.server.connections();
            let room = report::CONNECTIONS - report.connections.len();
            report.left_out += open.len().saturating_sub(room) as u64;
            let listed = open.iter().take(room);
            let listed = listed.map(|open| connection(served, *number, open));
            report.connections.extend(listed);
        }
        report
    }
}

fn described(numbers: &TunnelNumbers) -> report::Tunnel {
    let stats = &numbers.stats;
    let state = match (numbers.is_up, stats.active) {
        (true, _) => "up",
        (false, 0) => "ended",
        (false, _) => "leaving",
    };
    report::Tunnel {
        name: numbers.tunnel.clone(),
        role: role_name(numbers.role).to_owned(),
        state: state.to_owned(),
        taken_back: numbers.is_taken_back,
        connections: stats.active,
        leaving: numbers.leaving,
        accepted: stats.accepted,
        refused: stats.refused,
        completed: stats.completed,
        failed: stats.failed,
        cut: stats.cut,
        bytes: report::Bytes {
            network_received: stats.received,
            network_sent: stats.sent,
            client_received: stats.client_received,
            client_sent: stats.client_sent,
            plain_received: stats.plain_received,
            plain_sent: stats.plain_sent,
        },
        ..report::Tunnel::default()
    }
}

fn connection(served: &Served, server: u64, open: &OpenConnection) -> report::Connection {
    report::Connection {
        tunnel: served.tunnel.clone(),
        role: role_name(served.role).to_owned(),
        server,
        number: open.number,
        client: open.client.map(|client| client.to_string()),
        remote: open
            .remote
            .map(|remote| remote.to_string())
            .or_else(|| served.server.target().map(ToString::to_string)),
        state: open.state.code().to_owned(),
        client_ended: open.client_ended,
        remote_ended: open.remote_ended,
        age_seconds: open.age.as_secs_f64(),
        bytes: report::Bytes {
            network_received: open.stats.received,
            network_sent: open.stats.sent,
            client_received: open.stats.client_received,
            client_sent: open.stats.client_sent,
            plain_received: open.stats.plain_received,
            plain_sent: open.stats.plain_sent,
        },
    }
}

impl TunnelNumbers {
    fn new(tunnel: &str, role: Role) -> Self {
        Self {
            tunnel: tunnel.to_owned(),
            role,
            is_up: false,
            is_taken_back: false,
            leaving: 0,
            stats: ServerStats::default(),
        }
    }
}

fn add(to: &mut ServerStats, stats: &ServerStats) {
    to.accepted += stats.accepted;
    to.active += stats.active;
    to.refused += stats.refused;
    to.completed += stats.completed;
    to.failed += stats.failed;
    to.cut += stats.cut;
    to.received += stats.received;
    to.sent += stats.sent;
    to.client_received += stats.client_received;
    to.client_sent += stats.client_sent;
    to.plain_received += stats.plain_received;
    to.plain_sent += stats.plain_sent;
}
