//! Swapping: the module of a running role is replaced for new connections.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use watm_tests::{
    EchoServer, FullBacklog, ReservedPort, SHORT, accept_one, built, connect, echo_messages,
    eventually, expect_reset, listener, read_vec, with_worker, within,
};
use watm_wasmer::{DialOptions, Dialer, Listener, Relay, ReplaceError, TransportModule};

fn with_key(key: &str) -> watm_wasmer::Builder<Dialer> {
    Dialer::builder(&built("xor")).config(key)
}

#[test]
fn new_connections_use_the_new_module_and_old_ones_go_on_as_they_are() {
    let (accepting, address) = listener();
    let dialer = with_key("aaaa").build().expect("a dialer");
    let clone = dialer.clone();
    let old = dialer.dial(&address).expect("a connection");
    let old_peer = accept_one(&accepting);
    dialer
        .replace(with_key("bbbb"))
        .expect("it can be replaced");
    for dialer in [&dialer, &clone] {
        let new = dialer.dial(&address).expect("a connection");
        let peer = accept_one(&accepting);
        (&new).write_all(&[0; 4]).expect("it writes");
        assert_eq!(read_vec(&peer, 4), b"bbbb");
    }
    (&old).write_all(&[0; 4]).expect("it writes");
    assert_eq!(read_vec(&old_peer, 4), b"aaaa");
}

#[test]
fn a_pool_is_filled_with_the_new_module() {
    let (accepting, address) = listener();
    let dialer = with_key("aaaa")
        .spare_instances(2)
        .build()
        .expect("a dialer");
    dialer
        .replace(with_key("bbbb").spare_instances(2))
        .expect("it can be replaced");
    for _ in 0..6 {
        let conn = dialer.dial(&address).expect("a connection");
        let peer = accept_one(&accepting);
        (&conn).write_all(&[0; 4]).expect("it writes");
        assert_eq!(read_vec(&peer, 4), b"bbbb");
    }
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let no_time = Dialer::builder(&built("plain")).connect_timeout(Duration::ZERO);
    let no_memory = Dialer::builder(&built("plain")).memory_limit(65_536);
    let refused = dialer.replace(no_time).expect_err("no time");
    assert!(matches!(refused, ReplaceError::Config(_)), "{refused}");
    let refused = dialer.replace(no_memory).expect_err("no memory");
    assert!(matches!(refused, ReplaceError::Instance(_)), "{refused}");
    assert_eq!(refused.code(), "instantiate");
    echo_messages(&dialer.dial(server.address()).expect("a connection"));

    let relay = Relay::builder(&built("plain")).remote(server.address());
    let relay = relay
        .bind("127.0.0.1:0")
        .expect("a relay")
        .spawn()
        .expect("it runs");
    let refused = relay.replace(Dialer::builder(&built("plain")));
    let text = refused.expect_err("another role").to_string();
    assert!(text.contains("used as a relay, not as a dialer"), "{text}");
}

#[test]
fn a_module_whose_first_connections_break_down_is_taken_back() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).build().expect("a dialer");
    let broken = with_worker("unreachable");
    dialer
        .replace(Dialer::builder(&broken))
        .expect("it can be replaced");
    for _ in 0..3 {
        let conn = dialer.dial(server.address()).expect("a connection");
        let ended = conn.wait(Some(SHORT)).expect("it ends");
        assert_eq!(ended.expect_err("it traps").code(), "trapped");
    }
    for _ in 0..3 {
        echo_messages(&dialer.dial(server.address()).expect("a connection"));
    }
}

#[test]
fn a_server_says_that_it_uses_the_module_of_before() {
    let server = EchoServer::start();
    let plain = || Dialer::builder(&built("plain"));
    let tunnel = plain().carry_to(server.address()).bind("127.0.0.1:0");
    let tunnel = tunnel.expect("a server").spawn().expect("it runs");
    let broken = Dialer::builder(&with_worker("unreachable"));
    tunnel.replace(broken).expect("it can be replaced");
    assert!(!tunnel.is_taken_back(), "nothing has failed yet");
    for _ in 0..3 {
        expect_reset(&connect(tunnel.local_addr()));
    }
    eventually("it is taken back", || tunnel.is_taken_back());
    tunnel.replace(plain()).expect("it can be replaced");
    assert!(!tunnel.is_taken_back(), "this one is new");
}

#[test]
fn a_server_can_be_tried_before_it_accepts_on_the_socket_of_another() {
    let server = EchoServer::start();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = socket.local_addr().expect("an address");
    let ready = |builder: watm_wasmer::Builder<Dialer>| {
        let socket = socket.try_clone().expect("a duplicate");
        let ready = builder.carry_to(server.address()).listen(socket);
        ready.expect("a server")
    };
    let no_memory = ready(Dialer::builder(&built("plain")).memory_limit(65_536));
    let refused = no_memory.try_instance().expect_err("no memory");
    assert_eq!(refused.code(), "instantiate");
    let old = ready(Dialer::builder(&built("plain")));
    old.try_instance().expect("an instance");
    let old = old.spawn().expect("it runs");
    let client = connect(address);
    echo_messages(&client);
    let new = ready(Dialer::builder(&built("plain")))
        .spawn()
        .expect("it runs");
    old.stop_accepting();
    for _ in 0..3 {
        echo_messages(&connect(address));
    }
    assert_eq!((new.stats().accepted, old.stats().active), (3, 1));
    echo_messages(&client);
    let relay = Relay::builder(&built("plain")).remote(server.address());
    let relay = relay.bind("127.0.0.1:0").expect("a relay");
    relay.try_instance().expect("an instance");
}

#[test]
fn the_totals_of_a_server_grow_while_a_connection_is_open_and_do_not_fall_when_it_ends() {
    let server = EchoServer::start();
    let tunnel = Dialer::builder(&built("plain")).carry_to(server.address());
    let tunnel = tunnel.bind("127.0.0.1:0").expect("a server").spawn();
    let tunnel = tunnel.expect("it runs");
    let client = connect(tunnel.local_addr());
    (&client).write_all(b"hello").expect("it writes");
    assert_eq!(read_vec(&client, 5), b"hello");
    eventually("it counts", || tunnel.totals().plain_sent == 5);
    assert_eq!(
        tunnel.stats().plain_sent,
        0,
        "these are of connections that have ended"
    );
    assert_eq!((tunnel.totals().accepted, tunnel.totals().active), (1, 1));
    drop(client);
    eventually("it ends", || tunnel.stats().active == 0);
    assert_eq!(tunnel.totals(), tunnel.stats());
    assert_eq!((tunnel.totals().sent, tunnel.totals().received), (5, 5));
}

#[test]
fn failures_of_the_network_are_not_held_against_a_new_module() {
    let (accepting, address) = listener();
    let dialer = with_key("aaaa").build().expect("a dialer");
    dialer
        .replace(with_key("bbbb"))
        .expect("it can be replaced");
    let port = ReservedPort::new();
    for _ in 0..5 {
        dialer.dial(port.address()).expect_err("nobody listens");
    }
    let silent = FullBacklog::new();
    let soon = DialOptions::new().timeout(Duration::from_millis(100));
    for _ in 0..5 {
        let dial = dialer.dial_with(silent.address(), soon.clone());
        assert_eq!(dial.expect_err("nobody answers").code(), "timed-out");
    }
    let conn = dialer.dial(&address).expect("a connection");
    let peer = accept_one(&accepting);
    (&conn).write_all(&[0; 4]).expect("it writes");
    assert_eq!(read_vec(&peer, 4), b"bbbb");
}

#[test]
fn strangers_who_fail_the_handshake_of_a_new_module_do_not_get_the_old_one_back() {
    let listener = Listener::builder(&built("plain")).bind("127.0.0.1:0");
    let listener = listener.expect("a listener");
    let new = Listener::builder(&built("handshake"));
    listener.replace(new).expect("it can be replaced");
    for _ in 0..5 {
        let mut stranger = connect(listener.local_addr());
        stranger.write_all(b"HTTP/1.1 400 Bad").expect("it writes");
        expect_reset(&stranger);
    }
    let dialer = Dialer::builder(&built("handshake")).build();
    let dialled = dialer.expect("a dialer").dial(listener.local_addr());
    let conn = dialled.expect("the new module answers");
    let accepted = listener.accept().expect("a connection");
    (&conn).write_all(b"hello").expect("it writes");
    assert_eq!(read_vec(&accepted, 5), b"hello");
}

/// Dials and echoes until told to stop. Returns how often.
fn keep_dialling(dialer: &Dialer, address: std::net::SocketAddr, stop: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut conn = dialer.dial(address).expect("no connection fails");
        conn.write_all(b"round").expect("it writes");
        let mut echo = [0; 5];
        conn.read_exact(&mut echo).expect("it reads");
        assert_eq!(&echo, b"round");
        conn.close().expect("a good end");
        rounds += 1;
    }
    rounds
}

#[test]
fn no_connection_fails_while_modules_are_swapped_on_both_sides_under_load() {
    let modules: Vec<TransportModule> = ["plain", "plain_reactor", "rust_plain"]
        .map(built)
        .into_iter()
        .collect();
    let listening = Listener::builder(&modules[0])
        .bind("127.0.0.1:0")
        .expect("a listener");
    let listening = Arc::new(listening);
    let address = listening.local_addr();
    let serving = {
        let listening = Arc::clone(&listening);
        std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for conn in listening.incoming() {
                    let mut conn = conn.expect("a connection");
                    scope.spawn(move || {
                        let mut buf = [0; 64];
                        loop {
                            match conn.read(&mut buf) {
                                Ok(0) => return,
                                Ok(len) => conn.write_all(&buf[..len]).expect("it writes"),
                                Err(error) => panic!("{error}"),
                            }
                        }
                    });
                }
            });
        })
    };
    let dialer = Dialer::builder(&modules[0]).build().expect("a dialer");
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let made = keep_dialling(&dialer, address, &stop);
                rounds.fetch_add(made, Ordering::Relaxed);
            });
        }
        for module in modules.iter().cycle().take(12) {
            dialer
                .replace(Dialer::builder(module))
                .expect("it can be replaced");
            listening
                .replace(Listener::builder(module))
                .expect("it can be replaced");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(rounds.load(Ordering::Relaxed) > 0);
    listening.close();
    within(SHORT, move || serving.join()).expect("it ends");
    eventually("all are counted", || listening.stats().active == 0);
    assert_eq!(listening.stats().failed + listening.stats().refused, 0);
}
