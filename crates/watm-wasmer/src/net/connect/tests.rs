use super::*;
use crate::channel::link::Level;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longer than anything takes on a busy machine, but shorter than a share of the timeout.
const SOON: Duration = Duration::from_secs(8);
const TIMEOUT: Duration = Duration::from_secs(40);

/// A listening socket with a full queue. Connections to it wait without an answer.
fn silent() -> (Socket, SocketAddr, Vec<Socket>) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = socket();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("to listen");
    let address = listener.local_addr().expect("an address");
    let mut queued = Vec::new();
    while queued.len() < 1000 {
        let client = socket();
        match client.connect_timeout(&address, Duration::from_millis(200)) {
            Ok(()) => queued.push(client),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            Err(error) => panic!("the queue cannot be filled: {error}"),
        }
    }
    let address = address.as_socket().expect("an IP address");
    (listener, address, queued)
}

fn live(ip: impl Into<std::net::IpAddr>) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip.into(), 0)).expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// An address that refuses connections.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("an address");
    let address = address.as_socket().expect("an IP address");
    (socket, address)
}

fn resolving_to(found: &[SocketAddr]) -> Outgoing {
    let found = found.to_vec();
    Outgoing {
        sockets: SocketSettings::default(),
        resolver: Some(Arc::new(move |_: &str, _: u16| Ok(found.clone()))),
        ..Outgoing::within(TIMEOUT)
    }
}

fn connect(outgoing: &Outgoing, chosen_by_module: bool) -> io::Result<SocketAddr> {
    let link = Link::default();
    let mut reactor = Reactor::new(&link).expect("a reactor");
    let stream = outgoing.connect(
        Network::Tcp,
        &"a.example:80".parse().expect("an address"),
        chosen_by_module,
        &link,
        &mut reactor,
    );
    stream.map(|stream| stream.peer_addr().expect("an address"))
}

/// Records the addresses for which sockets were prepared.
#[derive(Default)]
struct Watching(Mutex<Vec<SocketAddr>>);

impl DialHook for Arc<Watching> {
    fn prepare(&self, _: &Socket, remote: SocketAddr) -> io::Result<()> {
        self.0.lock().expect("no panic").push(remote);
        Ok(())
    }
}

#[test]
fn an_address_that_never_answers_costs_a_moment_and_the_next_time_nothing() {
    let (_socket, silent, _queue) = silent();
    let (_listener, live) = live(Ipv4Addr::LOCALHOST);
    let watching = Arc::new(Watching::default());
    let mut outgoing = resolving_to(&[silent, live]);
    outgoing.hook = Some(Arc::new(Arc::clone(&watching)));
    let started = Instant::now();
    assert_eq!(connect(&outgoing, false).expect("it answers"), live);
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
    assert!(elapsed < SOON, "{elapsed:?}");
    assert_eq!(connect(&outgoing, false).expect("it answers"), live);
    // Each was prepared when its turn came. The second time, only the one that worked was prepared.
    assert_eq!(*watching.0.lock().expect("no panic"), [silent, live, live]);
}

#[test]
fn an_address_that_refuses_costs_nothing() {
    let refusing: Vec<_> = (0..30).map(|_| refusing()).collect();
    let (_listener, live) = live(Ipv4Addr::LOCALHOST);
    let mut found: Vec<_> = refusing.iter().map(|(_, address)| *address).collect();
    found.push(live);
    let started = Instant::now();
    let found = connect(&resolving_to(&found), false);
    assert_eq!(found.expect("it answers"), live);
    // Thirty pauses would take longer.
    assert!(started.elapsed() < Duration::from_secs(7));
}

#[test]
fn both_families_are_tried() {
    let (_socket, silent, _queue) = silent();
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return; // A machine without IPv6.
    };
    let live = listener.local_addr().expect("an address");
    let found = connect(&resolving_to(&[silent, silent, live]), false);
    assert_eq!(found.expect("it answers"), live);
}

#[test]
fn the_policy_is_asked_of_each_address() {
    let (_listener, live) = live(Ipv4Addr::LOCALHOST);
    let denied: SocketAddr = ([127, 0, 0, 2], live.port()).into();
    let allow = |policy: AddressPolicy, text: &str| {
        let port = live.port();
        policy.allow(format!("{text}:{port}").parse().expect("an entry"))
    };
    let watching = Arc::new(Watching::default());
    let mut outgoing = resolving_to(&[denied, live]);
    outgoing.hook = Some(Arc::new(Arc::clone(&watching)));
    // A name is looked up only if an entry for names could allow it.
    let policy = AddressPolicy::deny_all().allow("a.example".parse().expect("an entry"));
    let policy = policy.deny("127.0.0.2".parse().expect("an entry"));
    outgoing.policy = Arc::new(allow(policy, "127.0.0.1"));
    assert_eq!(connect(&outgoing, true).expect("it is allowed"), live);
    assert_eq!(*watching.0.lock().expect("no panic"), [live]);
    outgoing.resolver = Some(Arc::new(move |_: &str, _: u16| Ok(vec![denied, denied])));
    assert!(is_denied(&connect(&outgoing, true).expect_err("denied")));
    assert_eq!(watching.0.lock().expect("no panic").len(), 1);
}

#[test]
fn the_connect_timeout_holds_over_all_addresses() {
    let (_socket, silent, _queue) = silent();
    let mut outgoing = resolving_to(&[silent, silent]);
    outgoing.timeout = Duration::from_millis(300);
    let started = Instant::now();
    let error = connect(&outgoing, false).expect_err("nobody answers");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() >= outgoing.timeout && started.elapsed() < SOON);
}

#[test]
fn a_stop_ends_all_attempts_at_once() {
    let (_socket, silent, _queue) = silent();
    let outgoing = resolving_to(&[silent, ([127, 0, 0, 1], silent.port()).into()]);
    let link = Arc::new(Link::default());
    let mut reactor = Reactor::new(&link).expect("a reactor");
    let begun = Arc::new(AtomicUsize::new(0));
    struct Counting(Arc<AtomicUsize>);
    impl DialHook for Counting {
        fn prepare(&self, _: &Socket, _: SocketAddr) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let outgoing = Outgoing {
        hook: Some(Arc::new(Counting(Arc::clone(&begun)))),
        ..outgoing
    };
    let stopped = Arc::clone(&link);
    let stopping = std::thread::spawn(move || {
        let deadline = Instant::now() + SOON;
        while begun.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        stopped.raise(Level::Stopping);
    });
    let started = Instant::now();
    let error = outgoing
        .connect(
            Network::Tcp,
            &"a.example:80".parse().expect("an address"),
            false,
            &link,
            &mut reactor,
        )
        .expect_err("it is stopped");
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert!(started.elapsed() < 2 * SOON);
    stopping.join().expect("it ends");
}

#[test]
fn what_an_address_has_answered_is_told_and_not_that_the_other_family_is_missing() {
    let (_socket, refusing) = refusing();
    // A zone that does not exist, so the system has no route.
    let unreachable = "[fe80::1%4000000000]:80".parse().expect("an address");
    for found in [[refusing, unreachable], [unreachable, refusing]] {
        let error = connect(&resolving_to(&found), false).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    }
}
