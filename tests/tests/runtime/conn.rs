//! What an application can do with a connection: timeouts, modes, threads, errors.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, LONG, Pair, Pattern, alternate, assert_would_block, built, connect, eventually,
    exchange, expect_end, expect_pattern, read_vec, send_pattern, wat, with_worker, within,
};
use watm_wasmer::{
    Acceptor, Conn, DialError, Dialer, FixedDialer, Listener, Outcome, ServerHandle,
    TransportError, TransportModule,
};

const BRIEF: Duration = Duration::from_millis(100);
/// How much longer than its limit a wait may take on a busy machine. Without a limit it takes
/// longer.
const SLACK: Duration = Duration::from_secs(20);

#[test]
fn what_the_application_holds_can_be_shared_and_sent() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Conn>();
    shared::<Dialer>();
    shared::<FixedDialer>();
    shared::<Listener>();
    shared::<Acceptor>();
    shared::<ServerHandle>();
    shared::<TransportModule>();
    shared::<DialError>();
    shared::<TransportError>();
}

#[test]
fn a_read_that_waited_long_enough_times_out_and_loses_nothing() {
    let mut pair = Pair::dial(&built("plain"));
    pair.conn.set_read_timeout(Some(BRIEF)).expect("a timeout");
    assert_eq!(pair.conn.read_timeout(), Some(BRIEF));
    let started = Instant::now();
    let error = pair.conn.read(&mut [0; 8]).expect_err("nothing comes");
    let elapsed = started.elapsed();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(elapsed >= BRIEF && elapsed < BRIEF + SLACK, "{elapsed:?}");
    pair.conn.set_read_timeout(None).expect("no timeout");
    assert_eq!(pair.conn.read_timeout(), None);
    pair.peer.write_all(b"late").expect("room");
    assert_eq!(read_vec(&pair.conn, 4), b"late");
}

#[test]
fn a_write_that_waited_long_enough_times_out_and_loses_nothing() {
    let pair = Pair::dial(&built("plain16k"));
    pair.conn.set_write_timeout(Some(BRIEF)).expect("a timeout");
    assert_eq!(pair.conn.write_timeout(), Some(BRIEF));
    let mut pattern = Pattern::new(1);
    let mut pending = pattern.take(10_000);
    let error = loop {
        match (&pair.conn).write(&pending) {
            Ok(len) => {
                pending.drain(..len);
                pending.extend(pattern.take(10_000 - pending.len()));
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let written = pattern.position() - pending.len() as u64;
    pair.conn.set_write_timeout(None).expect("no timeout");
    std::thread::scope(|scope| {
        // Now writes what the failed write had not taken.
        scope.spawn(|| (&pair.conn).write_all(&pending).expect("room"));
        expect_pattern(&pair.peer, 1, written + pending.len() as u64);
    });
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let pair = Pair::dial(&built("plain"));
    pair.conn.set_read_timeout(Some(BRIEF)).expect("a timeout");
    let error = pair
        .conn
        .set_read_timeout(Some(Duration::ZERO))
        .expect_err("no time at all");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = pair
        .conn
        .set_write_timeout(Some(Duration::ZERO))
        .expect_err("no time at all");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(pair.conn.read_timeout(), Some(BRIEF), "it is unchanged");
}

#[test]
fn a_non_blocking_connection_never_waits() {
    let mut pair = Pair::dial(&built("plain"));
    pair.conn.set_nonblocking(true).expect("a mode");
    assert_would_block(pair.conn.read(&mut [0; 8]));
    // A timeout does not change that.
    let started = Instant::now();
    pair.conn
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    assert_would_block(pair.conn.read(&mut [0; 8]));
    assert!(started.elapsed() < Duration::from_secs(10));

    pair.peer.write_all(b"here").expect("room");
    let mut found = [0; 8];
    eventually("the bytes are there", || {
        match (&pair.conn).read(&mut found) {
            Ok(len) => {
                assert_eq!(&found[..len], b"here");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    });

    let piece = [0; 64 * 1024];
    let mut written = 0;
    // Until neither the pipe nor the network takes more.
    eventually("it is full", || {
        let started = Instant::now();
        loop {
            match (&pair.conn).write(&piece) {
                Ok(len) => written += len,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return started.elapsed() < Duration::from_millis(1);
                }
            }
        }
    });
    pair.conn.set_nonblocking(false).expect("a mode");
    pair.conn.shutdown(Shutdown::Write).expect("a shutdown");
    let mut all = Vec::new();
    pair.peer.read_to_end(&mut all).expect("all of it");
    assert_eq!(all.len(), written);
}

#[test]
fn the_end_is_no_reason_to_wait() {
    let pair = Pair::dial(&built("plain"));
    drop(pair.peer);
    expect_end(&pair.conn);
    pair.conn.set_nonblocking(true).expect("a mode");
    expect_end(&pair.conn);
}

#[test]
fn two_threads_use_both_directions_of_one_connection() {
    let pair = Pair::dial(&built("plain16k"));
    let conn = Arc::new(pair.conn);
    let (reading, writing) = (Arc::clone(&conn), Arc::clone(&conn));
    let reading = std::thread::spawn(move || expect_pattern(&*reading, 2, 5_000_000));
    let writing = std::thread::spawn(move || send_pattern(&*writing, 1, 5_000_000, 4321));
    std::thread::scope(|scope| {
        scope.spawn(|| expect_pattern(&pair.peer, 1, 5_000_000));
        scope.spawn(|| send_pattern(&pair.peer, 2, 5_000_000, 4321));
    });
    reading.join().expect("all bytes");
    writing.join().expect("all bytes");
}

#[test]
fn several_threads_may_write_and_no_write_of_a_message_is_torn() {
    // Each message fits, so a write takes it whole. The order of the messages is free.
    let pair = Pair::dial(&built("plain"));
    std::thread::scope(|scope| {
        for i in 1..=4u8 {
            let conn = &pair.conn;
            scope.spawn(move || {
                for _ in 0..100 {
                    (&mut &*conn).write_all(&[i; 100]).expect("room");
                }
            });
        }
        let mut counts = [0; 5];
        for _ in 0..400 {
            let message = read_vec(&pair.peer, 100);
            let first = usize::from(message[0]);
            assert!(
                message.iter().all(|byte| usize::from(*byte) == first),
                "{message:?}"
            );
            counts[first] += 1;
        }
        assert_eq!(counts, [0, 100, 100, 100, 100]);
    });
}

#[test]
fn empty_reads_and_writes_do_nothing() {
    let mut pair = Pair::dial(&built("plain"));
    assert_eq!(pair.conn.read(&mut []).expect("nothing"), 0);
    assert_eq!(pair.conn.write(&[]).expect("nothing"), 0);
    pair.conn.flush().expect("nothing");
    alternate(&pair.conn, &pair.peer, 64, |_| {});
}

#[test]
fn the_usual_helpers_of_std_work() {
    let mut pair = Pair::dial(&built("halfclose"));
    let slices = [IoSlice::new(b"scattered "), IoSlice::new(b"bytes")];
    let len = pair.conn.write_vectored(&slices).expect("room");
    assert!(len > 0);
    pair.conn
        .write_all(&b"scattered bytes"[len..])
        .expect("room");
    assert_eq!(read_vec(&pair.peer, 15), b"scattered bytes");
    let copied = {
        let file = Pattern::new(9).take(300_000);
        let mut conn = &pair.conn;
        std::thread::scope(|scope| {
            scope.spawn(|| expect_pattern(&pair.peer, 9, 300_000));
            io::copy(&mut &file[..], &mut conn).expect("room")
        })
    };
    assert_eq!(copied, 300_000);
    pair.peer.write_all(b"line one\nline two\n").expect("room");
    pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
    let lines: Vec<_> = io::BufRead::lines(io::BufReader::new(&pair.conn))
        .map(|line| line.expect("a line"))
        .collect();
    assert_eq!(lines, ["line one", "line two"]);
}

#[test]
fn an_error_of_the_transport_can_be_asked_what_it_is() {
    let pair = Pair::dial(&with_worker("(i32.const -14)"));
    let error = (&pair.conn)
        .read(&mut [0; 8])
        .expect_err("the module's error");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let text = error.to_string();
    assert!(
        text.contains("watm_start_v1") && text.contains("14"),
        "{text}"
    );
    let inner = error.get_ref().expect("the transport's error");
    let inner = inner.downcast_ref::<TransportError>();
    assert_eq!(inner.expect("the transport's error").code(), "failed");
}

#[test]
fn an_end_can_be_read_as_text() {
    let pair = Pair::dial(&built("plain"));
    assert_eq!(
        pair.conn.close().expect("a clean end").to_string(),
        "completed"
    );
    let pair = Pair::dial(&wat("control_echo"));
    assert_eq!(
        pair.conn.close().expect("a clean end").to_string(),
        "cancelled"
    );
}

#[test]
fn a_shutdown_of_both_directions_ends_a_transport_that_ends_with_its_source() {
    let pair = Pair::dial(&built("plain"));
    (&pair.conn).write_all(b"last").expect("room");
    pair.conn.shutdown(Shutdown::Both).expect("a shutdown");
    assert_eq!(read_vec(&pair.peer, 4), b"last");
    expect_end(&pair.peer);
    expect_end(&pair.conn);
    eventually("it has ended", || pair.conn.outcome().is_some());
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Completed);
    let error = (&pair.conn).write(b"late").expect_err("it is shut down");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_small_question_and_its_answer_do_not_wait_for_more_bytes() {
    // Write-behind or Nagle's delay would show as tens of milliseconds per round. So does a busy
    // machine, but then it also slows the rounds of a plain connection to another thread.
    let pair = Pair::dial(&built("plain"));
    alternate(&pair.conn, &pair.peer, 64, |_| {});
    let plain = connect(EchoServer::start().address());
    let rounds = 200;
    let (mut through, mut beside) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let started = Instant::now();
        (&pair.conn).write_all(b"ping").expect("room");
        assert_eq!(read_vec(&pair.peer, 4), b"ping");
        (&pair.peer).write_all(b"pong").expect("room");
        assert_eq!(read_vec(&pair.conn, 4), b"pong");
        let between = Instant::now();
        (&plain).write_all(b"ping").expect("room");
        assert_eq!(read_vec(&plain, 4), b"ping");
        through += between - started;
        beside += between.elapsed();
    }
    let (each, plain) = (through / rounds, beside / rounds);
    // Four thread switches instead of two.
    assert!(
        each < Duration::from_millis(10) + 4 * plain,
        "{each:?} a round, {plain:?} of a plain connection"
    );
}

#[test]
fn a_connection_tells_what_it_moved_and_what_that_took() {
    let module = built("plain16k");
    let pair = Pair::with(Dialer::builder(&module).timing(true));
    exchange(&pair.conn, &pair.peer, 1 << 20, 10_007);
    // The peer may have a byte before the worker has counted it.
    eventually("all is counted", || pair.conn.stats().sent >= 1 << 20);
    let stats = pair.conn.stats();
    assert!(stats.received >= 1 << 20, "{stats:?}");
    // The module takes 16 KiB at once, so each direction has at least 64 reads and 64 writes.
    assert!(stats.host_calls >= 256, "{stats:?}");
    // Bytes leave and arrive in pieces of at most 128 KiB.
    assert!(stats.system_calls >= 16, "{stats:?}");
    assert!(
        !stats.guest_time.is_zero() && !stats.host_time.is_zero(),
        "{stats:?}"
    );

    let untimed = Pair::dial(&module);
    exchange(&untimed.conn, &untimed.peer, 1 << 20, 10_007);
    let stats = untimed.conn.stats();
    assert_eq!(
        stats.guest_time + stats.host_time + stats.asleep,
        Duration::ZERO
    );
}

#[test]
fn halves_read_and_write_on_threads_of_their_own() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("halfclose"))
        .build()
        .expect("a dialer");
    let conn = dialer.dial(server.address()).expect("a connection");
    let (reader, writer) = conn.into_split();
    let conn = reader.reunite(writer).expect("they belong together");
    let (mut reader, mut writer) = conn.into_split();
    let (other, writing) = Pair::dial(&built("plain")).conn.into_split();
    let refused = other.reunite(writer).expect_err("another connection");
    let watm_wasmer::ReuniteError(_, back) = refused;
    writer = back;
    drop(writing);
    let total = 1 << 20;
    let sending = std::thread::spawn(move || {
        writer.write_all(&vec![4; total]).expect("it writes");
        // The end of the half is the end of the stream.
    });
    let mut received = Vec::new();
    within(LONG, move || {
        reader.read_to_end(&mut received).expect("it reads");
        assert_eq!(received.len(), total);
    });
    sending.join().expect("it ends");
}

#[test]
fn a_deadline_bounds_many_reads_together() {
    let pair = Pair::dial(&built("plain"));
    let deadline = Instant::now() + Duration::from_millis(200);
    pair.conn.set_read_deadline(Some(deadline));
    (&pair.peer).write_all(b"ab").expect("it writes");
    let mut conn = &pair.conn;
    assert!(conn.read(&mut [0; 1]).is_ok() && conn.read(&mut [0; 1]).is_ok());
    let late = conn.read(&mut [0; 1]).expect_err("nothing more comes");
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(Instant::now() >= deadline);
    // What is there can be read after it.
    pair.conn.set_read_deadline(None);
    (&pair.peer).write_all(b"c").expect("it writes");
    assert_eq!(conn.read(&mut [0; 1]).expect("a byte"), 1);
}

#[test]
fn several_buffers_are_written_together() {
    let pair = Pair::dial(&built("plain"));
    let bufs = [&b"ab"[..], b"", b"cde"].map(std::io::IoSlice::new);
    assert_eq!((&pair.conn).write_vectored(&bufs).expect("room"), 5);
    assert_eq!(read_vec(&pair.peer, 5), b"abcde");
}
