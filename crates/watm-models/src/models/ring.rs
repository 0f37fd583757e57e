//! The ring: bytes arrive unchanged, and no byte is touched by both sides at once.

use loom::thread;

use crate::channel::ring::{Consumer, Producer, ring};

/// An empty ring of `capacity` bytes whose next byte has index `at`.
fn ring_at(capacity: usize, at: usize) -> (Producer, Consumer) {
    let (mut tx, mut rx) = ring(capacity);
    assert_eq!(tx.stage(&vec![0; at]), at);
    tx.commit();
    assert_eq!(rx.read(&mut vec![0; at]), at);
    (tx, rx)
}

fn read_to(all: &mut Vec<u8>, rx: &mut Consumer, most: usize) {
    let mut buf = vec![0; most];
    let len = rx.read(&mut buf);
    all.extend_from_slice(&buf[..len]);
}

/// What is written across the wrap is read unchanged.
pub fn bytes_cross_the_wrap() {
    let (mut tx, mut rx) = ring_at(4, 3);
    let producer = thread::spawn(move || {
        assert_eq!(tx.stage(b"abc"), 3);
        tx.commit();
        let taken = tx.stage(b"de");
        tx.commit();
        3 + taken
    });
    let mut all = Vec::new();
    read_to(&mut all, &mut rx, 2);
    read_to(&mut all, &mut rx, 2);
    let written = producer.join().expect("the producer ends");
    read_to(&mut all, &mut rx, 4);
    assert_eq!(all, b"abcde"[..written]);
}

/// Space is written again only after its bytes were read.
pub fn room_is_used_again() {
    let (mut tx, mut rx) = ring(2);
    assert_eq!(tx.stage(b"ab"), 2);
    tx.commit();
    let producer = thread::spawn(move || {
        let mut taken = tx.stage(b"cd");
        tx.commit();
        if tx.fits(1) {
            taken += tx.stage(&b"cd"[taken..]);
            tx.commit();
        }
        2 + taken
    });
    let mut all = Vec::new();
    read_to(&mut all, &mut rx, 1);
    read_to(&mut all, &mut rx, 2);
    let written = producer.join().expect("the producer ends");
    read_to(&mut all, &mut rx, 2);
    read_to(&mut all, &mut rx, 2);
    assert_eq!(all, b"abcd"[..written]);
}

/// What is staged in two pieces becomes visible as one.
pub fn a_commit_shows_all_or_nothing() {
    let (mut tx, mut rx) = ring_at(4, 3);
    let producer = thread::spawn(move || {
        assert_eq!(tx.stage(b"a"), 1);
        assert_eq!(tx.stage(b"bc"), 2);
        tx.commit();
    });
    let seen = rx.available();
    assert!(seen == 0 || seen == 3);
    producer.join().expect("the producer ends");
    assert_eq!(rx.available(), 3);
}

/// Peeking at bytes, skipping some and reading the others gives the same as reading them all.
pub fn peeks_and_skips_agree_with_reads() {
    let (mut tx, mut rx) = ring_at(4, 2);
    let producer = thread::spawn(move || {
        assert_eq!(tx.stage(b"ab"), 2);
        tx.commit();
        assert_eq!(tx.stage(b"c"), 1);
        tx.commit();
        let taken = tx.stage(b"de");
        tx.commit();
        3 + taken
    });
    let mut all = Vec::new();
    let mut ahead = [0; 2];
    let len = rx.peek(1, &mut ahead);
    assert_eq!(ahead[..len], b"bc"[..len]);
    if rx.peek(0, &mut ahead[..1]) == 1 {
        all.push(ahead[0]);
        rx.skip(1);
    }
    read_to(&mut all, &mut rx, 3);
    let written = producer.join().expect("the producer ends");
    read_to(&mut all, &mut rx, 4);
    assert_eq!(all, b"abcde"[..written]);
}
