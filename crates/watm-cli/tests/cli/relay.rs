//! `watm relay`: it accepts, wraps and dials on.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::peers::{Server, connect, echo, free_address, pattern, round_trip, write_aside};
use crate::process::{LIMIT, Watm, built};

#[test]
fn a_relay_passes_both_directions_on_until_each_has_ended() {
    let server = Server::echo();
    let (mut watm, address) =
        Watm::serving("relay", &built("halfclose"), &["--remote", &server.address]);
    let client = connect(&address);
    let data = pattern(2_000_000, 8);
    let sent = write_aside(client.try_clone().expect("a clone"), data.clone());
    let mut received = vec![0; data.len()];
    (&client).read_exact(&mut received).expect("all of it");
    assert!(received == data, "whole");
    assert_eq!(sent.recv_timeout(LIMIT), Ok(true));
    client.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!((&client).read(&mut [0]).expect("the end"), 0);
    watm.signal(libc::SIGTERM);
    watm.end().success();
}

#[test]
fn a_remote_that_refuses_ends_only_its_own_connection() {
    let remote = free_address();
    let (mut watm, address) = Watm::serving(
        "relay",
        &built("plain"),
        &["--remote", &remote.address, "-v"],
    );
    let client = connect(&address);
    let _ = (&client).read(&mut [0]);
    let line = watm.await_log("dropped");
    assert!(line.contains(&remote.address), "{line}");
    let _server = Server::start_on(remote, echo);
    round_trip(&connect(&address), b"now it works");
}

#[test]
fn a_chain_of_a_dialer_a_relay_and_a_listener_is_transparent() {
    let server = Server::echo();
    let module = built("handshake");
    let (_listen, last) = Watm::serving("listen", &module, &["--forward", &server.address]);
    let (_relay, middle) = Watm::serving("relay", &module, &["--remote", &last]);
    let (_dial, entrance) = Watm::serving("dial", &module, &["--remote", &middle]);
    let client = connect(&entrance);
    round_trip(&client, b"through three modules");
    (&client).write_all(b"and again").expect("written");
    let mut answer = [0; 9];
    (&client).read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"and again");
}
