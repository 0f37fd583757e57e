//! The worker announces what it waits for, checks once more and sleeps, while others change
//! something. It never sleeps through a change for ever.

use std::sync::Arc;

use loom::thread;

use super::{NOT_AT_ALL, ends};
use crate::channel::gate::Gate;
use crate::channel::link::{Level, Link, interest};
use crate::channel::pipe::{ApplicationEnd, GuestEnd, PIPE_CAPACITY};
use crate::channel::sync::{Bell, Mutex, Waker, lock};

/// A worker, reduced to how it sleeps. It does what `Host::sleep_for` does, with a bell instead of
/// its reactor.
pub(super) struct Worker {
    pub(super) link: Arc<Link>,
    pub(super) guest: GuestEnd,
    bell: Arc<Bell>,
    seen_level: Level,
    /// Size of the write that the guest waits with, in bytes.
    refused: usize,
    /// If set, the worker waits for room for what the guest would read, not for a write.
    gate: Option<Gate>,
}

impl Worker {
    pub(super) fn new(link: Arc<Link>, guest: GuestEnd) -> Self {
        let bell = Arc::new(Bell::default());
        link.set_waker(Waker(Arc::clone(&bell)));
        Self {
            link,
            guest,
            bell,
            seen_level: Level::Running,
            refused: 0,
            gate: None,
        }
    }

    pub(super) fn sleep_for(&mut self, what: u32) {
        self.guest.wake_readers();
        self.link.announce(what);
        let sleeps = !self.take_in_changes(what);
        self.bell.wait(sleeps);
        self.link.withdraw();
    }

    fn take_in_changes(&mut self, what: u32) -> bool {
        let level = self.link.level();
        let changed = level != self.seen_level
            || what & interest::DATA != 0 && self.guest.is_readable()
            || what & interest::ROOM != 0 && self.has_room();
        self.seen_level = level;
        changed
    }

    fn has_room(&mut self) -> bool {
        match &mut self.gate {
            Some(gate) => gate.allowance(self.guest.room()) > 0,
            None => self.guest.accepts(self.refused),
        }
    }
}

fn worker() -> (ApplicationEnd, Worker) {
    let (link, application, guest) = ends();
    (application, Worker::new(link, guest))
}

/// The application writes.
pub fn data_wakes_the_worker() {
    let (application, mut worker) = worker();
    let writer = thread::spawn(move || {
        assert_eq!(application.write(b"a", NOT_AT_ALL).expect("room"), 1);
        application
    });
    while worker.guest.available() == 0 {
        worker.sleep_for(interest::DATA);
    }
    writer.join().expect("the writer ends");
}

/// The application writes again while the worker is awake or about to sleep.
pub fn each_write_wakes_the_worker() {
    let (application, mut worker) = worker();
    let writer = thread::spawn(move || {
        for byte in [b"a", b"b"] {
            assert_eq!(application.write(byte, NOT_AT_ALL).expect("room"), 1);
        }
        application
    });
    let mut read = 0;
    while read < 2 {
        let mut buf = [0; 4];
        match worker.guest.read(&mut buf) {
            0 => worker.sleep_for(interest::DATA),
            len => {
                worker.guest.read_done(len);
                read += len;
            }
        }
    }
    writer.join().expect("the writer ends");
}

/// The embedder raises the level while the worker waits for something else.
pub fn the_level_wakes_the_worker() {
    let (application, mut worker) = worker();
    let link = Arc::clone(&worker.link);
    let embedder = thread::spawn(move || {
        link.raise(Level::Closing);
        link.raise(Level::Stopping);
    });
    while !worker.link.is_stopping() {
        worker.sleep_for(interest::DATA);
    }
    embedder.join().expect("the embedder ends");
    drop(application);
}

/// Both happen at once. Neither wake-up is lost.
pub fn data_and_level_wake_the_worker() {
    let (application, mut worker) = worker();
    let link = Arc::clone(&worker.link);
    let embedder = thread::spawn(move || link.raise(Level::Cancelled));
    let writer = thread::spawn(move || {
        assert_eq!(application.write(b"a", NOT_AT_ALL).expect("room"), 1);
        application
    });
    while worker.guest.available() == 0 {
        worker.sleep_for(interest::DATA);
    }
    while worker.link.level() < Level::Cancelled {
        worker.sleep_for(0);
    }
    embedder.join().expect("the embedder ends");
    writer.join().expect("the writer ends");
}

/// The guest waits with a write of `refused` bytes, and the application reads piece by piece.
fn room(refused: usize) {
    let (application, mut worker) = worker();
    super::guest_writes(&mut worker.guest, &vec![7; PIPE_CAPACITY], false);
    let reader = thread::spawn(move || {
        let mut buf = vec![0; PIPE_CAPACITY / 2];
        for _ in 0..2 {
            assert_eq!(
                application.read(&mut buf, NOT_AT_ALL).expect("bytes"),
                buf.len()
            );
        }
        application
    });
    worker.refused = refused;
    while !worker.guest.accepts(refused) {
        worker.guest.want_room(refused);
        worker.sleep_for(interest::ROOM);
    }
    reader.join().expect("the reader ends");
}

/// A small write continues once half of the pipe is free.
pub fn room_for_little_wakes_the_worker() {
    room(1);
}

/// A large write continues once all the room that it needs is free.
pub fn room_for_much_wakes_the_worker() {
    room(PIPE_CAPACITY / 4 * 3);
}

/// Only what the guest waits for now counts, not the larger amount that it waited for before.
pub fn the_last_wish_for_room_counts() {
    let (application, mut worker) = worker();
    super::guest_writes(&mut worker.guest, &vec![7; PIPE_CAPACITY], false);
    worker.guest.want_room(PIPE_CAPACITY);
    let half = PIPE_CAPACITY / 2;
    let reader = thread::spawn(move || {
        let len = application.read(&mut vec![0; half], NOT_AT_ALL);
        assert_eq!(len.expect("bytes"), half);
        application
    });
    worker.refused = half;
    while !worker.guest.accepts(half) {
        worker.guest.want_room(half);
        worker.sleep_for(interest::ROOM);
    }
    reader.join().expect("the reader ends");
}

/// An application that stops reading wakes a guest that waits for room. The guest's bytes are
/// dropped.
pub fn the_end_of_reading_wakes_the_worker() {
    let (application, mut worker) = worker();
    super::guest_writes(&mut worker.guest, &vec![7; PIPE_CAPACITY], false);
    let reader = thread::spawn(move || application.shutdown_read());
    worker.refused = 1;
    while !worker.guest.accepts(1) {
        worker.guest.want_room(1);
        worker.sleep_for(interest::ROOM);
    }
    assert!(worker.guest.discards());
    reader.join().expect("the reader ends");
}

/// The application makes room while the worker holds back what the guest would read.
pub fn room_lets_a_read_through() {
    let (application, mut worker) = worker();
    super::guest_writes(&mut worker.guest, &vec![7; PIPE_CAPACITY], false);
    let reader = thread::spawn(move || {
        let mut buf = vec![0; PIPE_CAPACITY / 4];
        for _ in 0..2 {
            let len = application.read(&mut buf, NOT_AT_ALL).expect("bytes");
            assert_eq!(len, buf.len());
        }
        application
    });
    worker.gate = Some(Gate::default());
    while !worker.has_room() {
        let wanted = worker.guest.room().high;
        worker.guest.want_room(wanted);
        worker.sleep_for(interest::ROOM);
    }
    reader.join().expect("the reader ends");
}

/// The supervisor sends what held a read back. No event of the socket tells the worker.
pub fn a_late_flush_lets_a_read_through() {
    let (application, worker) = worker();
    let waiting = Arc::new(Mutex::new(1));
    let (sent, link) = (Arc::clone(&waiting), Arc::clone(&worker.link));
    let supervisor = thread::spawn(move || {
        *lock(&sent) = 0;
        link.notify(interest::ROOM);
    });
    loop {
        worker.link.announce(interest::ROOM);
        let sleeps = *lock(&waiting) > 0;
        worker.bell.wait(sleeps);
        worker.link.withdraw();
        if !sleeps {
            break;
        }
    }
    supervisor.join().expect("the supervisor ends");
    drop(application);
}
