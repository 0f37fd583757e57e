use std::io;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What a client of a proxy has seen, and what it wants in the end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Waits,
    /// The target, what goes in front of its bytes, and what it has sent too early.
    Carried(String, Vec<u8>, Vec<u8>),
    Refused(String),
}

/// Gives a proxy the bytes of a client, which arrive in pieces of this length. Returns what the client
/// is told, what becomes of it, and its greeting.
fn talk(proxy: &ProxyServer, bytes: &[u8], piece: usize) -> (Vec<u8>, End, Box<dyn Greeting>) {
    let mut greeting = proxy.greet(None);
    let (mut told, mut taken, mut come) = (Vec::new(), 0, 0);
    loop {
        let step = match come {
            0 => GreetingStep::More,
            come => greeting.advance(&bytes[taken..come]),
        };
        match step {
            GreetingStep::More if come == bytes.len() => return (told, End::Waits, greeting),
            GreetingStep::More => come = (come + piece).min(bytes.len()),
            GreetingStep::Say { consumed, bytes } => {
                taken += consumed;
                told.extend_from_slice(&bytes);
                if taken == come && come == bytes.len() {
                    continue;
                }
            }
            GreetingStep::Carry { consumed, request } => {
                let target = request.target.map(|target| target.as_str().to_owned());
                let rest = bytes[taken + consumed..].to_vec();
                let end = End::Carried(target.unwrap_or_default(), request.first, rest);
                return (told, end, greeting);
            }
            GreetingStep::Refuse { bytes, reason } => {
                told.extend_from_slice(&bytes);
                return (told, End::Refused(reason), greeting);
            }
        }
    }
}

/// The same for pieces of each length.
fn talked(proxy: &ProxyServer, bytes: &[u8]) -> (Vec<u8>, End, Box<dyn Greeting>) {
    let (told, end, greeting) = talk(proxy, bytes, bytes.len());
    for piece in 1..bytes.len() {
        let (told_then, end_then, _) = talk(proxy, bytes, piece);
        assert_eq!(
            (&told_then, &end_then),
            (&told, &end),
            "in pieces of {piece}"
        );
    }
    (told, end, greeting)
}

fn carried(target: &str, rest: &[u8]) -> End {
    End::Carried(target.to_owned(), Vec::new(), rest.to_vec())
}

fn refused_dial(kind: io::ErrorKind) -> DialError {
    DialError::Connect {
        address: "h:1".into(),
        source: kind.into(),
    }
}

const NAMED: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb";

#[test]
fn a_client_of_socks5_is_carried_to_what_it_names() {
    let proxy = ProxyServer::new();
    for (request, target) in [
        (NAMED, "example.com:443"),
        (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "192.0.2.1:80"),
        (
            b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
            "[::1]:80",
        ),
    ] {
        let bytes = [b"\x05\x02\x00\x01", request, b"too early"].concat();
        let (told, end, mut greeting) = talked(&proxy, &bytes);
        assert_eq!(told, [5, 0]);
        assert_eq!(end, carried(target, b"too early"));
        assert_eq!(greeting.answer(Ok(())), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn a_client_learns_why_it_is_not_connected() {
    let timeout = DialError::TimedOut {
        after: Duration::from_secs(1),
        connecting: true,
    };
    let denied = DialError::Denied {
        address: "h:1".into(),
    };
    let refused = refused_dial(io::ErrorKind::ConnectionRefused);
    let [socks5, socks4, http] = [
        [b"\x05\x01\x00", NAMED].concat(),
        b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00".to_vec(),
        b"CONNECT h:1 HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let proxy = ProxyServer::new();
    for (error, code, status) in [(timeout, 6, "504"), (denied, 2, "403"), (refused, 5, "502")] {
        let (_, _, mut greeting) = talk(&proxy, &socks5, 100);
        assert_eq!(greeting.answer(Err(&error))[..2], [5, code]);
        let (_, _, mut greeting) = talk(&proxy, &socks4, 100);
        assert_eq!(greeting.answer(Err(&error))[..2], [0, 91]);
        let (_, _, mut greeting) = talk(&proxy, &http, 100);
        let answer = String::from_utf8(greeting.answer(Err(&error))).expect("text");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[test]
fn a_client_of_socks4_names_an_address_or_with_4a_a_name() {
    let proxy = ProxyServer::new();
    let (told, end, mut greeting) = talked(&proxy, b"\x04\x01\x00\x50\xc0\x00\x02\x01me\0early");
    assert_eq!((told.len(), end), (0, carried("192.0.2.1:80", b"early")));
    assert_eq!(greeting.answer(Ok(())), [0, 90, 0, 0, 0, 0, 0, 0]);
    let (_, end, _) = talked(&proxy, b"\x04\x01\x01\xbb\0\0\0\x07\0example.com\0early");
    assert_eq!(end, carried("example.com:443", b"early"));
    let (told, end, _) = talked(&proxy, b"\x04\x02\x01\xbb\0\0\0\x07\0example.com\0");
    assert_eq!(told[..2], [0, 91], "it asks to be connected to: {end:?}");
}

#[test]
fn a_client_of_http_asks_for_a_connection_and_nothing_else() {
    let proxy = ProxyServer::new();
    let head = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n\u{1}";
    let (told, end, mut greeting) = talked(&proxy, head.as_bytes());
    assert_eq!((told.len(), end), (0, carried("example.com:443", b"\x01")));
    let answer = String::from_utf8(greeting.answer(Ok(()))).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"));
    assert!(
        !answer.to_ascii_lowercase().contains("content-length"),
        "{answer}"
    );
    for (head, status) in [
        ("GET http://example.com/ HTTP/1.1\r\n\r\n", "405"),
        ("CONNECT example.com HTTP/1.1\r\n\r\n", "400"),
        ("CONNECT a b HTTP/1.1\r\n\r\n", "400"),
        ("\u{0}\u{1}\r\n\r\n", "400"),
    ] {
        let (told, end, _) = talked(&proxy, head.as_bytes());
        let told = String::from_utf8(told).expect("text");
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {told}"
        );
        assert!(matches!(end, End::Refused(_)), "{head}");
    }
}

#[test]
fn a_password_lets_in_whoever_knows_it_and_nobody_else() {
    let proxy = ProxyServer::new().credentials("me", "pass");
    let with = |user: &str, password: &str| {
        let [user_len, password_len] = [user, password].map(|text| text.len() as u8);
        let mut bytes = vec![5, 2, 0, 2, 1, user_len];
        bytes.extend_from_slice(user.as_bytes());
        bytes.push(password_len);
        bytes.extend_from_slice(password.as_bytes());
        bytes.extend_from_slice(NAMED);
        bytes
    };
    let (told, end, _) = talked(&proxy, &with("me", "pass"));
    assert_eq!(
        (told, end),
        (vec![5, 2, 1, 0], carried("example.com:443", b""))
    );
    for (user, password) in [("me", "Pass"), ("you", "pass"), ("mep", "ass"), ("", "")] {
        let (told, end, _) = talked(&proxy, &with(user, password));
        assert_eq!(told, [5, 2, 1, 1], "{user}:{password}");
        assert!(matches!(end, End::Refused(_)));
    }
    let (told, ..) = talked(&proxy, &[b"\x05\x01\x00", NAMED].concat());
    assert_eq!(told, [5, 0xff]);
    let (told, ..) = talked(&proxy, b"\x04\x01\x00\x50\xc0\x00\x02\x01me\0");
    assert_eq!(told[..2], [0, 93]);
    for (fields, is_admitted) in [
        ("Proxy-Authorization: Basic bWU6cGFzcw==\r\n", true),
        ("proxy-authorization: basic bWU6cGFzcw==\r\n", true),
        ("Proxy-Authorization: Basic bWU6cGFzcv==\r\n", false),
        ("Proxy-Authorization: Basic eW91OnBhc3M=\r\n", false),
        ("Proxy-Authorization: Bearer bWU6cGFzcw==\r\n", false),
        ("", false),
    ] {
        let head = format!("CONNECT h:1 HTTP/1.1\r\n{fields}\r\n");
        let (told, end, _) = talked(&proxy, head.as_bytes());
        assert_eq!(end == carried("h:1", b""), is_admitted, "{fields}");
        let told = String::from_utf8(told).expect("text");
        let demands = told.contains("407 ") && told.contains("Proxy-Authenticate: Basic");
        assert_eq!(demands, !is_admitted, "{fields}");
    }
}

#[test]
fn what_a_client_says_of_itself_can_decide() {
    let proxy = ProxyServer::new().only_socks5().decide(|request| {
        let (user, password) = request.credentials.unwrap_or_default();
        match user {
            b"" => Err(ProxyRefusal("who are you?".into())),
            _ => Ok(PlainRequest::to(request.target).first([user, password].concat())),
        }
    });
    let bytes = [b"\x05\x02\x00\x02\x01\x01a\x02bc", NAMED].concat();
    let (_, end, _) = talked(&proxy, &bytes);
    let target = "example.com:443".to_owned();
    assert_eq!(end, End::Carried(target, b"abc".to_vec(), Vec::new()));
    let (told, end, _) = talked(&proxy, &[b"\x05\x01\x00", NAMED].concat());
    assert_eq!(told[..4], [5, 0, 5, 2]);
    assert_eq!(end, End::Refused("who are you?".into()));
    let (told, end, _) = talked(&proxy, b"CONNECT h:1 HTTP/1.1\r\n\r\n");
    assert!(told.is_empty() && matches!(end, End::Refused(_)));
}

#[test]
fn the_target_can_go_in_front_of_the_bytes() {
    let bytes = [b"\x05\x01\x00", NAMED].concat();
    let proxy = ProxyServer::new().target_in_front("server:1");
    let (_, end, _) = talked(&proxy, &bytes);
    let address = NAMED[3..].to_vec();
    assert_eq!(
        end,
        End::Carried("server:1".into(), address.clone(), Vec::new())
    );
    let (_, end, _) = talked(&ProxyServer::new().only_in_front(), &bytes);
    assert_eq!(end, End::Carried(String::new(), address, Vec::new()));
}

#[test]
fn the_password_can_be_in_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let read = |text: &str| {
        std::fs::write(file.path(), text).expect("a file");
        ProxyServer::new().credentials_file(file.path())
    };
    let proxy = read("me:pa:ss\r\nsomething else").expect("a line");
    let bytes = [&b"\x05\x01\x02\x01\x02me\x05pa:ss"[..], NAMED].concat();
    assert!(matches!(talk(&proxy, &bytes, 100).1, End::Carried(..)));
    let long = format!("me:{}", "x".repeat(256));
    for text in ["", "me", ":x", "me:", &long] {
        let error = read(text).expect_err(text);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_a_client_sends_no_more_is_consumed_than_has_come(
        start in 0_usize..6,
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        piece in 1_usize..64,
    ) {
        let start: &[u8] = [
            &b""[..], b"\x05\x01\x00\x05", b"\x05\x01\x02\x01", b"\x04\x01", b"CONNECT ", b"\x05",
        ][start];
        let bytes = [start, &bytes].concat();
        // It checks that by what it slices.
        let _ = talk(&ProxyServer::new(), &bytes, piece);
        let _ = talk(&ProxyServer::new().credentials("a", "b"), &bytes, piece);
    }
}
