//! Observing: the stages of connections, and those that are open.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};

use watm_tests::{
    EchoServer, ReservedPort, accept_one, built, connect, echo_messages, eventually, listener,
    read_vec, tcp_pair, with_worker,
};
use watm_wasmer::{
    Acceptor, AddressPolicy, ConnState, ConnectionInfo, Dialer, Event, Listener, Observer, Relay,
    Role,
};

/// Keeps what it heard, one line for each event.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(u64, String)>>>);

impl Observer for Heard {
    fn observe(&self, connection: &ConnectionInfo, event: &Event<'_>) {
        let line = match event {
            Event::Begun => format!("begun {} {}", connection.role, connection.client.is_some()),
            Event::Connected { remote, .. } => format!("connected {}", remote.is_some()),
            Event::Established { .. } => "established".to_owned(),
            Event::Failed { code, message, .. } => {
                assert!(!message.is_empty());
                format!("failed {code}")
            }
            Event::Ended { result, stats, .. } => match result {
                Ok(end) => format!("ended {end} {} {}", stats.received, stats.sent),
                Err(error) => format!("ended {}", error.code()),
            },
            _ => "something else".to_owned(),
        };
        self.lock().push((connection.id, line));
    }
}

impl Heard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was heard, once the last line begins with `last`.
    fn until(&self, last: &str) -> Vec<String> {
        eventually(last, || {
            self.lock()
                .last()
                .is_some_and(|(_, line)| line.starts_with(last))
        });
        self.lock().drain(..).map(|(_, line)| line).collect()
    }
}

#[test]
fn a_dial_is_heard_of_from_its_beginning_to_its_end() {
    let server = EchoServer::start();
    let heard = Heard::default();
    let dialer = Dialer::builder(&built("plain")).observer(heard.clone());
    let dialer = dialer.build().expect("a dialer");
    let mut conn = dialer.dial(server.address()).expect("a connection");
    conn.write_all(b"hello").expect("it writes");
    conn.read_exact(&mut [0; 5]).expect("it reads");
    conn.close().expect("a good end");
    assert_eq!(
        heard.until("ended"),
        [
            "begun dialer false",
            "connected true",
            "established",
            "ended completed 5 5"
        ]
    );
    let port = ReservedPort::new();
    dialer.dial(port.address()).expect_err("nobody listens");
    assert_eq!(
        heard.until("failed"),
        ["begun dialer false", "failed connect"]
    );
}

#[test]
fn a_transport_that_breaks_down_is_heard_of_with_its_cause() {
    let (accepting, address) = listener();
    let heard = Heard::default();
    let module = with_worker("unreachable");
    let dialer = Dialer::builder(&module).observer(heard.clone()).build();
    let conn = dialer
        .expect("a dialer")
        .dial(&address)
        .expect("a connection");
    let _peer = accept_one(&accepting);
    assert_eq!(
        heard.until("ended"),
        [
            "begun dialer false",
            "connected true",
            "established",
            "ended trapped"
        ]
    );
    drop(conn);
}

#[test]
fn clients_are_named_whatever_becomes_of_them() {
    let heard = Heard::default();
    let acceptor: Acceptor = Listener::builder(&built("plain"))
        .observer(heard.clone())
        .acceptor()
        .expect("an acceptor");
    let (client, accepted) = tcp_pair();
    let conn = acceptor.accept(accepted).expect("a connection");
    drop(client);
    conn.wait(None).expect("it ends").expect("a good end");
    assert_eq!(
        heard.until("ended"),
        ["begun listener true", "established", "ended completed 0 0"]
    );
    let port = ReservedPort::new();
    let relay = Relay::builder(&built("plain")).remote(port.address());
    let relay = relay.observer(heard.clone()).bind("127.0.0.1:0");
    let relay = relay.expect("a relay").spawn().expect("it runs");
    let _client = connect(relay.local_addr());
    assert_eq!(
        heard.until("failed"),
        ["begun relay true", "failed connect"]
    );
}

#[test]
fn the_connections_of_a_relay_are_listed_with_what_each_side_has_moved() {
    let (accepting, address) = listener();
    let relay = Relay::builder(&built("plain")).remote(&address);
    let relay = relay
        .bind("127.0.0.1:0")
        .expect("a relay")
        .spawn()
        .expect("it runs");
    assert!(relay.connections().is_empty());
    let mut client = connect(relay.local_addr());
    let mut remote = accept_one(&accepting);
    client.write_all(b"abc").expect("it writes");
    assert_eq!(read_vec(&remote, 3), b"abc");
    remote.write_all(b"answer").expect("it writes");
    assert_eq!(read_vec(&client, 6), b"answer");
    eventually("all is counted", || {
        relay.connections()[0].stats.client_sent == 6
    });
    let open = relay.connections();
    let [open] = &open[..] else {
        panic!("{open:?}")
    };
    assert_eq!(open.client, client.local_addr().ok());
    assert!(open.is_established && open.number == 1);
    assert_eq!((open.stats.client_received, open.stats.client_sent), (3, 6));
    assert_eq!((open.stats.received, open.stats.sent), (9, 9));
    drop((client, remote));
    eventually("it has ended", || relay.connections().is_empty());
    assert_eq!(
        (relay.stats().client_received, relay.stats().client_sent),
        (3, 6)
    );
}

#[test]
fn an_observer_that_panics_disturbs_nobody() {
    struct Panics;

    impl Observer for Panics {
        fn observe(&self, connection: &ConnectionInfo, _: &Event<'_>) {
            assert_eq!(connection.role, Role::Relay, "a panic that is meant");
        }
    }

    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).observer(Panics);
    let conn = dialer.build().expect("a dialer").dial(server.address());
    echo_messages(&conn.expect("a connection"));
}

#[test]
fn a_server_tells_the_state_and_the_ends_of_each_connection() {
    let (accepting, address) = listener();
    let server = Dialer::builder(&built("halfclose"))
        .carry_to(&address)
        .connection_limit(7);
    let server = server.bind("127.0.0.1:0").expect("a server").spawn();
    let server = server.expect("it runs");
    assert_eq!(server.connection_limit(), 7);
    assert_eq!(server.target().map(ToString::to_string), Some(address));
    assert_eq!(server.module().name(), "halfclose");
    let client = connect(server.local_addr());
    let remote = accept_one(&accepting);
    let open = || server.connections().into_iter().next();
    let is = |state, ends| {
        open().is_some_and(|open| {
            open.state == state && (open.client_ended, open.remote_ended) == ends
        })
    };
    eventually("it is set up", || is(ConnState::Open, (false, false)));
    assert_eq!(
        open().expect("it is open").remote,
        accepting.local_addr().ok()
    );
    client.shutdown(Shutdown::Write).expect("it is open");
    eventually("one side has ended", || is(ConnState::Open, (true, false)));
    remote.shutdown(Shutdown::Write).expect("it is open");
    eventually("both have", || server.connections().is_empty());
}

#[test]
fn whoever_says_nothing_is_in_its_handshake_or_has_yet_to_name_its_target() {
    let policy = AddressPolicy::allow_all;
    for (module, state) in [
        ("handshake", ConnState::Handshake),
        ("plain", ConnState::AwaitingTarget),
    ] {
        let server = Listener::builder(&built(module)).forward_where_asked(policy());
        let server = server.bind("127.0.0.1:0").expect("a server").spawn();
        let server = server.expect("it runs");
        assert!(server.target().is_none());
        let _client = connect(server.local_addr());
        eventually("its instance is made", || {
            server.connections().iter().any(|open| open.state == state)
        });
    }
}
