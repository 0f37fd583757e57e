//! A task polls in place of a thread that sleeps, and an event loop watches a signal. Neither waits
//! for ever while there is something to do.

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use loom::thread;

use super::{ends, fill, guest_writes};
use crate::channel::pipe::{ApplicationEnd, PIPE_CAPACITY, Patience, Signal, Way};
use crate::channel::sync::{AtomicBool, Bell, Ordering};
use crate::channel::wakers::{Key, Wakers};

/// What stands for an executor: it sleeps until its task is woken.
struct Executor(Bell);

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }
}

/// Runs a task to its end.
fn run<T>(mut poll: impl FnMut(&Waker) -> Poll<T>) -> T {
    let executor = Arc::new(Executor(Bell::default()));
    let waker = Waker::from(Arc::clone(&executor));
    loop {
        if let Poll::Ready(done) = poll(&waker) {
            return done;
        }
        executor.0.wait(true);
    }
}

fn read(application: &ApplicationEnd) -> usize {
    let mut buf = [0; 4];
    run(|waker| application.poll_read(&mut buf, Patience::Task(waker))).expect("no error")
}

/// Each of two writes wakes the task, and so does the end.
pub fn writes_and_the_end_wake_the_task() {
    let (_link, application, mut guest) = ends();
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", false);
        drop(guest);
    });
    assert_eq!(read(&application), 1);
    assert_eq!(read(&application), 0);
    writer.join().expect("the guest ends");
}

/// A task and a thread wait for the same bytes; the end reaches both.
pub fn the_end_wakes_a_task_and_a_thread() {
    let (_link, application, guest) = ends();
    let other = application.clone();
    let reader = thread::spawn(move || {
        let end = other.read(&mut [0; 4], Patience::Wait(None));
        assert_eq!(end.expect("no error"), 0);
    });
    let ending = thread::spawn(move || drop(guest));
    assert_eq!(read(&application), 0);
    reader.join().expect("the reader ends");
    ending.join().expect("the guest ends");
}

/// The guest reads a full pipe, and the task that waits for room goes on.
pub fn reading_wakes_the_task() {
    let (_link, application, mut guest) = ends();
    fill(&application);
    let reader = thread::spawn(move || {
        let mut buf = vec![0; PIPE_CAPACITY];
        let len = guest.read(&mut buf);
        guest.read_done(len);
        guest
    });
    let byte = [IoSlice::new(b"x")];
    let written = run(|waker| application.poll_write(&byte, Patience::Task(waker)));
    assert_eq!(written.expect("room"), 1);
    drop(reader.join().expect("the guest goes on"));
}

/// A loop's descriptor for reading.
#[derive(Default)]
struct Readable(AtomicBool);

impl Signal for Readable {
    fn set_ready(&self, way: Way) {
        if way == Way::Read {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn set_blocked(&self, way: Way) {
        if way == Way::Read {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}

/// Whenever the guest has written and the loop has not read, the descriptor says so.
pub fn a_signal_is_ready_while_there_are_bytes() {
    let (_link, application, mut guest) = ends();
    let readable = Arc::new(Readable::default());
    let signal: Arc<dyn Signal> = readable.clone();
    application.watch(&signal);
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", false);
        guest
    });
    let read = application.poll_read(&mut [0; 4], Patience::None);
    let guest = writer.join().expect("the guest goes on");
    match read {
        Poll::Ready(read) => assert_eq!(read.expect("no error"), 1),
        Poll::Pending => assert!(readable.0.load(Ordering::Relaxed)),
    }
    drop(guest);
}

/// A future waits for an event that is published before the wake-up.
pub fn an_event_wakes_the_future() {
    let wakers = Arc::new(Wakers::default());
    let happened = Arc::new(AtomicBool::default());
    let (waking, happening) = (Arc::clone(&wakers), Arc::clone(&happened));
    let other = thread::spawn(move || {
        happening.store(true, Ordering::Release);
        waking.wake();
    });
    let mut key = Key::default();
    run(|waker| {
        if happened.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        wakers.add(&mut key, waker);
        if happened.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        Poll::Pending
    });
    wakers.remove(&key);
    other.join().expect("it ends");
}
