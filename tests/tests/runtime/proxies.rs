//! Upstream proxies: dials through SOCKS5 and HTTP proxies, and what is told when these refuse.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use watm_tests::{EchoServer, built, echo_messages, read_vec};
use watm_wasmer::{AddressPolicy, DialError, DialOptions, Dialer, FixedDialer, UpstreamProxy};

/// A proxy that reads a request of `len` bytes for each answer, connects to `remote` if there is one,
/// and moves bytes. Returns what it has read.
fn proxy(
    steps: Vec<(usize, Vec<u8>)>,
    remote: Option<String>,
) -> (String, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut asked = Vec::new();
        for (len, answer) in steps {
            asked.push(read_vec(&client, len));
            // Byte by byte, as a network may deliver it.
            for byte in answer {
                client.write_all(&[byte]).expect("it writes");
            }
        }
        if let Some(remote) = remote {
            let remote = TcpStream::connect(remote).expect("a connection");
            let (mut from, mut to) = (client.try_clone().expect("a copy"), &remote);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = remote.shutdown(std::net::Shutdown::Write);
                });
                let _ = std::io::copy(&mut &remote, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Write);
            });
        }
        asked
    });
    (address, serving)
}

fn dialer(url: &str) -> Dialer {
    let proxy: UpstreamProxy = url.parse().expect("a proxy");
    let dialer = Dialer::builder(&built("plain")).dial_hook(proxy);
    dialer.build().expect("a dialer")
}

/// The answer of a SOCKS5 proxy, with an IPv4 address.
fn answer(reply: u8) -> Vec<u8> {
    vec![5, reply, 0, 1, 127, 0, 0, 1, 0, 9]
}

/// The request of a SOCKS5 client to connect to a name.
fn request(name: &str, port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 3, name.len() as u8];
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    request
}

#[test]
fn a_name_is_left_to_a_socks5_proxy_and_bytes_pass() {
    let server = EchoServer::start();
    let expected = request("no.such.name.invalid", 443);
    let steps = vec![(3, vec![5, 0]), (expected.len(), answer(0))];
    let (address, serving) = proxy(steps, Some(server.address()));
    let dialer = dialer(&format!("socks5://{address}"));
    let conn = dialer
        .dial("no.such.name.invalid:443")
        .expect("a connection");
    echo_messages(&conn);
    conn.close().expect("a good end");
    assert_eq!(serving.join().expect("it ends"), [vec![5, 1, 0], expected]);
}

#[test]
fn credentials_are_given_to_a_socks5_proxy_that_asks() {
    let server = EchoServer::start();
    let remote = server.address();
    let login = b"\x01\x02me\x04p@ss".to_vec();
    for status in [0, 1] {
        let mut steps = vec![(4, vec![5, 2]), (login.len(), vec![1, status])];
        if status == 0 {
            steps.push((10, answer(0)));
        }
        let (address, serving) = proxy(steps, (status == 0).then(|| remote.clone()));
        let dialled = dialer(&format!("socks5://me:p%40ss@{address}")).dial(&remote);
        match dialled {
            Ok(conn) => {
                assert_eq!(conn.peer_addr().expect("an address").to_string(), remote);
                echo_messages(&conn);
            }
            Err(DialError::Connect { source, .. }) => {
                assert_eq!((status, source.kind()), (1, ErrorKind::PermissionDenied));
                assert!(
                    source.to_string().contains("refused the user name"),
                    "{source}"
                );
                assert!(!source.to_string().contains("p@ss"), "{source}");
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(serving.join().expect("it ends")[1], login);
    }
}

#[test]
fn what_a_socks5_proxy_answers_is_told() {
    for (steps, kind, text) in [
        (
            vec![(3, vec![5, 0]), (10, answer(5))],
            ErrorKind::ConnectionRefused,
            "refused",
        ),
        (
            vec![(3, vec![5, 0]), (10, answer(2))],
            ErrorKind::PermissionDenied,
            "does not allow",
        ),
        (
            vec![(3, vec![5, 0xff])],
            ErrorKind::PermissionDenied,
            "demands credentials",
        ),
        (
            vec![(3, b"HT".to_vec())],
            ErrorKind::InvalidData,
            "does not speak SOCKS5",
        ),
        (
            vec![(3, vec![5])],
            ErrorKind::ConnectionAborted,
            "closed the connection",
        ),
        (
            vec![(3, vec![5, 0]), (10, vec![5, 0, 0, 9])],
            ErrorKind::InvalidData,
            "unknown kind of address",
        ),
    ] {
        let (address, serving) = proxy(steps, None);
        match dialer(&format!("socks5://{address}"))
            .dial("192.0.2.1:443")
            .expect_err(text)
        {
            DialError::Connect { source, .. } => {
                assert_eq!(source.kind(), kind, "{source}");
                assert!(source.to_string().contains(text), "{source}");
                assert!(source.to_string().contains(&address), "{source}");
            }
            other => panic!("{other:?}"),
        }
        drop(serving.join().expect("it ends"));
    }
}

#[test]
fn an_http_proxy_is_asked_to_connect_and_what_follows_its_head_is_not_lost() {
    let expected = "CONNECT some.name:443 HTTP/1.1\r\nHost: some.name:443\r\n\
                    Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n";
    let reply = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nearly".to_vec();
    let (address, serving) = proxy(vec![(expected.len(), reply), (4, b"late".to_vec())], None);
    let dialer = dialer(&format!("http://me:p%40ss@{address}"));
    let mut conn = dialer.dial("some.name:443").expect("a connection");
    assert_eq!(read_vec(&conn, 5), b"early");
    conn.write_all(b"more").expect("it writes");
    assert_eq!(read_vec(&conn, 4), b"late");
    let asked = serving.join().expect("it ends");
    assert_eq!(asked, [expected.as_bytes().to_vec(), b"more".to_vec()]);
}

#[test]
fn what_an_http_proxy_answers_is_told() {
    let len = "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n".len();
    let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'a'; 20_000]].concat();
    for (reply, kind, text) in [
        (
            b"HTTP/1.1 407 No\r\n\r\n".to_vec(),
            ErrorKind::PermissionDenied,
            "credentials",
        ),
        (
            b"HTTP/1.1 403 No\r\n\r\n".to_vec(),
            ErrorKind::PermissionDenied,
            "does not allow",
        ),
        (
            b"HTTP/1.0 502 Bad Gateway\r\n\r\n".to_vec(),
            ErrorKind::Other,
            "502 Bad Gateway",
        ),
        (
            b"SSH-2.0-x\r\n\r\n".to_vec(),
            ErrorKind::InvalidData,
            "not one of HTTP",
        ),
        (
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            ErrorKind::ConnectionAborted,
            "closed",
        ),
        (long, ErrorKind::InvalidData, "too long"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let serving = std::thread::spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            drop(read_vec(&client, len));
            // The client may hang up on a head that is too long.
            let _ = (&client).write_all(&reply);
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = (&client).read(&mut [0; 1]);
        });
        match dialer(&format!("http://{address}"))
            .dial("192.0.2.1:443")
            .expect_err(text)
        {
            DialError::Connect { source, .. } => {
                assert_eq!(source.kind(), kind, "{source}");
                assert!(source.to_string().contains(text), "{source}");
            }
            other => panic!("{other:?}"),
        }
        serving.join().expect("it ends");
    }
}

#[test]
fn a_silent_proxy_costs_the_time_of_the_dial_and_no_more() {
    let (_silent, address) = watm_tests::listener();
    for scheme in ["socks5", "http"] {
        let options = DialOptions::new().timeout(Duration::from_millis(300));
        let error = dialer(&format!("{scheme}://{address}")).dial_with("192.0.2.1:443", options);
        let error = error.expect_err("it is silent");
        let is_so = matches!(&error, DialError::TimedOut { connecting, .. } if *connecting);
        assert!(is_so, "{error:?}");
    }
}

#[test]
fn an_address_that_the_module_chose_reaches_the_proxy_only_if_it_is_allowed() {
    let server = EchoServer::start();
    let remote = server.address();
    let (address, serving) = proxy(vec![(3, vec![5, 0]), (10, answer(0))], Some(remote.clone()));
    let fixed = |policy: AddressPolicy| {
        let proxy: UpstreamProxy = format!("socks5://{address}").parse().expect("a proxy");
        let dialer = FixedDialer::builder(&built("fixed")).policy(policy);
        let dialer = dialer.dial_hook(proxy).build().expect("a fixed dialer");
        dialer.dial_with(DialOptions::new().config(format!("tcp {remote}")))
    };
    let denied = fixed(AddressPolicy::deny_all()).expect_err("denied");
    assert!(matches!(denied, DialError::Denied { .. }), "{denied:?}");
    let allowing = AddressPolicy::deny_all().allow("127.0.0.1".parse().expect("an entry"));
    echo_messages(&fixed(allowing).expect("a connection"));
    drop(serving);
}
