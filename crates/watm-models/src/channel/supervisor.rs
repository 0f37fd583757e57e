//! Replaces the runtime's `channel/supervisor.rs`. It makes the same promise without clocks. A
//! check of delayed work may come at any moment after the order, and there are as many checks as
//! needed.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::channel::sync::{Condvar, Mutex, lock};

/// As in the runtime.
pub(crate) trait Delayed: Send + Sync {
    fn do_older(&self, seen: Option<u64>, last: bool) -> Age;
}

/// As in the runtime.
pub(crate) enum Age {
    Empty,
    Waits(u64),
}

/// As in the runtime.
pub(crate) trait Guarded: Send + Sync {
    fn look(&self) -> bool;
}

enum Order {
    Watch(Weak<dyn Delayed>),
    Guard(Weak<dyn Guarded>),
}

#[derive(Default)]
struct Orders {
    new: VecDeque<Order>,
    closed: bool,
}

#[derive(Default)]
struct Inbox {
    orders: Mutex<Orders>,
    changed: Condvar,
}

loom::lazy_static! {
    static ref INBOX: Inbox = Inbox::default();
}

pub(crate) fn watch<T: Delayed + 'static>(delayed: &Arc<T>) {
    let delayed: Weak<T> = Arc::downgrade(delayed);
    order(Order::Watch(delayed));
}

pub(crate) fn guard(guarded: Weak<dyn Guarded>) {
    order(Order::Guard(guarded));
}

fn order(order: Order) {
    lock(&INBOX.orders).new.push_back(order);
    INBOX.changed.notify_one();
}

/// The loop of the supervisor's thread, which runs until [`close`].
pub(crate) fn run() {
    while let Some(order) = next() {
        match order {
            Order::Watch(delayed) => look_after(&delayed),
            Order::Guard(guarded) => {
                while guarded.upgrade().is_some_and(|guarded| guarded.look()) {
                    loom::thread::yield_now();
                }
            }
        }
    }
}

/// Announces that no more orders will come.
pub(crate) fn close() {
    lock(&INBOX.orders).closed = true;
    INBOX.changed.notify_one();
}

fn next() -> Option<Order> {
    let mut orders = lock(&INBOX.orders);
    loop {
        if let Some(order) = orders.new.pop_front() {
            return Some(order);
        }
        if orders.closed {
            return None;
        }
        orders = INBOX.changed.wait(orders).expect("nobody panics");
    }
}

/// Checks one piece of delayed work, as in the runtime. The runtime makes further checks that find
/// nothing before the last one.
fn look_after(delayed: &Weak<dyn Delayed>) {
    let (mut seen, mut idle) = (None, false);
    while let Some(delayed) = delayed.upgrade() {
        match delayed.do_older(seen, idle) {
            Age::Empty if idle => return,
            Age::Empty => (seen, idle) = (None, true),
            Age::Waits(generation) => (seen, idle) = (Some(generation), false),
        }
    }
}
