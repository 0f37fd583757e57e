//! What the threads around one connection share: how far it is on its way to the end, how the
//! worker is woken, and how it ended.
//!
//! Three parties hold a [`Link`]: the worker that runs the guest, the embedder (through `Conn`,
//! a listener or a relay) and the supervisor. It knows nothing of bytes or of the engine.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::channel::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex, OnceLock, Ordering,
    Waker, fence, lock,
};
use crate::error::{End, TransportError};

/// How far a connection is on its way to the end. It only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    /// Nobody asked for an end.
    Running = 0,
    /// The embedder closed: the guest reads the remaining bytes and then end of stream.
    Closing = 1,
    /// The control descriptor is readable: the guest should return from its worker.
    Cancelled = 2,
    /// Patience is over: each host call fails and the guest is interrupted.
    Stopping = 3,
}

/// What a sleeping worker wants to be woken for.
pub(crate) mod interest {
    /// A change of the level, or a failure. Always set while the worker sleeps.
    pub(crate) const LEVEL: u32 = 1;
    /// Bytes or the end of stream from the application.
    pub(crate) const DATA: u32 = 2;
    /// Room for bytes to the application.
    pub(crate) const ROOM: u32 = 4;
}

/// How far the set-up of a transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// It has a connection to set up. The first stage, unless the instance is made for a stock.
    SettingUp = 0,
    /// The instance is made for a stock.
    Preparing = 1,
    /// The instance is in a stock and has all the time there is.
    Ready = 2,
    /// The transport is set up, for good.
    Established = 3,
    /// The time for one of the stages was over, for good.
    Expired = 4,
    /// A later connection took the place of this one while it was being set up, for good.
    Displaced = 5,
    /// Whoever accepted the connection gave it up while it was being set up, for good.
    GivenUp = 6,
}

/// Whether the guest is at its handshake. It is away from it while the host connects.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Handshake {
    /// It has not begun, or the host connects.
    Away = 0,
    Under = 1,
    /// For good.
    Over = 2,
}

/// What makes a guest end that may never call the host again. Takes no time.
type Interrupt = Box<dyn Fn() + Send>;

fn call(interrupt: &Option<Interrupt>) {
    if let Some(interrupt) = interrupt {
        interrupt();
    }
}

/// What a connection has moved and what that took. Written by whoever did it, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes from and to the network.
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) host_calls: AtomicU64,
    pub(crate) system_calls: AtomicU64,
    /// Nanoseconds of the worker, if they are measured.
    pub(crate) guest_time: AtomicU64,
    pub(crate) host_time: AtomicU64,
    pub(crate) asleep: AtomicU64,
}

impl Traffic {
    /// Counts one system call.
    pub(crate) fn system_call(&self) {
        self.system_calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct Link {
    level: AtomicU8,
    /// A [`Stage`].
    stage: AtomicU8,
    /// A part of the handshake, and who counts it.
    handshake: AtomicU8,
    handshakes: OnceLock<Arc<AtomicUsize>>,
    interest: AtomicU32,
    waker: OnceLock<Waker>,
    interrupt: Mutex<Option<Interrupt>>,
    outcome: OnceLock<Result<End, TransportError>>,
    /// Something went wrong without the guest's doing, which it may have to be told.
    failed: AtomicBool,
    /// The connection has failed: whoever is on its network side is reset in the end, so that
    /// nobody takes a part for the whole.
    broken: AtomicBool,
    /// The transport ended well, but not all that it wrote was taken by the peer in time.
    undelivered: AtomicBool,
    finished: Mutex<bool>,
    finished_changed: Condvar,
    pub(crate) traffic: Traffic,
}

impl Link {
    /// The link of an instance that is made before there is a connection for it.
    pub(crate) fn in_stock() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Preparing as u8),
            ..Self::default()
        }
    }

    pub(crate) fn level(&self) -> Level {
        match self.level.load(Ordering::Acquire) {
            0 => Level::Running,
            1 => Level::Closing,
            2 => Level::Cancelled,
            _ => Level::Stopping,
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.level.load(Ordering::Acquire) == Level::Stopping as u8
    }

    /// Moves on to `level` unless the connection is there already, and wakes the worker, or
    /// interrupts its guest.
    pub(crate) fn raise(&self, level: Level) {
        if self.level.fetch_max(level as u8, Ordering::AcqRel) < level as u8 {
            self.notify(interest::LEVEL);
            if level == Level::Stopping {
                call(&lock(&self.interrupt));
            }
        }
    }

    /// Moves from one stage of the set-up to another; false if it is in none of these any more:
    /// the time for `from` was over.
    pub(crate) fn advance(&self, from: Stage, to: Stage) -> bool {
        self.stage
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether it lost its place to a later one while it was being set up.
    pub(crate) fn is_displaced(&self) -> bool {
        self.is_at(Stage::Displaced)
    }

    /// Whether it was given up while it was being set up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_at(Stage::GivenUp)
    }

    /// Whether the transport was set up.
    pub(crate) fn is_established(&self) -> bool {
        self.is_at(Stage::Established)
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) == stage as u8
    }

    /// Begins the handshake of the guest. It is counted in `count` for as long as the guest is at
    /// it, and not while the host connects.
    pub(crate) fn begin_handshake(&self, count: &Arc<AtomicUsize>) {
        let _ = self.handshakes.set(Arc::clone(count));
        self.move_handshake(Handshake::Away, Handshake::Under);
    }

    /// Stops counting the handshake while the host connects. Returns whether it was counted, and so
    /// has to be resumed.
    pub(crate) fn pause_handshake(&self) -> bool {
        self.move_handshake(Handshake::Under, Handshake::Away)
    }

    /// Counts a handshake again that was paused, unless it is over.
    pub(crate) fn resume_handshake(&self) {
        self.move_handshake(Handshake::Away, Handshake::Under);
    }

    /// Ends the handshake for good.
    pub(crate) fn end_handshake(&self) {
        let was = self
            .handshake
            .swap(Handshake::Over as u8, Ordering::Relaxed);
        if was == Handshake::Under as u8 {
            self.count_handshake(Handshake::Over);
        }
    }

    /// Whether the guest is at its handshake, and not waiting for the host to connect.
    pub(crate) fn is_in_handshake(&self) -> bool {
        self.handshake.load(Ordering::Relaxed) == Handshake::Under as u8
    }

    fn move_handshake(&self, from: Handshake, to: Handshake) -> bool {
        let (from, into) = (from as u8, to as u8);
        let moved =
            self.handshake
                .compare_exchange(from, into, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() {
            self.count_handshake(to);
        }
        moved.is_ok()
    }

    fn count_handshake(&self, to: Handshake) {
        match (self.handshakes.get(), to) {
            (Some(count), Handshake::Under) => count.fetch_add(1, Ordering::Relaxed),
            (Some(count), _) => count.fetch_sub(1, Ordering::Relaxed),
            (None, _) => return,
        };
    }

    /// Wakes the worker if it sleeps and waits for any of `what`. The change itself must have
    /// been published before.
    pub(crate) fn notify(&self, what: u32) {
        // Pairs with the fence in `Link::announce`: either the worker sees the change, or this
        // sees the worker's interest.
        fence(Ordering::SeqCst);
        if self.interest.load(Ordering::Relaxed) & what != 0
            && self.interest.swap(0, Ordering::AcqRel) != 0
            && let Some(waker) = self.waker.get()
        {
            self.traffic.system_call();
            if let Err(error) = waker.wake() {
                log::error!("a worker could not be woken: {error}");
            }
        }
    }

    /// Says that something went wrong that the guest may have to be told, and wakes the worker.
    pub(crate) fn note_failure(&self) {
        self.failed.store(true, Ordering::Release);
        self.notify(interest::LEVEL);
    }

    /// Whether something has gone wrong since the last call of this.
    pub(crate) fn take_failure(&self) -> bool {
        self.failed.load(Ordering::Relaxed) && self.failed.swap(false, Ordering::Acquire)
    }

    /// Says that the connection has failed. Sockets that are open are reset when they have
    /// delivered what came before.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Called by the worker before it sleeps; afterwards it looks at its conditions once more.
    pub(crate) fn announce(&self, what: u32) {
        self.interest
            .store(what | interest::LEVEL, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the worker when it is awake again.
    pub(crate) fn withdraw(&self) {
        self.interest.store(0, Ordering::Relaxed);
    }

    /// Called once by the worker, before it can sleep.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let set = self.waker.set(waker);
        debug_assert!(set.is_ok(), "a link has one worker");
    }

    /// Says how a guest that never calls the host is interrupted, and takes that back. Once it is
    /// back, it will not be called any more.
    pub(crate) fn set_interrupt(&self, interrupt: Option<Interrupt>) {
        let mut place = lock(&self.interrupt);
        *place = interrupt;
        // Whoever stopped the connection before this found nothing to call.
        if self.is_stopping() {
            call(&place);
        }
    }

    /// Says how the transport ended. The first word counts.
    pub(crate) fn set_outcome(&self, outcome: Result<End, TransportError>) {
        let _ = self.outcome.set(outcome);
    }

    /// How the transport ended, once it has.
    pub(crate) fn outcome(&self) -> Option<&Result<End, TransportError>> {
        self.outcome.get()
    }

    /// Says that bytes of a transport that ended well were lost.
    pub(crate) fn set_undelivered(&self) {
        self.undelivered.store(true, Ordering::Release);
    }

    /// How all ended, once the worker has finished: the transport, and the delivery of its bytes.
    pub(crate) fn final_outcome(&self) -> Option<Result<End, TransportError>> {
        match self.outcome.get() {
            Some(Ok(_)) if self.undelivered.load(Ordering::Acquire) => {
                Some(Err(TransportError::Undelivered))
            }
            outcome => outcome.cloned(),
        }
    }

    /// Called by the worker last of all.
    pub(crate) fn finish(&self) {
        *lock(&self.finished) = true;
        self.finished_changed.notify_all();
    }

    pub(crate) fn is_finished(&self) -> bool {
        *lock(&self.finished)
    }

    /// Waits until the worker has finished, up to `deadline` if there is one; says whether it has.
    pub(crate) fn wait_finished(&self, deadline: Option<Instant>) -> bool {
        let mut finished = lock(&self.finished);
        while !*finished {
            finished = match deadline {
                None => self
                    .finished_changed
                    .wait(finished)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return false;
                    }
                    let waited = self.finished_changed.wait_timeout(finished, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("level", &self.level())
            .field("outcome", &self.outcome())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_never_falls() {
        let link = Link::default();
        link.raise(Level::Cancelled);
        link.raise(Level::Closing);
        assert_eq!(link.level(), Level::Cancelled);
        link.raise(Level::Stopping);
        assert!(link.is_stopping());
    }

    #[test]
    fn a_sleeping_worker_is_woken_only_for_what_it_announced() {
        let mut poll = mio::Poll::new().expect("a poll");
        let link = Link::default();
        link.set_waker(Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let mut events = mio::Events::with_capacity(4);

        link.announce(interest::DATA);
        link.notify(interest::ROOM);
        poll.poll(&mut events, Some(Duration::ZERO))
            .expect("a poll");
        assert!(events.is_empty());

        link.notify(interest::DATA);
        poll.poll(&mut events, Some(Duration::from_secs(10)))
            .expect("a poll");
        assert!(!events.is_empty());

        link.notify(interest::DATA);
        poll.poll(&mut events, Some(Duration::ZERO))
            .expect("a poll");
        assert!(events.is_empty(), "an awake worker is not woken");
    }

    #[test]
    fn an_end_without_all_its_bytes_is_no_good_end() {
        let link = Link::default();
        link.set_outcome(Ok(End::Completed));
        assert!(matches!(link.final_outcome(), Some(Ok(End::Completed))));
        link.set_undelivered();
        assert!(matches!(
            link.final_outcome(),
            Some(Err(TransportError::Undelivered))
        ));
    }

    #[test]
    fn waiting_for_the_end_is_bounded() {
        let link = Link::default();
        assert!(!link.wait_finished(Some(Instant::now())));
        link.finish();
        assert!(link.wait_finished(None));
    }
}
