//! `watm top` for programs and without a terminal: what it prints, and what is told of a process that it
//! cannot look at. `tests/top` looks at it in a terminal.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::daemon::page;
use crate::peers::{Server, connect, free_address, round_trip};
use crate::process::{Ended, Watm, built};

/// A `watm listen` with a connection, which shows itself on a Unix socket.
struct Watched {
    _directory: TempDir,
    _watm: Watm,
    _server: Server,
    metrics: String,
    path: String,
    client: std::net::TcpStream,
}

fn watched() -> Watched {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("metrics");
    // What is left of a process that was killed.
    drop(UnixListener::bind(&path).expect("a socket"));
    let path = path.to_str().expect("UTF-8").to_owned();
    let metrics = format!("unix:{path}");
    let server = Server::echo();
    let more = ["--forward", &server.address, "--metrics", &metrics];
    let (watm, entrance) = Watm::serving("listen", &built("plain"), &more);
    let client = connect(&entrance);
    round_trip(&client, b"hello");
    Watched {
        _directory: directory,
        _watm: watm,
        _server: server,
        metrics,
        path,
        client,
    }
}

fn json(args: &[&str]) -> serde_json::Value {
    let ended = Watm::run(&[&["top", "--json"], args].concat());
    ended.success();
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn once_prints_both_tables_as_plain_text() {
    let watched = watched();
    for once in [&["--once"][..], &[]] {
        let args = ["top", &watched.metrics, "--interval", "100ms"];
        let ended = Watm::run(&[&args, once].concat());
        ended.success();
        let text = &ended.stdout;
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains(env!("CARGO_PKG_VERSION")), "{text}");
        assert!(lines[1].starts_with("1 connection, up 0 B/s"), "{text}");
        assert!(lines[3].starts_with("TUNNEL"), "{text}");
        assert!(lines[4].starts_with("listener"), "{text}");
        assert!(lines[4].contains("1/4096"), "{text}");
        let client = watched.client.local_addr().expect("an address");
        assert!(lines[7].contains(&client.to_string()), "{text}");
        assert!(
            lines[7].contains("open") && lines[7].contains("5 B"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn json_has_the_process_its_tunnels_and_its_connections() {
    let watched = watched();
    let all = json(&[&watched.metrics]);
    let process = u64::from(watched._watm.id());
    assert_eq!(all["pid"], process);
    assert_eq!(all["watm"], env!("CARGO_PKG_VERSION"));
    let tunnel = &all["tunnels"][0];
    assert_eq!(tunnel["role"], "listener");
    assert_eq!(tunnel["module"]["name"], "plain");
    assert_eq!(
        (&tunnel["connections"], &tunnel["accepted"]),
        (&1.into(), &1.into())
    );
    let connection = &all["connections"][0];
    let client = watched.client.local_addr().expect("an address");
    assert_eq!(connection["client"], client.to_string());
    assert_eq!(connection["state"], "open");
    assert_eq!(connection["client_received"], 5);
    assert_eq!(connection["remote"], watched._server.address);
}

#[test]
fn a_port_shows_no_clients() {
    let server = Server::echo();
    let metrics = free_address().address;
    let more = ["--forward", &server.address, "--metrics", &metrics];
    let (_watm, entrance) = Watm::serving("listen", &built("plain"), &more);
    let client = connect(&entrance);
    round_trip(&client, b"hello");
    let (status, text) = page(&metrics, "/connections");
    assert_eq!(status, 403);
    assert!(text.contains("over a Unix socket only"), "{text}");
    let (status, tunnels) = page(&metrics, "/tunnels");
    assert_eq!(status, 200);
    let client = client.local_addr().expect("an address").to_string();
    assert!(!tunnels.contains(&client), "{tunnels}");
    // The address as the log has it.
    let all = json(&[&format!("http://{metrics}/metrics")]);
    assert!(all["connections"].is_null(), "{all}");
    let ended = Watm::run(&["top", &metrics, "--once", "--interval", "100ms"]);
    ended.success();
    assert!(
        ended.stdout.contains("over a Unix socket only"),
        "{ended:?}"
    );
}

#[test]
fn the_socket_has_the_rights_of_a_file_and_all_pages() {
    let watched = watched();
    let mode = std::fs::metadata(&watched.path).expect("a file");
    let mode = mode.permissions().mode();
    assert_eq!(mode & 0o002, 0, "{mode:o}: others may not write");
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/tunnels",
        "/connections",
        "/",
    ] {
        let mut client = UnixStream::connect(&watched.path).expect("it listens");
        write!(client, "GET {path} HTTP/1.1\r\n\r\n").expect("it is sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    assert!(Path::new(&watched.path).exists());
}

#[test]
fn what_does_not_answer_or_is_no_watm_is_an_error_with_a_hint() {
    let failed = |ended: Ended, what: &str| {
        ended.failure(&[what, "watm: hint: "]);
        assert_eq!(ended.stdout, "");
    };
    let nobody = free_address().address;
    for more in [&[][..], &["--once"], &["--json"]] {
        let args = [&["top", &nobody], more].concat();
        failed(Watm::run(&args), "does not answer");
    }
    failed(
        Watm::run(&["top", "unix:/nonexistent/metrics"]),
        "does not answer",
    );
    let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = other.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for mut client in other.incoming().flatten() {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    failed(Watm::run(&["top", &address]), "is no watm");
    for bad in [
        &["top", "nothing"][..],
        &["top", "fd:3"],
        &["top", ":1", "--interval", "1ms"],
        &["top", ":1", "--once", "--json"],
    ] {
        let ended = Watm::run(bad);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{ended:?}");
    }
}
