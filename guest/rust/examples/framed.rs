//! A module that sends frames: each has its length in two bytes, then as many bytes. An empty frame
//! ends the stream, so that nobody can cut it unnoticed. Both sides begin with a greeting, which
//! has the version and a name from the configuration, and refuse a peer that has another one.
//!
//! As a fixed dialer, and as a relay without a remote, it dials the second line of the
//! configuration.
//!
//! ```sh
//! cargo build --release --target wasm32-wasip1 --example framed
//! ```

use std::io::{Read, Write};

use watm_guest::{Address, Codec, Error, Output, Result, Stream, Transport};

/// The greeting is this, the length of the name in one byte, and the name.
const VERSION: &[u8] = b"framed/1";

/// Maximum bytes in a frame. The two bytes of the length would allow more.
const FRAME: usize = 16 * 1024;

struct Framed {
    name: String,
    address: Option<String>,
}

impl Transport for Framed {
    type Encoder = Encoder;
    type Decoder = Decoder;

    fn new(config: Option<&[u8]>) -> Result<Self> {
        let config = std::str::from_utf8(config.unwrap_or_default()).map_err(|_| Error::INVAL)?;
        let mut lines = config.lines().map(str::to_owned);
        let name = lines.next().unwrap_or_default();
        if name.len() > 255 {
            watm_guest::log!("the name has {} bytes, and may have 255", name.len());
            return Err(Error::INVAL);
        }
        Ok(Framed {
            name,
            address: lines.next(),
        })
    }

    fn dial(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        self.greet(stream)?;
        self.expect_greeting(stream)?;
        Ok((Encoder, Decoder::default()))
    }

    /// Answers only those who know the name.
    fn accept(&mut self, stream: &mut Stream) -> Result<(Encoder, Decoder)> {
        self.expect_greeting(stream)?;
        self.greet(stream)?;
        Ok((Encoder, Decoder::default()))
    }

    fn address(&self) -> Option<Address<'_>> {
        self.address.as_deref().map(Address::tcp)
    }
}

impl Framed {
    fn greet(&self, stream: &mut Stream) -> Result<()> {
        stream.write_all(VERSION)?;
        stream.write_all(&[self.name.len() as u8])?;
        stream.write_all(self.name.as_bytes())?;
        Ok(())
    }

    fn expect_greeting(&self, stream: &mut Stream) -> Result<()> {
        let mut version = [0; VERSION.len()];
        stream.read_exact(&mut version)?;
        if version != VERSION {
            return Err(Error::PROTO);
        }
        let mut length = [0];
        stream.read_exact(&mut length)?;
        let mut name = vec![0; usize::from(length[0])];
        stream.read_exact(&mut name)?;
        if name != self.name.as_bytes() {
            watm_guest::log!("the peer has another name");
            return Err(Error::ACCES);
        }
        Ok(())
    }
}

struct Encoder;

impl Codec for Encoder {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let frame = &input[..input.len().min(FRAME)];
        if !frame.is_empty() {
            output.push(&(frame.len() as u16).to_be_bytes());
            output.push(frame);
        }
        Ok(frame.len())
    }

    fn finish(&mut self, _rest: &[u8], output: &mut Output) -> Result<()> {
        output.push(&[0, 0]);
        Ok(())
    }
}

#[derive(Default)]
struct Decoder {
    has_ended: bool,
}

impl Codec for Decoder {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        let (length, rest) = match *input {
            [high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            _ => return Ok(0),
        };
        if length > FRAME || self.has_ended {
            return Err(Error::PROTO);
        }
        match rest.get(..length) {
            Some(frame) => output.push(frame),
            None => return Ok(0),
        };
        self.has_ended = length == 0;
        Ok(2 + length)
    }

    fn finish(&mut self, rest: &[u8], _output: &mut Output) -> Result<()> {
        if self.has_ended && rest.is_empty() {
            Ok(())
        } else {
            Err(Error::PROTO)
        }
    }
}

watm_guest::export!(Framed: dial, dial_fixed, accept, associate);

#[cfg(test)]
mod tests {
    use super::*;
    use watm_guest::testing;

    const NAME: Option<&[u8]> = Some(b"the name");
    const GREETING: &[u8] = b"framed/1\x08the name";

    #[test]
    fn both_directions_pass_over_any_network() {
        for (mut dialer, mut listener) in [
            testing::pair::<Framed>(NAME, NAME).expect("the same name"),
            testing::pair_in_pieces::<Framed>(NAME, NAME, 1).expect("the same name"),
            testing::over_tcp::<Framed>(NAME, NAME).expect("the same name"),
        ] {
            let request: Vec<u8> = (0..50_000).map(|number| number as u8).collect();
            dialer.write_all(&request).expect("it is open");
            dialer.shutdown_write();
            let mut received = Vec::new();
            listener.read_to_end(&mut received).expect("the end");
            assert!(received == request);
            listener
                .write_all(b"answer")
                .expect("this direction is open");
            listener.shutdown_write();
            let mut answer = String::new();
            dialer.read_to_string(&mut answer).expect("the end");
            assert_eq!(answer, "answer");
            assert_eq!(listener.join(), Ok(()));
            assert_eq!(dialer.join(), Ok(()));
        }
    }

    #[test]
    fn a_peer_with_another_name_is_refused_and_told_nothing() {
        let (wire, mut peer) = testing::wire();
        let mut conn = testing::accept::<Framed>(NAME, wire);
        peer.write_all(b"framed/1\x05other").expect("room");
        assert_eq!(conn.established(), Err(Error::ACCES));
        let mut answer = Vec::new();
        let error = peer.read_to_end(&mut answer).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(answer.is_empty());
    }

    #[test]
    fn a_peer_of_another_protocol_is_refused() {
        let (wire, mut peer) = testing::wire();
        let mut conn = testing::accept::<Framed>(NAME, wire);
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
        assert_eq!(conn.established(), Err(Error::PROTO));
    }

    #[test]
    fn a_peer_that_leaves_during_the_greeting_is_an_error() {
        let (wire, mut peer) = testing::wire();
        let mut conn = testing::accept::<Framed>(NAME, wire);
        peer.write_all(&GREETING[..12]).expect("room");
        drop(peer);
        assert_eq!(conn.established(), Err(Error::PROTO));
    }

    #[test]
    fn frames_that_come_with_the_greeting_are_read() {
        let (wire, mut peer) = testing::wire();
        let mut conn = testing::accept::<Framed>(NAME, wire);
        peer.write_all(&[GREETING, b"\0\x05hello\0\0"].concat())
            .expect("room");
        peer.shutdown_write();
        let mut text = String::new();
        conn.read_to_string(&mut text).expect("the end");
        assert_eq!(text, "hello");
        assert_eq!(conn.join(), Ok(()));
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).expect("the end");
        assert_eq!(answer, [GREETING, b"\0\0"].concat());
    }

    #[test]
    fn a_stream_that_is_cut_is_an_error_after_the_frames_before() {
        for cut in [
            &b"\0\x05hello"[..],
            b"\0\x05hello\0",
            b"\0\x05hello\0\x03ab",
        ] {
            let (wire, mut peer) = testing::wire();
            let mut conn = testing::accept::<Framed>(NAME, wire);
            peer.write_all(&[GREETING, cut].concat()).expect("room");
            peer.shutdown_write();
            let mut hello = [0; 5];
            conn.read_exact(&mut hello).expect("the first frame");
            assert_eq!(&hello, b"hello");
            assert_eq!(conn.join(), Err(Error::PROTO));
        }
    }

    #[test]
    fn frames_survive_any_pieces() {
        let sent: Vec<u8> = (0..40_000).map(|number| number as u8).collect();
        for piece in [1, 7, 1000, 100_000] {
            let wire = testing::run(&mut Encoder, &sent, piece).expect("it never fails");
            for piece in [1, 8, 4096] {
                assert!(testing::run(&mut Decoder::default(), &wire, piece).as_ref() == Ok(&sent));
            }
        }
    }

    #[test]
    fn nothing_follows_the_last_frame_and_no_frame_is_too_long() {
        let decode = |bytes: &[u8]| testing::run(&mut Decoder::default(), bytes, 100);
        assert_eq!(decode(b"\0\0\0\x01a"), Err(Error::PROTO));
        assert_eq!(decode(b"\0\0x"), Err(Error::PROTO));
        assert_eq!(decode(b"\x40\x01"), Err(Error::PROTO));
    }

    #[test]
    fn the_second_line_of_the_configuration_is_the_address() {
        let framed = Framed::new(Some(b"name\nserver:443\n")).expect("a name and an address");
        assert_eq!(framed.address(), Some(Address::tcp("server:443")));
        assert_eq!(Framed::new(NAME).expect("a name").address(), None);
    }
}
