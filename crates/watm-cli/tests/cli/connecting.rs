//! Where the commands listen and what they connect to: several addresses, both families, zones.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::peers::{Server, connect, free_address, round_trip};
use crate::process::{Watm, built};

/// The port of an address.
fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

/// A server on the IPv6 loopback address, if there is one.
fn echo_on_ipv6() -> Option<Server> {
    let listener = TcpListener::bind("[::1]:0").ok()?;
    Some(Server::echo_on(listener))
}

/// Starts a command with `args` that listens on `count` addresses.
fn listening(args: &[&str], count: usize) -> (Watm, Vec<String>) {
    let (mut watm, first) = Watm::listening(args);
    let mut addresses = vec![first];
    while addresses.len() < count {
        let line = watm.stdout_line();
        let address = line
            .strip_prefix("listening ")
            .unwrap_or_else(|| panic!("{line:?}"));
        addresses.push(address.to_owned());
    }
    (watm, addresses)
}

#[test]
fn every_command_listens_on_several_addresses_and_announces_each() {
    let (server, module) = (Server::echo(), built("plain"));
    let two = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let fixed = [
        "dial-fixed",
        "--module",
        &module,
        "--allow",
        "127.0.0.1",
        "--arg",
        "x",
    ];
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(config.path(), &server.address).expect("a file");
    let config = config.path().to_str().expect("a path in UTF-8");
    for args in [
        &["dial", "--module", &module, "--remote", &server.address][..],
        &["listen", "--module", &module, "--forward", &server.address],
        &["relay", "--module", &module, "--remote", &server.address],
        &[&fixed[..], &["--config", config]].concat(),
    ] {
        let (mut watm, addresses) = listening(&[args, &two[..]].concat(), 2);
        assert_ne!(addresses[0], addresses[1]);
        for _ in 0..2 {
            for address in &addresses {
                round_trip(&connect(address), b"on each of them");
            }
        }
        watm.signal(libc::SIGTERM);
        let ended = watm.end();
        ended.success();
        assert_eq!(ended.stdout, "", "nothing after the addresses");
    }
}

#[test]
fn an_address_that_is_taken_keeps_a_command_from_listening_at_all() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let taken = taken.local_addr().expect("an address").to_string();
    let module = built("plain");
    for args in [
        ["dial", "--remote", "127.0.0.1:1"],
        ["listen", "--forward", "127.0.0.1:1"],
        ["relay", "--remote", "127.0.0.1:1"],
    ] {
        let listen = [
            "--module",
            &module,
            "--listen",
            "127.0.0.1:0",
            "--listen",
            &taken,
        ];
        let ended = Watm::run(&[&args[..], &listen[..]].concat());
        ended.failure(&[&taken, "cannot listen on"]);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_port_alone_means_all_addresses_of_both_families() {
    let (server, module) = (Server::echo(), built("plain"));
    for all in [":0", "*:0"] {
        for args in [
            ["dial", "--remote", &server.address],
            ["listen", "--forward", &server.address],
            ["relay", "--remote", &server.address],
        ] {
            let listen = ["--module", &module, "--listen", all];
            let (_watm, address) = Watm::listening(&[&args[..], &listen[..]].concat());
            round_trip(&connect(&format!("127.0.0.1:{}", port(&address))), b"IPv4");
            if address.starts_with('[') {
                round_trip(&connect(&format!("[::1]:{}", port(&address))), b"IPv6");
            }
        }
    }
}

#[test]
fn standard_streams_are_the_first_connection_on_any_address() {
    let module = built("plain");
    let args = ["listen", "--module", &module, "--listen", "127.0.0.1:0"];
    let (mut watm, addresses) = listening(&[&args[..], &["--listen", "127.0.0.1:0"]].concat(), 2);
    let mut client = connect(&addresses[1]);
    client.write_all(b"from the second").expect("written");
    assert_eq!(watm.stdout_bytes(15), b"from the second");
    watm.write(b"an answer");
    let mut answer = [0; 9];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"an answer");
}

#[cfg(target_os = "linux")]
#[test]
fn every_address_option_takes_a_zone() {
    let Some(server) = echo_on_ipv6() else {
        return; // A machine without IPv6.
    };
    let module = built("plain");
    let forward = format!("[::1%lo]:{}", port(&server.address));
    let args = ["listen", "--module", &module, "--listen", "[::1%lo]:0"];
    let (_listen, last) = Watm::listening(&[&args[..], &["--forward", &forward]].concat());
    let (mut address, mut running) = (last, Vec::new());
    for command in ["relay", "dial"] {
        // Also by the number of the zone.
        let remote = format!("[::1%1]:{}", port(&address));
        let args = [
            command,
            "--module",
            &module,
            "--listen",
            "[::1%1]:0",
            "--remote",
            &remote,
        ];
        let (watm, next) = Watm::listening(&args);
        round_trip(&connect(&next), b"through zones");
        address = next;
        running.push(watm);
    }
}

#[test]
fn a_zone_that_does_not_exist_is_named() {
    let (module, none) = (built("plain"), "[fe80::1%no-such]:80");
    let interface = "no network interface `no-such`";
    Watm::run(&["dial", "--module", &module, "--remote", none]).failure(&[none, interface]);
    for args in [
        ["listen", "--forward", "127.0.0.1:1"],
        ["dial", "--remote", "127.0.0.1:1"],
    ] {
        let listen = ["--module", &module, "--listen", none];
        Watm::run(&[&args[..], &listen[..]].concat()).failure(&[none, interface]);
    }
}

#[test]
fn a_relay_warns_without_being_asked_to() {
    let remote = free_address();
    let (mut watm, address) =
        Watm::serving("relay", &built("plain"), &["--remote", &remote.address]);
    let client = connect(&address);
    let line = watm.await_log("was dropped");
    let name = client.local_addr().expect("an address").to_string();
    assert!(
        line.contains(&name) && line.contains(&remote.address),
        "{line}"
    );
}
