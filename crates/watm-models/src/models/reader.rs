//! The application's reader sleeps while the guest writes. It never sleeps for ever while there are
//! bytes.

use loom::thread;

use super::{ends, guest_writes, read_exactly};
use crate::channel::supervisor;

/// A write with nothing after it wakes the reader at once.
pub fn a_write_wakes_the_reader() {
    let (_link, application, mut guest) = ends();
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", false);
        guest
    });
    assert_eq!(read_exactly(&application, 1), b"a");
    drop(writer.join().expect("the guest goes on"));
}

/// Each of two writes wakes the reader, whether it already sleeps or sleeps again.
pub fn two_writes_wake_the_reader() {
    let (_link, application, mut guest) = ends();
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", false);
        guest_writes(&mut guest, b"b", false);
        guest
    });
    assert_eq!(read_exactly(&application, 2), b"ab");
    drop(writer.join().expect("the guest goes on"));
}

/// The guest makes up for a delayed wake-up before it sleeps.
pub fn a_guest_that_sleeps_wakes_the_reader_first() {
    let (_link, application, mut guest) = ends();
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", true);
        guest.wake_readers();
        guest
    });
    assert_eq!(read_exactly(&application, 1), b"a");
    drop(writer.join().expect("the guest goes on"));
}

/// The next write with nothing after it makes up for a delayed wake-up.
pub fn the_last_write_wakes_the_reader() {
    let (_link, application, mut guest) = ends();
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", true);
        guest_writes(&mut guest, b"b", false);
        guest
    });
    assert_eq!(read_exactly(&application, 2), b"ab");
    drop(writer.join().expect("the guest goes on"));
}

/// A guest that computes for ever after its write leaves the wake-up to the supervisor.
pub fn the_supervisor_wakes_the_reader() {
    let (_link, application, mut guest) = ends();
    let reader = thread::spawn(move || assert_eq!(read_exactly(&application, 1), b"a"));
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", true);
        supervisor::close();
        guest
    });
    supervisor::run();
    reader.join().expect("the reader ends");
    drop(writer.join().expect("the guest goes on"));
}

/// The same happens when the supervisor has just forgotten the pipe, or is about to.
pub fn the_supervisor_wakes_the_reader_twice() {
    let (_link, application, mut guest) = ends();
    let reader = thread::spawn(move || assert_eq!(read_exactly(&application, 2), b"ab"));
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", true);
        guest_writes(&mut guest, b"b", true);
        supervisor::close();
        guest
    });
    supervisor::run();
    reader.join().expect("the reader ends");
    drop(writer.join().expect("the guest goes on"));
}

/// The guest makes up for a delayed wake-up while the supervisor does so too.
pub fn guest_and_supervisor_wake_the_reader() {
    let (_link, application, mut guest) = ends();
    let reader = thread::spawn(move || assert_eq!(read_exactly(&application, 2), b"ab"));
    let writer = thread::spawn(move || {
        guest_writes(&mut guest, b"a", true);
        guest.wake_readers();
        guest_writes(&mut guest, b"b", true);
        supervisor::close();
        guest
    });
    supervisor::run();
    reader.join().expect("the reader ends");
    drop(writer.join().expect("the guest goes on"));
}
