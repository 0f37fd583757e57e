//! What the threads around one connection share: how close the connection is to its end, how the
//! worker is woken, and how the connection ended.
//!
//! Three parties hold a [`Link`]: the worker that runs the guest, the embedder (through `Conn`, a
//! server) and the supervisor. The link knows nothing of bytes or of the engine.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use watm_abi::Errno;

use crate::channel::supervisor::{self, Guarded};
use crate::channel::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex, OnceLock, Ordering,
    Waker, fence, lock,
};
use crate::channel::wakers::Wakers;
use crate::error::{Outcome, TransportError};

/// How close a connection is to its end. The level only ever rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    /// Nobody has asked for an end.
    Running = 0,
    /// The embedder closed: the guest reads the remaining bytes and then end of stream.
    Closing = 1,
    /// The control descriptor is readable: the guest should return from its worker.
    Cancelled = 2,
    /// No time is left: each host call fails and the guest is interrupted.
    Stopping = 3,
}

/// What can wake a sleeping worker.
pub(crate) mod interest {
    /// A change of the level, or a failure. Always set while the worker sleeps.
    pub(crate) const LEVEL: u32 = 1;
    /// Bytes, or the end of stream, from the application.
    pub(crate) const DATA: u32 = 2;
    /// Room for bytes to the application.
    pub(crate) const ROOM: u32 = 4;
    /// No event: the supervisor has stopped looking at the connection, since the worker sleeps.
    /// The worker orders looks again when it wakes.
    pub(super) const UNGUARDED: u32 = 8;
}

/// How far the set-up of a transport has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// There is a connection to set up. This is the first stage, unless the instance is made for a
    /// pool.
    SettingUp = 0,
    /// The instance is made for a pool.
    Preparing = 1,
    /// The instance is in a pool and has unlimited time.
    Ready = 2,
    /// The transport is set up. This stage is final.
    Established = 3,
    /// The time for one of the stages ran out. This stage is final.
    Expired = 4,
    /// A later connection took the place of this one during its set-up. This stage is final.
    Displaced = 5,
    /// The acceptor of the connection gave it up during its set-up. This stage is final.
    GivenUp = 6,
    /// Its handshake was slow, and others waited for its place. This stage is final.
    GaveWay = 7,
}

/// Whether the guest is in its handshake. It is not while the host connects.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Handshake {
    /// The handshake has not begun, or the host is connecting.
    Away = 0,
    Under = 1,
    /// The handshake has ended for good.
    Over = 2,
}

/// Whether a worker with this interest sleeps, or is about to, and has not been woken.
fn is_asleep(interest: u32) -> bool {
    interest & !interest::UNGUARDED != 0
}

/// Ends a guest, even one that never calls the host again. Returns at once.
type Interrupt = Box<dyn Fn() + Send>;

fn call(interrupt: &Option<Interrupt>) {
    if let Some(interrupt) = interrupt {
        interrupt();
    }
}

/// What a connection has moved, and what that took. Each party records what it did; anyone may read
/// it.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes from the network, and to it.
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    /// The part of both that belongs to the connection that was accepted.
    pub(crate) client_received: AtomicU64,
    pub(crate) client_sent: AtomicU64,
    /// Bytes from a plain connection on the application's side, and to it.
    pub(crate) plain_received: AtomicU64,
    pub(crate) plain_sent: AtomicU64,
    pub(crate) host_calls: AtomicU64,
    pub(crate) system_calls: AtomicU64,
    /// Nanoseconds of the worker, if they are measured.
    pub(crate) guest_time: AtomicU64,
    pub(crate) host_time: AtomicU64,
    pub(crate) asleep: AtomicU64,
}

/// The side of a connection that a socket is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    Network = 1,
    /// The network as well: the connection that was accepted.
    Client = 2,
    /// A plain connection that the transport carries, in place of a pipe to the application.
    Application = 4,
}

impl Traffic {
    /// Counts bytes that came from this side.
    pub(crate) fn received_from(&self, side: Side, len: usize) {
        let count = match side {
            Side::Network => &self.received,
            Side::Client => {
                self.client_received
                    .fetch_add(len as u64, Ordering::Relaxed);
                &self.received
            }
            Side::Application => &self.plain_received,
        };
        count.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were sent to this side.
    pub(crate) fn sent_to(&self, side: Side, len: usize) {
        let count = match side {
            Side::Network => &self.sent,
            Side::Client => {
                self.client_sent.fetch_add(len as u64, Ordering::Relaxed);
                &self.sent
            }
            Side::Application => &self.plain_sent,
        };
        count.fetch_add(len as u64, Ordering::Relaxed);
    }

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
    /// The [`Handshake`] of the guest, the counter in which it counts, and when it began.
    handshake: AtomicU8,
    handshakes: OnceLock<(Arc<AtomicUsize>, Instant)>,
    interest: AtomicU32,
    waker: OnceLock<Waker>,
    /// What the supervisor looks at while the worker does not sleep, if anything.
    guard: OnceLock<Weak<dyn Guarded>>,
    interrupt: Mutex<Option<Interrupt>>,
    outcome: OnceLock<Result<Outcome, TransportError>>,
    /// Something went wrong that the guest did not cause. It may have to be told.
    failed: AtomicBool,
    /// The connection has failed. The peers on its network side are reset in the end, so that none
    /// of them mistakes a part for the whole.
    broken: AtomicBool,
    /// The transport ended well, but the peer did not take all that it wrote in time.
    undelivered: AtomicBool,
    /// The guest has ended, and what it wrote is being delivered.
    guest_ended: AtomicBool,
    /// The guest asked for a connection to the network, and none was made yet.
    connecting: AtomicBool,
    /// The client has yet to say where the connection is to go.
    awaits_target: AtomicBool,
    /// The sides from which nothing more comes: a bit for each [`Side`].
    ended: AtomicU8,
    /// Why the plain connection on the application's side broke.
    plain_lost: OnceLock<Errno>,
    finished: Mutex<bool>,
    finished_changed: Condvar,
    /// Until when the transport has to be set up, and how long it has for that.
    limit: OnceLock<(Instant, Duration)>,
    /// Tasks that wait for the end of the set-up, or for that of the connection.
    pub(crate) tasks: Wakers,
    pub(crate) traffic: Traffic,
}

impl Link {
    /// Creates the link of an instance that is made before it has a connection.
    pub(crate) fn spare() -> Self {
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

    /// Raises the level to `level`, unless it is there already. Wakes the worker, or interrupts its
    /// guest.
    pub(crate) fn raise(&self, level: Level) {
        if self.level.fetch_max(level as u8, Ordering::AcqRel) < level as u8 {
            self.notify(interest::LEVEL);
            if level == Level::Stopping {
                call(&lock(&self.interrupt));
                self.tasks.wake();
            }
        }
    }

    /// The same, but only for the guest's sake: it does nothing once the guest has ended.
    pub(crate) fn raise_for_guest(&self, level: Level) {
        if !self.has_guest_ended() {
            self.raise(level);
        }
    }

    /// Notes that the guest has ended.
    pub(crate) fn set_guest_ended(&self) {
        self.guest_ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_guest_ended(&self) -> bool {
        self.guest_ended.load(Ordering::Acquire)
    }

    /// Moves from one stage of the set-up to another. Returns false if the set-up is no longer at
    /// `from`: the time for it ran out.
    pub(crate) fn advance(&self, from: Stage, to: Stage) -> bool {
        self.stage
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Gives up the set-up, if it is not over. Returns whether it was not.
    pub(crate) fn give_up(&self, why: Stage) -> bool {
        let given_up = self.advance(Stage::SettingUp, why);
        if given_up {
            self.raise(Level::Stopping);
        }
        given_up
    }

    /// Sets until when the transport has to be set up, and how long it has for that. The first call
    /// counts.
    pub(crate) fn set_limit(&self, deadline: Instant, limit: Duration) {
        let _ = self.limit.set((deadline, limit));
    }

    /// Until when the transport has to be set up, as long as it is not.
    pub(crate) fn set_up_by(&self) -> Option<Instant> {
        let limit = self.limit.get().filter(|_| self.is_at(Stage::SettingUp));
        limit.map(|(deadline, _)| *deadline)
    }

    /// How long the transport has to be set up, if that has begun.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit.get().map(|(_, limit)| *limit)
    }

    /// Notes that the guest asked for a connection to the network, or that it was made. One that
    /// was not made leaves the note as it is.
    pub(crate) fn set_connecting(&self, connecting: bool) {
        self.connecting.store(connecting, Ordering::Relaxed);
    }

    /// Whether the guest waits for a connection to the network, or was refused one.
    pub(crate) fn is_connecting(&self) -> bool {
        self.connecting.load(Ordering::Relaxed)
    }

    /// Notes whether the client has yet to say where the connection is to go.
    pub(crate) fn set_awaits_target(&self, awaits: bool) {
        self.awaits_target.store(awaits, Ordering::Relaxed);
    }

    /// Whether the client has yet to say where the connection is to go.
    pub(crate) fn awaits_target(&self) -> bool {
        self.awaits_target.load(Ordering::Relaxed)
    }

    /// Notes that nothing more comes from this side: its peer has ended, or broke.
    pub(crate) fn set_side_ended(&self, side: Side) {
        self.ended.fetch_or(side as u8, Ordering::Relaxed);
    }

    /// Whether it was noticed that nothing more comes from this side.
    pub(crate) fn has_side_ended(&self, side: Side) -> bool {
        self.ended.load(Ordering::Relaxed) & side as u8 != 0
    }

    /// Whether the transport is still being set up.
    pub(crate) fn is_setting_up(&self) -> bool {
        self.is_at(Stage::SettingUp)
    }

    /// Whether the connection lost its place to a later one during its set-up.
    pub(crate) fn is_displaced(&self) -> bool {
        self.is_at(Stage::Displaced)
    }

    /// Whether the connection gave its place to one that waited, during its set-up.
    pub(crate) fn gave_way(&self) -> bool {
        self.is_at(Stage::GaveWay)
    }

    /// Whether the connection was given up during its set-up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_at(Stage::GivenUp)
    }

    /// Whether the transport has been set up.
    pub(crate) fn is_established(&self) -> bool {
        self.is_at(Stage::Established)
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) == stage as u8
    }

    /// Begins the handshake of the guest. It counts in `count` as long as the guest is in it, but
    /// not while the host connects.
    pub(crate) fn begin_handshake(&self, count: &Arc<AtomicUsize>) {
        let _ = self.handshakes.set((Arc::clone(count), Instant::now()));
        self.move_handshake(Handshake::Away, Handshake::Under);
    }

    /// Stops counting the handshake while the host connects. Returns whether it was counted: if so,
    /// it must be resumed.
    pub(crate) fn pause_handshake(&self) -> bool {
        self.move_handshake(Handshake::Under, Handshake::Away)
    }

    /// Counts a paused handshake again, unless it is over.
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

    /// Whether the guest is in its handshake, and not waiting for the host to connect.
    pub(crate) fn is_in_handshake(&self) -> bool {
        self.handshake.load(Ordering::Relaxed) == Handshake::Under as u8
    }

    /// Whether the guest is in its handshake, which began this long ago or longer.
    pub(crate) fn is_in_handshake_for(&self, time: Duration) -> bool {
        let begun = self.handshakes.get().map(|(_, begun)| begun.elapsed());
        self.is_in_handshake() && begun.is_some_and(|elapsed| elapsed >= time)
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
            (Some((count, _)), Handshake::Under) => count.fetch_add(1, Ordering::Relaxed),
            (Some((count, _)), _) => count.fetch_sub(1, Ordering::Relaxed),
            (None, _) => return,
        };
    }

    /// Wakes the worker if it sleeps and waits for any of `what`. The caller must have published
    /// the change itself before.
    pub(crate) fn notify(&self, what: u32) {
        // Pairs with the fence in `Link::announce`: either the worker sees the change, or this
        // thread sees the worker's interest.
        fence(Ordering::SeqCst);
        if self.interest.load(Ordering::Relaxed) & what != 0
            && is_asleep(
                self.interest
                    .fetch_and(interest::UNGUARDED, Ordering::AcqRel),
            )
            && let Some(waker) = self.waker.get()
        {
            self.traffic.system_call();
            if let Err(error) = waker.wake() {
                log::error!("a worker could not be woken: {error}");
            }
        }
    }

    /// Notes that something went wrong that the guest may have to be told, and wakes the worker.
    pub(crate) fn note_failure(&self) {
        self.failed.store(true, Ordering::Release);
        self.notify(interest::LEVEL);
    }

    /// Whether something has gone wrong since the last call.
    pub(crate) fn take_failure(&self) -> bool {
        self.failed.load(Ordering::Relaxed) && self.failed.swap(false, Ordering::Acquire)
    }

    /// Notes that the connection has failed. Open sockets are reset once they have delivered what
    /// came before.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Notes that the plain connection on the application's side broke. The first reason counts.
    /// The connection has failed: the network must not take what came before for the whole.
    pub(crate) fn lose_plain(&self, errno: Errno) {
        let _ = self.plain_lost.set(errno);
        self.set_broken();
    }

    /// Why the plain connection on the application's side broke, if it did.
    pub(crate) fn plain_lost(&self) -> Option<Errno> {
        self.plain_lost.get().copied()
    }

    /// Called by the worker before it sleeps. Afterwards the worker checks its conditions once
    /// more.
    pub(crate) fn announce(&self, what: u32) {
        self.interest
            .store(what | interest::LEVEL, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the worker when it is awake again.
    pub(crate) fn withdraw(&self) {
        if self.interest.swap(0, Ordering::AcqRel) & interest::UNGUARDED != 0
            && let Some(guard) = self.guard.get()
        {
            supervisor::guard(Weak::clone(guard));
        }
    }

    /// Has the supervisor look at the connection from now on, as long as the worker does not sleep.
    /// The first call counts.
    pub(crate) fn set_guard(&self, guard: Weak<dyn Guarded>) {
        if self.guard.set(Weak::clone(&guard)).is_ok() {
            supervisor::guard(guard);
        }
    }

    /// Called by the supervisor. If the worker sleeps, the supervisor need not look until the
    /// worker orders it again, which it does when it wakes. Returns whether that is so.
    pub(crate) fn leave_asleep(&self) -> bool {
        let seen = self.interest.load(Ordering::Relaxed);
        is_asleep(seen)
            && self
                .interest
                .compare_exchange(
                    seen,
                    seen | interest::UNGUARDED,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Called once by the worker, before it can sleep.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let set = self.waker.set(waker);
        debug_assert!(set.is_ok(), "a link has one worker");
    }

    /// Sets how to interrupt a guest that never calls the host, or removes it. Once removed, the
    /// interrupt is never called again.
    pub(crate) fn set_interrupt(&self, interrupt: Option<Interrupt>) {
        let mut place = lock(&self.interrupt);
        *place = interrupt;
        // A thread that stopped the connection before this found nothing to call.
        if self.is_stopping() {
            call(&place);
        }
    }

    /// Records how the transport ended. The first call counts.
    pub(crate) fn set_outcome(&self, outcome: Result<Outcome, TransportError>) {
        let _ = self.outcome.set(outcome);
    }

    /// How the transport ended, once it has ended.
    pub(crate) fn outcome(&self) -> Option<&Result<Outcome, TransportError>> {
        self.outcome.get()
    }

    /// Notes that a transport ended well but bytes of it were lost.
    pub(crate) fn set_undelivered(&self) {
        self.undelivered.store(true, Ordering::Release);
    }

    /// How the transport and the delivery of its bytes ended, once the worker has finished.
    pub(crate) fn final_outcome(&self) -> Option<Result<Outcome, TransportError>> {
        match (self.outcome.get(), self.plain_lost()) {
            (Some(Ok(_)), Some(errno)) => Some(Err(TransportError::PlainLost { errno })),
            (Some(Ok(_)), None) if self.undelivered.load(Ordering::Acquire) => {
                Some(Err(TransportError::Undelivered))
            }
            (outcome, _) => outcome.cloned(),
        }
    }

    /// Called by the worker as its very last step.
    pub(crate) fn finish(&self) {
        *lock(&self.finished) = true;
        self.finished_changed.notify_all();
        self.tasks.wake();
    }

    pub(crate) fn is_finished(&self) -> bool {
        *lock(&self.finished)
    }

    /// Waits until the worker has finished, or until `deadline` if there is one. Returns whether
    /// the worker has finished.
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
        link.set_outcome(Ok(Outcome::Completed));
        assert!(matches!(link.final_outcome(), Some(Ok(Outcome::Completed))));
        link.set_undelivered();
        assert!(matches!(
            link.final_outcome(),
            Some(Err(TransportError::Undelivered))
        ));
        link.lose_plain(Errno::Pipe);
        link.lose_plain(Errno::Connreset);
        assert!(link.is_broken());
        assert!(matches!(
            link.final_outcome(),
            Some(Err(TransportError::PlainLost { errno: Errno::Pipe }))
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
