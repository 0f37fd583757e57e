//! One thread per process that keeps time for all connections, so that none hangs on a guest
//! that does not return: deadlines of handshakes and closes, and sending what a busy guest has
//! left in its write-behind buffer for too long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::channel::link::{Level, Link, Stage};
use crate::channel::sync::lock;
use crate::threads;

/// The stack of the supervisor's thread, in bytes.
const STACK: usize = 256 * 1024;
/// Bytes wait in a write-behind buffer for one to two of these while the guest computes.
const FLUSH_TICK: Duration = Duration::from_micros(250);
/// The longest pause between two looks at a buffer whose socket takes nothing.
const FLUSH_PAUSE: Duration = Duration::from_millis(32);
/// Looks that found nothing to send after which a buffer is no longer looked after.
const IDLE_LOOKS: u32 = 8;

/// Something that the worker puts off and that must not wait for a guest that computes.
pub(crate) trait Delayed: Send + Sync {
    /// Does what has waited since `seen`, and says what waits now. When it says `Empty` and this
    /// was the `last` look, the supervisor forgets this one.
    fn do_older(&self, seen: Option<u64>, last: bool) -> Age;
}

/// What the supervisor saw of something [`Delayed`].
pub(crate) enum Age {
    /// Nothing waits.
    Empty,
    /// Something waits; the generation it belongs to.
    Waits(u64),
}

/// Alarms that are not worth looking through.
const FEW_ALARMS: usize = 256;

enum Order {
    At(Alarm),
    Watch(Weak<dyn Delayed>),
}

/// What happens to a connection when its time has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Raise(Level),
    /// Stop it if its set-up is still in this stage.
    EndStage(Stage),
}

/// Raises the level of a connection at a time.
pub(crate) fn raise_at(when: Instant, link: &Arc<Link>, level: Level) {
    order(Order::At(Alarm {
        when,
        link: Arc::downgrade(link),
        action: Action::Raise(level),
    }));
}

/// Stops a connection whose set-up is still in this stage by then.
pub(crate) fn end_stage_at(when: Instant, link: &Arc<Link>, stage: Stage) {
    order(Order::At(Alarm {
        when,
        link: Arc::downgrade(link),
        action: Action::EndStage(stage),
    }));
}

/// Closes a connection: the guest gets half of `grace` to end by itself after the end of stream,
/// the other half after the control pipe, and is then stopped.
pub(crate) fn close(link: &Arc<Link>, grace: Duration) {
    link.raise(Level::Closing);
    let now = Instant::now();
    raise_at(now + grace / 2, link, Level::Cancelled);
    raise_at(now + grace, link, Level::Stopping);
}

/// Does what is put off whenever the worker has not done so in time.
pub(crate) fn watch<T: Delayed + 'static>(delayed: &Arc<T>) {
    let delayed: Weak<T> = Arc::downgrade(delayed);
    order(Order::Watch(delayed));
}

/// Orders that the supervisor has not taken yet. Not a channel: those look for a message for a
/// while before they sleep, which is much for a thread that wakes by the clock.
#[derive(Default)]
struct Orders {
    new: Mutex<New>,
    changed: Condvar,
}

#[derive(Default)]
struct New {
    orders: Vec<Order>,
    /// Whether the supervisor sleeps, and until when at the latest.
    asleep: bool,
    wakes: Option<Instant>,
}

fn order(order: Order) {
    if let Some(orders) = orders() {
        orders.push(order);
    }
}

impl Order {
    /// When there is something to do for it.
    fn due(&self) -> Instant {
        match self {
            Self::At(alarm) => alarm.when,
            Self::Watch(_) => Instant::now() + FLUSH_TICK,
        }
    }
}

/// The supervisor's orders. It is started with the first one; if there is no thread for it, the
/// next one tries again.
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
    /// Hands an order over. The supervisor is woken only for what is due before it wakes anyway:
    /// most deadlines are far away, and a dial should not have to wake a thread for them.
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

    /// Moves new orders into `into`, which is empty; sleeps until one is due before `deadline`, or
    /// until that.
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
    /// Weak, so that a socket closes when its worker lets go of it.
    delayed: Weak<dyn Delayed>,
    seen: Option<u64>,
    idle: u32,
    next: Instant,
    pause: Duration,
}

struct Supervisor {
    alarms: BinaryHeap<Reverse<Alarm>>,
    /// With more alarms than this, those of connections that have ended are forgotten.
    worth_clearing: usize,
    watched: Vec<Watched>,
    next_look: Option<Instant>,
}

impl Supervisor {
    fn new() -> Self {
        Self {
            alarms: BinaryHeap::new(),
            worth_clearing: FEW_ALARMS,
            watched: Vec::new(),
            next_look: None,
        }
    }

    fn run(&mut self, orders: &Orders) -> ! {
        let mut new = Vec::new();
        loop {
            let next_alarm = self.alarms.peek().map(|alarm| alarm.0.when);
            let next = [next_alarm, self.next_look].into_iter().flatten().min();
            orders.take(next, &mut new);
            for order in new.drain(..) {
                self.take(order);
            }
            let now = Instant::now();
            self.ring_alarms(now);
            if self.next_look.is_some_and(|look| look <= now) {
                self.flush(now);
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
        }
    }

    /// Most connections have ended long before their last alarm rings; those must not pile up
    /// until then.
    fn forget_finished(&mut self) {
        self.alarms.retain(|Reverse(alarm)| {
            let link = alarm.link.upgrade();
            link.is_some_and(|link| !link.is_finished())
        });
        // Looking at all pays once there are twice as many.
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
                Action::EndStage(stage) if link.advance(stage, Stage::Expired) => {
                    link.raise(Level::Stopping);
                }
                Action::EndStage(_) => {}
            }
        }
    }

    fn flush(&mut self, now: Instant) {
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
                    // Still the same bytes: the socket takes nothing, so look less often.
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
            watched.next = now + watched.pause;
            true
        });
        self.next_look = self.watched.iter().map(|watched| watched.next).min();
    }
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
        for _ in 0..100 * FEW_ALARMS {
            let ended = Arc::new(Link::default());
            supervisor.take(alarm(&ended));
            ended.finish();
        }
        assert!(supervisor.alarms.len() <= FEW_ALARMS + 1);
        let kept = |alarm: &Reverse<Alarm>| alarm.0.link.as_ptr() == Arc::as_ptr(&lives);
        assert!(supervisor.alarms.iter().any(kept));
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
