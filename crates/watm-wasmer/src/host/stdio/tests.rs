use super::*;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A terminal that nobody reads.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut theirs, mut ours) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: the call fills the two numbers with descriptors that nobody else owns.
    unsafe {
        let opened = libc::openpty(
            &raw mut theirs,
            &raw mut ours,
            none,
            none.cast(),
            none.cast(),
        );
        assert_eq!(opened, 0);
        (OwnedFd::from_raw_fd(theirs), OwnedFd::from_raw_fd(ours))
    }
}

/// Each stream that can be full, with its other end.
fn streams() -> [(OwnedFd, OwnedFd); 3] {
    let (reader, writer) = io::pipe().expect("a pipe");
    let (one, other) = UnixStream::pair().expect("a pair");
    let (theirs, ours) = terminal();
    [
        (writer.into(), reader.into()),
        (one.into(), other.into()),
        (ours, theirs),
    ]
}

#[test]
fn a_stream_that_nobody_reads_holds_no_guest() {
    for (stream, other) in streams() {
        let stream = Arc::new(stream);
        let (done, awaited) = mpsc::channel();
        // Lines, which a terminal lengthens.
        for data in [[b'\n'; 3000], [b'x'; 3000]].repeat(16) {
            let (stream, done) = (Arc::clone(&stream), done.clone());
            thread::spawn(move || {
                let wait = Duration::from_millis(1);
                let mut all = 0;
                loop {
                    match write_host(stream.as_fd(), &data, wait) {
                        Ok(len) => all += len,
                        Err(errno) => return done.send((errno, all)),
                    }
                }
            });
        }
        let ends = (0..32).map(|_| awaited.recv_timeout(LIMIT).expect("it waits"));
        let mut all = 0;
        for (errno, taken) in ends {
            assert_eq!(errno, Errno::Again);
            all += taken;
        }
        assert_ne!(all, 0);
        drop(other);
    }
}

#[test]
fn a_stream_that_has_something_for_one_guest_holds_no_other() {
    for (stream, other) in streams() {
        // The input of a terminal comes from its user.
        let (stream, other) = if stream.is_terminal() {
            (stream, other)
        } else {
            (other, stream)
        };
        let mut other = File::from(other);
        let stream = Arc::new(stream);
        let (done, awaited) = mpsc::channel();
        for round in 1..=10 {
            for _ in 0..8 {
                let (stream, done) = (Arc::clone(&stream), done.clone());
                thread::spawn(move || {
                    let mut into = [0; 100];
                    let read = read_host(stream.as_fd(), &mut into, Duration::from_millis(20));
                    done.send((read, into))
                });
            }
            other.write_all(b"a line\n").expect("room");
            let mut found = Vec::new();
            for _ in 0..8 {
                match awaited.recv_timeout(LIMIT).expect("it waits") {
                    (Ok(len), into) => found.extend_from_slice(&into[..len]),
                    (Err(errno), _) => assert_eq!(errno, Errno::Again),
                }
            }
            // A late reader may find the line in the next round.
            assert!(b"a line\n".repeat(round).starts_with(&found), "{found:?}");
        }
    }
}

#[test]
fn a_file_is_written_and_read_at_the_place_of_the_application() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"its own, ").expect("room");
    let written = write_host(file.as_fd(), b"the guest's", Duration::ZERO);
    assert_eq!(written, Ok(11));
    io::Seek::rewind(&mut file).expect("a place");
    let mut into = [0; 9];
    assert_eq!(read_host(file.as_fd(), &mut into, Duration::ZERO), Ok(9));
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "the guest's");
}

#[test]
fn each_stream_is_the_hosts_own_or_goes_to_the_log() {
    let target = Arc::new(LogTarget::of("test"));
    for bits in 0..8 {
        let [stdin, stdout, stderr] = [1, 2, 4].map(|bit| bits & bit != 0);
        let some = Stdio::InheritSome {
            stdin,
            stdout,
            stderr,
        };
        let [input, output, error] = StdStream::all(some, &target);
        assert_eq!(matches!(input, StdStream::HostInput), stdin);
        assert_eq!(matches!(input, StdStream::Empty), !stdin);
        assert_eq!(matches!(output, StdStream::HostOutput), stdout);
        assert_eq!(matches!(output, StdStream::Log(_)), !stdout);
        assert_eq!(matches!(error, StdStream::HostError), stderr);
        assert_eq!(matches!(error, StdStream::Log(_)), !stderr);
    }
}
