use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use watm_abi::FdFlags;

use crate::channel::link::Link;
use crate::channel::pipe::{PIPE_CAPACITY, Patience};
use crate::host::streams::FAIR_SHARE;
use crate::host::tests::{AGAIN, Fixture, clock, fill_net, fixture, iovecs, memory};

#[test]
fn bytes_move_between_the_application_and_the_network() {
    let mut f = fixture();
    f.app.write(b"out", Patience::None).expect("room");
    assert_eq!(f.read(f.internal, 16).expect("bytes"), b"out");
    assert_eq!(f.write(f.net, b"wrapped"), Ok(7));
    f.host.flush();
    let mut buf = [0; 16];
    assert_eq!(f.peer.read(&mut buf).expect("bytes"), 7);
    f.peer.write_all(b"reply").expect("room");
    assert_eq!(f.read(f.net, 16).expect("bytes"), b"reply");
    assert_eq!(f.write(f.internal, b"in"), Ok(2));
    assert_eq!(f.app.read(&mut buf, Patience::None).expect("bytes"), 2);
}

#[test]
fn a_nonblocking_descriptor_never_waits() {
    let mut f = fixture();
    f.nonblocking();
    for fd in [f.internal, f.control, f.net] {
        assert_eq!(f.read(fd, 16), Err(AGAIN));
    }
    assert_eq!(
        f.host.descriptors.fdstat(f.net).expect("a stat").flags,
        FdFlags::NONBLOCK
    );
    f.host.descriptors.set_flags(f.net, 0).expect("a flag");
    assert_eq!(
        f.host.descriptors.fdstat(f.net).expect("a stat").flags,
        FdFlags::default()
    );
}

#[test]
fn a_guest_that_reads_on_and_on_is_told_of_nothing_once_the_other_side_waits() {
    let mut f = fixture();
    f.nonblocking();
    f.peer.write_all(b"abc").expect("room");
    f.host.reads.note(f.net, FAIR_SHARE);
    assert_eq!(f.read(f.net, 1).expect("nobody waits"), b"a");
    f.app.write(b"x", Patience::None).expect("room");
    f.host.reads.note(f.net, FAIR_SHARE);
    assert_eq!(f.read(f.net, 1), Err(AGAIN));
    assert_eq!(f.read(f.net, 1).expect("once only"), b"b");
    // The same in the other direction, where the system still holds the bytes.
    f.peer.write_all(b"d").expect("room");
    assert_eq!(f.read(f.net, 8).expect("bytes"), b"c");
    f.host.reads.note(f.internal, FAIR_SHARE);
    assert_eq!(f.read(f.internal, 1), Err(AGAIN));
    assert_eq!(f.read(f.internal, 1).expect("once only"), b"x");
    // A guest that polls does not neglect the other side.
    f.app.write(b"y", Patience::None).expect("room");
    f.host.reads.note(f.internal, FAIR_SHARE);
    let _ = f.poll(&[clock(0)]).expect("events");
    assert_eq!(f.read(f.internal, 1).expect("bytes"), b"y");
}

#[test]
fn a_blocking_read_waits_for_the_application() {
    let mut f = fixture();
    let app = f.app.clone();
    let writer = std::thread::spawn(move || app.write(b"late", Patience::None).expect("room"));
    assert_eq!(f.read(f.internal, 16).expect("bytes"), b"late");
    writer.join().expect("the writer ends");
}

#[test]
fn a_blocking_write_takes_all_however_large() {
    let mut f = fixture();
    let app = f.app.clone();
    let reader = std::thread::spawn(move || {
        let mut total = 0;
        let mut buf = vec![0; 10_000];
        while total < 200_000 {
            let wait = Patience::Wait(Some(Duration::from_secs(20)));
            total += app.read(&mut buf, wait).expect("bytes");
        }
        total
    });
    assert_eq!(f.write(f.internal, &vec![1; 200_000]), Ok(200_000));
    assert_eq!(reader.join().expect("the reader ends"), 200_000);
}

#[test]
fn a_write_that_is_refused_leaves_nothing_behind_and_parks_when_repeated() {
    let mut f = fixture();
    f.nonblocking();
    f.polls_for_room();
    let piece = vec![3; 60_000];
    let mut accepted = 0;
    while f.write(f.internal, &piece) == Ok(60_000) {
        accepted += 60_000;
    }
    let app = f.app.clone();
    let reader = std::thread::spawn(move || {
        let mut total = 0;
        let mut buf = vec![0; 64 * 1024];
        let wait = Patience::Wait(Some(Duration::from_secs(20)));
        while total < accepted + 60_000 {
            total += app.read(&mut buf, wait).expect("bytes");
        }
        total
    });
    // The same write again. The host parks it until the reader has made room.
    assert_eq!(f.write(f.internal, &piece), Ok(60_000));
    assert_eq!(reader.join().expect("the reader ends"), accepted + 60_000);
}

#[test]
fn flags_of_a_receive_are_kept() {
    let mut f = fixture();
    f.peer.write_all(b"abc").expect("room");
    let mut memory = memory(16);
    let array = iovecs(&memory);
    assert_eq!(
        f.host.read(&mut memory[..], f.net, &array, RiFlags::PEEK),
        Ok(3)
    );
    assert_eq!(&memory[1024..1027], b"abc");
    let mut peer = f.peer.try_clone().expect("a clone");
    let thread = std::thread::spawn(move || {
        for _ in 0..13 {
            peer.write_all(b"d").expect("room");
        }
    });
    assert_eq!(
        f.host
            .read(&mut memory[..], f.net, &array, RiFlags::WAITALL),
        Ok(16)
    );
    assert_eq!(&memory[1024..1040], b"abcddddddddddddd");
    thread.join().expect("it ends");
}

#[test]
fn a_side_has_nothing_to_read_while_the_other_has_no_room() {
    for (len, polls) in [
        (1024, false),
        (16_384, false),
        (100_000, false),
        (16_384, true),
    ] {
        let mut f = fixture();
        f.nonblocking();
        if polls {
            // A guest that could handle a refusal is spared one too.
            f.polls_for_room();
        }
        // To the network.
        let mut sent = 0;
        let data = vec![7; PIPE_CAPACITY];
        loop {
            sent += f.app.write(&data, Patience::None).unwrap_or(0);
            if f.pump(f.internal, f.net, len) == 0 {
                break;
            }
        }
        assert!(f.host.internal.as_mut().expect("it is open").available() > 0);
        assert!(!f.is_readable(f.internal));
        f.peer.set_nonblocking(true).expect("a mode");
        let mut buf = vec![0; 1 << 20];
        let mut received = 0;
        while received < sent {
            received += f.peer.read(&mut buf).unwrap_or(0);
            // The socket takes more, and the poll lets more through.
            if f.is_readable(f.internal) {
                assert_ne!(f.pump(f.internal, f.net, len), 0);
            }
            f.host.flush();
        }
        assert_eq!(received, sent);
        // To the application.
        let mut sent = 0;
        loop {
            sent += f.peer.write(&data).unwrap_or(0);
            if !f.is_readable(f.net) {
                break;
            }
            f.pump(f.net, f.internal, len);
        }
        let mut received = 0;
        while received < sent {
            received += f.app.read(&mut buf, Patience::None).unwrap_or(0);
            if f.is_readable(f.net) {
                assert_ne!(f.pump(f.net, f.internal, len), 0);
            }
            f.host.flush();
        }
        assert_eq!(received, sent);
    }
}

#[test]
fn an_end_or_a_failure_has_not_to_wait_for_room() {
    let mut f = fixture();
    fill_net(&mut f);
    f.app.write(b"abc", Patience::None).expect("room");
    assert!(!f.is_readable(f.internal));
    let mut f = fixture();
    fill_net(&mut f);
    f.app.shutdown_write();
    assert!(f.is_readable(f.internal));
    assert_eq!(f.read(f.internal, 16).expect("the end"), b"");
    // The same from the network.
    let mut f = fixture();
    f.nonblocking();
    f.polls_for_room();
    while f.write(f.internal, &[5; 60_000]).is_ok() {}
    f.peer.write_all(b"abc").expect("room");
    assert!(!f.is_readable(f.net));
    drop(f.peer.shutdown(std::net::Shutdown::Write));
    assert!(!f.is_readable(f.net), "the bytes come first");
    let mut buf = vec![0; PIPE_CAPACITY];
    f.app.read(&mut buf, Patience::None).expect("bytes");
    assert_eq!(f.read(f.net, 16).expect("bytes"), b"abc");
    while f.write(f.internal, &[5; 60_000]).is_ok() {}
    assert!(f.is_readable(f.net));
    assert_eq!(f.read(f.net, 16).expect("the end"), b"");
}

#[test]
fn a_side_that_takes_no_more_holds_nobody_back() {
    let mut f = fixture();
    f.nonblocking();
    f.polls_for_room();
    while f.write(f.internal, &[5; 60_000]).is_ok() {}
    f.peer.write_all(b"abc").expect("room");
    assert!(!f.is_readable(f.net));
    // The application no longer reads.
    f.app.shutdown_read();
    assert_eq!(f.read(f.net, 2).expect("bytes"), b"ab");
    let mut f = fixture();
    fill_net(&mut f);
    f.app.write(b"abc", Patience::None).expect("room");
    assert!(!f.is_readable(f.internal));
    // The guest closes the other side, so only one is left.
    f.host.close(f.net).expect("it is open");
    assert_eq!(f.read(f.internal, 16).expect("bytes"), b"abc");
}

#[test]
fn with_a_third_stream_no_read_waits_for_room() {
    let mut f = fixture();
    fill_net(&mut f);
    f.app.write(b"abc", Patience::None).expect("room");
    assert!(!f.is_readable(f.internal));
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let third = f
        .host
        .open_net(ours.into(), crate::channel::link::Side::Network)
        .expect("a descriptor");
    assert_eq!(f.read(f.internal, 1).expect("bytes"), b"a");
    f.host.close(third).expect("it is open");
    assert!(!f.is_readable(f.internal));
}

#[test]
fn a_refused_write_waits_for_a_guest_that_never_polled_for_room() {
    let mut f = fixture();
    f.nonblocking();
    let mut peer = f.peer.try_clone().expect("a clone");
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; 4_000_000];
        peer.read_exact(&mut received).expect("all of it");
        assert!(received.iter().all(|byte| *byte == 5));
    });
    // More than fits. Its end is not cut off.
    for _ in 0..20 {
        assert_eq!(f.write(f.net, &[5; 200_000]), Ok(200_000));
    }
    f.host.flush();
    f.host.end_guest();
    f.host
        .drain(Duration::from_secs(20))
        .expect("everything is sent");
    reader.join().expect("everything arrives");
    // A guest that is told to end is no longer delayed.
    let mut f = fixture();
    f.nonblocking();
    let link = Arc::clone(&f.link);
    let embedder = std::thread::spawn(move || link.raise(Level::Cancelled));
    while f.write(f.net, &[5; 60_000]).is_ok() {}
    embedder.join().expect("it ends");
}

/// Guest memory that tells the worker to stop as soon as anything is written to it.
struct Stopping<'a> {
    bytes: &'a mut [u8],
    link: &'a Link,
}

impl GuestMemory for Stopping<'_> {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn slice(&self, addr: u32, len: u32) -> Result<&[u8], Errno> {
        self.bytes.slice(addr, len)
    }

    fn slice_mut(&mut self, addr: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.link.raise(Level::Stopping);
        self.bytes.slice_mut(addr, len)
    }
}

#[test]
fn a_receive_that_never_has_to_sleep_ends_when_it_should() {
    let mut f = fixture();
    // More than one attempt takes. All bytes are there before the first attempt.
    f.peer.write_all(&[7; 100_000]).expect("room");
    let mut bytes = memory(50_000);
    bytes.write_u32(8, 1024 + 50_000).expect("in memory");
    bytes.write_u32(12, 50_000).expect("in memory");
    let array = IovecArray::decode(&bytes[..], 0, 2).expect("an array");
    let mut memory = Stopping {
        bytes: &mut bytes,
        link: &f.link,
    };
    let stopped = f.host.read(&mut memory, f.net, &array, RiFlags::WAITALL);
    assert_eq!(stopped, Err(Abort::Stop));
}

#[test]
fn one_message_is_one_read_across_several_buffers() {
    let mut f = fixture();
    f.app
        .write(b"a message of one write", Patience::None)
        .expect("room");
    let mut memory = vec![0; 4096];
    for (i, (at, len)) in [(1000u32, 3u32), (2000, 0), (3000, 100)]
        .into_iter()
        .enumerate()
    {
        memory.write_u32(8 * i as u32, at).expect("in memory");
        memory.write_u32(8 * i as u32 + 4, len).expect("in memory");
    }
    let array = IovecArray::decode(&memory, 0, 3).expect("an array");
    assert_eq!(
        f.host
            .read(&mut memory[..], f.internal, &array, RiFlags::default()),
        Ok(22)
    );
    assert_eq!(&memory[1000..1003], b"a m");
    assert_eq!(&memory[3000..3019], b"essage of one write");
}

/// Reads until there are `len` bytes, like a guest that expects them to be there.
fn read_exactly(f: &mut Fixture, len: u32) -> Call<u32> {
    let mut done = 0;
    while done < len {
        done += f.read(f.net, len - done)?.len() as u32;
    }
    Ok(done)
}

/// The peer sends the head of a record, and the guest reads it.
fn read_head(f: &mut Fixture) {
    f.peer.write_all(&[1; 18]).expect("room");
    assert!(f.is_readable(f.net));
    assert_eq!(read_exactly(f, 18), Ok(18));
}

#[test]
fn a_read_within_a_record_waits_for_the_peer() {
    let mut f = fixture();
    f.nonblocking();
    f.host.reads.patience = Duration::from_secs(3600);
    let mut peer = f.peer.try_clone().expect("a socket");
    for _ in 0..50 {
        read_head(&mut f);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    peer.write_all(&[2; 300]).expect("room");
                    std::thread::yield_now();
                }
            });
            assert_eq!(read_exactly(&mut f, 900), Ok(900));
        });
        // The next record has not arrived, which is no reason to wait.
        assert_eq!(f.read(f.net, 18), Err(AGAIN));
    }
}

#[test]
fn a_read_within_a_record_waits_no_longer_than_the_guest_should_run() {
    let mut f = fixture();
    f.nonblocking();
    f.host.reads.patience = Duration::from_secs(3600);
    read_head(&mut f);
    let link = Arc::clone(&f.link);
    let thread = std::thread::spawn(move || link.raise(Level::Cancelled));
    assert_eq!(f.read(f.net, 900), Err(AGAIN));
    thread.join().expect("it ends");
}

#[test]
fn a_guest_that_can_bear_a_refusal_within_a_record_waits_once_and_not_for_long() {
    let mut f = fixture();
    f.nonblocking();
    f.host.reads.patience = Duration::from_millis(20);
    read_head(&mut f);
    assert_eq!(f.read(f.net, 900), Err(AGAIN));
    // If it waited again, the test would never end.
    f.host.reads.patience = Duration::from_secs(3600);
    assert_eq!(f.read(f.net, 900), Err(AGAIN));
    f.peer.write_all(&[1; 918]).expect("room");
    assert!(f.is_readable(f.net));
    assert_eq!(read_exactly(&mut f, 900), Ok(900));
    assert_eq!(read_exactly(&mut f, 18), Ok(18));
    assert_eq!(f.read(f.net, 900), Err(AGAIN));
}

#[test]
fn a_guest_that_takes_what_comes_never_waits() {
    let mut f = fixture();
    f.nonblocking();
    f.host.reads.patience = Duration::from_secs(3600);
    for len in [4096, 64, 1] {
        f.peer.write_all(&[1; 64]).expect("room");
        assert!(f.is_readable(f.net));
        let mut left = 64;
        while left > 0 {
            left -= f.read(f.net, len).expect("bytes").len();
        }
        assert_eq!(f.read(f.net, len), Err(AGAIN), "{len}");
    }
}
