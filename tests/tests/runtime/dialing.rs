//! Dialling: who answers, who does not, and what the error says.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, FullBacklog, Pair, ReservedPort, accept_one, built, connect, echo_messages,
    expect_end, expect_reset, listener, read_vec, reset, wat, within,
};
use watm_wasmer::{
    AddressPolicy, DialError, DialOptions, Dialer, Errno, FixedDialer, GuestError, Network,
    Outcome, TransportError, TransportModule,
};

/// How much longer than a limit something may take on a busy machine. The sum is still less than
/// the default limits: 10 seconds to connect, and 30 for a handshake.
const SLACK: Duration = Duration::from_secs(5);

#[track_caller]
fn dial(module: &TransportModule, address: &str) -> Result<watm_wasmer::Conn, DialError> {
    Dialer::builder(module)
        .build()
        .expect("a dialer")
        .dial(address)
}

#[test]
fn a_refused_connection_says_so_and_names_the_address() {
    let port = ReservedPort::new();
    for name in ["plain", "rust_plain", "handshake", "halfclose"] {
        match dial(&built(name), &port.address()).expect_err(name) {
            DialError::Connect { address, source } => {
                assert_eq!(address, port.address());
                assert_eq!(source.kind(), ErrorKind::ConnectionRefused, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_peer_that_never_answers_costs_the_connect_timeout_and_no_more() {
    let silent = FullBacklog::new();
    let limit = Duration::from_millis(300);
    let dialer = Dialer::builder(&built("plain")).connect_timeout(limit);
    let dialer = dialer.build().expect("a dialer");
    let started = Instant::now();
    let error = dialer.dial(silent.address()).expect_err("nobody answers");
    let elapsed = started.elapsed();
    match error {
        DialError::Connect { address, source } => {
            assert_eq!(address, silent.address());
            assert_eq!(source.kind(), ErrorKind::TimedOut);
        }
        other => panic!("{other:?}"),
    }
    assert!(elapsed >= limit && elapsed < limit + SLACK, "{elapsed:?}");
}

#[test]
fn the_setup_timeout_ends_a_connect_too() {
    let silent = FullBacklog::new();
    let limit = Duration::from_millis(300);
    let dialer = Dialer::builder(&built("plain")).setup_timeout(limit);
    let started = Instant::now();
    let error = dialer.build().expect("a dialer").dial(silent.address());
    let elapsed = started.elapsed();
    match error.expect_err("nobody answers") {
        DialError::TimedOut { after, connecting } => assert_eq!((after, connecting), (limit, true)),
        other => panic!("{other:?}"),
    }
    assert!(elapsed >= limit && elapsed < limit + SLACK, "{elapsed:?}");
}

#[test]
fn a_dial_whose_time_is_over_says_so_whoever_notices_it_first() {
    // The connect ends when the set-up does, on another thread.
    let silent = FullBacklog::new();
    let limit = Duration::from_millis(300);
    let dialer = Dialer::builder(&built("plain")).connect_timeout(limit);
    let dialer = dialer.setup_timeout(limit).build().expect("a dialer");
    let dials: Vec<_> = (0..16)
        .map(|_| dialer.begin(silent.address(), DialOptions::new()))
        .collect();
    for dial in dials {
        let error = dial.wait().expect_err("nobody answers");
        let is_so = matches!(&error, DialError::TimedOut { connecting, .. } if *connecting);
        assert!(is_so, "{error:?}");
    }
}

#[test]
fn a_peer_that_stays_silent_in_the_handshake_costs_the_setup_timeout() {
    let (listener, address) = listener();
    let limit = Duration::from_millis(300);
    let dialer = Dialer::builder(&built("handshake")).setup_timeout(limit);
    let dialer = dialer.build().expect("a dialer");
    let started = Instant::now();
    let error = dialer.dial(&address).expect_err("there is no answer");
    let elapsed = started.elapsed();
    match error {
        DialError::TimedOut { after, connecting } => {
            assert_eq!((after, connecting), (limit, false));
        }
        other => panic!("{other:?}"),
    }
    assert!(elapsed >= limit && elapsed < limit + SLACK, "{elapsed:?}");
    // The worker is stopped, and drops the socket.
    let peer = accept_one(&listener);
    assert_eq!(read_vec(&peer, 16), b"WATM-HELLO-00001");
    expect_reset(&peer);
}

#[test]
fn a_wrong_answer_in_the_handshake_is_the_modules_error() {
    let (listener, address) = listener();
    let peer = std::thread::spawn(move || {
        let mut peer = accept_one(&listener);
        peer.write_all(b"HTTP/1.1 400 Bad").expect("room");
        peer
    });
    let error = dial(&built("handshake"), &address).expect_err("a wrong answer");
    match error {
        DialError::Transport(TransportError::Failed { function, error }) => {
            assert_eq!(function, "watm_dial_v1");
            assert_eq!(error, GuestError::Errno(Errno::Proto));
        }
        other => panic!("{other:?}"),
    }
    peer.join().expect("the peer's part");
}

#[test]
fn a_peer_that_closes_in_the_handshake_fails_the_dial() {
    let (listener, address) = listener();
    let peer = std::thread::spawn(move || {
        let peer = accept_one(&listener);
        read_vec(&peer, 16);
    });
    let error = dial(&built("handshake"), &address).expect_err("no answer");
    match error {
        DialError::Transport(TransportError::Failed { error, .. }) => {
            assert_eq!(error, GuestError::Errno(Errno::Connreset));
        }
        other => panic!("{other:?}"),
    }
    peer.join().expect("the peer's part");
}

#[test]
fn a_peer_that_resets_in_the_handshake_fails_the_dial() {
    let (listener, address) = listener();
    let peer = std::thread::spawn(move || {
        let peer = accept_one(&listener);
        read_vec(&peer, 16);
        reset(peer);
    });
    let error = dial(&built("handshake"), &address).expect_err("a reset");
    match error {
        DialError::Transport(TransportError::Failed { error, .. }) => {
            assert_eq!(error, GuestError::Errno(Errno::Connreset));
        }
        other => panic!("{other:?}"),
    }
    peer.join().expect("the peer's part");
}

#[test]
fn a_blocking_handshake_is_followed_by_non_blocking_data() {
    let pair = Pair::greeted(Dialer::builder(&built("handshake")), |mut peer| {
        // In two pieces, so that the blocking read has to wait twice.
        assert_eq!(read_vec(peer, 16), b"WATM-HELLO-00001");
        peer.write_all(b"WATM-REP").expect("room");
        peer.write_all(b"LY-00001and data at once").expect("room");
    });
    assert_eq!(read_vec(&pair.conn, 16), b"and data at once");
    (&pair.conn).write_all(b"there").expect("room");
    assert_eq!(read_vec(&pair.peer, 5), b"there");
}

#[test]
fn a_name_is_resolved() {
    let server = EchoServer::start();
    let port = server
        .address()
        .rsplit_once(':')
        .map(|(_, port)| port.to_owned());
    let address = format!("localhost:{}", port.expect("a port"));
    echo_messages(&dial(&built("plain"), &address).expect("a connection"));
}

#[test]
fn an_ipv6_address_in_brackets_is_dialled() {
    let listener = std::net::TcpListener::bind("[::1]:0").expect("an IPv6 loopback address");
    let server = EchoServer::serve(listener);
    assert!(server.address().starts_with("[::1]:"));
    echo_messages(&dial(&built("plain"), &server.address()).expect("a connection"));
}

#[cfg(target_os = "linux")]
#[test]
fn an_ipv6_address_may_have_a_zone_whoever_chooses_it() {
    let listener = std::net::TcpListener::bind("[::1]:0").expect("an IPv6 loopback address");
    let port = listener.local_addr().expect("an address").port();
    let _server = EchoServer::serve(listener);
    for zone in ["lo", "1"] {
        let address = format!("[::1%{zone}]:{port}");
        echo_messages(&dial(&built("plain"), &address).expect("a connection"));
        let fixed = |policy| {
            let dialer = FixedDialer::builder(&built("fixed")).policy(policy);
            let dialer = dialer.build().expect("a fixed dialer");
            dialer.dial_with(DialOptions::new().config(format!("tcp {address}")))
        };
        let allowing = AddressPolicy::deny_all().allow("::1".parse().expect("an entry"));
        echo_messages(&fixed(allowing.clone()).expect("a connection"));
        let denying = allowing.deny("::1".parse().expect("an entry"));
        for policy in [denying, AddressPolicy::deny_all()] {
            match fixed(policy).expect_err("denied") {
                DialError::Denied { address: denied } => assert_eq!(denied, address),
                other => panic!("{other:?}"),
            }
        }
    }
    match dial(&built("plain"), "[fe80::1%no-such]:80").expect_err("no such interface") {
        DialError::Resolve { source, .. } => assert!(source.to_string().contains("no-such")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_that_is_no_address_is_refused_before_anything_runs() {
    // A module that never finishes dialling, so that only the address can end this.
    let dialer = Dialer::builder(&wat("loop_main"))
        .build()
        .expect("a dialer");
    for address in [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":80",
        "::1:80",
        "127.0.0.1:65536",
    ] {
        match dialer.dial(address).expect_err(address) {
            DialError::Address { address: told, .. } => assert_eq!(told, address),
            other => panic!("{address:?}: {other:?}"),
        }
    }
}

#[test]
fn the_network_of_a_dial_chooses_the_family() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let over = |network| {
        let options = DialOptions::new().network(network);
        dialer.dial_with(server.address(), options)
    };
    echo_messages(&over(Network::Tcp).expect("either family"));
    echo_messages(&over(Network::Tcp4).expect("the family of the address"));
    match over(Network::Tcp6).expect_err("the other family") {
        DialError::Resolve { source, .. } => {
            assert_eq!(source.kind(), ErrorKind::AddrNotAvailable);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_knows_its_addresses() {
    let pair = Pair::dial(&built("plain"));
    let (local, peer) = (pair.conn.local_addr(), pair.conn.peer_addr());
    assert_eq!(
        local.expect("an address"),
        pair.peer.peer_addr().expect("an address")
    );
    assert_eq!(
        peer.expect("an address"),
        pair.peer.local_addr().expect("an address")
    );
}

#[test]
fn one_dialer_serves_several_threads() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| echo_messages(&dialer.dial(server.address()).expect("a connection")));
        }
    });
}

#[test]
fn a_connection_that_is_closed_right_after_the_dial_ends_in_order() {
    for name in ["plain", "halfclose", "rust_plain", "rust_tcp"] {
        let module = built(name);
        for _ in 0..10 {
            let pair = Pair::dial(&module);
            let started = Instant::now();
            pair.conn
                .close()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(started.elapsed() < Duration::from_secs(3) + SLACK);
            expect_end(&pair.peer);
        }
    }
}

#[test]
fn a_peer_that_closes_at_once_ends_the_connection_in_order() {
    let pair = Pair::dial(&built("plain"));
    drop(pair.peer);
    expect_end(&pair.conn);
    assert_eq!(pair.conn.close().expect("a clean end"), Outcome::Completed);
}

#[test]
fn a_reset_by_the_peer_is_the_error_of_the_connection() {
    for name in ["plain", "halfclose", "rust_plain", "rust_tcp", "posix"] {
        let pair = Pair::dial(&built(name));
        if name == "posix" {
            // It first reads only from the application.
            (&pair.conn).write_all(b"12345678").expect("room");
            read_vec(&pair.peer, 8);
        }
        reset(pair.peer);
        let error = (&pair.conn).read(&mut [0; 8]).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{name}");
        let inner = error.get_ref().expect("the transport's error");
        match inner.downcast_ref().expect("the transport's error") {
            TransportError::Failed { function, error } => {
                assert_eq!(*function, "watm_start_v1");
                assert_eq!(*error, GuestError::Errno(Errno::Connreset), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let error = pair.conn.close().expect_err("the same");
        assert_eq!(error.errno(), Errno::Connreset);
    }
}

#[test]
fn a_fixed_dialer_dials_where_its_module_wants() {
    for module in [
        built("plain"),
        built("rust_plain"),
        wat("plain"),
        built("halfclose"),
    ] {
        let server = EchoServer::start();
        let policy = AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry"));
        let dialer = FixedDialer::builder(&module)
            .policy(policy)
            .config(server.address());
        let conn = dialer.build().expect("a fixed dialer").dial();
        let conn = conn.expect("a connection");
        assert_eq!(
            conn.peer_addr().expect("an address").to_string(),
            server.address()
        );
        echo_messages(&conn);
    }
}

#[test]
fn a_module_that_imports_water_dial_alone_hands_its_strings_over_in_pieces() {
    let server = EchoServer::start();
    let policy = AddressPolicy::deny_all().allow("127.0.0.0/8".parse().expect("an entry"));
    let dialer = FixedDialer::builder(&built("fixed")).policy(policy);
    let dialer = dialer.build().expect("a fixed dialer");
    for network in ["tcp", "tcp4"] {
        let config = format!("{network} {}", server.address());
        let conn = dialer.dial_with(DialOptions::new().config(config));
        echo_messages(&conn.expect("a connection"));
    }
}

#[test]
fn a_dial_does_not_wait_for_the_peer_to_accept() {
    let (listener, address) = listener();
    let conn = within(watm_tests::SHORT, move || dial(&built("plain"), &address));
    let conn = conn.expect("a connection");
    (&conn).write_all(b"early").expect("room");
    assert_eq!(read_vec(&accept_one(&listener), 5), b"early");
    drop(connect(listener.local_addr().expect("an address")));
}

#[test]
fn a_pool_changes_neither_what_a_module_sees_nor_what_errors_say() {
    let (echo, refused) = (EchoServer::start(), ReservedPort::new());
    for name in [
        "plain",
        "handshake",
        "halfclose",
        "rust_plain",
        "rust_reverse",
    ] {
        let dialer = Dialer::builder(&built(name)).spare_instances(2).build();
        let dialer = dialer.expect("a dialer");
        match dialer.dial(refused.address()).expect_err(name) {
            DialError::Connect { address, .. } => assert_eq!(address, refused.address()),
            other => panic!("{name}: {other:?}"),
        }
    }
    let dialer = Dialer::builder(&built("plain")).spare_instances(1).build();
    let dialer = dialer.expect("a dialer");
    for _ in 0..20 {
        echo_messages(&dialer.dial(echo.address()).expect("a connection"));
    }
}

#[test]
fn the_time_in_the_pool_is_not_that_of_the_handshake() {
    let echo = EchoServer::start();
    // Enough for a handshake on a busy machine.
    let limit = Duration::from_secs(2);
    let builder = Dialer::builder(&built("plain")).spare_instances(2);
    let dialer = builder.setup_timeout(limit).build().expect("a dialer");
    // Instances older than that are what this tests.
    std::thread::sleep(limit + limit / 2);
    for _ in 0..4 {
        let conn = dialer.dial(echo.address()).expect("a connection");
        echo_messages(&conn);
        conn.close().expect("a clean end");
    }
}

#[test]
fn a_pool_is_neither_endless_nor_refilled_never() {
    let builder = Dialer::builder(&built("plain"));
    let error = builder
        .clone()
        .spare_instances(1025)
        .build()
        .expect_err("too many");
    assert!(error.to_string().contains("spare_instances"), "{error}");
    let error = builder.spare_refill_rate(0).build().expect_err("never");
    assert!(error.to_string().contains("spare_refill_rate"), "{error}");
}

#[test]
fn a_dial_has_its_own_time_which_its_hook_knows() {
    use std::sync::mpsc;
    use watm_wasmer::{DialAttempt, DialHook, Stream};

    /// Says how much time an attempt has, and waits until nobody wants the connection.
    struct Waits(mpsc::SyncSender<(Duration, Duration)>);

    impl DialHook for Waits {
        fn dial(&self, attempt: &DialAttempt<'_>) -> std::io::Result<Stream> {
            let began = Instant::now();
            let left = attempt.deadline().saturating_duration_since(began);
            while !attempt.is_cancelled() {
                assert!(began.elapsed() < Duration::from_secs(30), "it is not told");
                std::thread::yield_now();
            }
            let _ = self.0.send((left, began.elapsed()));
            attempt.connect()
        }
    }

    let (sender, seen) = mpsc::sync_channel(1);
    let dialer = Dialer::builder(&built("plain")).dial_hook(Waits(sender));
    let dialer = dialer.build().expect("a dialer");
    let limit = Duration::from_millis(300);
    let options = DialOptions::new().timeout(limit);
    let error = dialer.dial_with("127.0.0.1:9", options);
    match error.expect_err("it takes too long") {
        DialError::TimedOut { after, connecting } => {
            assert_eq!((after, connecting), (limit, true));
        }
        other => panic!("{other:?}"),
    }
    let (left, waited) = seen.recv().expect("the hook ends");
    assert!(
        left <= limit && waited < limit + SLACK,
        "{left:?}, {waited:?}"
    );
}

#[test]
fn a_token_cancels_dials_in_all_threads_and_those_that_come_later() {
    use watm_wasmer::CancelToken;

    let silent = FullBacklog::new();
    let token = CancelToken::new();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let options = || DialOptions::new().cancel(&token);
    std::thread::scope(|scope| {
        let dials: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| dialer.dial_with(silent.address(), options())))
            .collect();
        token.cancel();
        for dial in dials {
            let error = dial.join().expect("it ends").expect_err("cancelled");
            assert!(matches!(error, DialError::Cancelled), "{error:?}");
        }
    });
    let later = dialer.dial_with(silent.address(), options());
    assert!(matches!(later, Err(DialError::Cancelled)));
}

#[test]
fn an_error_has_a_code_and_as_an_io_error_its_causes() {
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let port = ReservedPort::new();
    let refused = dialer.dial(port.address()).expect_err("nobody listens");
    assert_eq!(refused.code(), "connect");
    let error = std::io::Error::from(refused);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let text = error.to_string();
    let expected = format!("no connection to {}: Connection refused", port.address());
    assert!(text.starts_with(&expected), "{text}");
    assert!(DialError::of(&error).is_some_and(|error| error.code() == "connect"));
    let wrong = dialer.dial("127.0.0.1").expect_err("no port");
    assert_eq!(
        std::io::Error::from(wrong).to_string(),
        "`127.0.0.1` is not an address: the port is missing; expected HOST:PORT or [IPV6]:PORT"
    );
}
