//! What becomes of looks one after the other: rates, and how long a connection has been quiet.
//!
//! Knows numbers and times. Must never know how they are got or shown.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::client::Seen;
use crate::monitor::report::{Bytes, Connection, Overview, Tunnel};

/// Bytes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) up: f64,
    pub(super) down: f64,
}

/// How long a connection has moved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    For(Duration),
    /// It has been watched for this long, and moved its last byte before.
    AtLeast(Duration),
}

/// What there is to show.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) overview: Overview,
    /// How much of a processor the process takes: 1 is all of one.
    pub(super) cpu: Option<f64>,
    pub(super) rates: Option<Rates>,
    pub(super) tunnels: Vec<(Tunnel, Option<Rates>)>,
    /// Or why they are not shown.
    pub(super) connections: Result<Vec<Shown>, String>,
    /// Connections that are not listed.
    pub(super) left_out: u64,
}

/// A connection to show.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) connection: Connection,
    pub(super) rates: Option<Rates>,
    pub(super) idle: Idle,
}

/// What was seen before.
#[derive(Default)]
pub(super) struct History {
    last: Option<(Instant, Overview)>,
    connections: HashMap<(u64, u64), Watched>,
}

struct Watched {
    bytes: Bytes,
    since: Instant,
    /// When it was seen to have moved something.
    moved: Option<Instant>,
}

impl History {
    pub(super) fn add(&mut self, at: Instant, seen: Seen) -> Picture {
        let Seen {
            overview,
            connections,
        } = seen;
        let last = self.last.take();
        // Another process starts from nothing, and so may one with the same number.
        let last = last.filter(|(_, last)| {
            last.pid == overview.pid && last.uptime_seconds <= overview.uptime_seconds
        });
        if last.is_none() {
            self.connections.clear();
        }
        let time = last.as_ref().map(|(then, _)| at.duration_since(*then));
        let before = last.as_ref().map(|(_, last)| last);
        let tunnels: Vec<_> = overview
            .tunnels
            .iter()
            .map(|tunnel| (tunnel.clone(), tunnel_rates(tunnel, before, time)))
            .collect();
        let left_out = connections.as_ref().map_or(0, |all| all.left_out);
        let connections = connections.map(|all| self.watch(at, all.connections, time));
        let picture = Picture {
            cpu: cpu(&overview, before, time),
            rates: tunnels
                .iter()
                .filter_map(|(_, rates)| *rates)
                .reduce(|sum, rates| Rates {
                    up: sum.up + rates.up,
                    down: sum.down + rates.down,
                }),
            tunnels,
            connections,
            left_out,
            overview: overview.clone(),
        };
        self.last = Some((at, overview));
        picture
    }

    /// Compares connections with what they were, and forgets those that have gone.
    fn watch(
        &mut self,
        at: Instant,
        connections: Vec<Connection>,
        time: Option<Duration>,
    ) -> Vec<Shown> {
        let mut watched = HashMap::with_capacity(connections.len());
        let mut shown = Vec::with_capacity(connections.len());
        for connection in connections {
            let key = (connection.server, connection.number);
            let before = self.connections.get(&key);
            let bytes = connection.bytes;
            let now = Watched {
                bytes,
                since: before.map_or(at, |before| before.since),
                moved: match before {
                    Some(before) if before.bytes == bytes => before.moved,
                    Some(_) => Some(at),
                    None => None,
                },
            };
            let idle = match now.moved {
                Some(moved) => Idle::For(at.duration_since(moved)),
                None if bytes == Bytes::default() => Idle::For(seconds(connection.age_seconds)),
                None => Idle::AtLeast(at.duration_since(now.since)),
            };
            let rates = before
                .zip(time)
                .and_then(|(before, time)| rates(&connection.role, &before.bytes, &bytes, time));
            watched.insert(key, now);
            shown.push(Shown {
                connection,
                rates,
                idle,
            });
        }
        self.connections = watched;
        shown
    }
}

/// A time that somebody else has measured, who may be wrong.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn tunnel_rates(tunnel: &Tunnel, last: Option<&Overview>, time: Option<Duration>) -> Option<Rates> {
    let is_it = |before: &&Tunnel| before.name == tunnel.name && before.role == tunnel.role;
    let before = last?.tunnels.iter().find(is_it)?;
    rates(&tunnel.role, &before.bytes, &tunnel.bytes, time?)
}

/// `None` if a counter has fallen: it is another one.
fn rates(role: &str, before: &Bytes, now: &Bytes, time: Duration) -> Option<Rates> {
    let rate = |before: u64, now: u64| {
        let moved = now.checked_sub(before)?;
        // The rounding error does not matter for display.
        (!time.is_zero()).then(|| moved as f64 / time.as_secs_f64())
    };
    Some(Rates {
        up: rate(before.up(role), now.up(role))?,
        down: rate(before.down(role), now.down(role))?,
    })
}

fn cpu(now: &Overview, last: Option<&Overview>, time: Option<Duration>) -> Option<f64> {
    let spent = now.process.cpu_seconds? - last?.process.cpu_seconds?;
    let time = time?.as_secs_f64();
    (spent >= 0.0 && time > 0.0).then(|| spent / time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::report::{Connections, Process};

    fn seen(pid: u32, uptime: f64, up: u64, down: u64) -> Seen {
        let bytes = Bytes {
            network_sent: up,
            network_received: down,
            ..Bytes::default()
        };
        let tunnel = Tunnel {
            name: "t".into(),
            role: "dialer".into(),
            bytes,
            ..Tunnel::default()
        };
        let connection = Connection {
            role: "dialer".into(),
            server: 1,
            number: 3,
            age_seconds: 100.0,
            bytes,
            ..Connection::default()
        };
        Seen {
            overview: Overview {
                watm: "1".into(),
                pid,
                uptime_seconds: uptime,
                process: Process {
                    cpu_seconds: Some(uptime / 4.0),
                    ..Process::default()
                },
                tunnels: vec![tunnel],
                ..Overview::default()
            },
            connections: Ok(Connections {
                connections: vec![connection],
                left_out: 0,
            }),
        }
    }

    fn shown(picture: &Picture) -> (Option<Rates>, Option<Rates>, Idle) {
        let connections = picture.connections.as_ref().expect("they are shown");
        (
            picture.tunnels[0].1,
            connections[0].rates,
            connections[0].idle,
        )
    }

    #[test]
    fn rates_are_what_was_moved_since_the_last_look() {
        let (mut history, start) = (History::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let picture = history.add(at(0), seen(1, 10.0, 500, 0));
        let idle = |seconds| Idle::For(Duration::from_secs(seconds));
        assert_eq!(
            shown(&picture),
            (None, None, Idle::AtLeast(Duration::ZERO)),
            "nothing to compare with"
        );
        let picture = history.add(at(2), seen(1, 12.0, 1500, 10));
        let rates = Some(Rates {
            up: 500.0,
            down: 5.0,
        });
        assert_eq!(shown(&picture), (rates, rates, idle(0)));
        assert_eq!((picture.rates, picture.cpu), (rates, Some(0.25)));
        let picture = history.add(at(5), seen(1, 15.0, 1500, 10));
        let none = Some(Rates::default());
        assert_eq!(shown(&picture), (none, none, idle(3)));
    }

    #[test]
    fn a_restart_gives_no_negative_rates() {
        let (mut history, start) = (History::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        for other in [
            seen(2, 11.0, 2000, 2000),
            seen(1, 0.5, 2000, 2000),
            seen(1, 11.0, 3, 2000),
        ] {
            history.add(start, seen(1, 10.0, 1000, 1000));
            let (tunnel, connection, _) = shown(&history.add(later, other));
            assert_eq!((tunnel, connection), (None, None));
        }
    }

    #[test]
    fn a_connection_that_never_moved_anything_is_idle_since_it_began() {
        let mut history = History::default();
        let picture = history.add(Instant::now(), seen(1, 10.0, 0, 0));
        assert_eq!(shown(&picture).2, Idle::For(Duration::from_secs(100)));
        assert_eq!(seconds(f64::NAN), Duration::ZERO);
        assert_eq!(seconds(-1.0), Duration::ZERO);
    }
}
