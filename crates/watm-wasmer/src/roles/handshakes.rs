//! The bound on how many handshakes are in progress with clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::channel::link::{Link, Stage};
use crate::channel::sync::{AtomicUsize, Ordering, lock};

/// How long until somebody who waits for a place looks again whether there is one to be had.
const LOOK: Duration = Duration::from_millis(250);

/// The connections that are being set up, oldest first.
///
/// One handshake too many displaces the oldest, so that clients that never finish cannot keep
/// others out. Only the time in which a client takes part counts as its handshake: not the time to
/// make its instance, nor the time in which the host connects to a remote. After a connect, more
/// handshakes than the limit may continue at once. Those are stopped only when somebody needs the
/// room: see [`Handshakes::make_room`].
pub(crate) struct Handshakes {
    limit: usize,
    /// The number of guests that are at their handshake. The links update it.
    count: Arc<AtomicUsize>,
    /// By their numbers in the book. The oldest has the lowest.
    links: Mutex<BTreeMap<u64, Weak<Link>>>,
    /// The last one that gave way. Its place is free once it has ended.
    giving_way: Mutex<Weak<Link>>,
}

impl Handshakes {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            count: Arc::default(),
            links: Mutex::default(),
            giving_way: Mutex::default(),
        }
    }

    /// Adds a connection that was accepted, under its number in the book.
    pub(crate) fn add(&self, number: u64, link: &Arc<Link>) {
        lock(&self.links).insert(number, Arc::downgrade(link));
    }

    /// Begins the handshake of a connection. If that is one too many, the oldest is stopped.
    pub(crate) fn begin(&self, link: &Link) {
        link.begin_handshake(&self.count);
        self.displace(1);
    }

    /// Stops the oldest handshakes beyond the limit, because others wait for the room.
    pub(crate) fn make_room(&self) {
        self.displace(usize::MAX);
    }

    /// Called while a client waits for any of the connections to end. Stops the oldest handshake if
    /// it has lasted for `fair`, a time in which an honest client is done. So clients that never
    /// finish cannot keep others out, however few connections there may be. Returns when to call
    /// this again, if that may help.
    pub(crate) fn give_way(&self, fair: Duration) -> Option<Duration> {
        let mut links = lock(&self.links);
        if links.is_empty() {
            return None;
        }
        let mut giving_way = lock(&self.giving_way);
        if giving_way.upgrade().is_none_or(|link| link.is_finished()) {
            let mut slow = links.iter().filter_map(|(number, link)| {
                let link = link.upgrade()?;
                link.is_in_handshake_for(fair).then_some((*number, link))
            });
            if let Some((number, link)) = slow.next() {
                drop(slow);
                links.remove(&number);
                link.give_up(Stage::GaveWay);
                link.end_handshake();
                *giving_way = Arc::downgrade(&link);
            }
        }
        Some(LOOK)
    }

    /// Stops the oldest handshakes beyond the limit, but no more than `most` of them.
    fn displace(&self, most: usize) {
        let mut links = lock(&self.links);
        let surplus = self
            .count
            .load(Ordering::Relaxed)
            .saturating_sub(self.limit);
        let mut left = surplus.min(most);
        if left == 0 {
            return;
        }
        links.retain(|_, link| match link.upgrade() {
            Some(link) if left > 0 && link.is_in_handshake() => {
                left -= 1;
                link.give_up(Stage::Displaced);
                link.end_handshake();
                false
            }
            _ => true,
        });
    }

    /// Removes a connection that is set up or has ended.
    pub(crate) fn end(&self, number: u64) {
        let link = lock(&self.links).remove(&number);
        if let Some(link) = link.and_then(|link| link.upgrade()) {
            link.end_handshake();
        }
    }

    /// Gives all of them up, however far they are.
    pub(crate) fn stop_all(&self) {
        let links = std::mem::take(&mut *lock(&self.links));
        for link in links.into_values().filter_map(|link| link.upgrade()) {
            link.give_up(Stage::GivenUp);
            link.end_handshake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links<const N: usize>(handshakes: &Handshakes) -> [Arc<Link>; N] {
        std::array::from_fn(|number| {
            let link = Arc::<Link>::default();
            handshakes.add(number as u64, &link);
            link
        })
    }

    #[test]
    fn one_handshake_too_many_stops_the_oldest_unless_it_is_done() {
        let handshakes = Handshakes::new(1);
        let [first, second, third] = links(&handshakes);
        handshakes.begin(&first);
        handshakes.begin(&second);
        assert!(first.is_stopping() && first.is_displaced());
        // It is set up, but the end of its handshake has not been reported yet.
        assert!(second.advance(Stage::SettingUp, Stage::Established));
        handshakes.begin(&third);
        assert!(!second.is_stopping() && second.is_established());
        assert!(third.advance(Stage::SettingUp, Stage::Established));
        handshakes.stop_all();
        assert!(!third.is_stopping());
    }

    #[test]
    fn whoever_has_not_begun_or_is_connecting_takes_no_place() {
        let handshakes = Handshakes::new(2);
        let [making, connecting, first, second, third] = links(&handshakes);
        handshakes.begin(&connecting);
        assert!(connecting.pause_handshake());
        for link in [&first, &second] {
            handshakes.begin(link);
        }
        assert!(
            [&making, &connecting, &first, &second]
                .iter()
                .all(|link| !link.is_stopping())
        );
        // After connecting there is one too many, but nothing is dropped yet.
        connecting.resume_handshake();
        assert!(!connecting.is_stopping());
        // A later one replaces the oldest, and no other.
        handshakes.begin(&third);
        assert!(connecting.is_displaced() && !first.is_stopping());
        handshakes.make_room();
        assert!(first.is_displaced() && !second.is_stopping());
        handshakes.make_room();
        assert!(!second.is_stopping() && !third.is_stopping());
        handshakes.stop_all();
        assert!(
            [&making, &second, &third]
                .iter()
                .all(|link| link.is_given_up())
        );
        assert!(making.is_stopping());
    }

    #[test]
    fn slow_handshakes_give_way_one_after_the_other() {
        let handshakes = Handshakes::new(9);
        assert_eq!(handshakes.give_way(Duration::ZERO), None, "there is none");
        let [making, first, second] = links(&handshakes);
        for link in [&first, &second] {
            handshakes.begin(link);
        }
        let again = handshakes.give_way(Duration::from_secs(3600));
        assert!(again.is_some() && !first.is_stopping(), "it has time");
        handshakes.give_way(Duration::ZERO);
        assert!(first.gave_way() && first.is_stopping());
        handshakes.give_way(Duration::ZERO);
        assert!(!second.is_stopping(), "the place of the first comes");
        first.finish();
        handshakes.give_way(Duration::ZERO);
        assert!(second.gave_way() && !making.is_stopping());
    }

    #[test]
    fn a_connection_that_has_ended_takes_no_place() {
        let handshakes = Handshakes::new(1);
        let [first, second] = links(&handshakes);
        handshakes.begin(&first);
        handshakes.end(0);
        drop(first);
        handshakes.begin(&second);
        assert!(!second.is_stopping());
        assert_eq!(lock(&handshakes.links).len(), 1);
    }
}
