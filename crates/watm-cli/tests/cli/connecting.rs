//! What the commands connect to: addresses with zones.

use std::net::TcpListener;

use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built};

/// The port of an address.
fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

/// A server on the loopback address of IPv6, where there is one.
fn echo_on_ipv6() -> Option<Server> {
    let listener = TcpListener::bind("[::1]:0").ok()?;
    Some(Server::echo_on(listener))
}

#[cfg(target_os = "linux")]
#[test]
fn every_address_to_connect_to_takes_a_zone() {
    let Some(server) = echo_on_ipv6() else {
        return; // A machine without IPv6.
    };
    let module = built("plain");
    let forward = format!("[::1%lo]:{}", port(&server.address));
    let args = ["listen", "--module", &module, "--listen", "[::1]:0"];
    let (_listen, last) = Watm::listening(&[&args[..], &["--forward", &forward]].concat());
    let (mut address, mut running) = (last, Vec::new());
    for command in ["relay", "dial"] {
        // By its number as well.
        let remote = format!("[::1%1]:{}", port(&address));
        let args = [
            command, "--module", &module, "--listen", "[::1]:0", "--remote", &remote,
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
}
