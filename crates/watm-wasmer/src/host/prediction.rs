//! Predicts the poll that follows a refused read, so that a worker can sleep in the read.
//!
//! The loop of most guests ends with a non-blocking read that finds nothing. What follows is a poll
//! for the same descriptors as before. Such a poll is expensive for a guest with a garbage
//! collector: guests that TinyGo compiled allocate about 10 KiB in each. So once a guest has gone
//! through a few of these rounds, and has spent some time before each poll, its worker sleeps in
//! the refused read already, for everything that the poll would wait for. If the descriptor of the
//! read gets something, the read returns it, and one poll was saved. If anything else comes, the
//! read is refused, and the poll finds it.
//!
//! This only helps if the read gets something. If something else comes, the guest goes through its
//! poll after that, where it could have done so while it waited. So it is also predicted what comes
//! next: a client that sends a message and waits for the answer makes both sides take turns.
//!
//! The guest cannot tell this from a slow read, as long as it makes no other call between the read
//! and the poll. If it does so once, that call was late by at most [`YOUNG`], or by [`OLD`] after
//! many rounds. Then the guest has to prove itself again, for longer. The time counts from the
//! first sleep since the last poll: what the guest does only after a poll, or after a refused read,
//! is not put off for longer either, however often something comes in between.

use std::time::{Duration, Instant};

use watm_abi::{Rights, Subscription, SubscriptionKind};

use crate::channel::link::Level;
use crate::host::Host;
use crate::host::descriptor::{Call, Direction, Kind};
use crate::host::sleep::Waits;

/// Number of rounds after which a poll is predicted for the first time.
const ENOUGH: u32 = 8;
/// Number of wrong predictions after which nothing is predicted any more. Each doubles the number
/// of rounds that are enough.
const WRONG_LIMIT: u32 = 4;
/// Minimum time that a guest must spend between the read and the poll in each round, or it would
/// save too little. Guests with a collector take microseconds, others less than 100 nanoseconds.
const WORTH: Duration = Duration::from_nanos(500);
/// Number of rounds after which a worker may sleep for longer.
const MANY: u32 = 256;
/// Maximum time from the first sleep in a read to the next poll, before and after that number of
/// rounds.
const YOUNG: Duration = Duration::from_millis(1);
const OLD: Duration = Duration::from_millis(10);
/// Maximum number of subscriptions of a poll that is predicted. Guests have three or four.
const SUBSCRIPTION_LIMIT: usize = 16;

/// What a guest does between a refused read and the next poll.
#[derive(Debug)]
pub(super) struct Prediction {
    /// What the last poll waited for, if only for reading.
    polled: Vec<Subscription>,
    /// The last read that was refused.
    refused: Option<Refused>,
    /// The descriptor whose refused read comes right before the poll.
    last: u32,
    /// How often in a row that was so.
    rounds: u32,
    /// The shortest time between the read and the poll in these rounds, as long as they were not
    /// enough.
    shortest: Duration,
    /// The minimum of that time.
    worth: Duration,
    /// When the worker first slept in a read since the last poll.
    since: Option<Instant>,
    /// How often a poll was predicted that did not come.
    wrong: u32,
    /// How long a worker may sleep in a read, before and after many rounds.
    limits: [Duration; 2],
    /// What comes next.
    source: Source,
}

/// Predicts whether the next thing that comes is for the read or for something else, from which of
/// both came last. As a branch predictor does, it changes its mind after two surprises.
#[derive(Debug)]
struct Source {
    /// Whether the last thing was for the read.
    last: bool,
    /// For either case, from 0, something else, to 3, the read.
    next: [u8; 2],
}

impl Default for Source {
    fn default() -> Self {
        Self {
            last: true,
            next: [3; 2],
        }
    }
}

impl Source {
    fn is_read(&self) -> bool {
        self.next[usize::from(self.last)] >= 2
    }

    fn came(&mut self, for_read: bool) {
        let next = &mut self.next[usize::from(self.last)];
        *next = if for_read {
            (*next + 1).min(3)
        } else {
            next.saturating_sub(1)
        };
        self.last = for_read;
    }
}

impl Default for Prediction {
    fn default() -> Self {
        Self {
            polled: Vec::new(),
            refused: None,
            last: 0,
            rounds: 0,
            shortest: Duration::MAX,
            worth: WORTH,
            since: None,
            wrong: 0,
            limits: [YOUNG, OLD],
            source: Source::default(),
        }
    }
}

/// A read that was refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    fd: u32,
    /// The number of the call.
    call: u64,
    /// When that was, if there were rounds, but not enough.
    at: Option<Instant>,
    /// Whether the worker slept in it.
    predicted: bool,
}

impl Prediction {
    /// Records that the guest polls with its call number `call`.
    pub(super) fn polls(&mut self, call: u64, subscriptions: &[Subscription]) {
        self.since = None;
        let same = !self.polled.is_empty() && self.polled == subscriptions;
        match self.refused.take() {
            Some(refused) if same && refused.call + 1 == call => self.came_true(refused),
            Some(refused) if refused.predicted => self.was_wrong(),
            _ => self.rounds = 0,
        }
        if !same {
            self.polled.clear();
            if is_plain(subscriptions) {
                self.polled.extend_from_slice(subscriptions);
            }
        }
    }

    /// Records that a non-blocking read of `fd` with the number `call` was refused. `predicted`
    /// says whether the worker slept in it.
    pub(super) fn refused(&mut self, call: u64, fd: u32, predicted: bool) {
        if self.refused.is_some_and(|before| before.predicted) {
            self.was_wrong();
        }
        // The clock is for guests that may have such a loop.
        let at = (1..self.enough()).contains(&self.rounds).then(Instant::now);
        self.refused = Some(Refused {
            fd,
            call,
            at,
            predicted,
        });
    }

    /// What the guest will poll for if its read of `fd` is refused now, and until when its worker
    /// may sleep in the read. `None` if that is not known, or if the guest has not polled for long.
    pub(super) fn of(&mut self, fd: u32) -> Option<(Vec<Subscription>, Instant)> {
        let is_known = fd == self.last && self.rounds >= self.enough();
        if !is_known || self.shortest < self.worth || self.wrong >= WRONG_LIMIT {
            return None;
        }
        if self.refused.is_some_and(|before| before.predicted) {
            // The guest reads where it should have polled.
            return None;
        }
        if !self.source.is_read() {
            return None;
        }
        let [young, old] = self.limits;
        let limit = if self.rounds < MANY { young } else { old };
        let now = Instant::now();
        let end = *self.since.get_or_insert(now) + limit;
        (now <= end).then(|| (std::mem::take(&mut self.polled), end))
    }

    /// Records that something came that the guest waited for, in its last read or in the poll after
    /// it, and whether it was for the read.
    pub(super) fn came(&mut self, for_read: bool) {
        self.source.came(for_read);
    }

    /// The descriptor of the last read before a poll.
    pub(super) fn last_read(&self) -> u32 {
        self.last
    }

    /// Gives back what [`Prediction::of`] returned.
    pub(super) fn put_back(&mut self, polled: Vec<Subscription>) {
        self.polled = polled;
    }

    /// Number of rounds that are enough to predict the next poll.
    fn enough(&self) -> u32 {
        ENOUGH << self.wrong
    }

    fn came_true(&mut self, refused: Refused) {
        if refused.fd != self.last || self.rounds == 0 {
            (self.last, self.rounds) = (refused.fd, 0);
            self.shortest = Duration::MAX;
        }
        self.rounds = self.rounds.saturating_add(1);
        if let Some(at) = refused.at {
            self.shortest = self.shortest.min(at.elapsed());
        }
    }

    fn was_wrong(&mut self) {
        self.rounds = 0;
        self.wrong = (self.wrong + 1).min(WRONG_LIMIT);
    }
}

/// Whether a poll waits for reading alone, so that it is worth predicting and can be.
fn is_plain(subscriptions: &[Subscription]) -> bool {
    subscriptions.len() <= SUBSCRIPTION_LIMIT
        && subscriptions
            .iter()
            .all(|subscription| matches!(subscription.kind, SubscriptionKind::FdRead { .. }))
}

impl Host {
    /// Sleeps in a refused read of `fd` if the guest would poll next, for what it would poll for.
    /// Returns whether the read may find something now. `None` if nothing is known of the guest.
    pub(super) fn sleep_like_poll(&mut self, fd: u32) -> Call<Option<bool>> {
        if self.link.level() >= Level::Cancelled {
            return Ok(None);
        }
        let Some((polled, end)) = self.prediction.of(fd) else {
            return Ok(None);
        };
        let found = self.sleep_until(fd, &polled, end);
        self.prediction.put_back(polled);
        found.map(Some)
    }

    /// Sleeps until `fd` can be read. Returns false if anything else that is polled for comes
    /// before that, or if nothing comes until `end`.
    fn sleep_until(&mut self, fd: u32, polled: &[Subscription], end: Instant) -> Call<bool> {
        loop {
            let mut ready = false;
            for subscription in polled {
                let SubscriptionKind::FdRead { fd: other } = subscription.kind else {
                    return Ok(false);
                };
                let rights = Rights::FD_READ | Rights::POLL_FD_READWRITE;
                let is_error = self.descriptors.check_poll(other, rights).is_err();
                if is_error || !self.is_stream_or_control(other) {
                    return Ok(false);
                }
                let is_ready = self.readiness(other, Direction::Read).is_some();
                if is_ready && other != fd {
                    // The poll tells what it is.
                    return Ok(false);
                }
                ready |= is_ready;
            }
            if ready {
                self.prediction.came(true);
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            // The guest looks at all its descriptors, as in a poll.
            self.reads.look_around();
            self.sleep_for(Waits::Any(polled), Some(end))?;
        }
    }

    fn is_stream_or_control(&self, fd: u32) -> bool {
        self.descriptors.get(fd).is_ok_and(|descriptor| {
            descriptor.kind.is_stream() || matches!(descriptor.kind, Kind::Control)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    use watm_abi::RiFlags;

    use crate::channel::pipe::Patience;
    use crate::host::tests::{AGAIN, Fixture, clock, fixture, iovecs, memory};

    fn reading(fds: &[u32]) -> Vec<Subscription> {
        let subscription = |fd: &u32| Subscription {
            userdata: u64::from(*fd),
            kind: SubscriptionKind::FdRead { fd: *fd },
        };
        fds.iter().map(subscription).collect()
    }

    /// A guest that polls, reads 3, 4 and 5, and polls again.
    struct Calls {
        prediction: Prediction,
        number: u64,
        /// How long the worker may have slept in the last read.
        limit: Duration,
    }

    impl Calls {
        fn new() -> Self {
            Self {
                prediction: Prediction {
                    worth: Duration::ZERO,
                    ..Prediction::default()
                },
                number: 0,
                limit: Duration::ZERO,
            }
        }

        fn poll(&mut self, subscriptions: &[Subscription]) {
            self.number += 1;
            self.prediction.polls(self.number, subscriptions);
        }

        /// A read that is refused. Returns whether the poll was predicted.
        fn read(&mut self, fd: u32) -> bool {
            self.number += 1;
            let predicted = self.prediction.of(fd);
            let is_predicted = predicted.is_some();
            if let Some((polled, end)) = predicted {
                self.prediction.put_back(polled);
                self.limit = end - self.prediction.since.expect("it sleeps");
            }
            self.prediction.refused(self.number, fd, is_predicted);
            is_predicted
        }

        fn other(&mut self) {
            self.number += 1;
        }

        /// Returns whether the poll was predicted.
        fn round(&mut self) -> bool {
            self.poll(&reading(&[3, 4, 5]));
            let early = [3, 4].map(|fd| self.read(fd));
            assert_eq!(early, [false; 2]);
            self.read(5)
        }

        fn is_predicted_within(&mut self, rounds: u32) -> bool {
            (0..rounds).any(|_| self.round())
        }
    }

    #[test]
    fn a_poll_is_predicted_after_some_rounds() {
        let mut calls = Calls::new();
        let rounds = [(); ENOUGH as usize + 3].map(|()| calls.round());
        let first = rounds.iter().position(|predicted| *predicted);
        assert_eq!(first, Some(ENOUGH as usize));
        assert!(rounds[ENOUGH as usize..].iter().all(|is| *is));
    }

    #[test]
    fn a_poll_that_costs_the_guest_nothing_is_not_predicted() {
        for (worth, expected) in [(Duration::ZERO, true), (Duration::from_secs(60), false)] {
            let mut calls = Calls::new();
            calls.prediction.worth = worth;
            assert_eq!(calls.is_predicted_within(10 * ENOUGH), expected);
        }
    }

    #[test]
    fn what_comes_next_is_learnt() {
        for pattern in [&[true][..], &[false], &[true, false]] {
            let mut source = Source::default();
            let mut turns = pattern.iter().copied().cycle();
            for turn in turns.by_ref().take(12) {
                source.came(turn);
            }
            for turn in turns.take(12) {
                assert_eq!(source.is_read(), turn, "{pattern:?}");
                source.came(turn);
            }
        }
    }

    #[test]
    fn a_worker_sleeps_in_a_read_only_if_something_comes_for_it() {
        let mut calls = Calls::new();
        assert!(calls.is_predicted_within(2 * ENOUGH));
        for _ in 0..10 {
            calls.prediction.came(false);
        }
        assert!(!calls.round());
        for _ in 0..10 {
            calls.prediction.came(true);
        }
        assert!(calls.round());
        assert_eq!(calls.prediction.wrong, 0);
    }

    #[test]
    fn the_time_in_a_read_grows_with_the_rounds() {
        let mut calls = Calls::new();
        assert!(calls.is_predicted_within(ENOUGH + 2));
        assert_eq!(calls.limit, YOUNG);
        for _ in 0..MANY {
            assert!(calls.round());
        }
        assert_eq!(calls.limit, OLD);
    }

    #[test]
    fn a_guest_that_deviates_has_to_prove_itself_again_for_longer() {
        type Deviation = fn(&mut Calls);
        let deviations: [(&str, Deviation); 5] = [
            ("a call before the poll", |calls| calls.other()),
            ("another poll", |calls| calls.poll(&reading(&[3]))),
            ("no poll", |calls| {
                calls.read(5);
            }),
            ("a read of another descriptor", |calls| {
                calls.read(4);
            }),
            ("a poll with a clock", |calls| {
                let mut subscriptions = reading(&[3, 4, 5]);
                subscriptions.push(Subscription {
                    userdata: 0,
                    kind: clock(1),
                });
                calls.poll(&subscriptions);
            }),
        ];
        for (name, deviate) in deviations {
            let mut calls = Calls::new();
            let mut enough = ENOUGH;
            for _ in 0..WRONG_LIMIT {
                assert!(!calls.is_predicted_within(enough - 1), "{name}");
                assert!(calls.is_predicted_within(4), "{name}");
                deviate(&mut calls);
                enough *= 2;
            }
            assert!(!calls.is_predicted_within(10 * enough), "{name}");
        }
    }

    #[test]
    fn guests_without_such_a_loop_are_left_alone() {
        let mut subscriptions = reading(&[3, 4, 5]);
        // Which descriptor comes last changes all the time.
        let mut calls = Calls::new();
        for last in [4, 5].repeat(100) {
            calls.poll(&subscriptions);
            assert!(!calls.read(last));
        }
        // The guest does something between the read and the poll.
        for _ in 0..100 {
            calls.poll(&subscriptions);
            assert!(!calls.read(5));
            calls.other();
        }
        // It polls for room, or with a clock.
        for kind in [SubscriptionKind::FdWrite { fd: 4 }, clock(1)] {
            subscriptions.truncate(3);
            subscriptions.push(Subscription { userdata: 9, kind });
            for _ in 0..100 {
                calls.poll(&subscriptions);
                assert!(!calls.read(5));
            }
        }
        // It polls for more and more.
        for count in 3..200 {
            calls.poll(&reading(&(3..count).collect::<Vec<_>>()));
            assert!(!calls.read(5));
        }
    }

    /// What a worker of the first modules polls for.
    fn kinds(f: &Fixture) -> [SubscriptionKind; 3] {
        [f.control, f.internal, f.net].map(|fd| SubscriptionKind::FdRead { fd })
    }

    /// A host whose guest has gone through many rounds. It has just polled and been told of a byte
    /// of the peer, which it has read.
    fn trained() -> Fixture {
        let mut f = fixture();
        f.nonblocking();
        f.host.prediction.limits = [Duration::ZERO; 2];
        f.host.prediction.worth = Duration::ZERO;
        for _ in 0..=ENOUGH + 1 {
            f.peer.write_all(b"x").expect("room");
            let events = f.poll(&kinds(&f)).expect("events");
            assert_eq!(events.len(), 1);
            assert_eq!(f.read(f.control, 8), Err(AGAIN));
            assert_eq!(f.read(f.internal, 8), Err(AGAIN));
            assert_eq!(f.read(f.net, 8).expect("a byte"), b"x");
            assert_eq!(f.read(f.net, 8), Err(AGAIN));
        }
        f.peer.write_all(b"x").expect("room");
        f.poll(&kinds(&f)).expect("events");
        assert_eq!(f.read(f.net, 8).expect("a byte"), b"x");
        assert!(f.host.prediction.rounds >= ENOUGH);
        // Far longer than anything here takes.
        f.host.prediction.limits = [Duration::from_secs(60); 2];
        f
    }

    #[test]
    fn what_comes_while_a_worker_sleeps_in_a_read_is_read() {
        let mut f = trained();
        for message in [&b"one"[..], b"two", b"three"] {
            let mut peer = f.peer.try_clone().expect("a socket");
            let writes = std::thread::spawn(move || peer.write_all(message));
            // Without a poll in between.
            assert_eq!(f.read(f.net, 8).expect("bytes"), message);
            writes.join().expect("no panic").expect("room");
        }
        drop(std::mem::replace(&mut f.peer, fixture().peer));
        assert_eq!(f.read(f.net, 8).expect("the end"), b"");
    }

    #[test]
    fn anything_else_that_comes_ends_the_sleep() {
        let mut f = trained();
        std::thread::scope(|scope| {
            let app = &f.app;
            let writes = scope.spawn(|| app.write(b"up", Patience::None).map(|_| ()));
            let mut memory = memory(8);
            let array = iovecs(&memory);
            let read = f
                .host
                .read(&mut memory[..], f.net, &array, RiFlags::default());
            assert_eq!(read, Err(AGAIN));
            writes.join().expect("no panic").expect("room");
        });
        assert_eq!(f.poll(&kinds(&f)).expect("events")[0].0, 1);
        assert_eq!(f.read(f.internal, 8).expect("bytes"), b"up");

        let mut f = trained();
        let link = Arc::clone(&f.link);
        let raises = std::thread::spawn(move || link.raise(Level::Cancelled));
        assert_eq!(f.read(f.net, 8), Err(AGAIN));
        raises.join().expect("no panic");
        assert_eq!(f.poll(&kinds(&f)).expect("events")[0].0, 0);
    }

    #[test]
    fn a_guest_that_gets_something_again_and_again_still_polls() {
        let mut f = trained();
        f.host.prediction.limits = [Duration::from_millis(20); 2];
        let mut peer = f.peer.try_clone().expect("a socket");
        peer.set_nonblocking(true).expect("a mode");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // Whoever does not read has had enough.
                    let _ = peer.write(b"x");
                    std::thread::yield_now();
                }
            });
            let given_up = Instant::now() + Duration::from_secs(60);
            while f.read(f.net, 8).is_ok() {
                assert!(Instant::now() < given_up, "it is never refused");
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_worker_does_not_sleep_in_a_read_for_long() {
        let mut f = trained();
        f.host.prediction.limits = [Duration::from_millis(1); 2];
        assert_eq!(f.read(f.net, 8), Err(AGAIN));
        // Nor at all if something else is there already.
        let mut f = trained();
        f.app.write(b"up", Patience::None).expect("room");
        assert_eq!(f.read(f.net, 8), Err(AGAIN));
        // Nor if it is told to stop.
        let mut f = trained();
        f.link.raise(Level::Stopping);
        assert!(f.read(f.net, 8).is_err());
    }
}
