//! The supervisor looks at a connection as long as its worker does not sleep. However often the
//! worker has slept, it is looked at again once it sleeps no more.

use std::sync::{Arc, Weak};

use loom::thread;

use super::worker::Worker;
use super::{NOT_AT_ALL, ends};
use crate::channel::link::{Level, Link, interest};
use crate::channel::supervisor::{self, Guarded};
use crate::channel::sync::{AtomicBool, Ordering};

/// A guest, as the supervisor looks at it.
struct Guest {
    link: Arc<Link>,
    /// It computes, and will not sleep any more.
    computes: AtomicBool,
    /// The supervisor has looked since.
    is_seen: AtomicBool,
}

impl Guarded for Guest {
    fn look(&self) -> bool {
        if self.link.leave_asleep() {
            return false;
        }
        let computes = self.computes.load(Ordering::Acquire);
        if computes {
            self.is_seen.store(true, Ordering::Release);
        }
        !computes
    }
}

fn guarded(link: &Arc<Link>) -> Arc<Guest> {
    let guest = Arc::new(Guest {
        link: Arc::clone(link),
        computes: AtomicBool::default(),
        is_seen: AtomicBool::default(),
    });
    let weak: Weak<Guest> = Arc::downgrade(&guest);
    link.set_guard(weak);
    guest
}

fn computes(guest: &Guest) {
    guest.computes.store(true, Ordering::Release);
    supervisor::close();
}

/// The worker sleeps until the application writes, and then computes for ever.
pub fn a_worker_that_wakes_is_looked_at() {
    let (link, application, end) = ends();
    let guest = guarded(&link);
    let mut worker = Worker::new(link, end);
    let woken = Arc::clone(&guest);
    let sleeper = thread::spawn(move || {
        while worker.guest.available() == 0 {
            worker.sleep_for(interest::DATA);
        }
        computes(&woken);
        worker
    });
    let writer = thread::spawn(move || {
        assert_eq!(application.write(b"a", NOT_AT_ALL).expect("room"), 1);
        application
    });
    supervisor::run();
    drop(sleeper.join().expect("the worker ends"));
    drop(writer.join().expect("the writer ends"));
    assert!(guest.is_seen.load(Ordering::Acquire));
}

/// A level wakes the worker while the supervisor may be leaving it asleep. Neither hides the other.
pub fn a_worker_that_is_left_asleep_is_woken() {
    let (link, application, end) = ends();
    let guest = guarded(&link);
    let mut worker = Worker::new(Arc::clone(&link), end);
    let woken = Arc::clone(&guest);
    let sleeper = thread::spawn(move || {
        while worker.link.level() < Level::Cancelled {
            worker.sleep_for(0);
        }
        computes(&woken);
        worker
    });
    let embedder = thread::spawn(move || link.raise(Level::Cancelled));
    supervisor::run();
    drop(sleeper.join().expect("the worker ends"));
    embedder.join().expect("the embedder ends");
    assert!(guest.is_seen.load(Ordering::Acquire));
    drop(application);
}
