//! The dropped connections whose transports have not ended yet. A program can wait for them before
//! it ends.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::channel::link::Link;
use crate::channel::sync::lock;

/// With fewer links than this, those that have ended are not removed.
const FEW: usize = 64;

struct Dropped {
    links: Vec<Weak<Link>>,
    /// Links that have ended are removed when there are this many.
    full: usize,
}

static DROPPED: Mutex<Dropped> = Mutex::new(Dropped {
    links: Vec::new(),
    full: FEW,
});

impl Dropped {
    fn forget_ended(&mut self) {
        self.links.retain(is_under_way);
        self.full = (2 * self.links.len()).max(FEW);
        self.links.shrink_to(self.full);
    }
}

/// Whether the worker is still running. It holds its link until it has finished.
fn is_under_way(link: &Weak<Link>) -> bool {
    link.upgrade().is_some_and(|link| !link.is_finished())
}

/// Adds a connection that nobody holds any more.
pub(crate) fn add(link: &Arc<Link>) {
    if link.is_finished() {
        return;
    }
    let mut dropped = lock(&DROPPED);
    if dropped.links.len() >= dropped.full {
        dropped.forget_ended();
    }
    dropped.links.push(Arc::downgrade(link));
}

/// The dropped connections that have not ended. Those that are dropped later do not count, or whoever
/// waits for them might never be done.
pub(super) fn under_way() -> Vec<Weak<Link>> {
    let mut dropped = lock(&DROPPED);
    dropped.forget_ended();
    dropped.links.clone()
}

/// Waits until all connections that were dropped have delivered what was written to them and have
/// ended, up to `timeout`. Returns how many are left.
///
/// A dropped [`Conn`](crate::Conn) goes on delivering on a thread of its own, and the end of the
/// process ends that thread: its peer is reset. So a program whose last connections are dropped
/// rather than closed calls this before it ends. Each takes at most the grace period
/// ([`Builder::close_grace`](crate::Builder::close_grace)) and half a second.
/// [`Conn::close`](crate::Conn::close) waits for one connection and says how it ended, which this
/// cannot. A [`Carried`](crate::Carried) that was dropped is waited for too; it takes as long as
/// both of its sides like. Dials that were given up count until they have closed what they opened.
///
/// ```no_run
/// use std::time::Duration;
///
/// let left = watm_wasmer::drain(Duration::from_secs(5));
/// if left > 0 {
///     eprintln!("{left} connections could not deliver what was written to them");
/// }
/// ```
pub fn drain(timeout: Duration) -> usize {
    let deadline = Instant::now().checked_add(timeout);
    let mut left = 0;
    for link in under_way() {
        if let Some(link) = link.upgrade()
            && !link.wait_finished(deadline)
        {
            left += 1;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_have_ended_are_not_kept() {
        // Other tests in this process may have dropped some, but not thousands.
        for _ in 0..10_000 {
            let link = Arc::<Link>::default();
            add(&link);
            link.finish();
        }
        assert!(lock(&DROPPED).links.len() < 5_000);
    }

    #[test]
    fn whoever_has_not_ended_is_counted_and_waited_for_no_longer_than_asked() {
        let link = Arc::<Link>::default();
        add(&link);
        assert!(drain(Duration::ZERO) >= 1);
        link.finish();
        assert!(!is_under_way(&Arc::downgrade(&link)));
    }
}
