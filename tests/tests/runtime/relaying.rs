//! Relays: they accept, wrap and dial on, while the application only watches.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use watm_tests::{
    EchoServer, Logs, ReservedPort, SHORT, accept_one, alternate, built, connect, copy_as,
    echo_messages, eventually, exchange, expect_end, expect_pattern, expect_reset, listener,
    read_to_reset, read_vec, reset, send_pattern, text, wat, wat_text, within,
};
use watm_wasmer::{
    AddressPolicy, Builder, ConfigError, DialAttempt, DialHook, Dialer, ListenError, Listener,
    Relay, ServerHandle, Stream, TransportModule,
};

const GRACE: Duration = Duration::from_millis(300);
/// How late an end may come on a busy machine. Together with the grace period, this is still less
/// than the default of three seconds.
const SLACK: Duration = Duration::from_millis(2500);

#[track_caller]
fn spawn(builder: Builder<Relay>) -> ServerHandle {
    builder
        .bind("127.0.0.1:0")
        .expect("a relay")
        .spawn()
        .expect("a thread")
}

#[track_caller]
fn relay(module: &TransportModule, remote: &str) -> ServerHandle {
    spawn(Relay::builder(module).remote(remote))
}

/// A client of a relay, and the socket at its remote.
#[track_caller]
fn through(relay: &ServerHandle, remote: &TcpListener) -> (TcpStream, TcpStream) {
    (connect(relay.local_addr()), accept_one(remote))
}

#[track_caller]
fn expect_dropped(mut client: &TcpStream) {
    match client.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it is not dropped: {other:?}"),
    }
}

#[test]
fn a_relay_carries_both_ways_for_every_module_that_can() {
    for module in [
        built("plain"),
        built("plain16k"),
        built("rust_plain"),
        built("rust_tcp"),
        built("halfclose"),
        built("exit0"),
        wat("plain"),
    ] {
        let (remote, address) = listener();
        let relay = relay(&module, &address);
        let (client, server) = through(&relay, &remote);
        alternate(&client, &server, 16_384, |_| {});
        // Half-closing modules wait for the other direction too.
        drop(server);
        expect_end(&client);
        drop(client);
        eventually("it has ended well", || relay.stats().completed == 1);
    }
}

#[test]
fn many_bytes_pass_a_relay_both_ways_exactly() {
    for name in ["plain16k", "halfclose"] {
        let (remote, address) = listener();
        let relay = relay(&built(name), &address);
        let (client, server) = through(&relay, &remote);
        exchange(&client, &server, 20_000_000, 64 * 1024);
    }
}

#[test]
fn a_relay_greets_both_ways_between_a_dialer_and_a_listener() {
    let module = built("handshake");
    let last = Listener::builder(&module)
        .bind("127.0.0.1:0")
        .expect("a listener");
    let last = Arc::new(last);
    let relay = relay(&module, &last.local_addr().to_string());
    let dialling = {
        let address = relay.local_addr().to_string();
        let module = module.clone();
        std::thread::spawn(move || {
            let dialer = Dialer::builder(&module).build().expect("a dialer");
            dialer.dial(&address).expect("a connection")
        })
    };
    let accepting = Arc::clone(&last);
    let listener = within(SHORT, move || accepting.accept().expect("a connection"));
    let dialer = dialling.join().expect("it returns");
    alternate(&dialer, &listener, 16_384, |_| {});
    dialer.close().expect("a clean end");
    expect_end(&listener);
    eventually("the relay has ended", || relay.stats().completed == 1);
}

#[test]
fn a_relay_to_an_address_that_its_module_chooses_asks_the_policy() {
    // The module chooses its remote, with water_dial in its associate function.
    let server = EchoServer::start();
    let port = server
        .address()
        .rsplit_once(':')
        .expect("a port")
        .1
        .to_owned();
    let choosing = wat_text("plain")
        .replace(
            "(local.set $remote (call $water_dial_fixed))",
            "(i32.store (i32.const 32) (i32.const 512))
             (i32.store (i32.const 36) (i32.const 3))
             (i32.store (i32.const 40) (i32.const 600))
             (i32.store (i32.const 44) (i32.const 15))
             (local.set $remote
               (call $water_dial (i32.const 32) (i32.const 1) (i32.const 40) (i32.const 1)))",
        )
        .replace(
            "(data (i32.const 512) \"tcp\")",
            &format!(
                "(data (i32.const 512) \"tcp\") (data (i32.const 600) \"127.0.0.1:{port:0>5}\")"
            ),
        );
    let module = text(&choosing);
    let policy = AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry"));
    let allowing = spawn(Relay::builder(&module).policy(policy));
    echo_messages(connect(allowing.local_addr()));
    let denying = spawn(Relay::builder(&module));
    expect_dropped(&connect(denying.local_addr()));
    eventually("it is counted", || denying.stats().refused == 1);
}

#[test]
fn a_remote_that_refuses_costs_its_own_client_and_works_once_it_listens() {
    let port = ReservedPort::new();
    let relay = relay(&built("plain"), &port.address());
    for count in 1..=3 {
        expect_dropped(&connect(relay.local_addr()));
        eventually("the refusal is counted", || relay.stats().refused == count);
    }
    let server = EchoServer::serve(port.listen());
    assert!(!server.address().is_empty());
    echo_messages(connect(relay.local_addr()));
    eventually("it has ended well", || relay.stats().completed == 1);
    let stats = relay.stats();
    assert_eq!(
        (stats.accepted, stats.refused, stats.failed, stats.active),
        (4, 3, 0, 0)
    );
}

#[test]
fn a_connection_that_is_open_does_not_notice_that_others_are_refused() {
    let port = ReservedPort::new();
    let address = port.address();
    let remote = port.listen();
    let relay = relay(&built("plain"), &address);
    let (client, server) = through(&relay, &remote);
    drop(remote);
    for _ in 0..3 {
        expect_dropped(&connect(relay.local_addr()));
        alternate(&client, &server, 1024, |_| {});
    }
    eventually("the others are gone", || relay.stats().active == 1);
}

#[test]
fn the_counters_tell_what_happened() {
    let (remote, address) = listener();
    let relay = relay(&built("plain"), &address);
    assert_eq!(relay.stats(), watm_wasmer::ServerStats::default());
    let (client, server) = through(&relay, &remote);
    let (other, resetting) = through(&relay, &remote);
    eventually("both are open", || relay.stats().active == 2);
    assert_eq!(relay.stats().accepted, 2);
    send_pattern(&client, 1, 10_000, 1000);
    expect_pattern(&server, 1, 10_000);
    send_pattern(&server, 2, 300, 100);
    expect_pattern(&client, 2, 300);
    drop(client);
    expect_end(&server);
    eventually("one has ended well", || relay.stats().completed == 1);
    let stats = relay.stats();
    assert_eq!((stats.received, stats.sent), (10_300, 10_300));
    // Waits for a round trip, so that the reset cannot come during set-up.
    alternate(&other, &resetting, 1, |_| {});
    reset(resetting);
    expect_dropped(&other);
    eventually("one has failed", || relay.stats().failed == 1);
    eventually("none is open", || relay.stats().active == 0);
    assert_eq!(relay.stats().completed, 1);
    assert_eq!(relay.stats().refused, 0);
}

#[test]
fn an_end_on_one_side_is_an_end_on_the_other_behind_the_last_byte() {
    let (remote, address) = listener();
    let relay = relay(&built("plain16k"), &address);
    for round in 0..2 {
        let (client, server) = through(&relay, &remote);
        let (from, to) = if round == 0 {
            (client, server)
        } else {
            (server, client)
        };
        std::thread::scope(|scope| {
            scope.spawn(move || send_pattern(from, 3, 3_000_000, 64 * 1024));
            expect_pattern(&to, 3, 3_000_000);
            expect_end(&to);
        });
    }
    eventually("both have ended well", || relay.stats().completed == 2);
}

#[test]
fn half_closes_pass_a_relay_whose_module_knows_them() {
    for name in ["halfclose", "rust_tcp"] {
        let (remote, address) = listener();
        let relay = relay(&built(name), &address);
        let (client, server) = through(&relay, &remote);
        send_pattern(&client, 1, 100_000, 999);
        client.shutdown(Shutdown::Write).expect("a shutdown");
        expect_pattern(&server, 1, 100_000);
        expect_end(&server);
        send_pattern(&server, 2, 100_000, 999);
        drop(server);
        expect_pattern(&client, 2, 100_000);
        expect_end(&client);
        eventually("it has ended well", || relay.stats().completed == 1);
    }
}

#[test]
fn a_shutdown_ends_all_connections_and_stops_listening() {
    let (remote, address) = listener();
    let relay = relay(&built("plain"), &address);
    let pairs: Vec<_> = (0..10).map(|_| through(&relay, &remote)).collect();
    for (client, server) in &pairs {
        alternate(client, server, 64, |_| {});
    }
    let started = Instant::now();
    relay.shutdown();
    // The modules listen to control, so the grace period of three seconds is not used up.
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    for (client, server) in &pairs {
        assert_eq!(read_to_reset(client), b"");
        assert_eq!(read_to_reset(server), b"");
    }
    let stats = relay.stats();
    let ended = stats.completed + stats.failed;
    assert_eq!((stats.cut, stats.active, ended), (10, 0, 0));
    let refused = TcpStream::connect(relay.local_addr()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // A second call does nothing.
    relay.shutdown();
}

#[test]
fn a_shutdown_delivers_what_was_under_way() {
    let (remote, address) = listener();
    let relay = relay(&built("plain16k"), &address);
    let (client, server) = through(&relay, &remote);
    send_pattern(&client, 1, 50_000, 50_000);
    // The byte has arrived at the remote's system, but nobody has read it.
    server.peek(&mut [0]).expect("a byte");
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| relay.shutdown());
        let found = read_to_reset(&server);
        ending.join().expect("it returns");
        // What the module had read arrives completely, from the start. Control ends it at some
        // point.
        watm_tests::Pattern::new(1).check(&found);
        assert!(!found.is_empty());
    });
}

#[test]
fn a_relay_that_drains_lets_its_connections_end_by_themselves() {
    let (remote, address) = listener();
    let relay = relay(&built("plain16k"), &address);
    let (client, server) = through(&relay, &remote);
    alternate(&client, &server, 64, |_| {});
    assert!(!relay.drain(Duration::from_millis(1)), "one is open");
    let refused = TcpStream::connect(relay.local_addr()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| relay.drain(SHORT));
        // More than all buffers hold.
        scope.spawn(|| {
            send_pattern(&client, 1, 5_000_000, 50_000);
            client.shutdown(Shutdown::Write).expect("a shutdown");
        });
        expect_pattern(&server, 1, 5_000_000);
        expect_end(&server);
        assert!(drained.join().expect("it returns"), "all have ended");
    });
    let stats = relay.stats();
    assert_eq!((stats.completed, stats.cut, stats.failed), (1, 0, 0));
    // Nothing is left to cut.
    relay.shutdown();
    assert_eq!(relay.stats(), stats);
}

#[test]
fn a_shutdown_interrupts_modules_that_do_not_cooperate() {
    let looping = wat_text("plain").replace(
        "(local.set $result (i32.or (i32.or",
        "(loop $for_ever (br $for_ever))\n(local.set $result (i32.or (i32.or",
    );
    let (remote, address) = listener();
    for module in [text(&looping), built("ctrl_ignore")] {
        let relay = spawn(Relay::builder(&module).remote(&address).close_grace(GRACE));
        let pairs: Vec<_> = (0..3).map(|_| through(&relay, &remote)).collect();
        let started = Instant::now();
        relay.shutdown();
        let elapsed = started.elapsed();
        assert!(elapsed < GRACE + SLACK, "{elapsed:?}");
        for (client, server) in &pairs {
            expect_dropped(client);
            expect_dropped(server);
        }
        // A worker that had not fully started counts as refused.
        let stats = relay.stats();
        assert_eq!((stats.cut + stats.refused, stats.completed), (3, 0));
        assert_eq!(stats.active, 0);
    }
}

#[test]
fn a_shutdown_drops_handshakes_in_progress() {
    let (_remote, address) = listener();
    let relay = relay(&built("handshake"), &address);
    let client = connect(relay.local_addr());
    eventually("it is being set up", || relay.stats().active == 1);
    let started = Instant::now();
    relay.shutdown();
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
    expect_dropped(&client);
    assert_eq!(relay.stats().active, 0);
}

#[test]
fn dropping_the_handle_ends_the_relay() {
    let (remote, address) = listener();
    let relay = relay(&built("plain"), &address);
    let (client, server) = through(&relay, &remote);
    let at = relay.local_addr();
    drop(relay);
    expect_reset(&client);
    expect_reset(&server);
    TcpStream::connect(at).expect_err("nobody listens");
}

#[test]
fn a_silent_client_does_not_delay_the_next_and_one_handshake_too_many_drops_the_oldest() {
    let (remote, address) = listener();
    let module = built("handshake");
    let relay = spawn(Relay::builder(&module).remote(&address).handshake_limit(2));
    let silent: Vec<_> = (0..3).map(|_| connect(relay.local_addr())).collect();
    expect_dropped(&silent[0]);
    for mut client in &silent[1..] {
        client.write_all(b"WATM-HELLO-00001").expect("room");
        let mut server = accept_one(&remote);
        assert_eq!(read_vec(&server, 16), b"WATM-HELLO-00001");
        server.write_all(b"WATM-REPLY-00001").expect("room");
        assert_eq!(read_vec(client, 16), b"WATM-REPLY-00001");
        alternate(client, &server, 64, |_| {});
    }
}

/// Connects only when told to.
#[derive(Default)]
struct Held {
    /// How many connects have begun, and whether they may continue.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Held {
    fn change(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.state.lock().expect("no panic"));
        self.changed.notify_all();
    }

    #[track_caller]
    fn wait(&self, what: &str, until: impl Fn(&(usize, bool)) -> bool) {
        let state = self.state.lock().expect("no panic");
        let waited = self
            .changed
            .wait_timeout_while(state, SHORT, |state| !until(state));
        assert!(!waited.expect("no panic").1.timed_out(), "{what}");
    }
}

struct Holding(Arc<Held>);

impl DialHook for Holding {
    fn dial(&self, attempt: &DialAttempt<'_>) -> std::io::Result<Stream> {
        self.0.change(|(begun, _)| *begun += 1);
        self.0.wait("it is let go", |(_, go)| *go);
        attempt.connect()
    }
}

#[test]
fn clients_whose_remote_is_slow_to_answer_cost_each_other_no_place() {
    const CLIENTS: usize = 12;
    let echo = EchoServer::start();
    let held = Arc::new(Held::default());
    let relay = spawn(
        Relay::builder(&built("plain"))
            .remote(echo.address())
            .dial_hook(Holding(Arc::clone(&held)))
            .handshake_limit(2),
    );
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|count| {
            let client = connect(relay.local_addr());
            held.wait("its connect begins", |(begun, _)| *begun == count);
            client
        })
        .collect();
    assert_eq!(relay.stats().active, CLIENTS as u64);
    held.change(|(_, go)| *go = true);
    for client in &clients {
        echo_messages(client);
    }
    assert_eq!(relay.stats().refused, 0);
}

#[test]
fn a_relay_warns_of_clients_that_it_drops_and_of_transports_that_fail() {
    let logs = Logs::of_target("watm_wasmer::roles::server");
    let warns_of = |client: &TcpStream, what: &str| {
        let start = format!("client {}", client.local_addr().expect("an address"));
        logs.wait(&format!("a warning of {start}: {what}"), |lines| {
            lines
                .iter()
                .any(|line| {
                    let is_told = line.text.starts_with(&start) && line.text.contains(what);
                    assert!(!is_told || line.level == log::Level::Warn, "{line:?}");
                    is_told
                })
                .then_some(())
        });
    };
    let nobody = ReservedPort::new();
    let refusing = relay(&built("plain"), &nobody.address());
    let client = connect(refusing.local_addr());
    expect_dropped(&client);
    warns_of(&client, &nobody.address());
    let (remote, address) = listener();
    let relay = relay(&built("plain"), &address);
    let (client, server) = through(&relay, &remote);
    alternate(&client, &server, 1, |_| {});
    reset(server);
    expect_dropped(&client);
    warns_of(&client, "watm_start_v1");
}

#[test]
fn a_handshake_that_lost_its_place_is_reported_as_that() {
    let logs = Logs::of_target("watm_wasmer::roles::server");
    let (_remote, address) = listener();
    let module = built("handshake");
    let relay = spawn(Relay::builder(&module).remote(&address).handshake_limit(1));
    let oldest = connect(relay.local_addr());
    let _newer = connect(relay.local_addr());
    expect_dropped(&oldest);
    let start = format!("client {}", oldest.local_addr().expect("an address"));
    let told = logs.after(&start);
    assert!(told.contains("oldest of more than 1 in progress"), "{told}");
}

#[test]
fn a_relay_listens_on_several_sockets() {
    let echo = EchoServer::start();
    let builder = Relay::builder(&built("plain")).remote(echo.address());
    let relay = builder.clone().bind_all(["127.0.0.1:0", "127.0.0.1:0"]);
    let relay = relay.expect("a relay").spawn().expect("a thread");
    assert_eq!(relay.local_addrs().len(), 2);
    assert_eq!(relay.local_addr(), relay.local_addrs()[0]);
    for _ in 0..2 {
        for address in relay.local_addrs() {
            echo_messages(connect(address));
        }
    }
    let stopped = relay.local_addrs().to_vec();
    relay.shutdown();
    for address in stopped {
        let refused = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    let none: [&str; 0] = [];
    match builder.bind_all(none).expect_err("no address") {
        ListenError::Config(ConfigError::Invalid { setting, .. }) => assert_eq!(setting, "listen"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_beyond_the_limit_wait_until_one_has_ended() {
    let (remote, address) = listener();
    let module = built("plain");
    let relay = spawn(Relay::builder(&module).remote(&address).connection_limit(2));
    let (client, server) = through(&relay, &remote);
    let other = through(&relay, &remote);
    let waiting = connect(relay.local_addr());
    // Long enough for a client to be accepted, if the relay accepted it.
    alternate(&client, &server, 256 * 1024, |_| {});
    assert_eq!((relay.stats().accepted, relay.stats().active), (2, 2));
    drop(other);
    let server = accept_one(&remote);
    alternate(&waiting, &server, 1024, |_| {});
    assert_eq!(relay.stats().accepted, 3);
}

#[test]
fn waiting_for_a_relay_ends_when_it_is_told_to_end() {
    let (_remote, address) = listener();
    let relay = Arc::new(relay(&built("plain"), &address));
    let waiting = {
        let relay = Arc::clone(&relay);
        std::thread::spawn(move || relay.wait())
    };
    relay.shutdown();
    within(SHORT, move || waiting.join())
        .expect("no panic")
        .expect("no failure");
    relay.wait().expect("at once, from then on");
}

#[test]
fn a_relay_whose_socket_fails_says_so_and_goes_on_with_what_is_open() {
    let (remote, address) = listener();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let broken = socket2::Socket::from(socket.try_clone().expect("a clone"));
    let relay = Relay::builder(&built("plain"))
        .remote(&address)
        .listen(socket)
        .expect("a relay")
        .spawn()
        .expect("a thread");
    let (client, server) = through(&relay, &remote);
    let relay = Arc::new(relay);
    let waiting = Arc::clone(&relay);
    // A socket that was shut down accepts no more connections.
    broken.shutdown(Shutdown::Both).expect("a shutdown");
    within(SHORT, move || waiting.wait()).expect_err("it failed");
    alternate(&client, &server, 1024, |_| {});
    relay.shutdown();
    relay.wait().expect_err("the failure stays");
}

#[test]
fn a_module_that_fails_in_its_set_up_is_a_refusal() {
    let (_remote, address) = listener();
    for module in [built("exit3"), built("xor")] {
        let relay = relay(&module, &address);
        expect_dropped(&connect(relay.local_addr()));
        eventually("it is counted", || relay.stats().refused == 1);
        assert_eq!((relay.stats().failed, relay.stats().completed), (0, 0));
    }
}

#[test]
fn a_relay_without_a_remote_tells_its_module_that_there_is_no_device() {
    let relay = spawn(Relay::builder(&built("plain")));
    expect_dropped(&connect(relay.local_addr()));
    eventually("it is counted", || relay.stats().refused == 1);
}

#[test]
fn a_remote_that_is_no_address_is_refused_before_anybody_listens() {
    for remote in ["", "127.0.0.1", "::1:80", "host:port"] {
        let builder = Relay::builder(&built("plain")).remote(remote);
        match builder.bind("127.0.0.1:0").expect_err(remote) {
            ListenError::Config(ConfigError::Invalid { setting, .. }) => {
                assert_eq!(setting, "remote");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_socket_that_the_application_has_bound_is_relayed_from() {
    let server = EchoServer::start();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let relay = Relay::builder(&built("plain"))
        .remote(server.address())
        .listen(socket);
    let relay = relay.expect("a relay");
    assert_eq!(relay.local_addr(), address);
    // Before the relay is spawned, a client waits in the system's queue.
    let early = connect(address);
    let relay = relay.spawn().expect("a thread");
    assert_eq!(relay.local_addr(), address);
    echo_messages(&early);
}

#[test]
fn a_module_s_lines_are_logged_in_a_relay_too() {
    let logs = Logs::of_module("relayed");
    let (_remote, address) = listener();
    let relay = relay(&copy_as("handshake", "relayed"), &address);
    let mut client = connect(relay.local_addr());
    client.write_all(b"WATM-HELLO-00001").expect("room");
    logs.after("handshake: reply sent");
}
