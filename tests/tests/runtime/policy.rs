//! Which addresses a module may choose, and the hook that makes all connections.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Socket, TcpKeepalive};
use watm_tests::{
    EchoServer, ReservedPort, SHORT, alternate, built, echo_messages, expect_end, listener,
    read_vec,
};
use watm_wasmer::{
    AddressPolicy, ConfigError, DialAttempt, DialError, DialHook, Dialer, FixedDialer, Network,
    Stream,
};

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

fn policy(allow: &[&str], deny: &[&str]) -> AddressPolicy {
    let entry = |text: &&str| {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let policy = allow
        .iter()
        .map(entry)
        .fold(AddressPolicy::deny_all(), AddressPolicy::allow);
    deny.iter().map(entry).fold(policy, AddressPolicy::deny)
}

/// Has a module dial an address that it chooses.
fn dial_fixed(policy: AddressPolicy, network: &str, address: &str) -> Result<(), DialError> {
    let dialer = FixedDialer::builder(&built("fixed"))
        .policy(policy)
        .config(format!("{network} {address}"));
    let conn = dialer.build().expect("a fixed dialer").dial()?;
    echo_messages(&conn);
    Ok(())
}

#[track_caller]
fn is_denied(result: Result<(), DialError>, expected: &str) {
    match result.expect_err("it is not allowed") {
        DialError::Denied { address } => assert_eq!(address, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn with_no_policy_every_address_of_a_module_is_denied() {
    let server = EchoServer::start();
    let dialer = FixedDialer::builder(&built("fixed")).config(format!("tcp {}", server.address()));
    let error = dialer
        .build()
        .expect("a fixed dialer")
        .dial()
        .expect_err("nothing is allowed");
    assert!(error.to_string().contains(&server.address()), "{error}");
    assert_eq!(io::Error::from(error).kind(), ErrorKind::PermissionDenied);
    is_denied(
        dial_fixed(AddressPolicy::deny_all(), "tcp", &server.address()),
        &server.address(),
    );
    is_denied(
        dial_fixed(AddressPolicy::default(), "tcp", &server.address()),
        &server.address(),
    );
}

#[test]
fn a_denied_address_is_not_contacted() {
    let (listener, address) = listener();
    listener.set_nonblocking(true).expect("a mode");
    is_denied(
        dial_fixed(AddressPolicy::deny_all(), "tcp", &address),
        &address,
    );
    watm_tests::assert_would_block(listener.accept());
}

#[test]
fn entries_allow_by_address_block_name_port_and_network() {
    let server = EchoServer::start();
    let address = server.address();
    let port = port_of(&address);
    let localhost = format!("localhost:{port}");
    let (right, wrong) = (format!("127.0.0.1:{port}"), "127.0.0.1:1".to_owned());
    let (named, named_wrong) = (format!("localhost:{port}"), "localhost:1".to_owned());
    let (any, four) = (format!("*:{port}"), format!("tcp4://127.0.0.0/8:{port}"));
    for (entry, network, to, allowed) in [
        ("127.0.0.1", "tcp", &address, true),
        ("127.0.0.2", "tcp", &address, false),
        ("127.0.0.0/8", "tcp", &address, true),
        ("10.0.0.0/8", "tcp", &address, false),
        (&right, "tcp", &address, true),
        (&wrong, "tcp", &address, false),
        (&any, "tcp", &address, true),
        ("*", "tcp", &address, true),
        ("localhost", "tcp", &localhost, true),
        ("LocalHost.", "tcp", &localhost, true),
        (&named, "tcp", &localhost, true),
        (&named_wrong, "tcp", &localhost, false),
        ("otherhost", "tcp", &localhost, false),
        // A name allows no bare address, and a bare address allows no name for it.
        ("localhost", "tcp", &address, false),
        // No name is looked up on account of an address entry.
        ("127.0.0.1", "tcp", &localhost, false),
        (&four, "tcp4", &address, true),
        ("tcp6://*", "tcp", &address, false),
        ("tcp6://*", "tcp4", &address, false),
    ] {
        let result = dial_fixed(policy(&[entry], &[]), network, to);
        if allowed {
            result.unwrap_or_else(|error| panic!("{entry} for {to}: {error:?}"));
        } else {
            is_denied(result, to);
        }
    }
}

#[test]
fn ipv6_addresses_are_matched_like_others() {
    let listener = std::net::TcpListener::bind("[::1]:0").expect("an IPv6 loopback address");
    let server = EchoServer::serve(listener);
    let address = server.address();
    let bracketed = format!("[::/64]:{}", port_of(&address));
    for entry in ["::1", "::/64", "tcp6://*", &bracketed] {
        dial_fixed(policy(&[entry], &[]), "tcp6", &address).expect(entry);
    }
    for entry in ["127.0.0.1", "tcp4://*", "[::1]:1"] {
        is_denied(dial_fixed(policy(&[entry], &[]), "tcp", &address), &address);
    }
}

#[test]
fn an_ipv4_address_in_the_clothes_of_ipv6_counts_as_ipv4() {
    let server = EchoServer::start();
    let mapped = format!("[::ffff:127.0.0.1]:{}", port_of(&server.address()));
    is_denied(
        dial_fixed(policy(&["*"], &["127.0.0.0/8"]), "tcp", &mapped),
        &mapped,
    );
    dial_fixed(policy(&["127.0.0.0/8"], &[]), "tcp", &mapped).expect("it is allowed");
}

#[test]
fn a_denied_address_is_not_contacted_in_any_of_its_forms() {
    let listener = std::net::TcpListener::bind("[::]:0").expect("all addresses of both families");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("a mode");
    let v4 = [
        "127.0.0.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:0.0.0.0]",
    ];
    let carried = [
        "[64:ff9b::127.0.0.1]",
        "[2001:db8:64:7f00:0:100::]",
        "[2002:7f00:1::1]",
        "[2001:0:7f00:1:8000:63bf:3fff:fdd2]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    ];
    let everything_but = |entry: &str| {
        AddressPolicy::allow_all()
            .deny(entry.parse().expect("an entry"))
            .nat64_prefix("2001:db8:64::/48".parse().expect("a prefix"))
    };
    for (entry, hosts) in [
        ("127.0.0.0/8", &[&v4[..], &carried].concat()[..]),
        ("::ffff:127.0.0.0/104", &[&v4[..], &carried].concat()),
        ("::ffff:127.0.0.1", &[&v4[..], &carried].concat()),
        ("::ffff:0:0/96", &[&v4[..], &carried].concat()),
        ("tcp4://*", &v4),
        ("0.0.0.0/8", &["0.0.0.0", "[::ffff:0.0.0.0]"]),
        ("0.0.0.0", &["0.0.0.0", "[::ffff:0.0.0.0]"]),
        ("::/128", &["[::]"]),
        ("::1", &["[::1]", "[::]"]),
        ("tcp6://*", &["[::1]", "[::]", "[::ffff:127.0.0.1]"]),
        ("::/0", &["[::1]", "[::]", "[::ffff:127.0.0.1]"]),
    ] {
        for host in hosts {
            let address = format!("{host}:{port}");
            is_denied(dial_fixed(everything_but(entry), "tcp", &address), &address);
        }
    }
    watm_tests::assert_would_block(listener.accept());

    // All addresses of this machine reach it if another address is denied.
    listener.set_nonblocking(false).expect("a mode");
    let server = EchoServer::serve(listener);
    for host in v4.iter().chain(&["[::1]", "[::]"]) {
        let address = format!("{host}:{}", port_of(&server.address()));
        dial_fixed(everything_but("127.0.0.2"), "tcp", &address).expect(host);
    }
}

#[test]
fn a_block_allows_no_ipv4_address_in_the_clothes_of_ipv6() {
    let server = EchoServer::start();
    let port = port_of(&server.address()).to_owned();
    for host in [
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::1]",
    ] {
        let address = format!("{host}:{port}");
        is_denied(
            dial_fixed(policy(&["::/0"], &[]), "tcp", &address),
            &address,
        );
    }
    for entry in [
        "::ffff:127.0.0.1",
        "tcp4://[::ffff:127.0.0.0/104]",
        "0.0.0.0/0",
    ] {
        let address = format!("[::ffff:127.0.0.1]:{port}");
        dial_fixed(policy(&[entry], &[]), "tcp", &address).expect(entry);
    }
}

#[test]
fn an_entry_that_denies_wins_over_those_that_allow() {
    let server = EchoServer::start();
    let address = server.address();
    let localhost = format!("localhost:{}", port_of(&address));
    is_denied(
        dial_fixed(policy(&["127.0.0.1"], &["127.0.0.0/8"]), "tcp", &address),
        &address,
    );
    is_denied(
        dial_fixed(policy(&["*"], &["127.0.0.1"]), "tcp", &address),
        &address,
    );
    let catch_all = AddressPolicy::allow_all().deny("127.0.0.1".parse().expect("an entry"));
    is_denied(dial_fixed(catch_all, "tcp4", &localhost), &localhost);
    dial_fixed(policy(&["127.0.0.1"], &["127.0.0.2"]), "tcp", &address).expect("another");
}

#[test]
fn a_catch_all_allows_what_no_entry_denies() {
    let server = EchoServer::start();
    dial_fixed(AddressPolicy::allow_all(), "tcp", &server.address()).expect("it is allowed");
}

#[test]
fn the_address_of_the_application_is_not_the_policy_s_business() {
    let server = EchoServer::start();
    let dialer = Dialer::builder(&built("plain")).policy(AddressPolicy::deny_all());
    let conn = dialer.build().expect("a dialer").dial(server.address());
    echo_messages(&conn.expect("it is allowed"));
}

#[test]
fn a_network_that_is_not_known_is_not_dialled() {
    let (listener, address) = listener();
    listener.set_nonblocking(true).expect("a mode");
    for network in ["udp", "unix", "tcp5", "TCP"] {
        let error = dial_fixed(AddressPolicy::allow_all(), network, &address);
        error.expect_err(network);
    }
    watm_tests::assert_would_block(listener.accept());
}

// ---- the hook --------------------------------------------------------------------------------

/// What a hook was given.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    network: Network,
    address: String,
    chosen_by_module: bool,
}

#[derive(Default)]
struct Shown(Arc<Mutex<Vec<Seen>>>);

impl DialHook for Shown {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let seen = Seen {
            network: attempt.network(),
            address: attempt.address().to_owned(),
            chosen_by_module: attempt.is_chosen_by_module(),
        };
        self.0.lock().expect("the list").push(seen);
        let left = attempt.deadline().saturating_duration_since(Instant::now());
        assert!(
            left > Duration::from_secs(1) && left <= Duration::from_secs(10),
            "{left:?}"
        );
        attempt.connect()
    }
}

#[test]
fn a_hook_is_shown_network_and_address_of_every_kind_of_dial() {
    let server = EchoServer::start();
    let shown = Shown::default();
    let list = Arc::clone(&shown.0);
    let dialer = Dialer::builder(&built("plain"))
        .dial_hook(shown)
        .build()
        .expect("a dialer");
    echo_messages(&dialer.dial(server.address()).expect("a connection"));
    let options = watm_wasmer::DialOptions::new().network(Network::Tcp4);
    drop(
        dialer
            .dial_with(server.address(), options)
            .expect("a connection"),
    );
    let seen = |network, chosen_by_module| Seen {
        network,
        address: server.address(),
        chosen_by_module,
    };
    let expected = [seen(Network::Tcp, false), seen(Network::Tcp4, false)];
    assert_eq!(*list.lock().expect("the list"), expected);

    let shown = Shown::default();
    let list = Arc::clone(&shown.0);
    let dialer = FixedDialer::builder(&built("fixed"))
        .policy(AddressPolicy::allow_all())
        .config(format!("tcp4 {}", server.address()))
        .dial_hook(shown);
    drop(
        dialer
            .build()
            .expect("a fixed dialer")
            .dial()
            .expect("a connection"),
    );
    assert_eq!(*list.lock().expect("the list"), [seen(Network::Tcp4, true)]);
}

#[test]
fn the_policy_holds_for_a_hook_that_connects_as_asked() {
    let server = EchoServer::start();
    let dialer = FixedDialer::builder(&built("fixed"))
        .config(format!("tcp {}", server.address()))
        .dial_hook(Shown::default());
    let error = dialer
        .build()
        .expect("a fixed dialer")
        .dial()
        .expect_err("not allowed");
    assert!(matches!(error, DialError::Denied { .. }), "{error:?}");
}

struct Elsewhere(String);

impl DialHook for Elsewhere {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        attempt.connect_to(Network::Tcp, &self.0)
    }
}

#[test]
fn a_hook_may_connect_elsewhere_than_it_was_asked_to() {
    let server = EchoServer::start();
    let nobody = ReservedPort::new();
    let dialer = Dialer::builder(&built("plain")).dial_hook(Elsewhere(server.address()));
    let conn = dialer.build().expect("a dialer").dial(nobody.address());
    let conn = conn.expect("the other address");
    assert_eq!(
        conn.peer_addr().expect("an address").to_string(),
        server.address()
    );
    echo_messages(&conn);
    let dialer = FixedDialer::builder(&built("fixed"))
        .config(format!("tcp {}", nobody.address()))
        .dial_hook(Elsewhere(server.address()));
    // The policy applies to what the module asks for. The hook may connect elsewhere.
    let error = dialer
        .clone()
        .build()
        .expect("a fixed dialer")
        .dial()
        .expect_err("no policy allows what the module asks for");
    assert!(matches!(error, DialError::Denied { .. }), "{error:?}");
    let allowed = AddressPolicy::deny_all().allow(nobody.address().parse().expect("an entry"));
    echo_messages(
        &dialer
            .policy(allowed)
            .build()
            .expect("a fixed dialer")
            .dial()
            .expect("the other address"),
    );
}

struct FromSecondAddress;

impl DialHook for FromSecondAddress {
    fn prepare(&self, socket: &Socket, remote: SocketAddr) -> io::Result<()> {
        assert!(remote.ip().is_loopback());
        assert!(socket.peer_addr().is_err(), "it is not connected yet");
        let from: SocketAddr = "127.0.0.2:0".parse().expect("an address");
        socket.bind(&from.into())
    }
}

#[test]
fn a_hook_sees_the_socket_before_it_connects() {
    let (listener, address) = listener();
    let dialer = Dialer::builder(&built("plain")).dial_hook(FromSecondAddress);
    let conn = dialer
        .build()
        .expect("a dialer")
        .dial(&address)
        .expect("a connection");
    let peer = watm_tests::accept_one(&listener);
    assert_eq!(
        peer.peer_addr().expect("an address").ip().to_string(),
        "127.0.0.2"
    );
    assert_eq!(
        conn.local_addr().expect("an address").ip().to_string(),
        "127.0.0.2"
    );
    alternate(&conn, &peer, 1024, |_| {});
}

struct Refusing;

impl DialHook for Refusing {
    fn prepare(&self, _: &Socket, _: SocketAddr) -> io::Result<()> {
        Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "this socket is not protected",
        ))
    }
}

#[test]
fn a_socket_that_a_hook_does_not_like_is_not_connected_and_the_reason_is_kept() {
    let (listener, address) = listener();
    listener.set_nonblocking(true).expect("a mode");
    let dialer = Dialer::builder(&built("plain")).dial_hook(Refusing);
    match dialer
        .build()
        .expect("a dialer")
        .dial(&address)
        .expect_err("refused")
    {
        DialError::Connect { source, .. } => {
            assert_eq!(source.to_string(), "this socket is not protected");
        }
        // Other errors would blame the policy.
        other => panic!("{other:?}"),
    }
    watm_tests::assert_would_block(listener.accept());
}

struct Given(Mutex<Option<Stream>>);

impl DialHook for Given {
    fn dial(&self, _: &DialAttempt<'_>) -> io::Result<Stream> {
        let stream = self.0.lock().expect("the stream").take();
        stream.ok_or_else(|| io::Error::other("there was only one"))
    }
}

#[test]
fn a_hook_may_return_a_stream_of_another_kind() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_read_timeout(Some(SHORT)).expect("a timeout");
    let hook = Given(Mutex::new(Some(theirs.into())));
    let dialer = Dialer::builder(&built("plain"))
        .dial_hook(hook)
        .build()
        .expect("a dialer");
    // The address need not mean anything.
    let conn = dialer
        .dial("not.resolved.by.anybody:1")
        .expect("the given stream");
    alternate(&conn, &ours, 16_384, |_| {});
    assert_eq!(
        conn.peer_addr().expect_err("no address").kind(),
        ErrorKind::AddrNotAvailable
    );
    match dialer
        .dial("not.resolved.by.anybody:1")
        .expect_err("there was only one")
    {
        DialError::Connect { address, source } => {
            assert_eq!(address, "not.resolved.by.anybody:1");
            assert_eq!(source.to_string(), "there was only one");
        }
        other => panic!("{other:?}"),
    }
    conn.close().expect("a clean end");
    expect_end(&ours);
}

struct Panicking(Mutex<bool>);

impl DialHook for Panicking {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let first = !std::mem::replace(&mut *self.0.lock().expect("a flag"), true);
        assert!(!first, "the hook panics on purpose");
        attempt.connect()
    }
}

#[test]
fn a_panic_in_a_hook_fails_one_dial_alone() {
    let server = EchoServer::start();
    let hook = Panicking(Mutex::new(false));
    let dialer = Dialer::builder(&built("plain"))
        .dial_hook(hook)
        .build()
        .expect("a dialer");
    match dialer.dial(server.address()).expect_err("it panics") {
        DialError::Connect { source, .. } => {
            assert!(source.to_string().contains("panicked"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    echo_messages(&dialer.dial(server.address()).expect("the next one works"));
}

struct Slow(crossbeam_channel::Receiver<()>);

impl DialHook for Slow {
    fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
        let _ = self.0.recv();
        attempt.connect()
    }
}

#[test]
fn a_hook_that_blocks_costs_the_setup_timeout() {
    let (sender, receiver) = crossbeam_channel::bounded(0);
    let limit = Duration::from_millis(300);
    let dialer = Dialer::builder(&built("plain"))
        .dial_hook(Slow(receiver))
        .setup_timeout(limit);
    let started = Instant::now();
    let error = dialer
        .build()
        .expect("a dialer")
        .dial("127.0.0.1:1")
        .expect_err("it blocks");
    let elapsed = started.elapsed();
    assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
    // The default is 30 seconds.
    assert!(
        elapsed >= limit && elapsed < limit + Duration::from_secs(10),
        "{elapsed:?}"
    );
    drop(sender);
}

#[test]
fn a_hook_that_goes_through_a_proxy_hands_over_what_the_proxy_has_said_already() {
    // The stream that the hook returns is connected and in use. None of its bytes may be lost.
    struct Proxied(String);
    impl DialHook for Proxied {
        fn dial(&self, attempt: &DialAttempt<'_>) -> io::Result<Stream> {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(&self.0)?;
            stream.write_all(format!("CONNECT {}\n", attempt.address()).as_bytes())?;
            let mut answer = [0; 3];
            stream.read_exact(&mut answer)?;
            assert_eq!(&answer, b"OK\n");
            Ok(stream.into())
        }
    }
    let (listener, address) = listener();
    let dialer = Dialer::builder(&built("plain")).dial_hook(Proxied(address));
    let dialer = dialer.build().expect("a dialer");
    let dialling = std::thread::spawn(move || dialer.dial("far.away:443").expect("a connection"));
    let mut proxy = watm_tests::accept_one(&listener);
    assert_eq!(read_vec(&proxy, 21), b"CONNECT far.away:443\n");
    {
        use std::io::Write;
        proxy.write_all(b"OK\nand data behind it").expect("room");
    }
    let conn = dialling.join().expect("it returns");
    assert_eq!(read_vec(&conn, 18), b"and data behind it");
    alternate(&conn, &proxy, 1024, |_| {});
}

/// Keeps a second handle of each socket, and may enable its keep-alive.
#[derive(Default)]
struct Kept {
    sockets: Arc<Mutex<Vec<Socket>>>,
    own: Option<Duration>,
}

impl DialHook for Kept {
    fn prepare(&self, socket: &Socket, _: SocketAddr) -> io::Result<()> {
        if let Some(idle) = self.own {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
        }
        let mut sockets = self.sockets.lock().expect("the list");
        sockets.push(socket.try_clone()?);
        Ok(())
    }
}

#[test]
fn peers_that_vanish_are_asked_for_unless_the_socket_says_otherwise() {
    let server = EchoServer::start();
    let idle_of = |set: Option<Option<Duration>>, own| {
        let hook = Kept {
            own,
            ..Kept::default()
        };
        let sockets = Arc::clone(&hook.sockets);
        let mut dialer = Dialer::builder(&built("plain")).dial_hook(hook);
        if let Some(keepalive) = set {
            dialer = dialer.keepalive(keepalive);
        }
        let dialer = dialer.build().expect("a dialer");
        let conn = dialer.dial(server.address()).expect("a connection");
        echo_messages(&conn);
        let sockets = sockets.lock().expect("the list");
        let on = sockets[0].keepalive().expect("an option");
        on.then(|| sockets[0].tcp_keepalive_time().expect("an option"))
    };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(idle_of(None, None), seconds(60));
    assert_eq!(idle_of(Some(seconds(7)), None), seconds(7));
    assert_eq!(idle_of(Some(None), None), None);
    assert_eq!(idle_of(None, seconds(99)), seconds(99));

    for impossible in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        let dialer = Dialer::builder(&built("plain")).keepalive(Some(impossible));
        match dialer.build().err() {
            Some(ConfigError::Invalid { setting, .. }) => assert_eq!(setting, "keepalive"),
            other => panic!("{other:?}"),
        }
    }
}
