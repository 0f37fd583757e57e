//! Tests of the whole transport over wires in memory: what passes, what is refused, and that nobody
//! without the key gets a byte.

mod handshakes;
mod streams;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64;
use watm_guest::testing::{self, Conn, Wire};

use crate::{Noise, curve, handshake};

/// The configurations of both sides.
struct Pair {
    dialer: String,
    listener: String,
}

fn base64(byte: u8) -> String {
    BASE64.encode(&[byte; 32])
}

/// A pair without a store of messages, and with `more` keys on both sides.
fn pair(pattern: &str, more: &str) -> Pair {
    let psk = match pattern {
        "NK" => String::new(),
        _ => format!(r#""psk": "{}","#, base64(1)),
    };
    let (public, private) = match pattern {
        "NNpsk0" => (String::new(), String::new()),
        _ => {
            let public = BASE64.encode(&curve::public_key(&[2; 32]).expect("a key"));
            (
                format!(r#""server_public_key": "{public}","#),
                format!(r#""server_private_key": "{}","#, base64(2)),
            )
        }
    };
    let json =
        |key: &str| format!(r#"{{"pattern": "{pattern}", {psk} {key} "replay": "off" {more}}}"#);
    Pair {
        dialer: json(&public),
        listener: json(&private),
    }
}

fn all() -> [Pair; 6] {
    let padding = r#", "padding": {"lengths": [[64, 1], [200, 2], [1400, 1]]}"#;
    ["NNpsk0", "NK", "NKpsk0"]
        .map(|pattern| [pair(pattern, ""), pair(pattern, padding)])
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| unreachable!("three times two"))
}

fn dial(pair: &Pair, wire: Wire) -> Conn {
    testing::dial::<Noise>(Some(pair.dialer.as_bytes()), wire)
}

fn accept(pair: &Pair, wire: Wire) -> Conn {
    testing::accept::<Noise>(Some(pair.listener.as_bytes()), wire)
}

/// The first message of a dialer, with its padding.
fn first_message(pair: &Pair) -> Vec<u8> {
    let (wire, mut peer) = testing::wire();
    let conn = dial(pair, wire);
    let mut message = vec![0; handshake::FIRST];
    peer.read_exact(&mut message).expect("the first message");
    // All of it leaves at once, before the dialer waits for the answer: its end is where the dialer
    // stops.
    peer.shutdown_write();
    peer.read_to_end(&mut message)
        .expect_err("the dialer has no answer, and resets");
    drop(conn);
    message
}

/// Some bytes that differ from test to test.
fn data(length: usize) -> Vec<u8> {
    static START: AtomicUsize = AtomicUsize::new(0);
    let start = START.fetch_add(7, Ordering::Relaxed);
    (start..start + length)
        .map(|number| (number % 251) as u8)
        .collect()
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
