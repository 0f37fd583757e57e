//! The set-up against its deadline, and interrupts against the end of the worker.

use std::sync::Arc;

use loom::thread;

use crate::channel::link::{Level, Link, Stage};
use crate::channel::sync::{AtomicBool, Ordering};

/// What the supervisor does when the time for a stage is over.
fn end_stage(link: &Link, stage: Stage) -> bool {
    let expired = link.advance(stage, Stage::Expired);
    if expired {
        link.raise(Level::Stopping);
    }
    expired
}

/// Either a transport is set up or its time runs out: never both, and never neither.
pub fn established_or_expired() {
    let link = Arc::new(Link::default());
    let (first, second) = (Arc::clone(&link), Arc::clone(&link));
    let worker = thread::spawn(move || first.advance(Stage::SettingUp, Stage::Established));
    let supervisor = thread::spawn(move || end_stage(&second, Stage::SettingUp));
    let established = worker.join().expect("the worker ends");
    let expired = supervisor.join().expect("the supervisor goes on");
    assert_ne!(established, expired);
    assert_eq!(link.is_established(), established);
    assert_eq!(link.is_stopping(), expired);
}

/// A late deadline for the preparation of an instance from the pool never hits the connection that
/// takes this instance. The connection has its own deadline.
pub fn a_deadline_hits_its_own_stage_alone() {
    let link = Arc::new(Link::spare());
    let (made, late, taken) = (Arc::clone(&link), Arc::clone(&link), Arc::clone(&link));
    let first_deadline = thread::spawn(move || end_stage(&late, Stage::Preparing));
    let worker = thread::spawn(move || made.advance(Stage::Preparing, Stage::Ready));
    let ready = worker.join().expect("the worker goes on");
    if ready {
        assert!(link.advance(Stage::Ready, Stage::SettingUp));
        let second_deadline = thread::spawn(move || end_stage(&taken, Stage::SettingUp));
        let established = link.advance(Stage::SettingUp, Stage::Established);
        assert_ne!(established, second_deadline.join().expect("it goes on"));
    }
    let expired = first_deadline.join().expect("the supervisor goes on");
    assert_ne!(ready, expired);
}

/// A connection is interrupted if it is stopped while its worker prepares the guest.
pub fn whoever_stops_interrupts() {
    let link = Arc::new(Link::default());
    let interrupted = Arc::new(AtomicBool::default());
    let (stopped, flag) = (Arc::clone(&link), Arc::clone(&interrupted));
    let supervisor = thread::spawn(move || stopped.raise(Level::Stopping));
    link.set_interrupt(Some(Box::new(move || flag.store(true, Ordering::Relaxed))));
    supervisor.join().expect("the supervisor goes on");
    assert!(interrupted.load(Ordering::Relaxed));
}

/// An interrupt is never sent to a worker that has withdrawn its interrupt handler, because its
/// store may be gone.
pub fn no_interrupt_after_the_end() {
    let link = Arc::new(Link::default());
    let gone = Arc::new(AtomicBool::default());
    let checked = Arc::clone(&gone);
    link.set_interrupt(Some(Box::new(move || {
        assert!(!checked.load(Ordering::Relaxed), "the store is gone");
    })));
    let supervised = Arc::clone(&link);
    let supervisor = thread::spawn(move || supervised.raise(Level::Stopping));
    link.set_interrupt(None);
    gone.store(true, Ordering::Relaxed);
    supervisor.join().expect("the supervisor goes on");
}
