//! Faults of the network: it breaks after any byte, takes and delivers bytes one by one, and
//! continues when everything is over. In each case, the bytes that arrive are a correct prefix of
//! what was sent. The connection ends in bounded time, in one of the documented ways.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};
use watm_tests::{
    LONG, Logs, Pair, Pattern, SHORT, accept_one, alternate, built, connect, copy_as,
    echo_messages, exchange, expect_end, listener, read_vec, reset, tcp_pair, wat, with_worker,
    within,
};
use watm_wasmer::{
    Builder, Conn, DialAttempt, DialError, DialHook, Dialer, Listener, Relay, Stream,
    TransportError, TransportModule,
};

const HELLO: &[u8] = b"WATM-HELLO-00001";
const REPLY: &[u8] = b"WATM-REPLY-00001";

/// How a peer ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// An orderly end of its own direction. It continues to read.
    Half,
    /// An orderly end of both directions.
    Close,
    /// A reset.
    Reset,
}

const CUTS: [Cut; 3] = [Cut::Half, Cut::Close, Cut::Reset];

impl Cut {
    /// Returns the peer if it is still there.
    fn apply(self, peer: TcpStream) -> Option<TcpStream> {
        match self {
            Cut::Half => {
                // Fails if the other side has already ended.
                let _ = peer.shutdown(Shutdown::Write);
                return Some(peer);
            }
            Cut::Close => drop(peer),
            Cut::Reset => reset(peer),
        }
        None
    }
}

/// Reads to the end of any kind. An error must be one that a broken network may cause.
#[track_caller]
fn read_all(mut conn: &Conn) -> (Vec<u8>, Option<ErrorKind>) {
    let mut all = Vec::new();
    let mut buf = [0; 16 * 1024];
    loop {
        match conn.read(&mut buf) {
            Ok(0) => return (all, None),
            Ok(len) => all.extend_from_slice(&buf[..len]),
            Err(error) => {
                let transport = error.get_ref().and_then(|error| error.downcast_ref());
                assert!(
                    matches!(transport, Some(TransportError::Failed { .. })),
                    "not an end of the transport: {error:?}"
                );
                return (all, Some(is_broken(&error)));
            }
        }
    }
}

#[track_caller]
fn is_broken(error: &io::Error) -> ErrorKind {
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::NotConnected
        ),
        "no broken connection: {error:?}"
    );
    kind
}

/// The positions at which a connection is cut: around the sizes of the buffers of the module and of
/// the host, and some between.
fn cuts() -> impl Iterator<Item = usize> {
    let around = [1, 16, 1024, 4096, 64 * 1024, 128 * 1024];
    let around = around
        .into_iter()
        .flat_map(|size| [size - 1, size, size + 1]);
    around.chain([3, 77, 3000, 100_000, 300_000])
}

#[test]
fn a_peer_that_ends_behind_any_byte_leaves_exactly_these_and_a_documented_end() {
    for module in [built("plain"), built("halfclose"), built("rust_tcp")] {
        for cut in CUTS {
            for count in cuts() {
                let pair = Pair::dial(&module);
                let sent = Pattern::new(count as u64).take(count);
                let mut peer = pair.peer;
                let sending = {
                    let sent = sent.clone();
                    thread::spawn(move || {
                        peer.write_all(&sent).expect("room");
                        cut.apply(peer)
                    })
                };
                let conn = pair.conn;
                let (found, conn) = within(SHORT, move || (read_all(&conn), conn));
                let (found, error) = found;
                let peer = sending.join().expect("it sends");
                assert!(
                    found == sent[..found.len()],
                    "{cut:?} after {count}: different bytes"
                );
                if cut != Cut::Reset {
                    assert_eq!((found.len(), error), (count, None), "{cut:?}");
                }
                let end = within(SHORT, move || conn.close());
                if let Err(error) = end {
                    assert!(
                        cut == Cut::Reset && matches!(error, TransportError::Failed { .. }),
                        "{cut:?} after {count}: {error:?}"
                    );
                }
                drop(peer);
            }
        }
    }
}

#[test]
fn a_peer_that_ends_after_it_has_read_any_byte_has_read_the_right_ones() {
    for module in [built("plain"), built("halfclose")] {
        for cut in [Cut::Close, Cut::Reset] {
            for count in cuts().filter(|count| *count > 0) {
                let pair = Pair::dial(&module);
                let (conn, peer) = (pair.conn, pair.peer);
                let reading = thread::spawn(move || {
                    let found = read_vec(&peer, count);
                    cut.apply(peer);
                    found
                });
                // Writes until the transport takes no more, which must be reported in bounded time.
                let mut pattern = Pattern::new(7);
                let (error, conn) = within(SHORT, move || {
                    loop {
                        let piece = pattern.take(1000);
                        if let Err(error) = (&conn).write_all(&piece) {
                            break (error, conn);
                        }
                    }
                });
                is_broken(&error);
                let found = reading.join().expect("it reads");
                assert!(found == Pattern::new(7).take(count), "{cut:?} at {count}");
                within(SHORT, move || {
                    read_all(&conn);
                    let _ = conn.close();
                });
            }
        }
    }
}

#[test]
fn a_peer_that_ends_within_the_handshake_fails_the_dial_at_once() {
    let dialer = Dialer::builder(&built("handshake"))
        .build()
        .expect("a dialer");
    for cut in CUTS {
        for count in 0..REPLY.len() {
            let (listener, address) = listener();
            let peer = thread::spawn(move || {
                let mut peer = accept_one(&listener);
                assert_eq!(read_vec(&peer, HELLO.len()), HELLO);
                peer.write_all(&REPLY[..count]).expect("room");
                cut.apply(peer)
            });
            let dialer = dialer.clone();
            let error = within(Duration::from_secs(10), move || {
                dialer.dial(&address).expect_err("half a reply")
            });
            assert!(
                matches!(
                    error,
                    DialError::Transport(TransportError::Failed {
                        function: "watm_dial_v1",
                        ..
                    })
                ),
                "{cut:?} after {count}: {error:?}"
            );
            peer.join().expect("its part");
        }
    }
}

#[test]
fn a_client_that_ends_within_the_handshake_never_reaches_accept_or_the_remote() {
    let module = copy_as("handshake", "cut-handshake");
    let logs = Logs::of_module("cut-handshake");
    let listening = Listener::builder(&module)
        .bind("127.0.0.1:0")
        .expect("a listener");
    let (remote, address) = listener();
    let relay = Relay::builder(&module).remote(address).bind("127.0.0.1:0");
    let relay = relay.expect("a relay").spawn().expect("a thread");
    let mut clients = 0;
    for at in [listening.local_addr(), relay.local_addr()] {
        for cut in CUTS {
            for count in 0..HELLO.len() {
                let mut client = connect(at);
                client.write_all(&HELLO[..count]).expect("room");
                if let Some(mut client) = cut.apply(client) {
                    // It is dropped for that.
                    match client.read(&mut [0; 32]) {
                        Ok(0) => {}
                        Err(error) => drop(is_broken(&error)),
                        Ok(len) => panic!("{len} bytes for half a greeting"),
                    }
                }
                // A few at once: Memcheck has address space for only fifteen guests.
                clients += 1;
                if clients % 4 == 0 {
                    let results = logs.all_after("handshake: hello read, result ", clients);
                    assert!(results.iter().all(|result| result != "0"), "{results:?}");
                }
            }
        }
    }
    // The first accepted connection is the next client.
    let mut client = connect(listening.local_addr());
    client.write_all(HELLO).expect("room");
    assert_eq!(read_vec(&client, REPLY.len()), REPLY);
    let conn = within(SHORT, move || listening.accept().expect("a connection"));
    alternate(&conn, &client, 1024, |_| {});
    assert_eq!(relay.stats().completed + relay.stats().failed, 0);
    drop(remote);
}

/// Returns a socket that the test has prepared.
struct Prepared(Mutex<Option<Stream>>);

impl DialHook for Prepared {
    fn dial(&self, _: &DialAttempt<'_>) -> io::Result<Stream> {
        let stream = self.0.lock().expect("the stream").take();
        stream.ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// Dials into one end of a socket pair.
#[track_caller]
fn dial_into(builder: Builder<Dialer>, stream: impl Into<Stream>) -> Conn {
    let hook = Prepared(Mutex::new(Some(stream.into())));
    let dialer = builder.dial_hook(hook).build().expect("a dialer");
    let conn = dialer.dial("the.other.end:1").expect("a connection");
    conn.set_read_timeout(Some(LONG)).expect("a timeout");
    conn.set_write_timeout(Some(LONG)).expect("a timeout");
    conn
}

/// Sets the buffer sizes of a socket, or the smallest sizes that the system allows.
fn narrow(socket: &impl AsFd, size: usize) {
    let socket = SockRef::from(socket);
    socket.set_send_buffer_size(size).expect("an option");
    socket.set_recv_buffer_size(size).expect("an option");
}

/// A TCP connection with small buffers from its start. If the buffers became small later, or were
/// as small as possible, the system would wait 200 ms between segments.
fn narrow_tcp_pair() -> (TcpStream, TcpStream) {
    let socket = || {
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        narrow(&socket, 8192);
        socket
    };
    let (listening, client) = (socket(), socket());
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listening.bind(&any.into()).expect("a free port");
    listening.listen(1).expect("to listen");
    let address = listening.local_addr().expect("an address");
    client.connect(&address).expect("a connection");
    let theirs = accept_one(&listening.into());
    narrow(&theirs, 8192);
    (client.into(), theirs)
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    theirs.set_read_timeout(Some(LONG)).expect("a timeout");
    theirs.set_write_timeout(Some(LONG)).expect("a timeout");
    (ours, theirs)
}

#[test]
fn sockets_that_take_and_give_crumbs_lose_nothing_either_way() {
    for name in ["plain", "plain16k", "halfclose", "rust_tcp"] {
        let module = built(name);
        let (ours, theirs) = unix_pair();
        narrow(&ours, 1);
        narrow(&theirs, 1);
        let conn = dial_into(Dialer::builder(&module), ours);
        exchange(&conn, &theirs, 300_000, 7000);
        let (ours, theirs) = narrow_tcp_pair();
        let conn = dial_into(Dialer::builder(&module), ours);
        exchange(&conn, &theirs, 200_000, 3000);
        conn.close().expect("a clean end");
    }
}

#[test]
fn blocking_guests_get_through_crumbs_too() {
    let (ours, theirs) = unix_pair();
    narrow(&ours, 1);
    narrow(&theirs, 1);
    let echo = thread::spawn(move || {
        let mut buf = [0; 999];
        while let Ok(len @ 1..) = (&theirs).read(&mut buf) {
            (&theirs).write_all(&buf[..len]).expect("room");
        }
    });
    let conn = dial_into(Dialer::builder(&built("rust_plain")), ours);
    echo_messages(&conn);
    drop(conn);
    echo.join().expect("the end");
}

#[test]
fn a_peer_that_vanishes_without_a_word_costs_a_close_its_grace_period() {
    let grace = Duration::from_millis(300);
    for name in ["plain", "halfclose"] {
        // Nobody reads, and nobody ends the connection, as if the cable were cut.
        let (ours, silent) = unix_pair();
        narrow(&ours, 1);
        let conn = dial_into(Dialer::builder(&built(name)).close_grace(grace), ours);
        conn.set_nonblocking(true).expect("a mode");
        let mut written = 0;
        let started = Instant::now();
        // What exceeds the buffers of the system and the host is refused, not kept.
        let refused = loop {
            match (&conn).write(&[7; 8192]) {
                Ok(len) => written += len,
                Err(error) if started.elapsed() > Duration::from_millis(200) => break error,
                Err(_) => thread::yield_now(),
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(written < 1 << 20, "{written} bytes for nobody");
        let started = Instant::now();
        let error = conn.close().expect_err("nobody took them");
        assert!(
            matches!(
                error,
                TransportError::Undelivered | TransportError::Interrupted
            ),
            "{error:?}"
        );
        assert!(
            started.elapsed() < grace + Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
        drop(silent);
    }
}

#[test]
fn a_peer_that_sends_when_all_is_over_is_turned_away() {
    let modules = [
        (
            "at once",
            with_worker("(call $text (global.get $net)) (i32.const 0)"),
        ),
        ("with a trap", wat("unreachable_start")),
    ];
    for (what, module) in modules {
        let pair = Pair::dial(&module);
        let mut peer = pair.peer;
        let error = within(SHORT, move || {
            loop {
                if let Err(error) = peer.write_all(&[1; 4096]) {
                    break error;
                }
            }
        });
        is_broken(&error);
        // A connection that is still held learns of its end.
        assert!(pair.conn.wait(Some(SHORT)).is_some(), "{what}");
    }
}

#[test]
fn what_a_peer_sends_behind_its_own_end_of_reading_arrives() {
    let pair = Pair::dial(&built("halfclose"));
    pair.peer.shutdown(Shutdown::Read).expect("a shutdown");
    (&pair.peer).write_all(b"still talking").expect("room");
    assert_eq!(read_vec(&pair.conn, 13), b"still talking");
    pair.peer.shutdown(Shutdown::Write).expect("a shutdown");
    expect_end(&pair.conn);
}

/// Urgent data ends a read before the bytes that follow it, and these come without a further event.
#[test]
fn urgent_data_of_a_peer_hides_nothing_that_comes_behind_it() {
    for name in ["plain16k", "halfclose"] {
        let pair = Pair::dial(&built(name));
        pair.conn.set_read_timeout(Some(SHORT)).expect("a timeout");
        let urgent = SockRef::from(&pair.peer);
        for round in 0..200 {
            // Usually, all three are there before the worker looks.
            (&pair.peer).write_all(b"before").expect("room");
            urgent.send_out_of_band(b"!").expect("room");
            (&pair.peer).write_all(b"behind").expect("room");
            let mut got = [0; 12];
            (&pair.conn)
                .read_exact(&mut got)
                .unwrap_or_else(|error| panic!("{name}, round {round}: {error}"));
            assert_eq!(&got, b"beforebehind");
        }
        pair.conn.close().expect("a clean end");
    }
}

/// Sockets that can do nothing at all, or not what is needed.
fn useless() -> Vec<(&'static str, Socket)> {
    let tcp = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let (listening, _) = listener();
    let (broken, peer) = unix_pair();
    drop(peer);
    let (shut, peer) = tcp_pair();
    shut.shutdown(Shutdown::Both).expect("a shutdown");
    drop(peer);
    let udp = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    let pipe = std::io::pipe().expect("a pipe").0;
    let file = std::fs::File::open("/dev/null").expect("a file");
    let plain = tempfile::tempfile().expect("a file");
    vec![
        ("never connected", tcp),
        ("a listener", listening.into()),
        ("its peer is gone", OwnedFd::from(broken).into()),
        ("shut down", shut.into()),
        ("datagrams", udp),
        ("a pipe", OwnedFd::from(pipe).into()),
        ("a device", OwnedFd::from(file).into()),
        ("a file", OwnedFd::from(plain).into()),
    ]
}

#[test]
fn a_hook_that_returns_a_useless_socket_harms_only_its_connection() {
    let module: TransportModule = built("plain");
    for (what, socket) in useless() {
        let hook = Prepared(Mutex::new(Some(socket.into())));
        let dialer = Dialer::builder(&module)
            .close_grace(Duration::from_millis(200))
            .dial_hook(hook)
            .build()
            .expect("a dialer");
        // Either the dial fails, or the connection ends in a documented way.
        let end = within(SHORT, move || {
            let conn = dialer.dial("nothing.good:1").ok()?;
            let _ = (&conn).write(b"hello?");
            Some(conn.close())
        });
        assert!(
            !matches!(
                end,
                Some(Err(
                    TransportError::Trapped { .. } | TransportError::Exited { .. }
                ))
            ),
            "{what}: {end:?}"
        );
    }
}
