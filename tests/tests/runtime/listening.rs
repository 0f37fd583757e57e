//! Listeners: who gets in, who waits for whom, and how it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use watm_tests::{
    Duo, Pair, SHORT, alternate, built, connect, eventually, expect_end, read_to_reset, read_vec,
    tcp_pair, wat, within,
};
use watm_wasmer::{
    AcceptError, Conn, Errno, GuestError, ListenError, Listener, TransportError, TransportModule,
};

const HELLO: &[u8] = b"WATM-HELLO-00001";
const REPLY: &[u8] = b"WATM-REPLY-00001";

fn listen(module: &TransportModule) -> Arc<Listener> {
    Arc::new(
        Listener::builder(module)
            .bind("127.0.0.1:0")
            .expect("a listener"),
    )
}

#[track_caller]
fn accept(listener: &Arc<Listener>) -> Conn {
    let listener = Arc::clone(listener);
    within(SHORT, move || listener.accept().expect("a connection"))
}

/// The client's part of the handshake.
#[track_caller]
fn greet(mut client: &TcpStream) {
    client.write_all(HELLO).expect("room");
    assert_eq!(read_vec(client, REPLY.len()), REPLY);
}

/// Waits until the host has dropped a client. The client reads the end of stream, or a reset if
/// bytes were in flight.
#[track_caller]
fn expect_dropped(mut client: &TcpStream) {
    match client.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it is not dropped: {other:?}"),
    }
}

#[test]
fn a_listener_unwraps_what_clients_send() {
    for module in [
        built("plain"),
        built("rust_plain"),
        built("halfclose"),
        wat("plain"),
    ] {
        let listener = listen(&module);
        let client = connect(listener.local_addr());
        let conn = accept(&listener);
        assert_eq!(
            conn.peer_addr().expect("an address"),
            client.local_addr().expect("one")
        );
        assert_eq!(
            conn.local_addr().expect("an address"),
            listener.local_addr()
        );
        alternate(&conn, &client, 16_384, |_| {});
    }
}

#[test]
fn the_system_chooses_the_port_if_it_is_0() {
    let listener = listen(&built("plain"));
    assert_ne!(listener.local_addr().port(), 0);
    assert!(listener.local_addr().ip().is_loopback());
}

#[test]
fn a_silent_client_does_not_delay_the_next() {
    let listener = listen(&built("handshake"));
    let silent: Vec<_> = (0..10).map(|_| connect(listener.local_addr())).collect();
    let started = Instant::now();
    let client = connect(listener.local_addr());
    greet(&client);
    let conn = accept(&listener);
    // A handshake may take 30 seconds.
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    alternate(&conn, &client, 1024, |_| {});
    // The silent ones were not dropped for it, and may still complete their handshakes.
    for client in silent {
        greet(&client);
        alternate(&accept(&listener), &client, 64, |_| {});
    }
}

#[test]
fn handshakes_run_side_by_side() {
    // All begin. Only then do they finish, in the reverse order.
    let listener = listen(&built("handshake"));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = connect(listener.local_addr());
            client.write_all(&HELLO[..8]).expect("room");
            client
        })
        .collect();
    for mut client in clients.iter().rev() {
        client.write_all(&HELLO[8..]).expect("room");
        assert_eq!(read_vec(client, REPLY.len()), REPLY);
    }
    let _conns: Vec<_> = clients.iter().map(|_| accept(&listener)).collect();
}

#[test]
fn a_listener_listens_on_several_sockets_and_on_both_families() {
    let builder = Listener::builder(&built("handshake"));
    let listener = Arc::new(builder.bind_all(["127.0.0.1:0", ":0"]).expect("a listener"));
    let [first, all] = *listener.local_addrs() else {
        panic!("{:?}", listener.local_addrs());
    };
    assert_eq!(listener.local_addr(), first);
    let mut addresses = vec![first.to_string(), format!("127.0.0.1:{}", all.port())];
    if all.is_ipv6() {
        addresses.push(format!("[::1]:{}", all.port()));
    }
    for address in &addresses {
        let client = connect(address.as_str());
        greet(&client);
        alternate(&accept(&listener), &client, 64, |_| {});
    }
}

#[test]
fn one_handshake_too_many_drops_the_oldest() {
    let builder = Listener::builder(&built("handshake")).handshake_limit(3);
    let listener = Arc::new(builder.bind("127.0.0.1:0").expect("a listener"));
    let clients: Vec<_> = (0..5).map(|_| connect(listener.local_addr())).collect();
    for client in &clients[..2] {
        expect_dropped(client);
    }
    for client in &clients[2..] {
        greet(client);
        alternate(&accept(&listener), client, 64, |_| {});
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_dropped_and_one_in_time_is_not() {
    // Enough for a handshake on a busy machine.
    let limit = Duration::from_secs(2);
    let builder = Listener::builder(&built("handshake")).setup_timeout(limit);
    let listener = Arc::new(builder.bind("127.0.0.1:0").expect("a listener"));
    let started = Instant::now();
    let silent = connect(listener.local_addr());
    expect_dropped(&silent);
    let elapsed = started.elapsed();
    // The connection may be slightly older than its handshake.
    assert!(elapsed >= limit, "{elapsed:?}");
    // The default is 30 seconds.
    assert!(elapsed < limit + Duration::from_secs(10), "{elapsed:?}");
    let client = connect(listener.local_addr());
    greet(&client);
    alternate(&accept(&listener), &client, 64, |_| {});
}

#[test]
fn a_handshake_that_fails_is_not_seen_by_accept() {
    let listener = listen(&built("handshake"));
    let mut wrong = connect(listener.local_addr());
    wrong.write_all(b"GET / HTTP/1.1\r\n").expect("room");
    expect_dropped(&wrong);
    drop(connect(listener.local_addr()));
    watm_tests::reset(connect(listener.local_addr()));
    let client = connect(listener.local_addr());
    greet(&client);
    alternate(&accept(&listener), &client, 64, |_| {});
}

#[test]
fn a_module_that_traps_drops_its_client_alone() {
    let listener = listen(&built("rust_panic"));
    for _ in 0..3 {
        let client = connect(listener.local_addr());
        let conn = accept(&listener);
        let error = conn.close().expect_err("it panics");
        assert!(matches!(error, TransportError::Trapped { .. }), "{error:?}");
        expect_dropped(&client);
    }
}

#[test]
fn close_unblocks_accept_in_every_thread() {
    let listener = listen(&built("plain"));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let listener = Arc::clone(&listener);
            std::thread::spawn(move || listener.accept())
        })
        .collect();
    listener.close();
    for thread in waiting {
        let error = within(SHORT, move || thread.join().expect("it returns")).expect_err("closed");
        assert!(matches!(error, AcceptError::Closed), "{error:?}");
    }
    // The same applies afterwards, and a second time.
    listener.close();
    let again = within(SHORT, move || listener.accept());
    assert!(matches!(again.expect_err("closed"), AcceptError::Closed));
}

#[test]
fn a_listener_whose_socket_fails_says_so_to_all_who_accept() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let broken = socket2::Socket::from(socket.try_clone().expect("a clone"));
    let listener = Listener::builder(&built("plain")).listen(socket);
    let listener = Arc::new(listener.expect("a listener"));
    let accepting: Vec<_> = (0..2)
        .map(|_| {
            let listener = Arc::clone(&listener);
            std::thread::spawn(move || listener.accept())
        })
        .collect();
    // A socket that was shut down accepts no more connections.
    broken
        .shutdown(std::net::Shutdown::Both)
        .expect("a shutdown");
    for thread in accepting {
        let result = within(SHORT, move || thread.join()).expect("no panic");
        assert!(matches!(result, Err(AcceptError::Host(_))), "{result:?}");
    }
    let mut incoming = listener.incoming();
    let last = incoming.next().expect("the failure");
    assert!(matches!(last, Err(AcceptError::Host(_))), "{last:?}");
    assert!(incoming.next().is_none());
    drop(incoming);
}

#[test]
fn close_ends_the_iterator_of_incoming_connections() {
    let listener = listen(&built("plain"));
    let serving = {
        let listener = Arc::clone(&listener);
        std::thread::spawn(move || {
            let mut count = 0;
            for conn in listener.incoming() {
                let mut conn = conn.expect("a connection");
                conn.write_all(b"hi").expect("room");
                count += 1;
            }
            count
        })
    };
    for _ in 0..3 {
        assert_eq!(read_vec(connect(listener.local_addr()), 2), b"hi");
    }
    listener.close();
    assert_eq!(
        within(SHORT, move || serving.join().expect("it returns")),
        3
    );
}

#[test]
fn close_frees_the_port_and_drops_who_is_not_accepted_yet() {
    let listener = listen(&built("handshake"));
    let address = listener.local_addr();
    let accepted = connect(address);
    greet(&accepted);
    let conn = accept(&listener);
    let ready = connect(address);
    greet(&ready);
    let silent = connect(address);
    // Its handshake is in progress, so the host has it.
    (&silent).write_all(&HELLO[..4]).expect("room");
    listener.close();
    expect_dropped(&ready);
    expect_dropped(&silent);
    let refused = TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    TcpListener::bind(address).expect("the port is free");
    // Accepted connections continue.
    alternate(&conn, &accepted, 1024, |_| {});
}

#[test]
fn dropping_a_listener_closes_it() {
    let listener = listen(&built("plain"));
    let address = listener.local_addr();
    let client = connect(address);
    let conn = accept(&listener);
    drop(listener);
    TcpStream::connect(address).expect_err("nobody listens");
    alternate(&conn, &client, 1024, |_| {});
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    match Listener::builder(&built("plain"))
        .bind(&address)
        .expect_err("it is taken")
    {
        ListenError::Bind {
            address: found,
            source,
        } => {
            assert_eq!(found, address);
            assert_eq!(source.kind(), ErrorKind::AddrInUse);
        }
        other => panic!("{other:?}"),
    }
    for address in ["", "127.0.0.1", "nonsense:port", ":http"] {
        let error = Listener::builder(&built("plain"))
            .bind(address)
            .expect_err(address);
        assert!(
            matches!(error, ListenError::Bind { .. }),
            "{address}: {error:?}"
        );
    }
}

#[test]
fn a_socket_that_the_application_has_bound_is_listened_on() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    // A client already waits in the socket's queue.
    let early = connect(address);
    let listener = Listener::builder(&built("plain"))
        .listen(socket)
        .expect("a listener");
    let listener = Arc::new(listener);
    assert_eq!(listener.local_addr(), address);
    alternate(&accept(&listener), &early, 1024, |_| {});
    let late = connect(address);
    alternate(&accept(&listener), &late, 1024, |_| {});
}

#[test]
fn a_listener_on_ipv6_works_like_others() {
    let builder = Listener::builder(&built("plain"));
    let listener = Arc::new(builder.bind("[::1]:0").expect("a listener"));
    let client = connect(listener.local_addr());
    alternate(&accept(&listener), &client, 1024, |_| {});
}

#[test]
fn connections_that_nobody_accepts_wait_up_to_the_backlog_and_the_rest_in_the_system() {
    let builder = Listener::builder(&built("handshake")).backlog(2);
    let listener = Arc::new(builder.bind("127.0.0.1:0").expect("a listener"));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = connect(listener.local_addr());
            client.write_all(HELLO).expect("room");
            client
        })
        .collect();
    // At least this many get through their handshake without an accept. More may do so, up to those
    // that were in progress when the second was ready.
    for client in &clients[..2] {
        assert_eq!(read_vec(client, REPLY.len()), REPLY);
    }
    let mut conns: Vec<_> = clients.iter().map(|_| accept(&listener)).collect();
    for client in &clients[2..] {
        assert_eq!(read_vec(client, REPLY.len()), REPLY);
    }
    // All came through, each with its own client.
    for client in &clients {
        let from = client.local_addr().expect("an address");
        let position = conns
            .iter()
            .position(|conn| conn.peer_addr().ok() == Some(from));
        let conn = conns.swap_remove(position.expect("its connection"));
        alternate(&conn, client, 64, |_| {});
    }
}

// ---- sockets handed in -----------------------------------------------------------------------

#[test]
fn an_accepted_socket_can_be_handed_in() {
    let pair = Pair::accepted(Listener::builder(&built("plain")));
    alternate(&pair.conn, &pair.peer, 16_384, |_| {});
    assert_eq!(
        pair.conn.peer_addr().expect("an address"),
        pair.peer.local_addr().expect("an address")
    );
}

#[test]
fn a_unix_socket_can_be_handed_in() {
    let acceptor = Listener::builder(&built("plain"))
        .acceptor()
        .expect("an acceptor");
    let (client, server) = UnixStream::pair().expect("a pair");
    client.set_read_timeout(Some(SHORT)).expect("a timeout");
    let conn = acceptor.accept(server).expect("a connection");
    alternate(&conn, &client, 16_384, |_| {});
    // A Unix socket has no address to report.
    for address in [conn.local_addr(), conn.peer_addr()] {
        assert_eq!(
            address.expect_err("none").kind(),
            ErrorKind::AddrNotAvailable
        );
    }
    drop(client);
    expect_end(&conn);
}

#[test]
fn a_handshake_over_a_socket_handed_in_returns_when_it_is_done() {
    let acceptor = Listener::builder(&built("handshake"))
        .acceptor()
        .expect("an acceptor");
    let (client, server) = tcp_pair();
    let conn = std::thread::scope(|scope| {
        scope.spawn(|| greet(&client));
        acceptor.accept(server).expect("a connection")
    });
    alternate(&conn, &client, 64, |_| {});
    // Reports why if that fails.
    let (mut client, server) = tcp_pair();
    client.write_all(b"not what is expected").expect("room");
    match acceptor.accept(server).expect_err("a wrong greeting") {
        AcceptError::Transport(TransportError::Failed { function, error }) => {
            assert_eq!(function, "watm_accept_v1");
            assert_eq!(error, GuestError::Errno(Errno::Proto));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_acceptor_serves_several_threads() {
    let acceptor = Listener::builder(&built("plain"))
        .acceptor()
        .expect("an acceptor");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (client, server) = tcp_pair();
                let conn = acceptor.accept(server).expect("a connection");
                alternate(&conn, &client, 1024, |_| {});
            });
        }
    });
}

#[test]
fn many_clients_at_once_each_get_their_own_connection() {
    let listener = listen(&built("plain"));
    let serving = {
        let listener = Arc::clone(&listener);
        std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for conn in listener.incoming() {
                    let conn = conn.expect("a connection");
                    scope.spawn(move || std::io::copy(&mut &conn, &mut &conn));
                }
            });
        })
    };
    std::thread::scope(|scope| {
        for i in 0..50u8 {
            let address = listener.local_addr();
            scope.spawn(move || {
                let mut client = connect(address);
                let message = vec![i; 10_000];
                client.write_all(&message).expect("room");
                assert_eq!(read_vec(&client, 10_000), message);
            });
        }
    });
    listener.close();
    within(SHORT, move || serving.join().expect("it returns"));
}

#[test]
fn a_dialer_meets_a_listener_of_the_same_module() {
    for name in ["plain", "handshake", "rust_tcp", "exit0"] {
        let duo = Duo::new(&built(name));
        alternate(&duo.dialer, &duo.listener, 16_384, |_| {});
        duo.accepting.close();
        eventually("the listener is closed", || {
            TcpStream::connect(duo.accepting.local_addr()).is_err()
        });
        alternate(&duo.dialer, &duo.listener, 1024, |_| {});
    }
}

/// A listener that has stopped accepting, a client in its handshake, and a thread that accepts.
fn stopped_in_a_handshake() -> (
    Arc<Listener>,
    TcpStream,
    JoinHandle<Result<Conn, AcceptError>>,
) {
    let listener = listen(&built("handshake"));
    let client = connect(listener.local_addr());
    eventually("it is being set up", || listener.stats().active == 1);
    let accepting = Arc::clone(&listener);
    let accepted = std::thread::spawn(move || accepting.accept());
    listener.stop_accepting();
    (listener, client, accepted)
}

#[test]
fn a_listener_that_accepts_no_more_hands_out_those_who_are_on_their_way() {
    let (listener, client, accepted) = stopped_in_a_handshake();
    let refused = TcpStream::connect(listener.local_addr()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    greet(&client);
    let conn = within(SHORT, move || accepted.join())
        .expect("no panic")
        .expect("the connection");
    alternate(&client, &conn, 64, |_| {});
    let closed = listener.accept().expect_err("nobody is left");
    assert!(matches!(closed, AcceptError::Closed), "{closed}");
}

#[test]
fn whoever_accepts_is_told_when_the_last_handshake_has_failed() {
    let (listener, client, accepted) = stopped_in_a_handshake();
    drop(client);
    let accepted = within(SHORT, move || accepted.join()).expect("no panic");
    assert!(matches!(accepted, Err(AcceptError::Closed)), "{accepted:?}");
    eventually("it is counted", || listener.stats().refused == 1);
}

#[test]
fn a_listener_that_drains_waits_for_connections_to_end_by_themselves() {
    let listener = listen(&built("plain"));
    let client = connect(listener.local_addr());
    let conn = accept(&listener);
    alternate(&client, &conn, 64, |_| {});
    assert!(!listener.drain(Duration::from_millis(1)), "one is open");
    alternate(&client, &conn, 64, |_| {});
    let draining = Arc::clone(&listener);
    let drained = std::thread::spawn(move || draining.drain(SHORT));
    drop(client);
    expect_end(&conn);
    assert!(drained.join().expect("no panic"), "it has ended");
    let stats = listener.stats();
    assert_eq!(
        (stats.accepted, stats.active, stats.completed),
        (1, 0, 1),
        "{stats:?}"
    );
    assert!(stats.received > 0 && stats.sent > 0, "{stats:?}");
    // Nothing is left to cut.
    listener.shutdown();
    assert_eq!(listener.stats(), stats);
}

#[test]
fn a_shutdown_cuts_connections_which_both_sides_see() {
    for module in [built("plain"), built("halfclose"), built("ctrl_ignore")] {
        let listener = Listener::builder(&module)
            .close_grace(Duration::from_millis(200))
            .bind("127.0.0.1:0")
            .map(Arc::new)
            .expect("a listener");
        let client = connect(listener.local_addr());
        let conn = accept(&listener);
        alternate(&client, &conn, 64, |_| {});
        // Set up, but not accepted.
        let waiting = connect(listener.local_addr());
        eventually("both are there", || listener.stats().active == 2);
        listener.shutdown();
        assert_eq!(read_to_reset(&client), b"");
        assert_eq!(read_to_reset(&waiting), b"");
        (&conn).read(&mut [0]).expect_err("no end of stream");
        (&conn).write(&[0]).expect_err("nothing goes on");
        let stats = listener.stats();
        assert_eq!(
            (stats.cut + stats.refused, stats.active),
            (2, 0),
            "{stats:?}"
        );
        assert!(stats.cut >= 1, "{stats:?}");
    }
}
