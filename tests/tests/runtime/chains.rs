//! Chains: the network below one module is another module.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use watm_tests::{
    EchoServer, FullBacklog, LONG, ReservedPort, SHORT, accept_one, built, echo_messages, exchange,
    expect_end, expect_reset, listener, read_vec, reset, within,
};
use watm_wasmer::{
    AddressPolicy, CancelToken, Conn, DialError, DialOptions, Dialer, FixedDialer, Listener,
    TransportModule,
};

fn dialer_over(upper: &TransportModule, lower: &TransportModule) -> Dialer {
    let below = Dialer::builder(lower).config(*b"below").build();
    let upper = Dialer::builder(upper).config(*b"above");
    let upper = upper.dial_hook(below.expect("a dialer"));
    upper.build().expect("a dialer")
}

/// Both ends of a connection through two modules on each side.
fn chained(upper: &str, lower: &str) -> (Conn, Conn) {
    let (upper, lower) = (built(upper), built(lower));
    let accepting = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = accepting.local_addr().expect("an address");
    let serving = std::thread::spawn({
        let (upper, lower) = (upper.clone(), lower.clone());
        move || {
            let below = Listener::builder(&lower).config(*b"below").acceptor();
            let acceptor = Listener::builder(&upper).config(*b"above").acceptor();
            let (client, _) = accepting.accept().expect("a client");
            let stream = below.expect("an acceptor").unwrap_below(client);
            let stream = stream.expect("a stream");
            acceptor
                .expect("an acceptor")
                .accept(stream)
                .expect("a connection")
        }
    });
    let dialled = dialer_over(&upper, &lower)
        .dial(address)
        .expect("a connection");
    assert_eq!(dialled.peer_addr().expect("the remote"), address);
    (dialled, serving.join().expect("it accepts"))
}

#[test]
fn bytes_pass_both_modules_on_both_sides_unchanged() {
    for (upper, lower) in [
        ("xor", "xor"),
        ("handshake", "plain16k"),
        ("plain", "handshake"),
    ] {
        let (near, far) = chained(upper, lower);
        within(LONG, move || {
            exchange(&near, &far, 20_000_000, 30_000);
            near.close().expect("a good end");
            expect_end(&far);
        });
    }
}

#[test]
fn a_server_and_a_listener_stand_over_another_module() {
    let server = EchoServer::start();
    let below = || {
        let below = Listener::builder(&built("xor"))
            .config(*b"below")
            .acceptor();
        below.expect("an acceptor")
    };
    let upper = || {
        Listener::builder(&built("xor"))
            .config(*b"above")
            .over(below())
    };
    let dialer = dialer_over(&built("xor"), &built("xor"));

    let serving = upper().forward_to(server.address()).bind("127.0.0.1:0");
    let serving = serving.expect("a server").spawn().expect("it runs");
    let conn = dialer.dial(serving.local_addr()).expect("a connection");
    echo_messages(&conn);
    let client = conn.local_addr().expect("an address");
    assert_eq!(
        serving.connections()[0].client,
        Some(client),
        "the socket that was accepted"
    );

    let listening = upper().bind("127.0.0.1:0").expect("a listener");
    let near = dialer.dial(listening.local_addr()).expect("a connection");
    let far = listening.accept().expect("a connection");
    assert_eq!(far.peer_addr().ok(), near.local_addr().ok());
    within(LONG, move || exchange(&near, &far, 1_000_000, 30_000));
}

#[test]
fn the_wire_carries_what_the_lower_module_makes_of_what_the_upper_one_makes() {
    let (accepting, address) = listener();
    let dialer = dialer_over(&built("xor"), &built("xor"));
    let conn = dialer.dial(&address).expect("a connection");
    let peer = accept_one(&accepting);
    (&conn).write_all(&[0; 5]).expect("it writes");
    let wire = read_vec(&peer, 5);
    let expected: Vec<u8> = b"above".iter().zip(b"below").map(|(a, b)| a ^ b).collect();
    assert_eq!(wire, expected);
}

#[test]
fn a_failure_on_the_network_is_one_for_the_upper_module_after_what_came_before() {
    let (accepting, address) = listener();
    let dialer = dialer_over(&built("plain"), &built("plain"));
    let conn = dialer.dial(&address).expect("a connection");
    let mut peer = accept_one(&accepting);
    peer.write_all(b"before").expect("it writes");
    assert_eq!(read_vec(&conn, 6), b"before");
    reset(peer);
    expect_reset(&conn);
}

#[test]
fn an_abort_of_the_upper_connection_resets_the_network() {
    let (accepting, address) = listener();
    let dialer = dialer_over(&built("plain"), &built("plain"));
    let conn = dialer.dial(&address).expect("a connection");
    let peer = accept_one(&accepting);
    (&conn).write_all(b"part").expect("it writes");
    assert_eq!(read_vec(&peer, 4), b"part");
    conn.abort();
    drop(conn);
    expect_reset(&peer);
    assert_eq!(watm_wasmer::drain(SHORT), 0);
}

#[test]
fn three_modules_on_both_sides_are_all_used_and_replaced_together() {
    // It adds its key to each byte: one that is left out shows.
    let xor = built("xor");
    let server = EchoServer::start();
    let above = |key: &str| {
        let lowest = Listener::builder(&xor).config(key).acceptor();
        let middle = Listener::builder(&xor)
            .config("mid")
            .over(lowest.expect("an acceptor"));
        Listener::builder(&xor)
            .config("top")
            .over(middle.acceptor().expect("an acceptor"))
    };
    let dialer = |key: &str| {
        let lowest = Dialer::builder(&xor).config(key).build();
        let middle = Dialer::builder(&xor)
            .config("mid")
            .dial_hook(lowest.expect("a dialer"));
        let middle = middle.build().expect("a dialer");
        let top = Dialer::builder(&xor).config("top").dial_hook(middle);
        top.build().expect("a dialer")
    };
    let listener = above("old").bind("127.0.0.1:0").expect("a listener");
    let forwarding = above("old")
        .forward_to(server.address())
        .bind("127.0.0.1:0");
    let forwarding = forwarding.expect("a server").spawn().expect("it runs");
    let converse = |dialer: &Dialer| {
        let asking = dialer.dial(listener.local_addr()).expect("a connection");
        let answering = listener.accept().expect("a connection");
        (&asking).write_all(b"through three").expect("it writes");
        assert_eq!(read_vec(&answering, 13), b"through three");
        let through = dialer.dial(forwarding.local_addr());
        echo_messages(&through.expect("a connection"));
    };
    converse(&dialer("old"));
    listener.replace(above("new")).expect("it can be replaced");
    forwarding
        .replace(above("new"))
        .expect("it can be replaced");
    converse(&dialer("new"));
    // One acceptor on its own, with others below it.
    let acceptor = above("own").acceptor().expect("an acceptor");
    let (accepting, address) = watm_tests::listener();
    let asking = dialer("own").dial(&address).expect("a connection");
    let answering = acceptor
        .accept(accept_one(&accepting))
        .expect("a connection");
    (&asking).write_all(b"by hand").expect("it writes");
    assert_eq!(read_vec(&answering, 7), b"by hand");
}

#[test]
fn a_dial_that_fails_below_says_why() {
    let port = ReservedPort::new();
    let dialer = dialer_over(&built("plain"), &built("plain"));
    match dialer.dial(port.address()).expect_err("nobody listens") {
        DialError::Connect { address, source } => {
            assert_eq!(address, port.address());
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
            assert!(
                source.to_string().contains("Connection refused"),
                "{source}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dial_that_is_cancelled_is_cancelled_below_too() {
    let silent = FullBacklog::new();
    let dialer = dialer_over(&built("plain"), &built("plain"));
    let token = CancelToken::new();
    let options = DialOptions::new().cancel(&token);
    let dialling = dialer.begin(silent.address(), options);
    token.cancel();
    let error = within(SHORT, move || dialling.wait().expect_err("cancelled"));
    assert!(matches!(error, DialError::Cancelled), "{error:?}");
    watm_tests::eventually("nothing is left", || {
        watm_wasmer::drain(Duration::ZERO) == 0
    });
}

#[test]
fn an_address_that_the_upper_module_chose_passes_its_policy() {
    let server = EchoServer::start();
    let fixed = |policy: AddressPolicy| {
        let below = Dialer::builder(&built("plain")).build().expect("a dialer");
        let dialer = FixedDialer::builder(&built("fixed")).policy(policy);
        let dialer = dialer.dial_hook(below).build().expect("a fixed dialer");
        let config = format!("tcp {}", server.address());
        dialer.dial_with(DialOptions::new().config(config))
    };
    let allowing = AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry"));
    echo_messages(&fixed(allowing).expect("a connection"));
    let denied = fixed(AddressPolicy::deny_all()).expect_err("denied");
    assert!(matches!(denied, DialError::Denied { .. }), "{denied:?}");
}

#[test]
fn a_hook_reads_and_writes_its_stream_until_the_deadline() {
    use watm_wasmer::{DialAttempt, DialHook, Stream};

    /// Asks the server for something first, as one asks a proxy.
    struct Asks;

    impl DialHook for Asks {
        fn dial(&self, attempt: &DialAttempt<'_>) -> std::io::Result<Stream> {
            let mut stream = attempt.connect()?;
            stream.write_all(b"ask")?;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer)?;
            assert_eq!(&answer, b"answer");
            Ok(stream)
        }
    }

    let (accepting, address) = listener();
    let dialer = Dialer::builder(&built("plain")).dial_hook(std::sync::Arc::new(Asks));
    let dialer = dialer.build().expect("a dialer");
    let serving = std::thread::spawn(move || {
        let mut peer = accept_one(&accepting);
        assert_eq!(read_vec(&peer, 3), b"ask");
        peer.write_all(b"answer").expect("it writes");
        assert_eq!(read_vec(&peer, 5), b"hello");
        let silent = accept_one(&accepting);
        assert_eq!(read_vec(&silent, 3), b"ask");
        silent
    });
    let conn = dialer.dial(&address).expect("a connection");
    (&conn).write_all(b"hello").expect("it writes");
    let options = DialOptions::new().timeout(Duration::from_millis(300));
    let late = dialer.dial_with(&address, options).expect_err("no answer");
    let is_so = matches!(&late, DialError::TimedOut { connecting, .. } if *connecting);
    assert!(is_so, "{late:?}");
    drop(serving.join().expect("it serves"));
}

#[test]
fn a_resolver_of_the_application_is_asked_for_names_alone() {
    let server = EchoServer::start();
    let address: std::net::SocketAddr = server.address().parse().expect("an address");
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let asking = std::sync::Arc::clone(&asked);
    let dialer = Dialer::builder(&built("plain")).resolver(move |name: &str, port: u16| {
        asking
            .lock()
            .expect("no panic")
            .push((name.to_owned(), port));
        Ok(vec![address])
    });
    let dialer = dialer.build().expect("a dialer");
    echo_messages(&dialer.dial(address).expect("a connection"));
    assert!(asked.lock().expect("no panic").is_empty());
    echo_messages(
        &dialer
            .dial(("no.such.name.invalid", 7))
            .expect("a connection"),
    );
    let asked = asked.lock().expect("no panic");
    assert_eq!(*asked, [("no.such.name.invalid".to_owned(), 7)]);
}

#[test]
fn a_source_address_is_used_and_one_that_cannot_be_is_told() {
    let (accepting, address) = listener();
    let dialer = |source: [u8; 4]| {
        let dialer = Dialer::builder(&built("plain")).source_address(source);
        dialer.build().expect("a dialer").dial(&address)
    };
    let conn = dialer([127, 0, 0, 9]).expect("a connection");
    let peer = accept_one(&accepting).peer_addr().expect("an address");
    assert_eq!(peer.ip().to_string(), "127.0.0.9");
    assert_eq!(conn.local_addr().expect("an address"), peer);
    match dialer([192, 0, 2, 1]).expect_err("not of this machine") {
        DialError::Connect { source, .. } => {
            assert!(
                source.to_string().contains("source address 192.0.2.1"),
                "{source}"
            );
        }
        other => panic!("{other:?}"),
    }
}
