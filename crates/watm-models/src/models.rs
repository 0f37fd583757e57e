//! The models: two or three threads that take a few steps each. Loom runs each model once for every
//! schedule.

pub mod close;
pub mod guard;
pub mod reader;
pub mod ring;
pub mod stages;
pub mod tasks;
pub mod worker;
pub mod writer;

use std::sync::Arc;

use crate::channel::link::Link;
use crate::channel::pipe::{ApplicationEnd, GuestEnd, PIPE_CAPACITY, Patience, pipe};

/// A call without a time limit.
const FOR_EVER: Patience = Patience::Wait(None);
const NOT_AT_ALL: Patience = Patience::None;

fn ends() -> (Arc<Link>, ApplicationEnd, GuestEnd) {
    let link = Arc::new(Link::default());
    let (application, guest) = pipe(Arc::clone(&link));
    (link, application, guest)
}

/// The guest writes `data`. `more` tells whether more will follow soon.
fn guest_writes(guest: &mut GuestEnd, data: &[u8], more: bool) {
    assert_eq!(guest.write(data), data.len(), "there is room");
    guest.write_done(more);
}

/// The application reads `len` bytes, in as many pieces as they arrive in.
fn read_exactly(application: &ApplicationEnd, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let mut buf = [0; 4];
        let read = application.read(&mut buf, FOR_EVER).expect("bytes");
        assert_ne!(read, 0, "the end comes after the bytes");
        all.extend_from_slice(&buf[..read]);
    }
    all
}

/// Fills the pipe to the guest.
fn fill(application: &ApplicationEnd) {
    let data = vec![7; PIPE_CAPACITY];
    let written = application.write(&data, NOT_AT_ALL).expect("room");
    assert_eq!(written, PIPE_CAPACITY);
}
