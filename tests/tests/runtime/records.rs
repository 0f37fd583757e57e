//! Guests that read records, a head and then its body. They assume that a record is there as a
//! whole, but over a network it comes in pieces.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use watm_tests::{Pair, Pattern, built};
use watm_wasmer::{Conn, Listener};

/// Number of bytes in each direction.
const LEN: usize = 1_000_000;

/// Sends a pattern in records, cut into pieces that do not match the records.
fn send(mut peer: &TcpStream) {
    peer.set_nodelay(true).expect("an option");
    let (mut pattern, mut sent, mut cut) = (Pattern::new(7), 0, 1);
    let mut stream = Vec::new();
    while sent < LEN {
        // Various sizes, including the smallest and the largest.
        let len = [1, 16, 900, 16_384, 5_000][sent % 5].min(LEN - sent);
        stream.extend(u16::try_from(len).expect("it fits").to_be_bytes());
        stream.extend(pattern.take(len));
        sent += len;
    }
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(cut.min(rest.len()).max(2));
        peer.write_all(piece).expect("it reads");
        // Puts the next piece into a separate segment. The guest often reads before it arrives.
        thread::yield_now();
        (rest, cut) = (left, cut * 7 % 1_999 + 1);
    }
    peer.shutdown(Shutdown::Write).expect("the end");
}

/// Reads records to their end and checks the pattern.
fn receive(mut peer: &TcpStream) {
    let (mut pattern, mut received) = (Pattern::new(3), 0);
    while received < LEN {
        let mut head = [0; 2];
        peer.read_exact(&mut head).expect("a head");
        let mut body = vec![0; usize::from(u16::from_be_bytes(head))];
        peer.read_exact(&mut body).expect("a body");
        assert_eq!(body, pattern.take(body.len()), "after {received}");
        received += body.len();
    }
}

/// Uses both directions at once. The application begins to read when it has written.
fn carry(conn: &Conn, peer: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| send(peer));
        scope.spawn(|| receive(peer));
        let mut conn = conn;
        let bytes = Pattern::new(3).take(LEN);
        let (first, second) = bytes.split_at(LEN / 2);
        conn.write_all(first).expect("room");
        let mut received = vec![0; LEN];
        conn.read_exact(&mut received[..LEN / 2]).expect("bytes");
        conn.write_all(second).expect("room");
        conn.read_exact(&mut received[LEN / 2..]).expect("bytes");
        assert_eq!(received, Pattern::new(7).take(LEN));
    });
}

#[test]
fn a_record_that_comes_in_pieces_is_there_as_a_whole() {
    let module = built("records");
    let dialled = Pair::dial(&module);
    carry(&dialled.conn, &dialled.peer);
    let accepted = Pair::accepted(Listener::builder(&module));
    carry(&accepted.conn, &accepted.peer);
}
