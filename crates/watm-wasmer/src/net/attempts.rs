//! The order in which the addresses of a name are tried, and when each begins: RFC 8305 ("Happy
//! Eyeballs").
//!
//! Both families take turns. If an attempt has not succeeded for a while, the next one begins
//! beside it. This file knows nothing of sockets and reads no clock.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::channel::sync::lock;

/// How long an attempt runs alone before the next one begins beside it.
const PAUSE: Duration = Duration::from_millis(250);
/// Maximum number of addresses tried for one connection, and therefore of its sockets. By default,
/// this many attempts begin within the connect timeout.
const LIMIT: usize = 32;
/// Maximum number of names for which the last successful address is remembered.
const REMEMBERED: usize = 256;
/// How long an address stays the first choice. After that, the system's own order applies again, so
/// one lost race does not decide forever.
const LIFETIME: Duration = Duration::from_secs(600);

/// Returns the order in which addresses are tried: `first` if it is among them, then both families
/// in turn. Within a family, the addresses keep the system's order.
pub(crate) fn order(
    found: impl IntoIterator<Item = SocketAddr>,
    first: Option<SocketAddr>,
) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    let mut found: Vec<_> = found
        .into_iter()
        .filter(|address| seen.insert(*address))
        .collect();
    if let Some(at) = found.iter().position(|address| Some(*address) == first) {
        found[..=at].rotate_right(1);
    }
    let leader = found.first().is_some_and(SocketAddr::is_ipv4);
    let (leading, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv4() == leader);
    let (mut leading, mut others) = (leading.into_iter(), others.into_iter());
    let mut ordered = Vec::new();
    while ordered.len() < LIMIT {
        let before = ordered.len();
        ordered.extend(leading.next());
        ordered.extend(others.next());
        if ordered.len() == before {
            break;
        }
    }
    ordered.truncate(LIMIT);
    ordered
}

/// When each address gets its turn.
pub(crate) struct Schedule {
    waiting: VecDeque<SocketAddr>,
    /// When the next attempt begins beside those under way; `None` means at once.
    next: Option<Instant>,
    pause: Duration,
}

impl Schedule {
    /// Creates the schedule for addresses in this order. It shortens the pauses if necessary, so
    /// that every address gets its turn by `deadline`.
    pub(crate) fn new(ordered: Vec<SocketAddr>, now: Instant, deadline: Instant) -> Self {
        let count = u32::try_from(ordered.len().max(1)).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / count;
        Self {
            waiting: ordered.into(),
            next: None,
            pause: PAUSE.min(share),
        }
    }

    /// The next address, if its turn has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.next = Some(now + self.pause);
        Some(address)
    }

    /// Notes that an attempt has failed: the next address gets its turn at once.
    pub(crate) fn failed(&mut self) {
        self.next = None;
    }

    /// When to ask for the next address, unless an attempt fails first; `None` if no address is
    /// left.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        self.next.filter(|_| !self.waiting.is_empty())
    }
}

/// The address that each name was last connected to, for names with several addresses.
#[derive(Default)]
pub(crate) struct Winners {
    /// Those whose last win is longest ago come first.
    winners: Mutex<VecDeque<Winner>>,
}

struct Winner {
    host: String,
    port: u16,
    address: SocketAddr,
    since: Instant,
}

impl Winners {
    /// The address that won last for this host and port.
    pub(crate) fn get(&self, host: &str, port: u16, now: Instant) -> Option<SocketAddr> {
        let winners = lock(&self.winners);
        winners
            .iter()
            .find(|winner| winner.is_for(host, port))
            .filter(|winner| now.saturating_duration_since(winner.since) < LIFETIME)
            .map(|winner| winner.address)
    }

    /// Records an address to which a connection was made.
    pub(crate) fn put(&self, host: &str, port: u16, address: SocketAddr, now: Instant) {
        let mut winners = lock(&self.winners);
        let known = winners.iter().position(|winner| winner.is_for(host, port));
        let known = known.and_then(|at| winners.remove(at));
        // Even an address that keeps winning has to prove itself again after a while.
        let since = known
            .filter(|known| {
                known.address == address && now.saturating_duration_since(known.since) < LIFETIME
            })
            .map_or(now, |known| known.since);
        if winners.len() == REMEMBERED {
            winners.pop_front();
        }
        winners.push_back(Winner {
            host: host.to_owned(),
            port,
            address,
            since,
        });
    }
}

impl Winner {
    fn is_for(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host.eq_ignore_ascii_case(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 80))
    }

    fn v6(last: u16) -> SocketAddr {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80))
    }

    #[test]
    fn families_take_turns_and_begin_with_the_one_that_the_system_prefers() {
        assert_eq!(
            order([v6(1), v6(2), v4(1), v4(2)], None),
            [v6(1), v4(1), v6(2), v4(2)]
        );
        assert_eq!(
            order([v4(1), v6(1), v6(2), v6(3)], None),
            [v4(1), v6(1), v6(2), v6(3)]
        );
        assert_eq!(order([v4(1), v4(1), v4(2)], None), [v4(1), v4(2)]);
        assert!(order([], Some(v4(1))).is_empty());
    }

    #[test]
    fn what_worked_last_comes_first() {
        assert_eq!(
            order([v6(1), v6(2), v4(1), v4(2)], Some(v4(2))),
            [v4(2), v6(1), v4(1), v6(2)]
        );
        // The name no longer resolves to it.
        assert_eq!(order([v6(1), v4(1)], Some(v4(2))), [v6(1), v4(1)]);
    }

    fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
        let one = (any::<bool>(), 0..20u8)
            .prop_map(|(is_v4, last)| if is_v4 { v4(last) } else { v6(last.into()) });
        proptest::collection::vec(one, 0..60)
    }

    proptest! {
        #[test]
        fn an_order_has_each_address_once_and_keeps_each_family_sorted(
            found in addresses(),
            first in addresses(),
        ) {
            let first = first.first().copied();
            let ordered = order(found.clone(), first);
            let distinct: HashSet<_> = found.iter().collect();
            prop_assert_eq!(ordered.len(), distinct.len().min(LIMIT));
            prop_assert!(ordered.iter().all(|address| distinct.contains(address)));
            prop_assert_eq!(ordered.iter().collect::<HashSet<_>>().len(), ordered.len());
            let wanted = first.filter(|first| found.contains(first)).or(found.first().copied());
            prop_assert_eq!(ordered.first().copied(), wanted);
            for is_v4 in [true, false] {
                let place = |address: &SocketAddr| found.iter().position(|known| known == address);
                let places: Vec<_> = ordered
                    .iter()
                    .filter(|address| address.is_ipv4() == is_v4 && Some(**address) != first)
                    .map(place)
                    .collect();
                prop_assert!(places.is_sorted());
            }
            // While addresses of both families are left, the families alternate.
            let families: Vec<_> = ordered.iter().map(SocketAddr::is_ipv4).collect();
            let rest = (1..families.len()).find(|at| families[*at] == families[at - 1]);
            let uniform = |at: usize| families[at..].iter().all(|family| *family == families[at]);
            prop_assert!(rest.is_none_or(uniform));
        }

        #[test]
        fn every_address_has_its_turn_in_time_and_never_two_without_a_pause_or_a_failure(
            ordered in addresses().prop_map(|found| order(found, None)),
            failures in proptest::collection::vec(any::<bool>(), 60),
            timeout in 1..20_000u64,
        ) {
            let start = Instant::now();
            let deadline = start + Duration::from_millis(timeout);
            let mut schedule = Schedule::new(ordered.clone(), start, deadline);
            let (mut now, mut begun) = (start, Vec::new());
            for fails in failures {
                let Some(address) = schedule.due(now) else { break };
                prop_assert!(now < deadline || begun.is_empty());
                begun.push(address);
                if fails {
                    schedule.failed();
                } else {
                    prop_assert_eq!(schedule.due(now), None);
                }
                let Some(wakes) = schedule.wakes() else { continue };
                prop_assert!(wakes - now <= PAUSE);
                now = wakes;
            }
            prop_assert_eq!(begun, ordered);
        }
    }

    #[test]
    fn attempts_join_each_other_after_a_pause_and_follow_a_failure_at_once() {
        let start = Instant::now();
        let ordered = vec![v4(1), v4(2), v4(3)];
        let mut schedule = Schedule::new(ordered, start, start + Duration::from_secs(10));
        assert_eq!(schedule.due(start), Some(v4(1)));
        assert_eq!(schedule.wakes(), Some(start + PAUSE));
        assert_eq!(schedule.due(start + PAUSE / 2), None);
        assert_eq!(schedule.due(start + PAUSE), Some(v4(2)));
        schedule.failed();
        assert_eq!(schedule.due(start + PAUSE), Some(v4(3)));
        assert_eq!(schedule.wakes(), None);
        assert_eq!(schedule.due(start + 9 * PAUSE), None);
    }

    #[test]
    fn winners_are_remembered_for_their_host_and_port() {
        let winners = Winners::default();
        let now = Instant::now();
        winners.put("a.example", 80, v4(1), now);
        assert_eq!(winners.get("A.Example", 80, now), Some(v4(1)));
        assert_eq!(winners.get("a.example", 81, now), None);
        assert_eq!(winners.get("b.example", 80, now), None);
        winners.put("a.example", 80, v4(2), now);
        assert_eq!(winners.get("a.example", 80, now), Some(v4(2)));
    }

    #[test]
    fn winners_are_forgotten_after_a_while_though_they_win_again() {
        let winners = Winners::default();
        let start = Instant::now();
        winners.put("a.example", 80, v4(1), start);
        winners.put("a.example", 80, v4(1), start + LIFETIME / 2);
        assert_eq!(
            winners.get("a.example", 80, start + LIFETIME / 2),
            Some(v4(1))
        );
        assert_eq!(winners.get("a.example", 80, start + LIFETIME), None);
        winners.put("a.example", 80, v4(1), start + LIFETIME);
        assert_eq!(winners.get("a.example", 80, start + LIFETIME), Some(v4(1)));
    }

    #[test]
    fn no_more_winners_are_remembered_than_there_is_room_for() {
        let winners = Winners::default();
        let now = Instant::now();
        for i in 0..2 * REMEMBERED {
            // One entry keeps winning, so it stays.
            winners.put("kept.example", 80, v4(1), now);
            winners.put(&format!("{i}.example"), 80, v4(2), now);
        }
        assert_eq!(lock(&winners.winners).len(), REMEMBERED);
        assert_eq!(winners.get("kept.example", 80, now), Some(v4(1)));
        assert_eq!(winners.get("0.example", 80, now), None);
    }
}
