//! The application closes, or the guest ends, or both. Each side learns of the other's end after
//! the last byte, and nobody stays asleep.

use std::sync::Arc;

use loom::thread;

use super::worker::Worker;
use super::{FOR_EVER, NOT_AT_ALL, ends, fill, guest_writes, read_exactly};
use crate::channel::link::{Level, Link, interest};
use crate::channel::pipe::{ApplicationEnd, GuestEnd};
use crate::error::{Outcome, TransportError};

/// What dropping a `Conn` does.
fn close(link: &Link, application: &ApplicationEnd) {
    link.raise(Level::Closing);
    application.shutdown_read();
    application.shutdown_write();
}

/// How a worker ends.
fn end(link: &Link, guest: GuestEnd, outcome: Result<Outcome, TransportError>) {
    link.set_outcome(outcome);
    drop(guest);
    link.finish();
}

/// Reads until the end of stream, sleeping whenever necessary.
fn guest_reads_to_the_end(worker: &mut Worker) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut buf = [0; 4];
        match worker.guest.read(&mut buf) {
            0 if worker.guest.at_end() => return all,
            0 => worker.sleep_for(interest::DATA),
            len => {
                worker.guest.read_done(len);
                all.extend_from_slice(&buf[..len]);
            }
        }
    }
}

/// The guest reads what was written before the close, then the end. Only then does it learn of the
/// close.
pub fn the_guest_reads_all_before_a_close() {
    let (link, application, guest) = ends();
    let mut worker = Worker::new(Arc::clone(&link), guest);
    let closing = Arc::clone(&link);
    let closer = thread::spawn(move || {
        assert_eq!(application.write(b"a", NOT_AT_ALL).expect("room"), 1);
        close(&closing, &application);
    });
    assert_eq!(guest_reads_to_the_end(&mut worker), b"a");
    worker.guest.read_done(0);
    assert!(worker.guest.is_closed_and_drained());
    closer.join().expect("the application ends");
}

/// The application reads what was written before a failure, then the failure. Its writes fail.
pub fn the_application_reads_all_before_a_failure() {
    let (link, application, mut guest) = ends();
    let ending = thread::spawn(move || {
        guest_writes(&mut guest, b"ab", false);
        end(&link, guest, Err(TransportError::Interrupted));
    });
    assert_eq!(read_exactly(&application, 2), b"ab");
    let mut buf = [0; 4];
    for result in [
        application.read(&mut buf, FOR_EVER),
        application.write(b"x", FOR_EVER),
    ] {
        let error = result.expect_err("the transport failed");
        assert!(
            error
                .get_ref()
                .is_some_and(|error| error.is::<TransportError>())
        );
    }
    ending.join().expect("the guest ends");
}

/// The same with a normal end, and a delayed wake-up.
pub fn the_application_reads_all_before_the_end() {
    let (link, application, mut guest) = ends();
    let ended = Arc::clone(&link);
    let ending = thread::spawn(move || {
        guest_writes(&mut guest, b"ab", true);
        end(&link, guest, Ok(Outcome::Completed));
    });
    assert_eq!(read_exactly(&application, 2), b"ab");
    assert_eq!(application.read(&mut [0; 4], FOR_EVER).expect("the end"), 0);
    assert!(matches!(ended.outcome(), Some(Ok(Outcome::Completed))));
    application.write(b"x", FOR_EVER).expect_err("nobody reads");
    ending.join().expect("the guest ends");
}

/// A guest ends while the application waits for room.
pub fn the_end_wakes_the_writer() {
    let (link, application, guest) = ends();
    fill(&application);
    let writer = thread::spawn(move || {
        let error = application.write(b"x", FOR_EVER).expect_err("no reader");
        assert!(
            error
                .get_ref()
                .is_some_and(|error| error.is::<TransportError>())
        );
    });
    end(&link, guest, Err(TransportError::Interrupted));
    writer.join().expect("the writer ends");
}

/// One thread of the application closes while another one reads and the guest writes.
pub fn a_close_wakes_the_applications_own_reader() {
    let (link, application, mut guest) = ends();
    let other = application.clone();
    let reader =
        thread::spawn(move || while other.read(&mut [0; 4], FOR_EVER).expect("no error") > 0 {});
    let writer = thread::spawn(move || {
        assert_eq!(guest.write(b"a"), 1);
        guest.write_done(false);
        guest
    });
    close(&link, &application);
    reader.join().expect("the reader ends");
    drop(writer.join().expect("the guest goes on"));
}

/// The application closes while the guest ends by itself. It then waits until everything is over.
pub fn both_sides_end_at_once() {
    let (link, application, mut guest) = ends();
    let ending = Arc::clone(&link);
    let worker = thread::spawn(move || {
        guest_writes(&mut guest, b"a", true);
        ending.set_outcome(Ok(Outcome::Completed));
        drop(guest);
        ending.set_undelivered();
        ending.finish();
    });
    close(&link, &application);
    assert_eq!(application.read(&mut [0; 4], FOR_EVER).expect("closed"), 0);
    assert!(link.wait_finished(None));
    assert!(matches!(
        link.final_outcome(),
        Some(Err(TransportError::Undelivered))
    ));
    worker.join().expect("the worker ends");
}
