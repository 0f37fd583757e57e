//! Loads that every transport must carry, whatever its language and whoever is slow. One side reads
//! nothing for a while, or little at a time, or both sides write all the time. Every byte is
//! checked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crossbeam_channel::bounded;
use socket2::SockRef;
use watm_wasmer::{Builder, Conn, Dialer, Listener, Outcome, Relay, ServerHandle, TransportModule};

use crate::{
    Pair, Pattern, SHORT, accept_one, connect, eventually, expect_end, listener, send_pattern,
    tcp_pair,
};

/// More than all buffers between the ends can hold.
const PHASE: u64 = 1_500_000;

/// Number of bytes to move each way in the last step: `WATM_FLOOD` megabytes, 2 by default.
fn flood() -> u64 {
    let megabytes = std::env::var("WATM_FLOOD").map_or(2, |text| text.parse().expect("a number"));
    megabytes * 1_000_000
}

/// Either end of a connection.
enum Side {
    Application(Conn),
    Socket(TcpStream),
}

impl Side {
    fn set_write_timeout(&self, limit: Option<Duration>) {
        match self {
            Self::Application(conn) => conn.set_write_timeout(limit),
            Self::Socket(socket) => socket.set_write_timeout(limit),
        }
        .expect("a timeout");
    }

    fn shutdown(&self) {
        match self {
            Self::Application(conn) => conn.shutdown(Shutdown::Write),
            Self::Socket(socket) => socket.shutdown(Shutdown::Write),
        }
        .expect("a shutdown");
    }
}

impl Read for &Side {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Side::Application(conn) => (&mut &*conn).read(buf),
            Side::Socket(socket) => (&mut &*socket).read(buf),
        }
    }
}

impl Write for &Side {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Side::Application(conn) => (&mut &*conn).write(buf),
            Side::Socket(socket) => (&mut &*socket).write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Makes the system buffer little of what a socket sends. The receive buffer stays as it is: with a
/// buffer smaller than a segment of the loopback device, the system would wait for timers.
fn narrow(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    socket.set_send_buffer_size(16 << 10).expect("a size");
}

struct Ends {
    near: Side,
    far: Side,
    server: Option<ServerHandle>,
}

/// The place of a transport.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Between an application and the server that it dials.
    Dialer,
    /// Between a client and the application that accepts it.
    Listener,
    /// Between a client and a server.
    Relay,
    /// Between a plain client and the server that it dials for it.
    Entrance,
    /// Between a client and the plain server that it forwards to.
    Exit,
}

/// A module, and how it carries bytes.
pub struct Carrier<'a> {
    /// The module.
    pub module: &'a TransportModule,
    /// Its configuration.
    pub config: Option<String>,
    /// Size of its buffer, in bytes.
    pub buffer: usize,
    /// Whether it reverses every piece that it reads.
    pub reverses: bool,
    /// Whether one direction stays open after the other has ended.
    pub half_closes: bool,
}

impl Carrier<'_> {
    /// Moves bytes through a connection under every load, in both directions, and ends it.
    ///
    /// # Panics
    ///
    /// Panics if a byte is lost or changed, if something takes too long, or if the end is not
    /// clean.
    #[track_caller]
    pub fn carry_any_load(&self, place: Place) {
        let Ends { near, far, server } = ends(place, self);
        stalled(&near, &far, 1, self.reverses);
        stalled(&far, &near, 2, self.reverses);
        slow(&near, &far, 3, self.reverses);
        slow(&far, &near, 4, self.reverses);
        both(&near, &far, self.buffer, self.reverses);
        // Whatever the module returns at the end of a stream, it has ended.
        near.shutdown();
        expect_end(&far);
        if self.half_closes {
            far.shutdown();
        }
        match (near, server) {
            (Side::Application(conn), _) => {
                expect_end(&conn);
                assert_eq!(conn.close().expect("a good end"), Outcome::Completed);
            }
            (Side::Socket(near), Some(server)) => {
                expect_end(&near);
                drop((near, far));
                eventually("it has ended well", || server.stats().completed == 1);
            }
            (Side::Socket(_), None) => unreachable!("only a server has a socket here"),
        }
    }
}

/// Configures a builder of any role.
fn configured<R>(builder: Builder<R>, carrier: &Carrier<'_>) -> Builder<R> {
    match &carrier.config {
        Some(config) => builder.config(config.clone()),
        None => builder,
    }
}

fn ends(place: Place, carrier: &Carrier<'_>) -> Ends {
    let module = carrier.module;
    match place {
        Place::Dialer => {
            let pair = Pair::narrow(configured(Dialer::builder(module), carrier));
            Ends {
                near: Side::Application(pair.conn),
                far: Side::Socket(pair.peer),
                server: None,
            }
        }
        Place::Listener => {
            let builder = configured(Listener::builder(module), carrier);
            let (client, server) = tcp_pair();
            narrow(&client);
            narrow(&server);
            let acceptor = builder.acceptor().expect("an acceptor");
            let conn = acceptor.accept(server).expect("a connection");
            conn.set_read_timeout(Some(SHORT)).expect("a timeout");
            Ends {
                near: Side::Application(conn),
                far: Side::Socket(client),
                server: None,
            }
        }
        Place::Relay => {
            let (remote, address) = listener();
            let relay = configured(Relay::builder(module), carrier).remote(address);
            let relay = relay.bind("127.0.0.1:0").expect("a relay");
            served(relay.spawn().expect("a thread"), &remote)
        }
        Place::Entrance | Place::Exit => {
            let (remote, address) = listener();
            let builder = if matches!(place, Place::Entrance) {
                configured(Dialer::builder(module), carrier).carry_to(address)
            } else {
                configured(Listener::builder(module), carrier).forward_to(address)
            };
            let server = builder.bind("127.0.0.1:0").expect("a server");
            served(server.spawn().expect("a thread"), &remote)
        }
    }
}

/// A client of a server, and the socket at its remote.
fn served(server: ServerHandle, remote: &TcpListener) -> Ends {
    let client = connect(server.local_addr());
    let far = accept_one(remote);
    narrow(&client);
    narrow(&far);
    Ends {
        near: Side::Socket(client),
        far: Side::Socket(far),
        server: Some(server),
    }
}

/// Checks a stream that a guest may have cut into pieces and reversed piece by piece.
struct Checked {
    pattern: Pattern,
    /// Sent, and not yet matched.
    expected: Vec<u8>,
    /// Received, and not yet matched.
    received: Vec<u8>,
    reversed: bool,
    total: u64,
    found: u64,
}

impl Checked {
    fn new(seed: u64, total: u64, reversed: bool) -> Self {
        Self {
            pattern: Pattern::new(seed),
            expected: Vec::new(),
            received: Vec::new(),
            reversed,
            total,
            found: 0,
        }
    }

    /// Takes the result of one read. Returns false at the end.
    #[track_caller]
    fn read(&mut self, mut from: &Side, len: usize) -> bool {
        let mut buf = vec![0; len];
        let left = self.total - self.found - self.received.len() as u64;
        if left == 0 {
            assert!(self.received.is_empty(), "the rest is not a piece");
            return false;
        }
        let most = usize::try_from(left).unwrap_or(len).min(len);
        let len = from.read(&mut buf[..most]).expect("bytes");
        assert!(
            len > 0,
            "the stream ended at {} of {}",
            self.found,
            self.total
        );
        if !self.reversed {
            self.pattern.check(&buf[..len]);
            self.found += len as u64;
            return true;
        }
        self.received.extend_from_slice(&buf[..len]);
        let missing = self.received.len().saturating_sub(self.expected.len());
        self.expected.extend(self.pattern.take(missing));
        self.recognise();
        true
    }

    /// Removes the pieces that have arrived completely.
    #[track_caller]
    fn recognise(&mut self) {
        let mut done = 0;
        while let Some(len) = first_piece(&self.received[done..], &self.expected[done..]) {
            done += len;
        }
        self.received.drain(..done);
        self.expected.drain(..done);
        self.found += done as u64;
        let at_end = self.found + self.received.len() as u64 == self.total;
        if at_end && self.received.len() < UNMISTAKABLE {
            assert!(
                are_pieces(&self.received, &self.expected),
                "the last pieces"
            );
            self.found = self.total;
            self.received.clear();
        }
        // A piece is no longer than the largest buffer.
        assert!(
            self.received.len() <= 131_072,
            "no piece begins at {}",
            self.found
        );
    }
}

/// With this many bytes, a reversed match is not an accident.
const UNMISTAKABLE: usize = 8;

/// The length of the first piece in `received`, if all of it is there. A short piece counts only if
/// a longer one follows.
fn first_piece(received: &[u8], expected: &[u8]) -> Option<usize> {
    (1..=received.len()).find(|&len| {
        // The first byte of a piece is the last one that was sent of it.
        received[0] == expected[len - 1]
            && received[..len].iter().eq(expected[..len].iter().rev())
            && (len >= UNMISTAKABLE || first_piece(&received[len..], &expected[len..]).is_some())
    })
}

/// Whether these few bytes are pieces, each of them reversed.
fn are_pieces(received: &[u8], expected: &[u8]) -> bool {
    received.is_empty()
        || (1..=received.len()).any(|len| {
            received[..len].iter().eq(expected[..len].iter().rev())
                && are_pieces(&received[len..], &expected[len..])
        })
}

/// The writer continues until nobody takes any more. Only then does the reader begin, while the
/// writer continues for a while.
fn stalled(from: &Side, to: &Side, seed: u64, reversed: bool) {
    let (stuck, begins) = bounded(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut pattern = Pattern::new(seed);
            let mut pending = Vec::new();
            let mut total = None;
            from.set_write_timeout(Some(Duration::from_millis(20)));
            while !pending.is_empty() || total.is_none_or(|total| pattern.position() < total) {
                if pending.is_empty() {
                    pending = pattern.take(50_000);
                }
                match (&mut &*from).write(&pending) {
                    Ok(len) => drop(pending.drain(..len)),
                    Err(error) => {
                        let kind = error.kind();
                        assert!(
                            matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut),
                            "{error}"
                        );
                        assert_eq!(total, None, "nobody takes any more");
                        let end = pattern.position() + 500_000;
                        total = Some(end);
                        stuck.send(end).expect("a reader");
                        from.set_write_timeout(Some(SHORT));
                    }
                }
            }
        });
        let total = begins.recv_timeout(SHORT).expect("the writer has to wait");
        let mut checked = Checked::new(seed, total, reversed);
        while checked.read(to, 64 * 1024) {}
    });
}

/// The reader takes a little, and rests.
fn slow(from: &Side, to: &Side, seed: u64, reversed: bool) {
    std::thread::scope(|scope| {
        scope.spawn(|| send_pattern(from, seed, PHASE, 9_000));
        let mut checked = Checked::new(seed, PHASE, reversed);
        while checked.read(to, 30_000) {
            // A slow reader is what this tests.
            std::thread::sleep(Duration::from_micros(300));
        }
    });
}

/// Both sides write all the time, in pieces around the size of the guest's buffer.
fn both(near: &Side, far: &Side, buffer: usize, reversed: bool) {
    let total = flood();
    std::thread::scope(|scope| {
        for (from, to, seed) in [(near, far, 5), (far, near, 6)] {
            scope.spawn(move || send_pattern(from, seed, total, buffer * 3 / 2));
            scope.spawn(move || {
                let mut checked = Checked::new(seed, total, reversed);
                while checked.read(to, 100_000) {}
            });
        }
    });
}
