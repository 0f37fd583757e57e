//! Rest for guests that poll again and again, are told the same each time, and do nothing with it.
//!
//! Edge-triggered event loops, such as tokio's on this interface, keep asking whether a descriptor
//! is writable, and it is. A poll cannot answer anything else then. But it may take its time over
//! an answer that has not helped before: a millisecond, later up to ten, and after a second up to
//! two hundred. Anything new ends the rest at once. So only a guest that watches the clock without
//! saying so in its poll can notice.

use std::time::Duration;

use watm_abi::{Errno, Event, EventType, Subscription, SubscriptionKind};

/// Duration of the first rest, and the longest rest of a guest that has not rested for long.
const FIRST: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(10);
/// Number of rests, about a second, after which nothing suggests that the next answer will help.
const MANY: u32 = 100;
/// Longest rest of all. A hundred guests together then wake up a few hundred times a second.
const LONGEST: Duration = Duration::from_millis(200);

/// What a guest was told, and how often in a row.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    told: Vec<Event>,
    next: Duration,
    rests: u32,
}

impl Rest {
    /// Called when the guest has done something with what it was told.
    pub(crate) fn is_over(&mut self) {
        self.told.clear();
    }

    /// Whether the guest was told exactly this before. Expired clocks and errors never count as
    /// known.
    pub(crate) fn is_known(&mut self, events: &[Event]) -> bool {
        let is_plain =
            |event: &Event| event.kind != EventType::Clock && event.error == Errno::Success;
        let can_be_known = events.iter().all(is_plain);
        if can_be_known && events == self.told {
            return true;
        }
        self.told.clear();
        if can_be_known {
            self.told.extend_from_slice(events);
        }
        self.next = FIRST;
        self.rests = 0;
        false
    }

    /// How long to rest before the guest is told the same again.
    pub(crate) fn next(&mut self) -> Duration {
        let rest = self.next;
        self.rests = self.rests.saturating_add(1);
        let longest = if self.rests < MANY { LONG } else { LONGEST };
        self.next = (rest * 2).min(longest);
        rest
    }

    /// What the guest waits for but was not told of.
    pub(crate) fn other(&self, subscriptions: &[Subscription]) -> Vec<Subscription> {
        let is_told = |subscription: &Subscription| {
            self.told.iter().any(|event| {
                event.userdata == subscription.userdata && event.kind == kind_of(&subscription.kind)
            })
        };
        let others = subscriptions.iter().filter(|other| !is_told(other));
        others.copied().collect()
    }
}

fn kind_of(kind: &SubscriptionKind) -> EventType {
    match kind {
        SubscriptionKind::Clock { .. } => EventType::Clock,
        SubscriptionKind::FdRead { .. } => EventType::FdRead,
        SubscriptionKind::FdWrite { .. } => EventType::FdWrite,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(userdata: u64, kind: EventType) -> Event {
        Event {
            userdata,
            error: Errno::Success,
            kind,
            nbytes: 1,
            hangup: false,
        }
    }

    #[test]
    fn the_same_again_takes_longer_and_longer_until_there_is_news() {
        let mut rest = Rest::default();
        let writable = [event(1, EventType::FdWrite)];
        let both = [event(1, EventType::FdWrite), event(2, EventType::FdRead)];
        assert!(!rest.is_known(&writable));
        let rests = [(); 6].map(|()| rest.is_known(&writable).then(|| rest.next()));
        let expected = [1, 2, 4, 8, 10, 10].map(|millis| Some(Duration::from_millis(millis)));
        assert_eq!(rests, expected);
        let later: Vec<_> = (0..MANY).map(|_| rest.next()).collect();
        assert_eq!(later[MANY as usize - 20], LONG);
        assert_eq!(later.last(), Some(&LONGEST));
        assert!(!rest.is_known(&both));
        assert!(rest.is_known(&both));
        assert_eq!(rest.next(), FIRST);
        rest.is_over();
        assert!(!rest.is_known(&both));
        let more = [
            both[0],
            Event {
                nbytes: 2,
                ..both[1]
            },
        ];
        assert!(!rest.is_known(&more), "more bytes are news");
    }

    #[test]
    fn times_and_mistakes_are_never_put_off() {
        let mut rest = Rest::default();
        let bad = Event {
            error: Errno::Badf,
            ..event(1, EventType::FdRead)
        };
        for told in [event(1, EventType::Clock), bad] {
            assert!(!rest.is_known(&[told]));
            assert!(!rest.is_known(&[told]));
        }
    }

    #[test]
    fn what_was_told_is_not_waited_for_meanwhile() {
        let mut rest = Rest::default();
        let kinds = [
            SubscriptionKind::FdWrite { fd: 4 },
            SubscriptionKind::FdRead { fd: 4 },
            SubscriptionKind::FdRead { fd: 5 },
        ];
        // Some guests use the same userdata for both directions of a descriptor.
        let subscriptions = kinds.map(|kind| Subscription { userdata: 7, kind });
        assert!(!rest.is_known(&[event(7, EventType::FdWrite)]));
        assert_eq!(rest.other(&subscriptions), subscriptions[1..]);
    }
}
