use std::net::TcpListener;
use std::thread;

use super::*;

/// What a client says of a server that answers each request so, and then goes on with `after`.
fn asked(answer: &'static [u8], after: impl Fn(TcpStream) + Send + 'static) -> FetchError {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
            after(stream);
        }
    });
    let mut client = Client::new(&address.parse().expect("an address"));
    client.patience = Duration::from_millis(300);
    client.look().expect_err("it is no watm")
}

#[track_caller]
fn is_strange(error: &FetchError, what: &str) {
    let text = error.to_string();
    assert!(matches!(error, FetchError::Strange(..)), "{text}");
    assert!(text.contains(what), "{what:?} in {text:?}");
}

#[test]
fn what_is_no_watm_is_told_from_it() {
    let end = |_| {};
    for (answer, what) in [
        (
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
            "status 404",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            "/tunnels is not what was expected",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n{\"tunnels\":[]}",
            "missing field `watm`",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
            "breaks off",
        ),
        (b"HTTP/1.1 200 OK\r\nContent", "breaks off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not of HTTP/1"),
        (b"", "breaks off"),
    ] {
        is_strange(&asked(answer, end), what);
    }
}

#[test]
fn an_answer_has_a_limited_size_and_time() {
    let error = asked(b"HTTP/1.1 200 OK\r\n\r\n", |stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    assert!(matches!(error, FetchError::Slow(_)), "{error}");
    let error = asked(b"HTTP/1.1 200 OK\r\n\r\n", |mut stream| {
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    // The machine may be too slow to send that much in time.
    let is_limited =
        matches!(&error, FetchError::Slow(_)) || error.to_string().contains("larger than 16 MiB");
    assert!(is_limited, "{error}");
}

#[test]
fn nobody_at_an_address_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    for address in [
        "127.0.0.1:1",
        &format!("unix:{}/none", directory.path().display()),
    ] {
        let error = Client::new(&address.parse().expect("an address")).look();
        let error = error.expect_err("nobody is there");
        assert!(matches!(error, FetchError::Unreachable(..)), "{error}");
        assert!(error.to_string().contains(address), "{error}");
    }
}
