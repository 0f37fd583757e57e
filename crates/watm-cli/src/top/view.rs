//! What is shown, apart from how: rates out of two statuses, an order, a choice of tunnel. Knows
//! neither terminals nor sockets.

use std::collections::HashMap;
use std::time::Instant;

use crate::monitor::status::{Connection, Status, Tunnel};

/// What connections are ordered by, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Rate,
    Bytes,
    Age,
    Client,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Client => "client",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Bytes,
            Self::Bytes => Self::Age,
            Self::Age => Self::Client,
            Self::Client => Self::Rate,
        }
    }
}

/// Bytes in each second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) from_client: f64,
    pub(super) to_client: f64,
}

impl Rates {
    fn sum(self) -> f64 {
        self.from_client + self.to_client
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Choose,
    Order,
    Pause,
    Help,
}

pub(super) struct View {
    pub(super) address: String,
    pub(super) status: Status,
    taken: Instant,
    /// The rates of tunnels and connections, by name and role, and by these and the number.
    tunnels: HashMap<(String, String), Rates>,
    connections: HashMap<(String, String, u64), Rates>,
    /// Cores that the process has used lately.
    pub(super) cores: f64,
    /// Why the last attempt failed, and when the last good one was.
    pub(super) trouble: Option<String>,
    pub(super) order: Order,
    /// The tunnel under the cursor.
    pub(super) cursor: usize,
    /// Only connections of this tunnel are shown, by its name and role.
    pub(super) only: Option<(String, String)>,
    /// Connections above the first that is shown.
    pub(super) scrolled: usize,
    pub(super) paused: bool,
    pub(super) help: bool,
}

fn key(tunnel: &Tunnel) -> (String, String) {
    (tunnel.name.clone(), tunnel.role.clone())
}

fn number(connection: &Connection) -> (String, String, u64) {
    let Connection {
        tunnel,
        role,
        number,
        ..
    } = connection;
    (tunnel.clone(), role.clone(), *number)
}

/// Bytes in a second. Counters fall if the command was started again.
#[allow(clippy::cast_precision_loss)]
fn rate(before: u64, after: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        after.saturating_sub(before) as f64 / seconds
    } else {
        0.0
    }
}

impl View {
    pub(super) fn new(address: String, status: Status, now: Instant) -> Self {
        Self {
            address,
            status,
            taken: now,
            tunnels: HashMap::new(),
            connections: HashMap::new(),
            cores: 0.0,
            trouble: None,
            order: Order::Rate,
            cursor: 0,
            only: None,
            scrolled: 0,
            paused: false,
            help: false,
        }
    }

    /// Takes a new status over.
    pub(super) fn update(&mut self, status: Status, now: Instant) {
        self.trouble = None;
        if self.paused {
            return;
        }
        let seconds = (now - self.taken).as_secs_f64();
        let is_same = status.process == self.status.process;
        let before: HashMap<_, _> = self.status.tunnels.iter().map(|t| (key(t), t)).collect();
        let rates = status.tunnels.iter().filter_map(|tunnel| {
            let before = before.get(&key(tunnel)).filter(|_| is_same)?;
            let rates = Rates {
                from_client: rate(before.from_clients, tunnel.from_clients, seconds),
                to_client: rate(before.to_clients, tunnel.to_clients, seconds),
            };
            Some((key(tunnel), rates))
        });
        self.tunnels = rates.collect();
        let before = self.status.connections.iter().flatten();
        let before: HashMap<_, _> = before.map(|c| (number(c), c)).collect();
        let rates = status.connections.iter().flatten().map(|connection| {
            // One that is new has moved all of it since.
            let before = before.get(&number(connection)).filter(|_| is_same);
            let (from, to) = before.map_or((0, 0), |b| (b.from_client, b.to_client));
            let rates = Rates {
                from_client: rate(from, connection.from_client, seconds),
                to_client: rate(to, connection.to_client, seconds),
            };
            (number(connection), rates)
        });
        self.connections = rates.collect();
        self.cores = match seconds > 0.0 && is_same {
            true => ((status.processor - self.status.processor) / seconds).max(0.0),
            false => 0.0,
        };
        self.status = status;
        self.taken = now;
        self.cursor = self.cursor.min(self.status.tunnels.len().saturating_sub(1));
        self.bound_scrolling();
    }

    pub(super) fn fail(&mut self, why: String) {
        self.trouble = Some(why);
    }

    pub(super) fn rates_of(&self, tunnel: &Tunnel) -> Rates {
        self.tunnels.get(&key(tunnel)).copied().unwrap_or_default()
    }

    /// Of all tunnels.
    pub(super) fn total(&self) -> Rates {
        let all = self.tunnels.values();
        all.fold(Rates::default(), |sum, rates| Rates {
            from_client: sum.from_client + rates.from_client,
            to_client: sum.to_client + rates.to_client,
        })
    }

    /// The connections that are shown, in their order.
    pub(super) fn connections(&self) -> Vec<(&Connection, Rates)> {
        let all = self.status.connections.iter().flatten();
        let shown = all.filter(|connection| {
            let only = self.only.as_ref();
            only.is_none_or(|(name, role)| connection.tunnel == *name && connection.role == *role)
        });
        let mut shown: Vec<_> = shown
            .map(|connection| {
                let rates = self.connections.get(&number(connection));
                (connection, rates.copied().unwrap_or_default())
            })
            .collect();
        let bytes = |c: &Connection| c.from_client.saturating_add(c.to_client);
        match self.order {
            Order::Rate => shown.sort_by(|(_, a), (_, b)| b.sum().total_cmp(&a.sum())),
            Order::Bytes => shown.sort_by_key(|(c, _)| std::cmp::Reverse(bytes(c))),
            Order::Age => shown.sort_by(|(a, _), (b, _)| b.age.total_cmp(&a.age)),
            Order::Client => shown.sort_by(|(a, _), (b, _)| a.client.cmp(&b.client)),
        }
        shown
    }

    /// Does what a key asks for. `page` is how many connections fit. Returns false at the end.
    pub(super) fn obey(&mut self, command: Command, page: usize) -> bool {
        match command {
            Command::Quit => return false,
            Command::Help => self.help = !self.help,
            Command::Pause => self.paused = !self.paused,
            Command::Order => self.order = self.order.next(),
            Command::Up => self.cursor = self.cursor.saturating_sub(1),
            Command::Down => {
                let last = self.status.tunnels.len().saturating_sub(1);
                self.cursor = (self.cursor + 1).min(last);
            }
            Command::PageUp => self.scrolled = self.scrolled.saturating_sub(page.max(1)),
            Command::PageDown => self.scrolled = self.scrolled.saturating_add(page.max(1)),
            Command::Choose => {
                let chosen = self.status.tunnels.get(self.cursor).map(key);
                self.only = if self.only == chosen { None } else { chosen };
            }
        }
        self.bound_scrolling();
        true
    }

    fn bound_scrolling(&mut self) {
        let last = self.connections().len().saturating_sub(1);
        self.scrolled = self.scrolled.min(last);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection(tunnel: &str, number: u64, bytes: u64, age: f64) -> Connection {
        Connection {
            tunnel: tunnel.to_owned(),
            role: "dialer".to_owned(),
            number,
            client: Some(format!("127.0.0.1:{number}")),
            age,
            established: true,
            from_client: bytes,
            to_client: 0,
        }
    }

    fn status(process: u32, bytes: u64, connections: Vec<Connection>) -> Status {
        let tunnels = ["a", "b"].map(|name| Tunnel {
            name: name.to_owned(),
            role: "dialer".to_owned(),
            from_clients: bytes,
            to_clients: 2 * bytes,
            ..Tunnel::default()
        });
        Status {
            watm: "1".to_owned(),
            process,
            tunnels: tunnels.into(),
            connections: Some(connections),
            ..Status::default()
        }
    }

    fn view() -> (View, Instant) {
        let now = Instant::now();
        let first = status(1, 1000, vec![connection("a", 1, 500, 9.0)]);
        (View::new("unix:x".to_owned(), first, now), now)
    }

    #[test]
    fn rates_are_what_has_come_since() {
        let (mut view, now) = view();
        let two = vec![connection("a", 1, 700, 11.0), connection("b", 2, 50, 1.0)];
        view.update(status(1, 3000, two), now + Duration::from_secs(2));
        let rates = view.rates_of(&view.status.tunnels[0]);
        assert_eq!((rates.from_client, rates.to_client), (1000.0, 2000.0));
        assert_eq!(view.total().to_client, 4000.0);
        let shown: Vec<_> = view
            .connections()
            .iter()
            .map(|(c, r)| (c.number, r.sum()))
            .collect();
        assert_eq!(shown, [(1, 100.0), (2, 25.0)]);
    }

    #[test]
    fn a_command_that_was_started_again_has_no_negative_rates() {
        let (mut view, now) = view();
        view.update(
            status(2, 10, vec![connection("a", 1, 5, 1.0)]),
            now + Duration::from_secs(1),
        );
        assert_eq!(view.total(), Rates::default());
        view.update(status(2, 3, vec![]), now + Duration::from_secs(1));
        assert_eq!(view.total(), Rates::default());
        assert_eq!(view.cores, 0.0);
    }

    #[test]
    fn connections_have_the_order_and_the_tunnel_that_was_chosen() {
        let (mut view, now) = view();
        let all = vec![connection("a", 2, 1, 9.0), connection("b", 1, 8, 3.0)];
        view.update(status(1, 1000, all), now + Duration::from_secs(1));
        let numbers = |view: &View| -> Vec<u64> {
            view.connections().iter().map(|(c, _)| c.number).collect()
        };
        let orders = [
            (Order::Rate, [1, 2]),
            (Order::Bytes, [1, 2]),
            (Order::Age, [2, 1]),
        ];
        for (order, expected) in orders {
            assert_eq!((view.order, numbers(&view)), (order, expected.to_vec()));
            view.obey(Command::Order, 1);
        }
        assert_eq!((view.order, numbers(&view)), (Order::Client, vec![1, 2]));
        for (command, expected) in [
            (Command::Choose, vec![2]),
            (Command::Choose, vec![1, 2]),
            (Command::Down, vec![1, 2]),
            (Command::Choose, vec![1]),
            (Command::Up, vec![1]),
        ] {
            assert!(view.obey(command, 1));
            assert_eq!(numbers(&view), expected, "{command:?}");
        }
        assert!(!view.obey(Command::Quit, 1));
    }

    #[test]
    fn a_pause_keeps_what_is_shown_and_scrolling_has_an_end() {
        let (mut view, now) = view();
        view.obey(Command::Pause, 1);
        view.fail("gone".to_owned());
        view.update(status(1, 9000, vec![]), now + Duration::from_secs(1));
        assert_eq!(
            (view.status.tunnels[0].from_clients, &view.trouble),
            (1000, &None)
        );
        for _ in 0..5 {
            view.obey(Command::PageDown, 50);
            view.obey(Command::Down, 50);
        }
        assert_eq!((view.scrolled, view.cursor), (0, 1));
    }
}
