//! Modules from toolchains other than those of the committed guests: standard Go with `crypto/tls`,
//! tokio, Zig. `tests/toolchains` builds them and runs these tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use watm_tests::{
    Carrier, Pair, Place, accept_one, alone, alternate, built, expect_end, listener, of_toolchain,
    processor_time, read_vec, reset, resident_bytes,
};
use watm_wasmer::{Conn, Dialer, Outcome, TransportModule};

const PLACES: [Place; 3] = [Place::Dialer, Place::Listener, Place::Relay];

fn carries_any_load(name: &str) {
    for place in PLACES {
        Carrier {
            module: &of_toolchain(name),
            config: None,
            buffer: 16_384,
            reverses: false,
            half_closes: true,
        }
        .carry_any_load(place);
    }
}

#[test]
fn tokio_carries_any_load_in_every_role() {
    carries_any_load("tokio");
}

#[test]
fn zig_carries_any_load_in_every_role() {
    carries_any_load("zig_plain");
}

#[test]
fn every_toolchain_ends_when_it_is_told_to_and_passes_resets_on() {
    for module in [
        built("go_plain"),
        of_toolchain("tokio"),
        of_toolchain("zig_plain"),
    ] {
        let pair = Pair::dial(&module);
        alternate(&pair.conn, &pair.peer, 1000, |_| {});
        // It would not end by itself in this time: control ends it.
        let end = pair.conn.close();
        assert!(
            matches!(end, Ok(Outcome::Cancelled | Outcome::Completed)),
            "{module:?}: {end:?}"
        );

        let pair = Pair::dial(&module);
        (&pair.peer).write_all(b"the last").expect("room");
        assert_eq!(read_vec(&pair.conn, 8), b"the last");
        reset(pair.peer);
        (&pair.conn).read(&mut [0]).expect_err("no end");
        pair.conn.close().expect_err("it failed");
    }
}

/// Idle connections, each of which has carried some data.
fn idle(module: &TransportModule, count: usize) -> Vec<(Conn, std::net::TcpStream)> {
    let (remote, address) = listener();
    let dialer = Dialer::builder(module).build().expect("a dialer");
    let pairs: Vec<_> = (0..count)
        .map(|_| {
            let conn = dialer.dial(&address).expect("a connection");
            (conn, accept_one(&remote))
        })
        .collect();
    for (conn, peer) in &pairs {
        alternate(conn, peer, 100, |_| {});
    }
    pairs
}

/// What 100 idle connections of a module take.
#[expect(clippy::print_stdout, reason = "shown to whoever runs this")]
fn idle_costs_next_to_nothing(name: &str, module: &TransportModule) {
    const COUNT: usize = 100;
    let before = resident_bytes();
    let pairs = idle(module, COUNT);
    let memory = resident_bytes().saturating_sub(before) / COUNT as u64;
    // Measures the time in which nothing happens, once everything is at rest.
    std::thread::sleep(Duration::from_secs(2));
    let (started, busy) = (Instant::now(), processor_time());
    std::thread::sleep(Duration::from_secs(3));
    let busy = processor_time() - busy;
    let share = busy.as_secs_f64() / started.elapsed().as_secs_f64();
    println!(
        "{name}: {COUNT} idle connections take {:.2} % of a core and {} KiB each",
        share * 100.0,
        memory / 1024
    );
    assert!(share < 0.04, "{name}: {share} of a core");
    drop(pairs);
}

#[test]
fn idle_connections_of_standard_go_cost_next_to_nothing() {
    alone(|| idle_costs_next_to_nothing("standard Go", &built("go_plain")));
}

#[test]
fn idle_connections_of_tokio_cost_next_to_nothing() {
    alone(|| idle_costs_next_to_nothing("tokio", &of_toolchain("tokio")));
}

#[test]
fn idle_connections_of_zig_cost_next_to_nothing() {
    alone(|| idle_costs_next_to_nothing("Zig", &of_toolchain("zig_plain")));
}

/// `openssl s_server` with a self-signed certificate. It sends back each line reversed.
struct TlsServer {
    child: Child,
    address: String,
    certificate: String,
    _directory: tempfile::TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (key, certificate) = (path("key.pem"), path("certificate.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .output();
        let made = made.expect("openssl, of the package of that name");
        assert!(made.status.success(), "{made:?}");
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-key",
                &key,
                "-cert",
                &certificate,
                "-rev",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let address = lines
            .find_map(|line| {
                line.expect("text")
                    .strip_prefix("ACCEPT ")
                    .map(str::to_owned)
            })
            .expect("the address");
        // Nobody reads the rest of its output, which is short.
        std::thread::spawn(move || lines.count());
        Self {
            certificate: std::fs::read_to_string(&certificate).expect("a certificate"),
            child,
            address,
            _directory: directory,
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tls_of_standard_go_talks_to_openssl() {
    let server = TlsServer::start();
    let config = |name: &str| format!("{name}\n{}", server.certificate);
    let module = of_toolchain("go_tls");
    let dialer = Dialer::builder(&module).config(config("localhost"));
    let dialer = dialer.build().expect("a dialer");
    let conn = dialer.dial(&server.address).expect("a handshake");
    let lines: Vec<String> = (0..2000).map(|n| format!("line {n} of many")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in &lines {
                (&conn)
                    .write_all(format!("{line}\n").as_bytes())
                    .expect("room");
            }
        });
        for (line, answer) in lines.iter().zip(BufReader::new(&conn).lines()) {
            let expected: String = line.chars().rev().collect();
            assert_eq!(answer.expect("an answer"), expected);
        }
    });
    conn.shutdown(Shutdown::Write).expect("a shutdown");
    expect_end(&conn);
    conn.close().expect("a good end");

    // The certificate is for another name.
    let dialer = Dialer::builder(&module).config(config("example.org"));
    let dialer = dialer.build().expect("a dialer");
    dialer.dial(&server.address).expect_err("not that server");
}
