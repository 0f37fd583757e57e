//! Contract, section 3: a write never follows a read in vain. The three generations of the TinyGo
//! library, each of which loses the connection or bytes if one does, in every role, under readers
//! that are slower than the writers.
//!
//! `WATM_FLOOD=256` moves 256 MB each way in the last step, in place of 2.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crossbeam_channel::bounded;
use socket2::SockRef;
use watm_tests::{
    Logs, Pair, Pattern, SHORT, accept_one, connect, copy_as, eventually, expect_end, listener,
    tcp_pair, text,
};
use watm_wasmer::{Builder, Conn, Dialer, End, Listener, Relay, RelayHandle, TransportModule};

/// More than all buffers between the ends hold.
const PHASE: u64 = 1_500_000;

/// Bytes that move each way in the last step.
fn flood() -> u64 {
    let megabytes = std::env::var("WATM_FLOOD").map_or(2, |text| text.parse().expect("a number"));
    megabytes * 1_000_000
}

/// One end of a connection, whichever it is.
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

/// A socket whose system holds little of what is sent. (What it receives is left alone: a buffer that
/// is smaller than a segment of the loopback device makes it wait for timers.)
fn narrow(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    socket.set_send_buffer_size(16 << 10).expect("a size");
}

struct Ends {
    near: Side,
    far: Side,
    relay: Option<RelayHandle>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Dialer,
    Listener,
    Relay,
}

fn ends(place: Place, module: &TransportModule, buffer: usize) -> Ends {
    let buffer = buffer.to_string();
    match place {
        Place::Dialer => {
            let pair = Pair::narrow(Dialer::builder(module).config(buffer));
            Ends {
                near: Side::Application(pair.conn),
                far: Side::Socket(pair.peer),
                relay: None,
            }
        }
        Place::Listener => {
            let builder: Builder<Listener> = Listener::builder(module).config(buffer);
            let (client, server) = tcp_pair();
            narrow(&client);
            narrow(&server);
            let acceptor = builder.acceptor().expect("an acceptor");
            let conn = acceptor.accept(server).expect("a connection");
            conn.set_read_timeout(Some(SHORT)).expect("a timeout");
            Ends {
                near: Side::Application(conn),
                far: Side::Socket(client),
                relay: None,
            }
        }
        Place::Relay => {
            let (remote, address) = listener();
            let relay = Relay::builder(module).config(buffer).remote(address);
            let relay = relay.bind("127.0.0.1:0").expect("a relay");
            let relay = relay.spawn().expect("a thread");
            let client = connect(relay.local_addr());
            let server = accept_one(&remote);
            narrow(&client);
            narrow(&server);
            Ends {
                near: Side::Socket(client),
                far: Side::Socket(server),
                relay: Some(relay),
            }
        }
    }
}

/// Checks a stream that a guest may have cut into pieces and reversed each of them.
struct Checked {
    pattern: Pattern,
    /// Sent, and not yet found.
    expected: Vec<u8>,
    /// Received, and not yet recognised.
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

    /// Takes what was received in one go; false at the end.
    #[track_caller]
    fn read(&mut self, mut from: &Side, len: usize) -> bool {
        let mut buf = vec![0; len];
        let left = self.total - self.found - self.received.len() as u64;
        if left == 0 {
            assert!(self.received.is_empty(), "the rest is no piece");
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

    /// Takes out the pieces that are there as a whole.
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
                self.received.iter().eq(self.expected.iter().rev()),
                "the last piece"
            );
            self.found = self.total;
            self.received.clear();
        }
        // No piece is longer than the largest buffer.
        assert!(
            self.received.len() <= 131_072,
            "no piece begins at {}",
            self.found
        );
    }
}

/// So many bytes are not the reverse of others by chance.
const UNMISTAKABLE: usize = 8;

/// The length of the piece that `received` begins with, if all of it is there. A short one counts if
/// a longer one follows.
fn first_piece(received: &[u8], expected: &[u8]) -> Option<usize> {
    (1..=received.len()).find(|&len| {
        // The first byte of a piece is the last that was sent of it.
        received[0] == expected[len - 1]
            && received[..len].iter().eq(expected[..len].iter().rev())
            && (len >= UNMISTAKABLE || first_piece(&received[len..], &expected[len..]).is_some())
    })
}

/// The writer goes on until nobody takes any more; only then does the reader begin, while it writes
/// on for a while.
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
        scope.spawn(|| watm_tests::send_pattern(from, seed, PHASE, 9_000));
        let mut checked = Checked::new(seed, PHASE, reversed);
        while checked.read(to, 30_000) {
            // The very thing that is tested: a reader that takes its time.
            std::thread::sleep(Duration::from_micros(300));
        }
    });
}

/// Both write all the time, in pieces around the size of the guest's buffer.
fn both(near: &Side, far: &Side, buffer: usize, reversed: bool) {
    let total = flood();
    std::thread::scope(|scope| {
        for (from, to, seed) in [(near, far, 5), (far, near, 6)] {
            scope.spawn(move || watm_tests::send_pattern(from, seed, total, buffer * 3 / 2));
            scope.spawn(move || {
                let mut checked = Checked::new(seed, total, reversed);
                while checked.read(to, 100_000) {}
            });
        }
    });
}

fn carries(generation: u32, place: Place) {
    for reversed in [false, true] {
        let name = format!(
            "generation{generation}{}",
            if reversed { "_reverse" } else { "" }
        );
        let alias = format!("{name}_{place:?}");
        let logs = Logs::of_module(&alias);
        let module = copy_as(&name, &alias);
        for buffer in [1024, 16_384, 100_000] {
            let Ends { near, far, relay } = ends(place, &module, buffer);
            stalled(&near, &far, 1, reversed);
            stalled(&far, &near, 2, reversed);
            slow(&near, &far, 3, reversed);
            slow(&far, &near, 4, reversed);
            both(&near, &far, buffer, reversed);
            // Whatever the end of a stream makes the module return, it is an end.
            near.shutdown();
            expect_end(&far);
            match (near, relay) {
                (Side::Application(conn), _) => {
                    expect_end(&conn);
                    assert_eq!(conn.close().expect("a good end"), End::Completed);
                }
                (Side::Socket(near), Some(relay)) => {
                    expect_end(&near);
                    drop(near);
                    eventually("it has ended well", || relay.stats().completed == 1);
                }
                (Side::Socket(_), None) => unreachable!("a socket is a relay's client"),
            }
        }
        let dropped = logs
            .texts()
            .iter()
            .filter(|line| line.contains("dropped"))
            .count();
        assert_eq!(dropped, 0, "pieces were dropped by {alias}");
    }
}

#[test]
fn the_first_generation_carries_any_load_out_and_in() {
    carries(1, Place::Dialer);
}

#[test]
fn the_second_generation_carries_any_load_out_and_in() {
    carries(2, Place::Dialer);
}

#[test]
fn the_third_generation_carries_any_load_out_and_in() {
    carries(3, Place::Dialer);
}

#[test]
fn the_first_generation_carries_any_load_of_a_listener() {
    carries(1, Place::Listener);
}

#[test]
fn the_second_generation_carries_any_load_of_a_listener() {
    carries(2, Place::Listener);
}

#[test]
fn the_third_generation_carries_any_load_of_a_listener() {
    carries(3, Place::Listener);
}

#[test]
fn the_first_generation_carries_any_load_of_a_relay() {
    carries(1, Place::Relay);
}

#[test]
fn the_second_generation_carries_any_load_of_a_relay() {
    carries(2, Place::Relay);
}

#[test]
fn the_third_generation_carries_any_load_of_a_relay() {
    carries(3, Place::Relay);
}

/// Writes 64 MiB to the network without having read anything, and returns the first error.
const WRITES_ALONE: &str = r#"(module
    (import "env" "water_dial_fixed" (func $d (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $f (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\00\10\00\00\00\04\00\00")
    (global $n (mut i32) (i32.const -1))
    (func (export "watm_init_v1") (result i32) (i32.const 0))
    (func (export "watm_ctrlpipe_v1") (param i32) (result i32) (i32.const 0))
    (func (export "watm_dial_v1") (param i32) (result i32)
      (global.set $n (call $d))
      (drop (call $f (global.get $n) (i32.const 4)))
      (global.get $n))
    (func (export "watm_start_v1") (result i32) (local $i i32) (local $e i32)
      (loop $a
        (local.set $e (call $w (global.get $n) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (local.get $e) (then (return (i32.sub (i32.const 0) (local.get $e)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $a (i32.lt_u (local.get $i) (i32.const 65536))))
      (i32.const 0)))"#;

#[test]
fn a_guest_that_cannot_wait_for_room_is_made_to() {
    let pair = Pair::dial(&text(WRITES_ALONE));
    let mut received = 0;
    let mut buf = vec![0; 1 << 20];
    loop {
        match (&pair.peer).read(&mut buf).expect("bytes") {
            0 => break,
            len => received += len,
        }
    }
    assert_eq!(received, 64 << 20);
    expect_end(&pair.conn);
    assert_eq!(pair.conn.close().expect("a good end"), End::Completed);
}
