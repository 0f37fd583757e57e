//! One connection through a module: bytes there and back, and an end. With an injected fault, it
//! prints how it ended. It fails if a byte is wrong, or if something takes too long.

#![allow(clippy::print_stdout, reason = "a test reads it")]

use std::io::{Read, Write};
use std::time::Duration;

use watm_tests::{Pattern, accept_one, built, listener, within};
use watm_wasmer::{Conn, Dialer};

const BYTES: usize = 300_000;
const LIMIT: Duration = Duration::from_secs(20);

fn main() {
    let name = std::env::args().nth(1).expect("the name of a module");
    let end = within(LIMIT, move || converse(&name));
    println!("{end}");
}

fn converse(name: &str) -> String {
    let (listener, address) = listener();
    let peer = std::thread::spawn(move || echo(&listener));
    let dialer = Dialer::builder(&built(name))
        .close_grace(Duration::from_millis(500))
        .drain_timeout(Duration::from_secs(5))
        .build()
        .expect("a dialer");
    let conn = match dialer.dial(&address) {
        Ok(conn) => conn,
        Err(error) => return format!("dial: {error}"),
    };
    conn.set_read_timeout(Some(LIMIT)).expect("a timeout");
    conn.set_write_timeout(Some(LIMIT)).expect("a timeout");
    let (came, error) = exchange(&conn);
    let end = conn.close();
    assert!(
        conn.wait(Some(LIMIT)).is_some(),
        "the worker continues after its close"
    );
    drop(conn);
    if came == BYTES {
        // The peer got exactly what it sent back, so nothing was lost on the way there either.
        let echoed = peer.join().expect("the peer");
        assert_eq!(echoed, BYTES, "the peer got a different number of bytes");
        return format!("whole: {end:?}");
    }
    match (error, end) {
        (None, Ok(end)) => panic!("{came} bytes of {BYTES}, but no error: {end:?}"),
        (error, end) => format!("cut: {error:?}, {end:?}"),
    }
}

/// Writes and reads at the same time. Returns how many bytes came back, all of them correct.
fn exchange(conn: &Conn) -> (usize, Option<std::io::Error>) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut conn = conn;
            conn.write_all(&Pattern::new(9).take(BYTES)).err()
        });
        let (mut pattern, mut buf) = (Pattern::new(9), vec![0; 10_000]);
        let mut came = 0;
        let mut error = None;
        while came < BYTES {
            let mut conn = conn;
            match conn.read(&mut buf) {
                Ok(0) => break,
                Ok(len) => {
                    pattern.check(&buf[..len]);
                    came += len;
                }
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            }
        }
        // A writer may wait for ever once nobody reads.
        if came < BYTES {
            let _ = conn.shutdown(std::net::Shutdown::Both);
        }
        let written = writer.join().expect("the writer");
        (came, error.or(written))
    })
}

fn echo(listener: &std::net::TcpListener) -> usize {
    let stream = accept_one(listener);
    let mut buf = vec![0; 10_000];
    let mut bytes = 0;
    while let Ok(len @ 1..) = (&stream).read(&mut buf) {
        bytes += len;
        if (&stream).write_all(&buf[..len]).is_err() {
            break;
        }
    }
    bytes
}
