//! What plain clients and servers find beside bytes: a proxy at `watm dial --socks`, where clients ask
//! to go at `watm listen --open-proxy`, and the addresses of clients in the PROXY protocol.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crossbeam_channel::bounded;

use crate::peers::{Server, connect, free_address, pattern, round_trip, write_aside};
use crate::process::{LIMIT, Watm, built};

/// `watm listen --open-proxy` for this machine, and `watm dial --socks` to it.
fn open_tunnel(more: &[&str]) -> (Watm, Watm, String) {
    let module = built("plain");
    let listen = [
        "listen",
        "--module",
        &module,
        "--listen",
        "127.0.0.1:0",
        "--open-proxy",
    ];
    let (far, remote) = Watm::listening(
        &[
            &listen[..],
            &["--allow", "127.0.0.0/8", "--allow", "localhost"],
        ]
        .concat(),
    );
    let dial = [
        "dial",
        "--module",
        &module,
        "--remote",
        &remote,
        "--socks",
        "127.0.0.1:0",
    ];
    let (near, proxy) = Watm::listening(&[&dial[..], more].concat());
    (far, near, proxy)
}

/// The request of a client of SOCKS5 for an address of IPv4.
fn socks5_request(target: &str) -> Vec<u8> {
    let SocketAddr::V4(target) = target.parse().expect("an address") else {
        panic!("{target} is not of IPv4");
    };
    let [high, low] = target.port().to_be_bytes();
    let ip = target.ip().octets();
    [&[5, 1, 0, 1][..], &ip, &[high, low]].concat()
}

/// Connects through a proxy. Returns the code of its answer.
#[track_caller]
fn socks5(proxy: &str, request: &[u8]) -> (TcpStream, u8) {
    let mut client = connect(proxy);
    client.write_all(&[5, 1, 0]).expect("room");
    let mut method = [0; 2];
    client.read_exact(&mut method).expect("a method");
    assert_eq!(method, [5, 0]);
    client.write_all(request).expect("room");
    let mut reply = [0; 10];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!((reply[0], reply[3]), (5, 1));
    (client, reply[1])
}

fn port(address: &str) -> u16 {
    address.parse::<SocketAddr>().expect("an address").port()
}

#[test]
fn clients_of_each_protocol_reach_what_they_ask_for() {
    let server = Server::echo();
    let (_far, _near, proxy) = open_tunnel(&[]);
    let (client, code) = socks5(&proxy, &socks5_request(&server.address));
    assert_eq!(code, 0);
    round_trip(&client, b"over SOCKS5");

    let [high, low] = port(&server.address).to_be_bytes();
    let mut client = connect(&proxy);
    let request = [&[4, 1, high, low, 0, 0, 0, 1, 0][..], b"localhost\0"].concat();
    client.write_all(&request).expect("room");
    let mut reply = [0; 8];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply[..2], [0, 90]);
    round_trip(&client, b"over SOCKS4a");

    let mut client = connect(&proxy);
    // Its bytes come at once with the request.
    let request = format!("CONNECT {} HTTP/1.1\r\n\r\nearly", server.address);
    client.write_all(request.as_bytes()).expect("room");
    let expected = b"HTTP/1.1 200 Connection established\r\n\r\nearly";
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, expected);
    round_trip(&client, b"over HTTP");
}

#[test]
fn megabytes_pass_in_both_directions_behind_the_address() {
    let server = Server::echo();
    let (_far, _near, proxy) = open_tunnel(&[]);
    let (client, code) = socks5(&proxy, &socks5_request(&server.address));
    assert_eq!(code, 0);
    let bytes = pattern(3_000_000, 7);
    let written = write_aside(client.try_clone().expect("a copy"), bytes.clone());
    let mut received = vec![0; bytes.len()];
    (&client).read_exact(&mut received).expect("all of it");
    assert!(received == bytes && written.recv_timeout(LIMIT) == Ok(true));
    client.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!((&client).read_to_end(&mut received).expect("an end"), 0);
}

#[test]
fn without_a_remote_each_client_is_connected_through_the_module_to_what_it_asks_for() {
    let server = Server::echo();
    let module = built("plain");
    let dial = ["dial", "--module", &module, "--socks", "127.0.0.1:0"];
    let (mut near, proxy) = Watm::listening(&dial);
    let (client, code) = socks5(&proxy, &socks5_request(&server.address));
    assert_eq!(code, 0);
    round_trip(&client, b"hello");

    // Whoever cannot be connected is told why, and then sees an end and no reset.
    let free = free_address();
    let (mut client, code) = socks5(&proxy, &socks5_request(&free.address));
    assert_eq!(code, 5, "the connection was refused");
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    near.await_log("no connection to");
    let mut client = connect(&proxy);
    client
        .write_all(b"CONNECT no.such.name.invalid:80 HTTP/1.1\r\n\r\nearly")
        .expect("room");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let mut client = connect(&proxy);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn what_the_policy_does_not_allow_is_not_reached() {
    let (reached, connections) = bounded(1);
    let server = Server::start(move |_| {
        let _ = reached.send(());
    });
    let module = built("plain");
    let listen = [
        "listen",
        "--module",
        &module,
        "--listen",
        "127.0.0.1:0",
        "--open-proxy",
    ];
    let policy = [
        "--allow-all",
        "--deny",
        "127.0.0.0/8",
        "--deny",
        "::1",
        "-v",
    ];
    let (mut far, remote) = Watm::listening(&[&listen[..], &policy].concat());
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "localhost", "0.0.0.0"] {
        let mut client = connect(&remote);
        let host = address.as_bytes();
        let [high, low] = port(&server.address).to_be_bytes();
        let mut bytes = vec![3, u8::try_from(host.len()).expect("short")];
        bytes.extend_from_slice(host);
        bytes.extend_from_slice(&[high, low]);
        client.write_all(&bytes).expect("room");
        match client.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{address}: {other:?}"),
        }
        far.await_log("does not allow");
    }
    let mut client = connect(&remote);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
    far.await_log("it does not begin with an address");
    assert!(connections.is_empty());
}

#[test]
fn who_may_use_the_proxy_is_in_a_file() {
    let server = Server::echo();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "me:secret\n").expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let (_far, mut near, proxy) = open_tunnel(&["--socks-auth", path]);
    let mut client = connect(&proxy);
    client.write_all(b"\x05\x01\x00").expect("room");
    let mut method = [0; 2];
    client.read_exact(&mut method).expect("a method");
    assert_eq!(method, [5, 0xff]);
    near.await_log("offers no user name and password");
    let mut client = connect(&proxy);
    client
        .write_all(b"\x05\x01\x02\x01\x02me\x06secret")
        .expect("room");
    client
        .write_all(&socks5_request(&server.address))
        .expect("room");
    let mut replies = [0; 14];
    client.read_exact(&mut replies).expect("replies");
    assert_eq!(replies[..6], [5, 2, 1, 0, 5, 0]);
    round_trip(&client, b"hello");

    let module = built("plain");
    fs::write(file.path(), "nobody\n").expect("a file");
    let dial = [
        "dial",
        "--module",
        &module,
        "--socks",
        "127.0.0.1:0",
        "--socks-auth",
        path,
    ];
    Watm::run(&dial).failure(&["USER:PASSWORD", "--socks-auth"]);
}

#[test]
fn another_address_for_the_proxy_keeps_the_password_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("auth"), "me:secret\n").expect("a file");
    let module = built("plain");
    let text = format!(
        "[[tunnel]]\nname = 't'\nrole = 'dialer'\nmodule = '{module}'\nlisten = ['127.0.0.1:0']\n\
         socks = true\nsocks_auth = 'auth'\n"
    );
    fs::write(path("watm.toml"), text).expect("a file");
    let file = path("watm.toml");
    let file = file.to_str().expect("a path in UTF-8");
    for more in [
        &[][..],
        &["--socks", "127.0.0.1:0"],
        &["--listen", "127.0.0.1:0"],
    ] {
        let dial = ["dial", "--config-file", file];
        let (_near, proxy) = Watm::listening(&[&dial[..], more].concat());
        let mut client = connect(&proxy);
        client.write_all(b"\x05\x01\x00").expect("room");
        let mut method = [0; 2];
        client.read_exact(&mut method).expect("a method");
        assert_eq!(method, [5, 0xff], "{more:?}");
    }
}

#[test]
fn an_open_proxy_has_metrics() {
    let module = built("plain");
    let listen = [
        "listen",
        "--module",
        &module,
        "--listen",
        "127.0.0.1:0",
        "--open-proxy",
    ];
    let more = ["--allow", "127.0.0.0/8", "--metrics", "127.0.0.1:0", "-v"];
    let (mut far, _) = Watm::listening(&[&listen[..], &more].concat());
    let line = far.await_log("metrics at http://");
    let address = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let mut client = connect(address.expect("an address"));
    client
        .write_all(b"GET /readyz HTTP/1.1\r\n\r\n")
        .expect("room");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn clients_that_say_nothing_give_way_to_others() {
    let server = Server::echo();
    let (_far, _near, proxy) = open_tunnel(&["--max-connections", "2"]);
    let silent = [connect(&proxy), connect(&proxy)];
    let (client, code) = socks5(&proxy, &socks5_request(&server.address));
    assert_eq!(code, 0);
    round_trip(&client, b"hello");
    // One of them had to go.
    let gone = silent.iter().find(|stream| {
        stream.set_nonblocking(true).expect("an option");
        !matches!((&mut &**stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    assert!(gone.is_some());
}

#[test]
fn unix_sockets_stand_wherever_addresses_do() {
    use std::os::unix::net::{UnixListener, UnixStream};

    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = directory.path().join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let server = UnixListener::bind(path("server")).expect("a listener");
    let module = built("plain");
    let [server_at, middle, entrance] =
        ["server", "middle", "entrance"].map(|name| format!("unix:{}", path(name)));
    let listen = [
        "listen",
        "--module",
        &module,
        "--listen",
        &middle,
        "--forward",
        &server_at,
    ];
    let (_far, remote) = Watm::listening(&listen);
    assert_eq!(remote, middle);
    let dial = [
        "dial", "--module", &module, "--remote", &remote, "--listen", &entrance,
    ];
    let (mut near, address) = Watm::listening(&dial);
    assert_eq!(address, entrance);
    let mut client = UnixStream::connect(path("entrance")).expect("a connection");
    client.set_read_timeout(Some(LIMIT)).expect("a timeout");
    client.write_all(b"hello").expect("room");
    let (mut accepted, _) = server.accept().expect("a connection");
    accepted.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut bytes = [0; 5];
    accepted.read_exact(&mut bytes).expect("bytes");
    assert_eq!(&bytes, b"hello");
    accepted.write_all(b"world").expect("room");
    drop(accepted);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("an end");
    assert_eq!(rest, b"world");
    // The file of a command that has ended is replaced.
    near.signal(libc::SIGKILL);
    near.end();
    let (_near, address) = Watm::listening(&dial);
    assert_eq!(address, entrance);
    Watm::run(&dial).failure(&[&entrance, "in use"]);
}

#[test]
fn a_socket_that_the_command_was_started_with_is_listened_on() {
    use std::net::TcpListener;
    use std::os::fd::{AsFd, AsRawFd};

    let server = Server::echo();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    rustix::io::fcntl_setfd(listener.as_fd(), rustix::io::FdFlags::empty()).expect("a flag");
    let module = built("plain");
    let socket = format!("fd:{}", listener.as_raw_fd());
    let dial = [
        "dial",
        "--module",
        &module,
        "--remote",
        &server.address,
        "--listen",
        &socket,
    ];
    let (_near, address) = Watm::listening(&dial);
    assert_eq!(
        address,
        listener.local_addr().expect("an address").to_string()
    );
    drop(listener);
    round_trip(&connect(&address), b"hello");
    let dial = [
        "dial",
        "--module",
        &module,
        "--remote",
        &server.address,
        "--listen",
        "fd:web",
    ];
    Watm::run(&dial).failure(&["fd:web", "LISTEN_PID"]);
}

#[test]
fn a_server_behind_a_balancer_and_a_tunnel_knows_its_clients() {
    for (version, expected) in [
        ("v1", &b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 443\r\n"[..]),
        (
            "v2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\x13\x88\x01\xbb",
        ),
    ] {
        let (sender, received) = bounded(1);
        let server = Server::start(move |mut client| {
            let mut bytes = vec![0; expected.len() + 5];
            client.read_exact(&mut bytes).expect("a header and bytes");
            client.write_all(b"world").expect("room");
            let _ = sender.send(bytes);
        });
        let module = built("plain");
        let listen = [
            "listen",
            "--module",
            &module,
            "--listen",
            "127.0.0.1:0",
            "--forward",
        ];
        let more = [
            &server.address,
            "--proxy-protocol",
            "--send-proxy-protocol",
            version,
            "-v",
        ];
        let (mut far, address) = Watm::listening(&[&listen[..], &more].concat());
        let mut client = connect(&address);
        client
            .write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 443\r\nhello")
            .expect("room");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"world");
        let bytes = received.recv_timeout(LIMIT).expect("bytes");
        assert_eq!(bytes, [expected, b"hello"].concat());
        far.await_log("client 192.0.2.7:5000");
        let mut stranger = connect(&address);
        stranger.write_all(b"hello without a header").expect("room");
        assert!(!matches!(stranger.read(&mut [0]), Ok(1..)));
        far.await_log("it has sent no PROXY header");
    }
}

#[test]
fn options_that_make_no_sense_together_are_refused() {
    let module = built("plain");
    let dial = ["dial", "--module", &module, "--remote", "127.0.0.1:1"];
    let listen = ["listen", "--module", &module, "--listen", "127.0.0.1:0"];
    for (args, part) in [
        (
            [
                &dial[..],
                &["--socks", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
            ]
            .concat(),
            "--socks",
        ),
        ([&dial[..], &["--socks-auth", "file"]].concat(), "--socks"),
        ([&dial[..], &["--proxy-protocol"]].concat(), "--listen"),
        ([&listen[..], &["--open-proxy"]].concat(), "--allow"),
        (
            [
                &listen[..],
                &["--open-proxy", "--forward", "h:1", "--allow", "*"],
            ]
            .concat(),
            "--forward",
        ),
        (
            [&listen[..], &["--forward", "h:1", "--deny", "10.0.0.0/8"]].concat(),
            "--open-proxy",
        ),
        (
            [&listen[..], &["--send-proxy-protocol", "v2"]].concat(),
            "--forward",
        ),
        (
            [
                &listen[..],
                &["--forward", "h:1", "--send-proxy-protocol", "v3"],
            ]
            .concat(),
            "v1 and v2",
        ),
        (
            [&listen[..], &["--forward", "unix:/"]].concat(),
            "unix:/PATH",
        ),
    ] {
        let ended = Watm::run(&args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(part), "{args:?}: {ended:?}");
    }
}
