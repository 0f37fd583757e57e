//! The bound on how many handshakes are in progress with clients.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use crate::channel::link::{Level, Link, Stage};
use crate::channel::sync::lock;

/// The connections that are being set up, oldest first.
///
/// A handshake too many costs the oldest its place, so that clients that never finish cannot keep
/// others out. A handshake is what a client has a part in: neither the making of its instance nor
/// the time that the host takes to connect to a remote counts. After a connect all may come back at
/// once; those beyond the limit are stopped only when somebody needs the room, see
/// [`Handshakes::make_room`].
pub(crate) struct Handshakes {
    limit: usize,
    links: Mutex<VecDeque<Weak<Link>>>,
}

impl Handshakes {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            links: Mutex::default(),
        }
    }

    /// Adds a connection that was accepted.
    pub(crate) fn add(&self, link: &Arc<Link>) {
        lock(&self.links).push_back(Arc::downgrade(link));
    }

    /// The guest of a connection begins its handshake. If that is one too many, the oldest is
    /// stopped.
    pub(crate) fn begin(&self, link: &Link) {
        link.set_in_handshake(true);
        self.displace(1);
    }

    /// Stops the oldest beyond the limit: others wait for the room that they take.
    pub(crate) fn make_room(&self) {
        self.displace(usize::MAX);
    }

    /// Stops the oldest of too many handshakes, `most` at most.
    fn displace(&self, most: usize) {
        let mut links = lock(&self.links);
        let in_handshake = |link: &Weak<Link>| link.upgrade().filter(|link| link.is_in_handshake());
        let count = links.iter().filter_map(in_handshake).count();
        let surplus = count.saturating_sub(self.limit).min(most);
        if surplus == 0 {
            return;
        }
        let mut left = surplus;
        links.retain(|link| match in_handshake(link) {
            Some(link) if left > 0 => {
                left -= 1;
                stop(&link, Stage::Displaced);
                false
            }
            _ => true,
        });
    }

    /// A connection is set up, or has ended.
    pub(crate) fn end(&self, link: &Arc<Link>) {
        lock(&self.links).retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(link)));
    }

    /// Gives all of them up, wherever they are.
    pub(crate) fn stop_all(&self) {
        for link in lock(&self.links)
            .drain(..)
            .filter_map(|link| link.upgrade())
        {
            stop(&link, Stage::GivenUp);
        }
    }
}

/// Stops a connection that is being set up, but not one that was set up a moment ago and has not
/// told so yet.
fn stop(link: &Link, stage: Stage) {
    if link.advance(Stage::SettingUp, stage) {
        link.raise(Level::Stopping);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links<const N: usize>(handshakes: &Handshakes) -> [Arc<Link>; N] {
        [(); N].map(|()| {
            let link = Arc::<Link>::default();
            handshakes.add(&link);
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
        // It was set up, and its end is about to be told.
        assert!(second.advance(Stage::SettingUp, Stage::Established));
        handshakes.begin(&third);
        assert!(!second.is_stopping() && second.is_established());
        assert!(third.advance(Stage::SettingUp, Stage::Established));
        handshakes.stop_all();
        assert!(!third.is_stopping());
    }

    #[test]
    fn who_has_not_begun_or_is_connecting_takes_no_place() {
        let handshakes = Handshakes::new(2);
        let [making, connecting, first, second, third] = links(&handshakes);
        handshakes.begin(&connecting);
        connecting.set_in_handshake(false);
        for link in [&first, &second] {
            handshakes.begin(link);
        }
        assert!(
            [&making, &connecting, &first, &second]
                .iter()
                .all(|link| !link.is_stopping())
        );
        // Back from connecting there is one too many, which is nobody's loss yet.
        connecting.set_in_handshake(true);
        assert!(!connecting.is_stopping());
        // A later one takes the place of the oldest, and of no other.
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
    fn a_connection_that_has_ended_takes_no_place() {
        let handshakes = Handshakes::new(1);
        let [first, second] = links(&handshakes);
        handshakes.begin(&first);
        handshakes.end(&first);
        drop(first);
        handshakes.begin(&second);
        assert!(!second.is_stopping());
        assert_eq!(lock(&handshakes.links).len(), 1);
    }
}
