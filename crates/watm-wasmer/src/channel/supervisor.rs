//! One thread per process keeps time for all connections, so that none of them hangs on a guest
//! that does not return. It enforces the deadlines of handshakes and closes. It also sends bytes
//! that a busy guest has left in its write-behind buffer for too long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::channel::link::{Level, Link, Stage};
use crate::channel::sync::lock;
use crate::threads;

/// The stack size of the supervisor's thread, in bytes.
const STACK: usize = 256 * 1024;
/// Bytes wait in a write-behind buffer for one to three ticks while the guest computes, as long as
/// few buffers are watched.
const FLUSH_TICK: Duration = Duration::from_micros(250);
/// Number of buffers for each of which there is a look in each tick. With more of them, looks are
/// rarer, so that they take a bounded part of a core.
const FEW_WATCHED: usize = 64;
/// The longest pause between two looks at a buffer whose socket takes nothing.
const FLUSH_PAUSE: Duration = Duration::from_millis(32);
/// Number of looks that find nothing to send before the supervisor stops watching a buffer.
const IDLE_LOOKS: u32 = 8;
/// How often the supervisor looks at the connections whose workers do not sleep. Looks take at most
/// one part in `GUARD_SHARE` of a core.
const GUARD_TICK: Duration = Duration::from_millis(500);
const GUARD_SHARE: u32 = 20;

/// Work that the worker puts off and that must not wait for a busy guest.
pub(crate) trait Delayed: Send + Sync {
    /// Does what has waited since `seen`, and reports what waits now. If it reports `Empty` and
    /// this was the `last` look, the supervisor forgets this object.
    fn do_older(&self, seen: Option<u64>, last: bool) -> Age;
}

/// What the supervisor found when it looked at something [`Delayed`].
pub(crate) enum Age {
    /// Nothing waits.
    Empty,
    /// Something waits. The number is its generation.
    Waits(u64),
}

/// Up to this many alarms, it is not worth searching for those that can be forgotten.
const FEW_ALARMS: usize = 256;

/// A connection that the supervisor looks at while its worker does not sleep. A guest that computes,
/// or whose calls are all answered without the system, would hear of nothing.
pub(crate) trait Guarded: Send + Sync {
    /// Looks. Returns whether to look again. Not if the worker sleeps: it orders that when it wakes.
    fn look(&self) -> bool;
}

enum Order {
    At(Alarm),
    Watch(Weak<dyn Delayed>),
    Guard(Weak<dyn Guarded>),
}

/// What happens to a connection when its alarm rings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Raise(Level),
    /// Raise its level unless its guest has ended.
    RaiseForGuest(Level),
    /// The same, if its client has not said by then where it is to go.
    RaiseWithoutTarget(Level),
    /// Stop it if its set-up is still at this stage.
    EndStage(Stage),
}

/// Raises the level of a connection at a given time.
fn raise_at(when: Instant, link: &Arc<Link>, level: Level) {
    alarm(when, link, Action::Raise(level));
}

fn alarm(when: Instant, link: &Arc<Link>, action: Action) {
    order(Order::At(Alarm {
        when,
        link: Arc::downgrade(link),
        action,
    }));
}

/// Stops a connection if its set-up is still at this stage at the given time.
pub(crate) fn end_stage_at(when: Instant, link: &Arc<Link>, stage: Stage) {
    alarm(when, link, Action::EndStage(stage));
}

/// Closes a connection. The guest gets half of `grace` to end by itself after the end of stream,
/// and the other half after the control pipe. Then it is stopped.
pub(crate) fn close(link: &Arc<Link>, grace: Duration) {
    let now = Instant::now();
    link.raise(Level::Closing);
    raise_at(now + grace / 2, link, Level::Cancelled);
    raise_at(now + grace, link, Level::Stopping);
}

/// Cuts a connection off: it has failed, its guest learns from the control pipe that it should end,
/// and is stopped at the given time.
pub(crate) fn cut(link: &Arc<Link>, stop: Instant) {
    link.set_broken();
    link.raise(Level::Cancelled);
    raise_at(stop, link, Level::Stopping);
}

/// Has the guest of a connection end at the given time, in the same steps, unless it has ended by
/// then. What it has written has its own time to be delivered.
pub(crate) fn end_guest_at(when: Instant, link: &Arc<Link>, grace: Duration) {
    for (after, level) in steps(grace) {
        alarm(when + after, link, Action::RaiseForGuest(level));
    }
}

/// The same, unless the client has said by then where the connection is to go.
pub(crate) fn end_without_target_at(when: Instant, link: &Arc<Link>, grace: Duration) {
    for (after, level) in steps(grace) {
        alarm(when + after, link, Action::RaiseWithoutTarget(level));
    }
}

/// The steps in which a guest is told to end, and when after the first.
fn steps(grace: Duration) -> [(Duration, Level); 3] {
    [
        (Duration::ZERO, Level::Closing),
        (grace / 2, Level::Cancelled),
        (grace, Level::Stopping),
    ]
}

/// Watches delayed work: does it whenever the worker has not done so in time.
pub(crate) fn watch<T: Delayed + 'static>(delayed: &Arc<T>) {
    let delayed: Weak<T> = Arc::downgrade(delayed);
    order(Order::Watch(delayed));
}

/// Looks at a connection as long as its worker does not sleep.
pub(crate) fn guard(guarded: Weak<dyn Guarded>) {
    order(Order::Guard(guarded));
}

/// Orders that the supervisor has not taken yet. This is not a channel: a channel spins for a while
/// before it sleeps, which costs too much in a thread that wakes by the clock.
#[derive(Default)]
struct Orders {
    new: Mutex<New>,
    changed: Condvar,
}

#[derive(Default)]
struct New {
    orders: Vec<Order>,
    /// Whether the supervisor sleeps, and the latest time at which it wakes.
    asleep: bool,
    wakes: Option<Instant>,
}

fn order(order: Order) {
    if let Some(orders) = orders() {
        orders.push(order);
    }
}

impl Order {
    /// When there is something to do for this order.
    fn due(&self) -> Instant {
        match self {
            Self::At(alarm) => alarm.when,
            Self::Watch(_) => Instant::now() + FLUSH_TICK,
            Self::Guard(_) => Instant::now() + GUARD_TICK,
        }
    }
}

/// The supervisor's orders. The first order starts the thread. If there is no thread to be had, the
/// next order tries again.
fn orders() -> Option<&'static Arc<Orders>> {
    static SUPERVISOR: OnceLock<Arc<Orders>> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(orders) = SUPERVISOR.get() {
        return Some(orders);
    }
    let _starting = lock(&STARTING);
    if let Some(orders) = SUPERVISOR.get() {
        return Some(orders);
    }
    let orders = Arc::new(Orders::default());
    let taken = Arc::clone(&orders);
    let spawned = threads::spawn("watm-supervisor", STACK, move || {
        Supervisor::new().run(&taken);
    });
    if let Err(error) = spawned {
        log::error!(
            "the supervisor thread could not be started, so nothing is bounded in time: {error}"
        );
        return None;
    }
    Some(SUPERVISOR.get_or_init(|| orders))
}

impl Orders {
    /// Hands over an order. The supervisor is woken only if the order is due before it wakes
    /// anyway. Most deadlines are far away, and a dial should not have to wake a thread for them.
    fn push(&self, order: Order) {
        let due = order.due();
        let mut new = lock(&self.new);
        new.orders.push(order);
        if new.asleep && new.wakes.is_none_or(|wakes| due < wakes) {
            new.asleep = false;
            drop(new);
            self.changed.notify_one();
        }
    }

    /// Moves new orders into `into`, which is empty. If there are none, sleeps until one arrives
    /// that is due before `deadline`, or until `deadline`.
    fn take(&self, deadline: Option<Instant>, into: &mut Vec<Order>) {
        let mut new = lock(&self.new);
        new.asleep = new.orders.is_empty();
        new.wakes = deadline;
        while new.asleep {
            new = match deadline {
                None => self
                    .changed
                    .wait(new)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        break;
                    }
                    let waited = self.changed.wait_timeout(new, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        new.asleep = false;
        std::mem::swap(&mut new.orders, into);
    }
}

struct Alarm {
    when: Instant,
    link: Weak<Link>,
    action: Action,
}

struct Watched {
    /// A weak reference, so that a socket closes when its worker drops it.
    delayed: Weak<dyn Delayed>,
    seen: Option<u64>,
    idle: u32,
    next: Instant,
    pause: Duration,
}

struct Supervisor {
    alarms: BinaryHeap<Reverse<Alarm>>,
    /// With more alarms than this, the supervisor forgets those of connections that have ended.
    worth_clearing: usize,
    watched: Vec<Watched>,
    next_look: Option<Instant>,
    guarded: Vec<Weak<dyn Guarded>>,
    next_guard: Option<Instant>,
}

impl Supervisor {
    fn new() -> Self {
        Self {
            alarms: BinaryHeap::new(),
            worth_clearing: FEW_ALARMS,
            watched: Vec::new(),
            next_look: None,
            guarded: Vec::new(),
            next_guard: None,
        }
    }

    fn run(&mut self, orders: &Orders) -> ! {
        let mut new = Vec::new();
        loop {
            let next_alarm = self.alarms.peek().map(|alarm| alarm.0.when);
            let all = [next_alarm, self.next_look, self.next_guard];
            orders.take(all.into_iter().flatten().min(), &mut new);
            for order in new.drain(..) {
                self.take(order);
            }
            let now = Instant::now();
            self.ring_alarms(now);
            if self.next_look.is_some_and(|look| look <= now) {
                self.flush(now);
            }
            if self.next_guard.is_some_and(|look| look <= now) {
                self.guard(now);
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::At(alarm) => {
                self.alarms.push(Reverse(alarm));
                if self.alarms.len() > self.worth_clearing {
                    self.forget_finished();
                }
            }
            Order::Watch(delayed) => {
                let next = Instant::now() + FLUSH_TICK;
                self.watched.push(Watched {
                    delayed,
                    seen: None,
                    idle: 0,
                    next,
                    pause: FLUSH_TICK,
                });
                self.next_look = Some(self.next_look.map_or(next, |look| look.min(next)));
            }
            Order::Guard(guarded) => {
                self.guarded.push(guarded);
                self.next_guard
                    .get_or_insert_with(|| Instant::now() + GUARD_TICK);
            }
        }
    }

    /// Forgets the alarms of connections that have ended. Most connections end long before their
    /// last alarm rings; their alarms must not pile up until then.
    fn forget_finished(&mut self) {
        self.alarms.retain(|Reverse(alarm)| {
            let link = alarm.link.upgrade();
            link.is_some_and(|link| !link.is_finished())
        });
        // Searching all of them is worthwhile once there are twice as many.
        self.worth_clearing = (2 * self.alarms.len()).max(FEW_ALARMS);
    }

    fn ring_alarms(&mut self, now: Instant) {
        while self.alarms.peek().is_some_and(|alarm| alarm.0.when <= now) {
            let Some(Reverse(alarm)) = self.alarms.pop() else {
                return;
            };
            let Some(link) = alarm.link.upgrade() else {
                continue;
            };
            if link.is_finished() {
                continue;
            }
            match alarm.action {
                Action::Raise(level) => link.raise(level),
                Action::RaiseForGuest(level) => link.raise_for_guest(level),
                Action::RaiseWithoutTarget(level) if link.awaits_target() => {
                    link.set_broken();
                    link.raise_for_guest(level);
                }
                Action::RaiseWithoutTarget(_) => {}
                Action::EndStage(stage) if link.advance(stage, Stage::Expired) => {
                    link.raise(Level::Stopping);
                }
                Action::EndStage(_) => {}
            }
        }
    }

    fn flush(&mut self, now: Instant) {
        let stretch = stretch(self.watched.len());
        self.watched.retain_mut(|watched| {
            if watched.next > now {
                return true;
            }
            let Some(delayed) = watched.delayed.upgrade() else {
                return false;
            };
            let last = watched.idle >= IDLE_LOOKS;
            match delayed.do_older(watched.seen, last) {
                Age::Empty if last => return false,
                Age::Empty => {
                    watched.seen = None;
                    watched.idle += 1;
                    watched.pause = FLUSH_TICK;
                }
                Age::Waits(generation) => {
                    // The same bytes still wait: the socket takes nothing, so look less often.
                    let stuck = watched.seen == Some(generation);
                    watched.pause = if stuck {
                        (watched.pause * 2).min(FLUSH_PAUSE)
                    } else {
                        FLUSH_TICK
                    };
                    watched.seen = Some(generation);
                    watched.idle = 0;
                }
            }
            watched.next = now + (watched.pause * stretch).min(FLUSH_PAUSE);
            true
        });
        let next = self.watched.iter().map(|watched| watched.next).min();
        // Those that are due within a tick have a common look. Each look passes all of them.
        let tick = (FLUSH_TICK * stretch).min(FLUSH_PAUSE);
        self.next_look = next.map(|next| next.max(now + tick));
    }

    /// Looks at all connections whose workers do not sleep, and forgets the others.
    fn guard(&mut self, now: Instant) {
        self.guarded.retain(|guarded| {
            let guarded = guarded.upgrade();
            guarded.is_some_and(|guarded| guarded.look())
        });
        let pause = GUARD_TICK.max(now.elapsed() * GUARD_SHARE);
        self.next_guard = (!self.guarded.is_empty()).then(|| now + pause);
    }
}

/// How much rarer looks are with this many buffers.
fn stretch(watched: usize) -> u32 {
    u32::try_from(watched.div_ceil(FEW_WATCHED))
        .unwrap_or(u32::MAX)
        .max(1)
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.when == other.when
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.when.cmp(&other.when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn alarms_of_connections_that_have_ended_do_not_pile_up() {
        let mut supervisor = Supervisor::new();
        let lives = Arc::new(Link::default());
        let alarm = |link: &Arc<Link>| {
            Order::At(Alarm {
                when: Instant::now() + Duration::from_secs(3600),
                link: Arc::downgrade(link),
                action: Action::EndStage(Stage::SettingUp),
            })
        };
        supervisor.take(alarm(&lives));
        // Each takes 50 milliseconds there.
        let times = if cfg!(miri) { 3 } else { 100 };
        for _ in 0..times * FEW_ALARMS {
            let ended = Arc::new(Link::default());
            supervisor.take(alarm(&ended));
            ended.finish();
        }
        assert!(supervisor.alarms.len() <= FEW_ALARMS + 1);
        let kept = |alarm: &Reverse<Alarm>| alarm.0.link.as_ptr() == Arc::as_ptr(&lives);
        assert!(supervisor.alarms.iter().any(kept));
    }

    /// Something that always waits, and counts the looks.
    #[derive(Default)]
    struct Busy(AtomicU64);

    impl Delayed for Busy {
        fn do_older(&self, _: Option<u64>, _: bool) -> Age {
            Age::Waits(self.0.fetch_add(1, Ordering::Relaxed))
        }
    }

    /// A connection that sleeps from the second look on.
    #[derive(Default)]
    struct Awake(AtomicU64);

    impl Guarded for Awake {
        fn look(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed) == 0
        }
    }

    #[test]
    fn connections_that_sleep_or_have_ended_are_not_looked_at() {
        let mut supervisor = Supervisor::new();
        let (awake, ended) = (Arc::new(Awake::default()), Arc::new(Awake::default()));
        for connection in [&awake, &ended] {
            let connection: Weak<Awake> = Arc::downgrade(connection);
            supervisor.take(Order::Guard(connection));
        }
        drop(ended);
        let mut looks = 0;
        while let Some(next) = supervisor.next_guard {
            supervisor.guard(next);
            looks += 1;
        }
        assert_eq!((looks, awake.0.load(Ordering::Relaxed)), (2, 2));
        assert!(supervisor.guarded.is_empty());
    }

    /// How long buffers are looked at: less under Miri, which is slow.
    const TICKS: u32 = if cfg!(miri) { 20 } else { 400 };

    /// Number of wake-ups and of looks in that time if so many buffers are busy.
    fn wakes_and_looks(buffers: usize) -> (u64, u64) {
        let mut supervisor = Supervisor::new();
        let busy: Vec<_> = (0..buffers).map(|_| Arc::new(Busy::default())).collect();
        for buffer in &busy {
            let delayed: Weak<Busy> = Arc::downgrade(buffer);
            supervisor.take(Order::Watch(delayed));
        }
        // However long that took, the first look is for all of them.
        let start = Instant::now();
        for watched in &mut supervisor.watched {
            watched.next = start;
        }
        supervisor.next_look = Some(start);
        let mut wakes = 0;
        while let Some(look) = supervisor.next_look
            && look < start + TICKS * FLUSH_TICK
        {
            supervisor.flush(look);
            wakes += 1;
        }
        let looks = busy.iter().map(|buffer| buffer.0.load(Ordering::Relaxed));
        (wakes, looks.sum())
    }

    #[test]
    fn looks_at_busy_buffers_are_bounded() {
        for (buffers, every) in [(1, 1), (FEW_WATCHED, 1), (640, 10), (1000, 16)] {
            let wakes = u64::from(TICKS.div_ceil(every));
            let looks = wakes * buffers as u64;
            assert_eq!(wakes_and_looks(buffers), (wakes, looks));
        }
    }

    #[test]
    fn an_alarm_for_a_guest_does_not_cut_the_delivery_after_its_end() {
        let mut supervisor = Supervisor::new();
        let [runs, ended] = std::array::from_fn(|_| Arc::new(Link::default()));
        ended.set_guest_ended();
        let now = Instant::now();
        for link in [&runs, &ended] {
            supervisor.take(Order::At(Alarm {
                when: now,
                link: Arc::downgrade(link),
                action: Action::RaiseForGuest(Level::Stopping),
            }));
        }
        supervisor.ring_alarms(now);
        assert!(runs.is_stopping() && !ended.is_stopping());
        let [silent, named] = std::array::from_fn(|_| Arc::new(Link::default()));
        silent.set_awaits_target(true);
        for link in [&silent, &named] {
            supervisor.take(Order::At(Alarm {
                when: now,
                link: Arc::downgrade(link),
                action: Action::RaiseWithoutTarget(Level::Stopping),
            }));
        }
        supervisor.ring_alarms(now);
        assert!(silent.is_stopping() && silent.is_broken() && !named.is_stopping());
        // Whoever cuts the connection off does.
        supervisor.take(Order::At(Alarm {
            when: now,
            link: Arc::downgrade(&ended),
            action: Action::Raise(Level::Stopping),
        }));
        supervisor.ring_alarms(now);
        assert!(ended.is_stopping());
    }

    #[test]
    fn a_close_moves_through_its_stages_and_interrupts() {
        let link = Arc::new(Link::default());
        let (sender, receiver) = unbounded();
        link.set_interrupt(Some(Box::new(move || {
            let _ = sender.send(());
        })));
        close(&link, Duration::from_millis(20));
        assert!(link.level() >= Level::Closing);
        receiver
            .recv_timeout(Duration::from_secs(20))
            .expect("an interrupt");
        assert!(link.is_stopping());
    }
}
