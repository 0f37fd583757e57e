//! Plain connections that a transport carries: the application gives the socket away, and the
//! thread of the transport moves the bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, FullBacklog, LONG, Logs, ReservedPort, SHORT, accept_one, alternate, built,
    connect, echo_messages, eventually, exchange, expect_end, expect_pattern, expect_reset,
    listener, read_to_reset, read_vec, reset, send_pattern, tcp_pair, text, wat, wat_text,
    with_worker, within,
};
use watm_wasmer::{
    AddressPolicy, Builder, Carried, ConfigError, DialError, DialOptions, Dialer, Errno,
    FixedDialer, ListenError, Listener, Outcome, Server, ServerHandle, TransportError,
    TransportModule,
};

/// Modules that end at the first end of a stream, and modules that know half-close.
const MODULES: [&str; 5] = ["plain", "plain16k", "halfclose", "rust_tcp", "rust_plain"];

/// A connection that is carried, its plain client and its peer on the network.
struct Trio {
    carried: Carried,
    client: TcpStream,
    peer: TcpStream,
}

impl Trio {
    /// A client whose connection a dialer carries.
    #[track_caller]
    fn dialled(builder: Builder<Dialer>) -> Self {
        let dialer = builder.build().expect("a dialer");
        let ((client, plain), (remote, address)) = (tcp_pair(), listener());
        let carried = dialer.carry(plain, &address).expect("a connection");
        Self {
            carried,
            client,
            peer: accept_one(&remote),
        }
    }

    /// A client of the module whose connection is carried to a plain server. For the tests, the
    /// plain server is the client.
    #[track_caller]
    fn accepted(builder: Builder<Listener>) -> Self {
        let acceptor = builder.acceptor().expect("an acceptor");
        let ((client, plain), (peer, stream)) = (tcp_pair(), tcp_pair());
        let carried = acceptor.carry(stream, plain).expect("a connection");
        Self {
            carried,
            client,
            peer,
        }
    }

    #[track_caller]
    fn both(module: &TransportModule) -> [Self; 2] {
        [
            Self::dialled(Dialer::builder(module)),
            Self::accepted(Listener::builder(module)),
        ]
    }

    #[track_caller]
    fn end(&self) -> Result<Outcome, TransportError> {
        self.carried.wait(Some(SHORT)).expect("it ends by itself")
    }
}

#[test]
fn every_module_carries_both_ways() {
    for name in MODULES {
        for trio in Trio::both(&built(name)) {
            alternate(&trio.client, &trio.peer, 16_384, |_| {});
            exchange(&trio.client, &trio.peer, 3_000_000, 64 * 1024);
            // What was sent is counted after it was sent.
            eventually("all is counted", || {
                let stats = trio.carried.stats();
                stats.plain_received >= 3_000_000
                    && stats.plain_received == stats.sent
                    && stats.plain_sent == stats.received
            });
            drop(trio.client);
            expect_end(&trio.peer);
            drop(trio.peer);
            let ended = trio.carried.wait(Some(SHORT)).expect("it ends");
            assert_eq!(ended.expect("a good end"), Outcome::Completed, "{name}");
        }
    }
}

#[test]
fn a_module_that_transforms_and_shakes_hands_carries_too() {
    let server = Listener::builder(&built("handshake")).bind("127.0.0.1:0");
    let server = server.expect("a listener");
    let dialer = Dialer::builder(&built("handshake")).build();
    let (client, plain) = tcp_pair();
    let address = server.local_addr().to_string();
    let carried = dialer.expect("a dialer").carry(plain, &address);
    let carried = carried.expect("a connection");
    let conn = server.accept().expect("a connection");
    alternate(&client, &conn, 16_384, |_| {});
    assert_eq!(
        carried.peer_addr().expect("an address"),
        server.local_addr()
    );
    assert_eq!(
        carried.local_addr().expect("an address"),
        conn.peer_addr().expect("an address")
    );
    assert!(carried.outcome().is_none());
    conn.close().expect("a good end");
    expect_end(&client);
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    for name in ["halfclose", "rust_tcp"] {
        for by_client in [true, false] {
            for trio in Trio::both(&built(name)) {
                let Trio { client, peer, .. } = &trio;
                let (first, second) = if by_client {
                    (client, peer)
                } else {
                    (peer, client)
                };
                send_pattern(first, 1, 100_000, 999);
                first.shutdown(Shutdown::Write).expect("a shutdown");
                expect_pattern(second, 1, 100_000);
                expect_end(second);
                send_pattern(second, 2, 100_000, 999);
                second.shutdown(Shutdown::Write).expect("a shutdown");
                expect_pattern(first, 2, 100_000);
                expect_end(first);
                let carried = trio.carried;
                drop((trio.client, trio.peer));
                let ended = carried.wait(Some(SHORT)).expect("it ends");
                ended.expect("a good end");
            }
        }
    }
}

#[test]
fn an_end_of_the_network_is_one_for_the_client_behind_the_last_byte() {
    for name in MODULES {
        for trio in Trio::both(&built(name)) {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    send_pattern(&trio.peer, 3, 3_000_000, 64 * 1024);
                    trio.peer.shutdown(Shutdown::Write).expect("a shutdown");
                });
                expect_pattern(&trio.client, 3, 3_000_000);
                expect_end(&trio.client);
            });
        }
    }
}

#[test]
fn a_reset_passes_in_both_directions() {
    for name in MODULES {
        for by_client in [true, false] {
            for trio in Trio::both(&built(name)) {
                alternate(&trio.client, &trio.peer, 64, |_| {});
                let (breaks, sees) = if by_client {
                    (trio.client, trio.peer)
                } else {
                    (trio.peer, trio.client)
                };
                (&breaks).write_all(b"the last").expect("room");
                assert_eq!(read_vec(&sees, 8), b"the last");
                reset(breaks);
                assert_eq!(read_to_reset(&sees), b"", "{name}, {by_client}");
                let ended = trio.carried.wait(Some(SHORT)).expect("it ends");
                let error = ended.expect_err("it failed");
                let is_plain = matches!(
                    error,
                    TransportError::PlainLost {
                        errno: Errno::Connreset
                    }
                );
                assert_eq!(is_plain, by_client, "{name}: {error}");
            }
        }
    }
}

#[test]
fn what_came_before_a_reset_is_delivered_whole() {
    // More than fits in the buffers of the sockets, so that some is always on its way.
    const LEN: u64 = 3_000_000;
    for name in ["plain", "halfclose"] {
        for trio in Trio::both(&built(name)) {
            std::thread::scope(|scope| {
                scope.spawn(|| send_pattern(&trio.peer, 7, LEN, 64 * 1024));
                expect_pattern(&trio.client, 7, LEN);
            });
            reset(trio.peer);
            assert_eq!(read_to_reset(&trio.client), b"");
        }
    }
}

#[test]
fn a_module_that_fails_resets_both_sides_behind_what_it_wrote() {
    for how in [
        "(i32.const -29)",
        "(unreachable)",
        "(drop (call $fd_close (global.get $net)))
         (drop (call $fd_close (global.get $internal)))
         (i32.const -29)",
    ] {
        let module = with_worker(&format!(
            "(call $text (global.get $net)) (call $text (global.get $internal)) {how}"
        ));
        for trio in Trio::both(&module) {
            assert_eq!(read_to_reset(&trio.client), b"abc", "{how}");
            assert_eq!(read_to_reset(&trio.peer), b"abc", "{how}");
            trio.end().expect_err("it failed");
        }
    }
}

#[test]
fn a_network_that_was_lost_is_no_end_for_the_client_whatever_the_module_makes_of_it() {
    let half_closes = "(drop (call $shutdown (global.get $internal) (i32.const 2)))
         (drop (call $wait (global.get $control) (i32.const 1)))";
    let closes = "(drop (call $fd_close (global.get $internal)))
         (drop (call $wait (global.get $control) (i32.const 1)))";
    for then in ["", half_closes, closes] {
        let module = with_worker(&format!(
            "(call $text (global.get $internal))
             (drop (call $read (global.get $net) (i32.const 16384) (i32.const 1000)))
             {then} (i32.const 0)"
        ));
        for trio in Trio::both(&module) {
            assert_eq!(read_vec(&trio.client, 3), b"abc");
            reset(trio.peer);
            assert_eq!(read_to_reset(&trio.client), b"", "{then}");
            let ended = trio.carried.wait(Some(SHORT)).expect("it ends");
            let error = ended.expect_err("it is not complete");
            let is_lost = matches!(error, TransportError::ConnectionLost { .. });
            assert!(is_lost, "{then}: {error}");
        }
    }
}

#[test]
fn an_abort_resets_both_sides_behind_what_came_before() {
    for name in MODULES {
        for trio in Trio::both(&built(name)) {
            alternate(&trio.client, &trio.peer, 64, |_| {});
            (&trio.client).write_all(b"the last").expect("room");
            assert_eq!(read_vec(&trio.peer, 8), b"the last");
            trio.carried.abort();
            assert_eq!(read_to_reset(&trio.client), b"", "{name}");
            assert_eq!(read_to_reset(&trio.peer), b"", "{name}");
            assert!(trio.carried.wait(Some(SHORT)).is_some(), "{name}");
            // Again, which does nothing.
            trio.carried.abort();
            let _ = trio.carried.close();
        }
    }
}

#[test]
fn a_close_interrupts_a_module_that_does_not_cooperate() {
    for module in [wat("loop_start_worker"), built("ctrl_ignore")] {
        let builder = Dialer::builder(&module).close_grace(Duration::from_millis(200));
        let trio = Trio::dialled(builder);
        let started = Instant::now();
        let error = trio.carried.close().expect_err("it was interrupted");
        assert!(matches!(error, TransportError::Interrupted), "{error}");
        assert!(started.elapsed() < SHORT, "{:?}", started.elapsed());
        assert_eq!(read_to_reset(&trio.client), b"");
        assert_eq!(read_to_reset(&trio.peer), b"");
    }
}

#[test]
fn a_connection_that_is_dropped_goes_on_and_can_be_waited_for() {
    let trio = Trio::dialled(Dialer::builder(&built("plain")));
    drop(trio.carried);
    alternate(&trio.client, &trio.peer, 1024, |_| {});
    drop(trio.client);
    expect_end(&trio.peer);
}

#[test]
fn a_slow_reader_on_either_side_loses_nothing_and_stops_only_its_own_direction() {
    // More than the system may keep for four sockets.
    const MUCH: usize = 32_000_000;
    for name in ["plain16k", "rust_plain", "halfclose"] {
        for slow_client in [true, false] {
            for trio in Trio::both(&built(name)) {
                let Trio { client, peer, .. } = &trio;
                let (fast, slow) = if slow_client {
                    (peer, client)
                } else {
                    (client, peer)
                };
                std::thread::scope(|scope| {
                    let sending = scope.spawn(|| send_pattern(fast, 1, MUCH as u64, 64 * 1024));
                    // It stands still, and the other direction goes on.
                    send_pattern(slow, 2, 300_000, 10_000);
                    expect_pattern(fast, 2, 300_000);
                    assert!(!sending.is_finished(), "{name}: it all fits in buffers");
                    let mut first = [0; 10_000];
                    (&*slow).read_exact(&mut first).expect("bytes");
                    let mut pattern = watm_tests::Pattern::new(1);
                    pattern.check(&first);
                    let mut rest = vec![0; MUCH - first.len()];
                    (&*slow).read_exact(&mut rest).expect("the rest");
                    pattern.check(&rest);
                });
            }
        }
    }
}

#[test]
fn a_client_that_has_gone_does_not_keep_a_module_that_never_ends() {
    // It waits for control alone, and then ignores it.
    let waits = with_worker(
        "(drop (call $read (global.get $internal) (i32.const 16384) (i32.const 1000)))
         (drop (call $shutdown (global.get $internal) (i32.const 2)))
         (drop (call $wait (global.get $control) (i32.const 1)))
         (loop $for_ever (br $for_ever))
         (i32.const 0)",
    );
    let grace = Duration::from_millis(200);
    let builder = Dialer::builder(&waits)
        .drain_timeout(grace)
        .close_grace(grace);
    let trio = Trio::dialled(builder);
    trio.client.shutdown(Shutdown::Write).expect("a shutdown");
    expect_end(&trio.client);
    let error = trio.end().expect_err("it was interrupted");
    assert!(matches!(error, TransportError::Interrupted), "{error}");
    // One that does not look at the client at all.
    let blind = with_worker(
        "(drop (call $read (global.get $net) (i32.const 16384) (i32.const 1000)))
         (i32.const 0)",
    );
    let builder = Dialer::builder(&blind)
        .drain_timeout(grace)
        .close_grace(grace);
    let trio = Trio::dialled(builder);
    reset(trio.client);
    assert_eq!(read_to_reset(&trio.peer), b"");
    assert!(trio.carried.wait(Some(SHORT)).is_some());
}

#[test]
fn a_plain_connection_is_reset_if_the_transport_cannot_be_set_up() {
    let refusing = ReservedPort::new();
    let hanging = FullBacklog::new();
    for address in [refusing.address(), hanging.address(), "no address".into()] {
        let builder = Dialer::builder(&built("plain"));
        let dialer = builder
            .connect_timeout(Duration::from_millis(200))
            .build()
            .expect("a dialer");
        let (client, plain) = tcp_pair();
        let error = dialer.carry(plain, &address).expect_err("nobody is there");
        let is_expected = matches!(
            &error,
            DialError::Connect { .. } | DialError::Address { .. }
        );
        assert!(is_expected, "{error}");
        assert_eq!(read_to_reset(&client), b"", "{address}");
    }
    // The peer never answers the handshake.
    let (_remote, address) = listener();
    let builder = Dialer::builder(&built("handshake"));
    let dialer = builder
        .setup_timeout(Duration::from_millis(200))
        .build()
        .expect("a dialer");
    let (client, plain) = tcp_pair();
    let error = dialer.carry(plain, &address).expect_err("no handshake");
    assert!(matches!(error, DialError::TimedOut { .. }), "{error}");
    assert_eq!(read_to_reset(&client), b"");
}

#[test]
fn the_internal_descriptor_is_no_connection_that_a_role_may_return() {
    let right = wat_text("fails");
    let wrong = right.replacen("    (global.get $net))", "    (global.get $plain))", 1);
    assert_ne!(wrong, right);
    let dialer = Dialer::builder(&text(&wrong)).build().expect("a dialer");
    let (_remote, address) = listener();
    let (client, plain) = tcp_pair();
    match dialer.carry(plain, &address).expect_err("it is another") {
        DialError::Transport(TransportError::BadDescriptor { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(read_to_reset(&client), b"");
}

#[test]
fn options_of_a_dial_are_for_one_connection() {
    // Without a key, this module fails.
    let dialer = Dialer::builder(&built("xor")).build().expect("a dialer");
    let (remote, address) = listener();
    let (client, plain) = tcp_pair();
    dialer.carry(plain, &address).expect_err("no key");
    assert_eq!(read_to_reset(&client), b"");
    let (client, plain) = tcp_pair();
    let options = DialOptions::new().config(*b"key");
    let carried = dialer.carry_with(plain, &address, options);
    let _carried = carried.expect("a connection");
    (&client).write_all(b"hello").expect("room");
    let transformed = read_vec(accept_one(&remote), 5);
    assert_ne!(transformed, b"hello");
}

#[test]
fn a_module_that_chooses_its_remote_carries_too() {
    let echo = EchoServer::start();
    let policy = || AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry"));
    let builder = FixedDialer::builder(&built("fixed")).config(format!("tcp {}", echo.address()));
    let dialer = builder.clone().policy(policy()).build().expect("a dialer");
    let (client, plain) = tcp_pair();
    let carried = dialer.carry(plain).expect("a connection");
    echo_messages(&client);
    drop(client);
    carried.wait(Some(SHORT)).expect("it ends").expect("well");
    let (client, plain) = tcp_pair();
    let denied = builder.clone().build().expect("a dialer").carry(plain);
    assert!(matches!(denied, Err(DialError::Denied { .. })));
    assert_eq!(read_to_reset(&client), b"");
    let server = builder.policy(policy()).carry().bind("127.0.0.1:0");
    let server = server.expect("a server").spawn().expect("a thread");
    echo_messages(connect(server.local_addr()));
}

#[track_caller]
fn spawn(builder: Builder<Server>) -> ServerHandle {
    let server = builder.bind("127.0.0.1:0").expect("a server");
    server.spawn().expect("a thread")
}

/// A server of each kind for this module, in front of `address`.
fn servers(module: &TransportModule, address: &str) -> [ServerHandle; 2] {
    [
        spawn(Dialer::builder(module).carry_to(address)),
        spawn(Listener::builder(module).forward_to(address)),
    ]
}

/// A client of a server, and the socket at its other side.
#[track_caller]
fn through(server: &ServerHandle, remote: &TcpListener) -> (TcpStream, TcpStream) {
    (connect(server.local_addr()), accept_one(remote))
}

#[test]
fn servers_carry_many_clients_and_count_them() {
    let echo = EchoServer::start();
    for server in servers(&built("halfclose"), &echo.address()) {
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| echo_messages(connect(server.local_addr())));
            }
        });
        eventually("all have ended well", || server.stats().completed == 10);
        let stats = server.stats();
        assert_eq!((stats.accepted, stats.active, stats.failed), (10, 0, 0));
        assert!(stats.received > 0);
        let counts = [stats.sent, stats.plain_received, stats.plain_sent];
        assert_eq!(counts, [stats.received; 3]);
    }
}

#[test]
fn a_tunnel_of_two_servers_is_transparent() {
    let (remote, address) = listener();
    for name in ["handshake", "halfclose", "plain16k"] {
        let module = built(name);
        let exit = spawn(Listener::builder(&module).forward_to(&address));
        let middle = exit.local_addr().to_string();
        let entrance = spawn(Dialer::builder(&module).carry_to(middle));
        let (client, server) = through(&entrance, &remote);
        exchange(&client, &server, 5_000_000, 64 * 1024);
    }
}

#[test]
fn a_server_tells_of_every_client_how_it_ended() {
    let logs = Logs::of_target("watm_wasmer::roles::server");
    let tells = |client: SocketAddr, parts: &[&str]| {
        let start = format!("client {client}");
        logs.wait(&format!("{start}: {parts:?}"), |lines| {
            let is_it = |text: &str| {
                text.starts_with(&start) && parts.iter().all(|part| text.contains(part))
            };
            lines.iter().any(|line| is_it(&line.text)).then_some(())
        });
    };
    let name = |client: &TcpStream| client.local_addr().expect("an address");
    let refusing = ReservedPort::new();
    for server in servers(&built("plain"), &refusing.address()) {
        let client = connect(server.local_addr());
        assert_eq!(read_to_reset(&client), b"");
        tells(
            name(&client),
            &["was dropped", &refusing.address(), "refused"],
        );
        eventually("it is counted", || server.stats().refused == 1);
    }
    let (remote, address) = listener();
    for server in servers(&built("plain"), &address) {
        let (client, peer) = through(&server, &remote);
        alternate(&client, &peer, 3, |_| {});
        let client_name = name(&client);
        drop(client);
        expect_end(&peer);
        drop(peer);
        let carried = "6 bytes to the transport, 6 from it";
        tells(client_name, &["has ended", carried]);
    }
    let [dialling, _] = servers(&built("plain"), &address);
    let (client, peer) = through(&dialling, &remote);
    alternate(&client, &peer, 1, |_| {});
    let client_name = name(&client);
    reset(client);
    assert_eq!(read_to_reset(&peer), b"");
    tells(client_name, &["the plain connection broke", "1 bytes to"]);
}

#[test]
fn clients_beyond_the_limit_wait_until_one_has_ended() {
    let (remote, address) = listener();
    let module = built("plain");
    for builder in [
        Dialer::builder(&module).carry_to(&address),
        Listener::builder(&module).forward_to(&address),
    ] {
        let server = spawn(builder.connection_limit(1));
        let (client, peer) = through(&server, &remote);
        let waiting = connect(server.local_addr());
        // Long enough for it to be accepted, if it were.
        alternate(&client, &peer, 256 * 1024, |_| {});
        assert_eq!((server.stats().accepted, server.stats().active), (1, 1));
        drop((client, peer));
        let peer = accept_one(&remote);
        alternate(&waiting, &peer, 1024, |_| {});
    }
}

#[test]
fn a_server_that_drains_waits_and_one_that_shuts_down_cuts() {
    let (remote, address) = listener();
    for server in servers(&built("halfclose"), &address) {
        let (client, peer) = through(&server, &remote);
        let (other, other_peer) = through(&server, &remote);
        alternate(&client, &peer, 64, |_| {});
        alternate(&other, &other_peer, 64, |_| {});
        assert!(!server.drain(Duration::from_millis(1)), "two are open");
        drop((client, peer));
        eventually("one has ended", || server.stats().completed == 1);
        server.shutdown();
        assert_eq!(read_to_reset(&other), b"");
        assert_eq!(read_to_reset(&other_peer), b"");
        let stats = server.stats();
        assert_eq!((stats.cut, stats.active, stats.failed), (1, 0, 0));
        TcpStream::connect(server.local_addr()).expect_err("nobody listens");
        server.wait().expect("it was told to end");
    }
}

#[test]
fn a_shutdown_drops_clients_that_are_being_connected() {
    let hanging = FullBacklog::new();
    for server in servers(&built("plain"), &hanging.address()) {
        let client = connect(server.local_addr());
        eventually("it is being set up", || server.stats().active == 1);
        within(LONG, move || server.shutdown());
        assert_eq!(read_to_reset(&client), b"");
    }
}

#[test]
fn a_slow_remote_delays_no_other_client() {
    // Two clients wait for nobody while a third is served through the same server.
    let (remote, address) = listener();
    let module = built("handshake");
    let server = spawn(
        Dialer::builder(&module)
            .carry_to(&address)
            .connection_limit(3),
    );
    let _silent: Vec<_> = (0..2).map(|_| through(&server, &remote)).collect();
    let (client, peer) = through(&server, &remote);
    assert_eq!(read_vec(&peer, 16), b"WATM-HELLO-00001");
    (&peer).write_all(b"WATM-REPLY-00001").expect("room");
    alternate(&client, &peer, 1024, |_| {});
}

#[test]
fn clients_that_never_finish_their_handshake_do_not_keep_others_out() {
    let (remote, address) = listener();
    let server = spawn(
        Listener::builder(&built("handshake"))
            .forward_to(&address)
            .connection_limit(2),
    );
    let silent: Vec<_> = (0..2).map(|_| connect(server.local_addr())).collect();
    eventually("they are accepted", || server.stats().active == 2);
    let client = connect(server.local_addr());
    assert_eq!(read_to_reset(&silent[0]), b"");
    (&client).write_all(b"WATM-HELLO-00001").expect("room");
    assert_eq!(read_vec(&client, 16), b"WATM-REPLY-00001");
    let peer = accept_one(&remote);
    alternate(&client, &peer, 1024, |_| {});
}

#[test]
fn addresses_that_are_none_are_refused_before_anybody_listens() {
    let module = built("plain");
    for address in ["", "127.0.0.1", "::1:80", "host:port"] {
        for (builder, name) in [
            (Dialer::builder(&module).carry_to(address), "remote"),
            (Listener::builder(&module).forward_to(address), "target"),
        ] {
            match builder.bind("127.0.0.1:0").expect_err(address) {
                ListenError::Config(ConfigError::Invalid { setting, .. }) => {
                    assert_eq!(setting, name);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let fixed = Dialer::builder(&built("fixed")).carry_to("127.0.0.1:1");
    match fixed.bind("127.0.0.1:0").expect_err("it is no dialer") {
        ListenError::Config(ConfigError::Role(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_that_is_lost_before_the_transport_is_set_up_ends_the_set_up() {
    let (accepting, address) = listener();
    let dialer = Dialer::builder(&built("handshake")).build();
    let (client, plain) = tcp_pair();
    let dial = dialer
        .expect("a dialer")
        .begin_carrying(plain, &address, DialOptions::new());
    let peer = accept_one(&accepting);
    assert_eq!(read_vec(&peer, 16), b"WATM-HELLO-00001");
    reset(client);
    // Long before the end of the time for a set-up, which is 30 seconds.
    let error = within(SHORT, move || dial.wait().expect_err("nobody is left"));
    assert_eq!(error.code(), "plain-lost", "{error}");
    expect_reset(&peer);
}
