//! Connections over wires in memory and over TCP.

use std::io::{ErrorKind, Read, Write};

use watm_guest::Error;
use watm_guest::testing::{self, Conn, Wire};

use super::*;
use crate::Pad;

fn dial(json: &str, wire: Wire) -> Conn {
    testing::dial::<Pad>(Some(json.as_bytes()), wire)
}

fn accept(json: &str, wire: Wire) -> Conn {
    testing::accept::<Pad>(Some(json.as_bytes()), wire)
}

fn send(conn: &mut Conn, bytes: &[u8]) {
    conn.write_all(bytes).expect("it is open");
    conn.shutdown_write();
}

fn receive(conn: &mut Conn) -> Vec<u8> {
    let mut bytes = Vec::new();
    conn.read_to_end(&mut bytes).expect("the end");
    bytes
}

#[test]
fn each_side_pads_as_it_likes_over_any_network() {
    for (index, dialer) in ALL.iter().enumerate() {
        let configs = (
            Some(dialer.as_bytes()),
            Some(ALL[(index + 1) % ALL.len()].as_bytes()),
        );
        for (length, ends) in [
            (50_000, testing::pair::<Pad>(configs.0, configs.1)),
            (50_000, testing::over_tcp::<Pad>(configs.0, configs.1)),
            (20, testing::pair_in_pieces::<Pad>(configs.0, configs.1, 5)),
        ] {
            let (mut dialer, mut listener) = ends.expect("a connection");
            let (request, answer) = (data(length), data(2 * length));
            send(&mut dialer, &request);
            assert!(receive(&mut listener) == request);
            // The other direction is open still.
            send(&mut listener, &answer);
            assert!(receive(&mut dialer) == answer);
            assert_eq!(dialer.join(), Ok(()));
            assert_eq!(listener.join(), Ok(()));
        }
    }
}

#[test]
fn a_dialer_opens_before_the_application_says_anything() {
    let (wire, mut peer) = testing::wire();
    let conn = dial(r#"{"padding": "none", "opening": {"bytes": [9, 9]}}"#, wire);
    let mut opening = [1; 13];
    peer.read_exact(&mut opening).expect("the opening");
    assert_eq!(&opening, b"\x50\x01\0\x09\0\0\0\0\0\0\0\0\0");
    drop(conn);
}

#[test]
fn a_listener_says_nothing_before_the_whole_opening_has_come() {
    let (wire, mut peer) = testing::wire();
    let mut conn = accept(r#"{"padding": "none"}"#, wire);
    peer.write_all(b"\x50\x01\0\x02\0").expect("room");
    peer.shutdown_write();
    assert_eq!(conn.established(), Err(Error::PROTO));
    let mut answer = Vec::new();
    let error = peer.read_to_end(&mut answer).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(answer.is_empty(), "{answer:?}");

    let (wire, mut peer) = testing::wire();
    let mut conn = accept(r#"{"padding": "none"}"#, wire);
    // The first byte of what follows comes with it.
    peer.write_all(b"\x50\x01\0\x02\0\0\0").expect("room");
    assert_eq!(conn.established(), Ok(()));
    let mut opening = [1; 4];
    peer.read_exact(&mut opening).expect("its opening");
    assert_eq!(opening, OPENING);
    peer.write_all(b"\x02\0\0hi").expect("room");
    let mut received = [0; 2];
    conn.read_exact(&mut received).expect("what was sent");
    assert_eq!(&received, b"hi");
}

#[test]
fn a_peer_without_this_module_is_refused() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x50\x01\0\x03\0\x01\0",
        &[0; 90],
    ] {
        let (wire, mut peer) = testing::wire();
        let mut conn = accept(ALL[1], wire);
        peer.write_all(bytes).expect("room");
        assert_eq!(conn.established(), Err(Error::PROTO));

        let (wire, mut peer) = testing::wire();
        let conn = dial(ALL[1], wire);
        peer.write_all(bytes).expect("room");
        assert_eq!(conn.join(), Err(Error::PROTO));
    }
}

#[test]
fn a_connection_that_is_cut_delivers_what_came_and_then_fails() {
    for reset in [false, true] {
        let (wire, mut peer) = testing::wire();
        let mut conn = accept(ALL[0], wire);
        peer.write_all(b"\x50\x01\0\0\0\x05\0\0part").expect("room");
        let mut received = [0; 4];
        conn.read_exact(&mut received).expect("what came");
        assert_eq!(&received, b"part");
        let expected = if reset {
            peer.reset();
            Error::CONNRESET
        } else {
            peer.shutdown_write();
            Error::PROTO
        };
        conn.read(&mut [0; 1]).expect_err("a failure, and no end");
        assert_eq!(conn.join(), Err(expected));
    }
}

#[test]
fn a_wrong_configuration_refuses_the_connection() {
    for config in [None, Some(&b"{}"[..])] {
        let refused = testing::pair::<Pad>(config, Some(ALL[0].as_bytes()));
        assert_eq!(refused.err(), Some(Error::INVAL));
    }
}
