//! Transports on pipes and over TCP: what their authors rely on in tests.

use std::cell::Cell;
use std::io::{Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use super::*;
use crate::codec::{Codec, Identity};
use crate::error::Error;
use crate::output::Output;
use crate::stream::Stream;

/// Says `x` and hears `x`, and leaves the choice of the codec to the configuration.
struct Chosen(Vec<u8>);

type Boxed = Box<dyn Codec>;

impl Transport for Chosen {
    type Encoder = Boxed;
    type Decoder = Boxed;

    const READ_SIZE: usize = 1000;

    fn new(config: Option<&[u8]>) -> Result<Self> {
        config
            .map(|config| Chosen(config.to_vec()))
            .ok_or(Error::INVAL)
    }

    fn dial(&mut self, stream: &mut Stream) -> Result<(Boxed, Boxed)> {
        stream.write_all(b"x")?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        if &answer != b"x" {
            return Err(Error::PROTO);
        }
        let seen = Rc::new(Cell::new(0));
        Ok(match &*self.0 {
            b"panic" => (Box::new(Panicking), Box::new(Identity)),
            b"count" => (Box::new(Count(seen.clone())), Box::new(Count(seen))),
            _ => (Box::new(Identity), Box::new(Identity)),
        })
    }

    fn accept(&mut self, stream: &mut Stream) -> Result<(Boxed, Boxed)> {
        self.dial(stream)
    }
}

struct Panicking;

impl Codec for Panicking {
    fn transform(&mut self, _input: &[u8], _output: &mut Output) -> Result<usize> {
        panic!("on purpose")
    }
}

/// Replaces each byte by how many bytes both directions have had before.
struct Count(Rc<Cell<u8>>);

impl Codec for Count {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        for byte in output.push(input) {
            *byte = self.0.get();
            self.0.set(self.0.get().wrapping_add(1));
        }
        Ok(input.len())
    }
}

fn pairs(config: &[u8]) -> Vec<(Conn, Conn)> {
    let config = Some(config);
    [
        pair::<Chosen>(config, config),
        pair_in_pieces::<Chosen>(config, config, 1),
        over_tcp::<Chosen>(config, config),
    ]
    .into_iter()
    .map(|pair| pair.expect("a handshake"))
    .collect()
}

#[track_caller]
fn assert_arrives(reader: &mut Conn, sent: &[u8]) {
    let mut received = vec![0; sent.len()];
    reader.read_exact(&mut received).expect("all bytes");
    assert!(received == sent);
}

#[test]
fn both_directions_carry_much_at_once() {
    for (mut dialer, mut listener) in pairs(b"") {
        let sent: Vec<u8> = (0..100_000_u32).map(|number| (number / 7) as u8).collect();
        dialer.write_all(&sent).expect("it never waits");
        listener.write_all(&sent).expect("it never waits");
        assert_arrives(&mut listener, &sent);
        assert_arrives(&mut dialer, &sent);
    }
}

#[test]
fn a_direction_that_has_ended_leaves_the_other_open() {
    for (mut dialer, mut listener) in pairs(b"") {
        dialer.shutdown_write();
        assert_eq!(listener.read(&mut [0]).expect("the end"), 0);
        listener.write_all(b"still").expect("it is open");
        assert_arrives(&mut dialer, b"still");
        assert_eq!(listener.join(), Ok(()));
        assert_eq!(dialer.join(), Ok(()));
    }
}

#[test]
fn a_cancelled_transport_ends_and_resets_its_peer() {
    let (dialer, mut listener) = pair::<Chosen>(Some(b""), Some(b"")).expect("a handshake");
    assert_eq!(dialer.cancel(), Err(Error::CANCELED));
    let error = listener.read(&mut [0]).expect_err("a reset");
    assert_eq!(Error::from(error), Error::CONNRESET);
    assert_eq!(listener.join(), Err(Error::CONNRESET));
}

#[test]
fn codecs_can_share_state() {
    let (wire, mut peer) = wire();
    let mut conn = dial::<Chosen>(Some(b"count"), wire);
    peer.write_all(b"x").expect("room");
    conn.established().expect("a handshake");
    conn.write_all(b"ab").expect("it is open");
    let mut sent = [0; 3];
    peer.read_exact(&mut sent).expect("three bytes");
    assert_eq!(sent, [b'x', 0, 1]);
    peer.write_all(b"c").expect("room");
    assert_arrives(&mut conn, &[2]);
}

#[test]
fn a_wrong_configuration_fails_the_handshake() {
    assert_eq!(pair::<Chosen>(None, Some(b"")).err(), Some(Error::INVAL));
    assert_eq!(pair::<Chosen>(Some(b""), None).err(), Some(Error::INVAL));
}

#[test]
fn a_panic_of_the_transport_reaches_the_test() {
    let (mut dialer, _listener) = pair::<Chosen>(Some(b"panic"), Some(b"")).expect("a handshake");
    dialer.write_all(b"x").expect("it is open");
    let error = dialer.read(&mut [0]).expect_err("not an end");
    assert_eq!(Error::from(error), Error::IO);
    let panic = panic::catch_unwind(AssertUnwindSafe(|| dialer.join())).expect_err("a panic");
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
}

#[test]
fn an_application_that_leaves_ends_the_connection() {
    let (dialer, mut listener) = pair::<Chosen>(Some(b""), Some(b"")).expect("a handshake");
    drop(dialer);
    assert_eq!(listener.read(&mut [0]).expect("the end"), 0);
    assert_eq!(listener.join(), Ok(()));
}
