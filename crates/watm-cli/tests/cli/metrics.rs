//! `--metrics`: what it counts, what the documents say of that, health, and clients of the port that
//! mean no good.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::daemon::{Config, Daemon, page, tunnel};
use crate::peers::{Server, connect, free_address, round_trip};
use crate::process::{LIMIT, Watm, built, wat};

/// A free address for metrics. Nobody else asks for this port.
fn address() -> String {
    free_address().address
}

/// Waits until the page has this line.
#[track_caller]
fn await_line(metrics: &str, line: &str) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, body) = page(metrics, "/metrics");
        if body.lines().any(|found| found == line) {
            return body;
        }
        assert!(Instant::now() < deadline, "{line:?} in\n{body}");
    }
}

/// Two tunnels of which one goes through the other, with connections of all kinds.
fn busy() -> (Config, Daemon, String, Server) {
    let server = Server::echo();
    let timing = "settings = { timing = true }";
    let exit = format!("forward = '{}'\n{timing}", server.address);
    let refused = format!("remote = '{}'", address());
    let config = Config::new(
        &(tunnel("exit", "listener", &built("plain"), &exit)
            + &tunnel("nowhere", "dialer", &built("plain"), &refused)),
    );
    let metrics = address();
    let mut daemon = Daemon::start(&config, 2, &["--metrics", &metrics]);
    let entrance = format!("remote = '{}'", daemon.address("exit"));
    let more = tunnel("entrance", "relay", &built("plain"), &entrance);
    config.write(&(std::fs::read_to_string(config.file()).expect("the file") + &more));
    daemon.reload_with([2, 0, 1, 0]);
    daemon.read_addresses(1);
    round_trip(&daemon.connect("entrance"), b"hello");
    let _ = daemon.connect("nowhere").read(&mut [0]);
    (config, daemon, metrics, server)
}

#[test]
fn connections_are_counted_for_each_tunnel_while_they_go_on_and_when_they_end() {
    let (_config, daemon, metrics, _server) = busy();
    await_line(
        &metrics,
        "watm_connections_ended_total{module=\"plain\",role=\"relay\",tunnel=\"entrance\",\
         code=\"completed\"} 1",
    );
    await_line(
        &metrics,
        "watm_connections_failed_total{module=\"plain\",role=\"dialer\",tunnel=\"nowhere\",\
         code=\"connect\"} 1",
    );
    let open = daemon.connect("exit");
    round_trip(&open, b"hello");
    // Its bytes count while it is open.
    let body = await_line(
        &metrics,
        "watm_tunnel_network_received_bytes_total{tunnel=\"exit\",role=\"listener\"} 10",
    );
    for line in [
        "watm_tunnel_connections{tunnel=\"exit\",role=\"listener\"} 1",
        "watm_tunnel_accepted_total{tunnel=\"exit\",role=\"listener\"} 2",
        "watm_tunnel_refused_total{tunnel=\"nowhere\",role=\"dialer\"} 1",
        "watm_tunnel_up{tunnel=\"nowhere\",role=\"dialer\"} 1",
        "watm_reloads_total{result=\"done\"} 1",
        "watm_connect_seconds_count{module=\"plain\",role=\"relay\",tunnel=\"entrance\"} 1",
        "watm_guest_seconds_count{module=\"plain\",role=\"listener\",tunnel=\"exit\"} 1",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} in\n{body}");
    }
    // No label comes from a peer.
    let client = open.local_addr().expect("an address").port().to_string();
    assert!(!body.contains(&format!(":{client}")), "{body}");
    daemon.end();
}

#[test]
fn the_numbers_of_a_tunnel_never_fall_when_it_changes_or_goes() {
    let server = Server::echo();
    let one = |more: &str| {
        let lines = format!("remote = '{}'\nsettings = {{ {more} }}", server.address);
        tunnel("one", "dialer", &built("plain"), &lines)
    };
    let two = one("").replace("'one'", "'two'");
    let config = Config::new(&(one("") + &two));
    let metrics = address();
    let mut daemon = Daemon::start(&config, 2, &["--metrics", &metrics]);
    let accepted = |count: u32| {
        let of = "{tunnel=\"one\",role=\"dialer\"}";
        await_line(&metrics, &format!("watm_tunnel_accepted_total{of} {count}"))
    };
    round_trip(&daemon.connect("one"), b"hello");
    accepted(1);
    // Another server on the same socket.
    config.write(&(one("connection_limit = 7") + &two));
    daemon.reload_with([1, 1, 0, 0]);
    round_trip(&daemon.connect("one"), b"hello");
    accepted(2);
    config.write(&two);
    daemon.reload_with([1, 0, 0, 1]);
    await_line(&metrics, "watm_tunnel_up{tunnel=\"one\",role=\"dialer\"} 0");
    accepted(2);
    daemon.end();
}

/// The names of the metrics on the page, without what a histogram adds to them.
fn shown(body: &str) -> BTreeSet<String> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

/// All words in a text that are names of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("watm_") || word.starts_with("process_"));
    names
        .map(|name| {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            whole.unwrap_or(name).to_owned()
        })
        .collect()
}

#[test]
fn the_dashboard_and_the_document_name_the_metrics_that_there_are() {
    let (_config, daemon, metrics, _server) = busy();
    await_line(
        &metrics,
        "watm_connections_ended_total{module=\"plain\",role=\"listener\",tunnel=\"exit\",\
         code=\"completed\"} 1",
    );
    let (_, body) = page(&metrics, "/metrics");
    let shown = shown(&body);
    let dashboard = include_str!("../../../../docs/grafana-dashboard.json");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let mut used = BTreeSet::new();
    for panel in parsed["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            used.extend(named(target["expr"].as_str().expect("an expression")));
        }
    }
    assert!(used.len() > 20, "{used:?}");
    let unknown: Vec<_> = used.difference(&shown).collect();
    assert!(
        unknown.is_empty(),
        "the dashboard shows {unknown:?}, which there are not"
    );
    let document = include_str!("../../../../docs/operating.md");
    let is_metric = |line: &&str| {
        let mut kinds = ["| counter |", "| gauge |", "| histogram |"].into_iter();
        kinds.any(|kind| line.contains(kind))
    };
    let rows = document.lines().filter(is_metric);
    let listed = named(&rows.collect::<String>());
    assert_eq!(listed, shown, "the tables of docs/operating.md");
    daemon.end();
}

#[test]
fn health_and_readiness_say_how_the_process_is() {
    let server = Server::echo();
    let lines = format!(
        "remote = '{}'\nsettings = {{ close_grace = '1h' }}",
        server.address
    );
    let config = Config::new(&tunnel("one", "dialer", &wat("loop_start_worker"), &lines));
    let metrics = address();
    let mut daemon = Daemon::start(&config, 1, &["--metrics", &metrics, "-vv"]);
    assert_eq!(page(&metrics, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(page(&metrics, "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(page(&metrics, "/other").0, 404);
    let _client = daemon.connect("one");
    daemon.watm.await_log("dialled");
    daemon.watm.signal(libc::SIGTERM);
    daemon.watm.await_log("SIGTERM: ending");
    let deadline = Instant::now() + LIMIT;
    while page(&metrics, "/readyz") != (503, "ending\n".to_owned()) {
        assert!(Instant::now() < deadline, "it is still ready");
    }
    assert_eq!(page(&metrics, "/healthz").0, 200, "it still works");
}

#[test]
fn clients_that_are_slow_or_say_too_much_keep_nobody_out() {
    let server = Server::echo();
    let lines = format!("remote = '{}'", server.address);
    let config = Config::new(&tunnel("one", "dialer", &built("plain"), &lines));
    let metrics = address();
    let daemon = Daemon::start(&config, 1, &["--metrics", &metrics]);
    // They say nothing, or begin a request that they never end.
    let slow: Vec<TcpStream> = (0..100).map(|_| connect(&metrics)).collect();
    for mut client in &slow {
        // Those that gave way are reset.
        let _ = client.write_all(b"GET /metrics HT");
    }
    assert_eq!(page(&metrics, "/healthz").0, 200);
    let mut endless = connect(&metrics);
    let begin = endless
        .write_all(b"GET /")
        .and_then(|()| endless.write_all(&[b'x'; 9000]));
    begin.expect("room");
    let mut answer = [0; 12];
    endless.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 431");
    let mut post = connect(&metrics);
    post.write_all(b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
        .expect("room");
    let mut answer = String::new();
    post.read_to_string(&mut answer)
        .expect("an answer in order");
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("Allow: GET, HEAD"));
    // A client that never reads its answer.
    let deaf: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut client = connect(&metrics);
            client
                .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
                .expect("room");
            client
        })
        .collect();
    let (_, body) = page(&metrics, "/metrics");
    let open = body
        .lines()
        .find_map(|line| line.strip_prefix("process_open_fds "));
    let open: f64 = open.and_then(|open| open.parse().ok()).expect("a number");
    assert!(open < 90.0, "{open} descriptors are open");
    drop((slow, deaf));
    daemon.end();
}

#[test]
fn each_command_that_serves_has_metrics_and_one_that_does_not_says_so() {
    let server = Server::echo();
    let (plain, remote) = (built("plain"), &server.address);
    for (args, role) in [
        (
            &["dial", "--module", &plain, "--remote", remote][..],
            "dialer",
        ),
        (
            &["listen", "--module", &plain, "--forward", remote],
            "listener",
        ),
        (&["relay", "--module", &plain, "--remote", remote], "relay"),
    ] {
        let metrics = address();
        let more = ["--listen", "127.0.0.1:0", "--metrics", &metrics];
        let (mut watm, entrance) = Watm::listening(&[args, &more].concat());
        round_trip(&connect(&entrance), b"hello");
        await_line(
            &metrics,
            &format!(
                "watm_connections_ended_total{{module=\"plain\",role=\"{role}\",\
                 tunnel=\"{role}\",code=\"completed\"}} 1"
            ),
        );
        await_line(
            &metrics,
            &format!("watm_tunnel_accepted_total{{tunnel=\"{role}\",role=\"{role}\"}} 1"),
        );
        assert_eq!(page(&metrics, "/readyz").0, 200);
        watm.signal(libc::SIGTERM);
        watm.end().success();
    }
    let any = ["--metrics", "127.0.0.1:0"];
    let dial = [&["dial", "--module", &plain, "--remote", remote][..], &any].concat();
    Watm::run(&dial).failure_with(2, &["--metrics is for a command that serves", "--listen"]);
    let listen = ["listen", "--module", &plain, "--listen", "127.0.0.1:0"];
    let listen = [&listen[..], &any].concat();
    Watm::run(&listen).failure_with(2, &["--metrics is for a command that serves", "--forward"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("an address");
    let run = ["--listen", "127.0.0.1:0", "--metrics", &taken.1.to_string()];
    let dial = [&["dial", "--module", &plain, "--remote", remote][..], &run].concat();
    Watm::run(&dial).failure(&[&taken.1.to_string(), "another program"]);
}
