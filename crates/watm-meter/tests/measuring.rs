//! What the meter counts as the global allocator of a program.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use watm_meter::{Measurement, Meter, is_installed};

#[global_allocator]
static METER: Meter = Meter;

const MEBIBYTE: u64 = 1 << 20;

/// A mebibyte that the optimiser does not remove.
fn mebibyte() -> Vec<u8> {
    black_box(vec![1; 1 << 20])
}

#[test]
fn the_meter_is_installed_here() {
    assert!(is_installed());
}

#[test]
fn the_peak_is_what_was_held_at_the_same_time() {
    let measurement = Measurement::begin();
    for _ in 0..10 {
        drop(mebibyte());
    }
    let one_after_the_other = measurement.peak();
    assert!(
        (MEBIBYTE..MEBIBYTE + 4096).contains(&one_after_the_other),
        "{one_after_the_other}"
    );
    drop((mebibyte(), mebibyte(), mebibyte()));
    let at_once = measurement.peak();
    assert!(
        (3 * MEBIBYTE..3 * MEBIBYTE + 4096).contains(&at_once),
        "{at_once}"
    );
}

#[test]
fn what_was_held_before_does_not_count() {
    let held = mebibyte();
    let measurement = Measurement::begin();
    assert_eq!(measurement.peak(), 0);
    drop(held);
    drop(mebibyte());
    assert!(measurement.peak() < 4096, "{}", measurement.peak());
}

#[test]
fn growing_counts_the_old_place_only_while_both_are_there() {
    let measurement = Measurement::begin();
    let mut bytes = Vec::new();
    for byte in 0..MEBIBYTE {
        bytes.push(black_box(byte as u8));
    }
    assert_eq!(bytes.len() as u64, MEBIBYTE);
    let peak = measurement.peak();
    assert!((MEBIBYTE..2 * MEBIBYTE).contains(&peak), "{peak}");
    bytes.shrink_to(10);
    bytes.truncate(10);
    bytes.shrink_to_fit();
    let measurement = Measurement::begin();
    drop(bytes);
    assert_eq!(measurement.peak(), 0);
}

#[test]
fn other_threads_are_not_counted() {
    let measurement = Measurement::begin();
    let other = thread::spawn(|| {
        let measurement = Measurement::begin();
        drop((mebibyte(), mebibyte()));
        measurement.peak()
    });
    let other = other.join().expect("it does not panic");
    assert!(other >= 2 * MEBIBYTE, "{other}");
    assert!(measurement.peak() < MEBIBYTE, "{}", measurement.peak());
}

#[test]
fn processor_time_is_that_of_the_thread() {
    let measurement = Measurement::begin();
    let begun = Instant::now();
    let mut rounds = 0_u64;
    while measurement.processor() < Duration::from_millis(20) {
        rounds = black_box(rounds + 1);
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "time stands still"
        );
    }
    // A computing thread does not change this one's time.
    let before = measurement.processor();
    let other = thread::spawn(|| {
        let measurement = Measurement::begin();
        while measurement.processor() < Duration::from_millis(200) {}
    });
    other.join().expect("it does not panic");
    let meanwhile = measurement.processor() - before;
    assert!(meanwhile < Duration::from_millis(100), "{meanwhile:?}");
}
