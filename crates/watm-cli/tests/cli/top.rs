//! `watm top` without a terminal, and the page that it reads. Its screen is tried in `tests/plugins`.

use crate::daemon::{Config, Daemon, page, text, tunnel};
use crate::peers::{Server, connect, free_address, round_trip};
use crate::process::{Watm, built};

/// A daemon with two tunnels, of which one goes through the other, and its monitor.
fn daemon(metrics: impl FnOnce(&Config) -> String) -> (Config, Daemon, String, Server) {
    let server = Server::echo();
    let lines = format!("forward = '{}'", server.address);
    let config = Config::new(&tunnel("exit", "listener", &built("plain"), &lines));
    let address = metrics(&config);
    let mut daemon = Daemon::start(&config, 1, &["--metrics", &address]);
    let exit = daemon.address("exit").to_owned();
    config.write(
        &(tunnel("exit", "listener", &built("plain"), &lines)
            + &tunnel(
                "web",
                "dialer",
                &built("plain"),
                &format!("remote = '{exit}'"),
            )),
    );
    daemon.reload();
    daemon.read_addresses(1);
    (config, daemon, address, server)
}

#[test]
fn tunnels_and_connections_are_printed_once_without_a_terminal() {
    let (_config, daemon, address, _server) =
        daemon(|config| format!("unix:{}", text(&config.path("status.sock"))));
    let client = connect(daemon.address("web"));
    round_trip(&client, b"hello");
    let own = client.local_addr().expect("an address").to_string();
    for options in [&[][..], &["--once"]] {
        let ended = Watm::run(&[&["top", &address], options].concat());
        ended.success();
        for part in [
            "exit",
            "web",
            "dialer",
            "up",
            daemon.address("web"),
            &own,
            "open",
        ] {
            assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
        }
    }
    let ended = Watm::run(&["top", &address, "--json"]);
    ended.success();
    let status: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(status["process"], daemon.watm.id());
    let connections = status["connections"].as_array().expect("a list");
    let of_client = connections.iter().find(|found| found["client"] == own);
    let of_client = of_client.expect("the client");
    assert_eq!(
        (&of_client["from_client"], &of_client["to_client"]),
        (&5.into(), &5.into())
    );
    drop(client);
    daemon.end();
}

#[test]
fn over_tcp_no_client_is_named() {
    let (_config, daemon, address, _server) = daemon(|_| free_address().address);
    let client = connect(daemon.address("web"));
    round_trip(&client, b"hello");
    let own = client.local_addr().expect("an address").to_string();
    let (code, body) = page(&address, "/status");
    assert_eq!(code, 200);
    assert!(
        body.contains("\"connections\":null") && !body.contains(&own),
        "{body}"
    );
    let ended = Watm::run(&["top", &address]);
    ended.success();
    assert!(
        ended.stdout.contains("web") && !ended.stdout.contains(&own),
        "{}",
        ended.stdout
    );
    drop(client);
    daemon.end();
}

#[test]
fn a_wrong_address_is_a_failure_that_says_what_to_do() {
    let free = free_address().address;
    Watm::run(&["top", &free]).failure(&[
        &format!("nothing to watch at {free}"),
        "it does not answer",
        "--metrics ADDR",
    ]);
    // It sends back what it is sent.
    let server = Server::echo();
    Watm::run(&["top", &server.address]).failure(&["what answers there is not", "--metrics ADDR"]);
    let ended = Watm::run(&["top", "127.0.0.1:1", "--interval", "1ms"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("100ms to 1h"), "{ended:?}");
}
