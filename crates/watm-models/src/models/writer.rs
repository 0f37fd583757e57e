//! The application's writer waits for room while the guest reads. It never sleeps for ever while
//! there is room.

use loom::thread;

use super::{FOR_EVER, ends, fill};
use crate::channel::pipe::PIPE_CAPACITY;

/// The guest reads a full pipe in two halves.
pub fn reading_wakes_the_writer() {
    let (_link, application, mut guest) = ends();
    fill(&application);
    let writer = thread::spawn(move || {
        assert_eq!(application.write(b"x", FOR_EVER).expect("room"), 1);
        application
    });
    let mut buf = vec![0; PIPE_CAPACITY / 2];
    for _ in 0..2 {
        let len = guest.read(&mut buf);
        assert_eq!(len, buf.len());
        guest.read_done(len);
    }
    writer.join().expect("the writer ends");
    assert_eq!(guest.read(&mut buf), 1);
    assert_eq!(buf[0], b'x');
}

/// Two writers wait for the same room, and the guest makes enough for both.
pub fn reading_wakes_all_writers() {
    let (_link, application, mut guest) = ends();
    fill(&application);
    let writers = [(); 2].map(|()| {
        let application = application.clone();
        thread::spawn(move || assert_eq!(application.write(b"x", FOR_EVER).expect("room"), 1))
    });
    let mut buf = vec![0; PIPE_CAPACITY];
    let len = guest.read(&mut buf);
    guest.read_done(len);
    for writer in writers {
        writer.join().expect("the writer ends");
    }
    assert_eq!(guest.read(&mut buf), 2);
}

/// A guest that stops reading wakes the writer too, which then fails.
pub fn the_end_of_reading_wakes_the_writer() {
    let (_link, application, mut guest) = ends();
    fill(&application);
    let writer = thread::spawn(move || {
        let error = application.write(b"x", FOR_EVER).expect_err("no reader");
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
    guest.shutdown_read();
    writer.join().expect("the writer ends");
}

/// An application that shuts down writing while one of its threads waits does the same.
pub fn a_shutdown_wakes_the_writer() {
    let (_link, application, guest) = ends();
    fill(&application);
    let other = application.clone();
    let writer = thread::spawn(move || {
        let error = other.write(b"x", FOR_EVER).expect_err("shut down");
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
    application.shutdown_write();
    writer.join().expect("the writer ends");
    drop(guest);
}
