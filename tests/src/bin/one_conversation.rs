//! One connection through a module: bytes there and back, and an end. With an injected fault, it
//! prints how it ended. It fails if a byte is wrong, or if something takes too long.
//!
//! ```sh
//! one_conversation MODULE [carried]
//! ```
//!
//! With `carried`, the application's end is a plain connection that the transport carries.

#![allow(clippy::print_stdout, reason = "a test reads it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use watm_tests::{Pattern, accept_one, built, listener, tcp_pair, within};
use watm_wasmer::{Carried, Conn, DialError, Dialer, Outcome, TransportError};

const BYTES: usize = 300_000;
const LIMIT: Duration = Duration::from_secs(20);

fn main() {
    let name = std::env::args().nth(1).expect("the name of a module");
    let is_carried = std::env::args().nth(2).is_some();
    let end = within(LIMIT, move || converse(&name, is_carried));
    println!("{end}");
}

/// The application's end of a connection.
enum Near {
    Application(Conn),
    Client(TcpStream, Carried),
}

impl Near {
    fn open(dialer: &Dialer, address: &str, is_carried: bool) -> Result<Self, DialError> {
        if is_carried {
            let (client, plain) = tcp_pair();
            let carried = dialer.carry(plain, address)?;
            return Ok(Self::Client(client, carried));
        }
        let conn = dialer.dial(address)?;
        conn.set_read_timeout(Some(LIMIT)).expect("a timeout");
        conn.set_write_timeout(Some(LIMIT)).expect("a timeout");
        Ok(Self::Application(conn))
    }

    /// Ends it, and waits until the worker has ended.
    fn close(self) -> Result<Outcome, TransportError> {
        let (end, ended) = match self {
            Self::Application(conn) => (conn.close(), conn.wait(Some(LIMIT))),
            Self::Client(client, carried) => {
                drop(client);
                let ended = carried.wait(Some(LIMIT));
                (carried.close(), ended)
            }
        };
        assert!(ended.is_some(), "the worker continues after its close");
        end
    }
}

fn converse(name: &str, is_carried: bool) -> String {
    let (listener, address) = listener();
    let peer = std::thread::spawn(move || echo(&listener));
    let dialer = Dialer::builder(&built(name))
        .close_grace(Duration::from_millis(500))
        .drain_timeout(Duration::from_secs(5))
        .build()
        .expect("a dialer");
    let near = match Near::open(&dialer, &address, is_carried) {
        Ok(near) => near,
        Err(error) => return format!("dial: {error}"),
    };
    let (came, error) = match &near {
        Near::Application(conn) => exchange(&conn, || conn.shutdown(Shutdown::Both)),
        Near::Client(client, _) => exchange(&client, || client.shutdown(Shutdown::Both)),
    };
    let end = near.close();
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
fn exchange<S: Read + Write + Copy + Send + Sync>(
    conn: &S,
    shut_down: impl FnOnce() -> std::io::Result<()>,
) -> (usize, Option<std::io::Error>) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut conn = *conn;
            conn.write_all(&Pattern::new(9).take(BYTES)).err()
        });
        let (mut pattern, mut buf) = (Pattern::new(9), vec![0; 10_000]);
        let mut came = 0;
        let mut error = None;
        while came < BYTES {
            let mut conn = *conn;
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
            let _ = shut_down();
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
