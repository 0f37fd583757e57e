//! The tasks that wait for one event: those of futures, each of which has a key of its own and takes
//! its waker away when it is dropped, and the last one that polled without a future.

use std::task::Waker;

use crate::channel::sync::{Mutex, lock};

/// The key of whoever polls without a future. The last such waker replaces the one before.
const POLLED: u64 = 0;

#[derive(Default)]
pub(crate) struct Wakers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    wakers: Vec<(u64, Waker)>,
    /// Keys given out so far.
    keys: u64,
}

/// The place of a future among those that wait. It has none until it first has to wait.
#[derive(Debug, Default)]
pub(crate) struct Key(Option<u64>);

impl Wakers {
    /// Has `waker` woken at the next event. The caller looks once more for what it waits for after
    /// this.
    pub(crate) fn add_polled(&self, waker: &Waker) {
        put(&mut lock(&self.0).wakers, POLLED, waker);
    }

    /// The same for a future, which passes the same key each time.
    pub(crate) fn add(&self, key: &mut Key, waker: &Waker) {
        let mut waiting = lock(&self.0);
        let Waiting { wakers, keys } = &mut *waiting;
        let key = *key.0.get_or_insert_with(|| {
            *keys += 1;
            *keys
        });
        put(wakers, key, waker);
    }

    /// Takes away the waker of a future that is dropped. Returns whether it was there, and so was
    /// not woken.
    pub(crate) fn remove(&self, key: &Key) -> bool {
        let Some(key) = key.0 else { return false };
        let mut waiting = lock(&self.0);
        let before = waiting.wakers.len();
        waiting.wakers.retain(|(waits, _)| *waits != key);
        waiting.wakers.len() != before
    }

    /// Wakes all. The caller has published what they wait for.
    pub(crate) fn wake(&self) {
        // Whatever a waker does, it does not find the lock taken.
        let wakers = std::mem::take(&mut lock(&self.0).wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

fn put(wakers: &mut Vec<(u64, Waker)>, key: u64, waker: &Waker) {
    match wakers.iter_mut().find(|(waits, _)| *waits == key) {
        Some((_, kept)) => kept.clone_from(waker),
        None => wakers.push((key, waker.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_future_and_the_last_poll_are_woken_once() {
        let counts: [Arc<Count>; 4] = Default::default();
        let [first, second, early, late] =
            counts.each_ref().map(|count| Waker::from(count.clone()));
        let (wakers, mut one, mut two) = (Wakers::default(), Key::default(), Key::default());
        wakers.add(&mut one, &first);
        wakers.add(&mut one, &first);
        wakers.add(&mut two, &second);
        wakers.add_polled(&early);
        wakers.add_polled(&late);
        wakers.wake();
        wakers.wake();
        let seen = counts.map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(seen, [1, 1, 0, 1]);
    }

    #[test]
    fn a_future_that_is_dropped_leaves_nothing_behind() {
        let (wakers, mut one, two) = (Wakers::default(), Key::default(), Key::default());
        assert!(!wakers.remove(&two), "it never waited");
        for _ in 0..100 {
            wakers.add(&mut one, Waker::noop());
        }
        assert!(wakers.remove(&one) && !wakers.remove(&one));
        assert_eq!(lock(&wakers.0).wakers.capacity(), 4);
    }
}
