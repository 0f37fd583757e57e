//! A transport: how a connection begins, and what happens to its bytes.
//!
//! This one combines each direction with a repeating key, the configuration. That hides bytes from
//! those who do not look closely, and from nobody else: put your own protocol in its place.
//!
//! Where to go on:
//!
//! - `new` reads the configuration: the file that `--config` names, as a whole.
//! - `dial` and `accept` are the handshake. They may read and write `stream`, and block meanwhile.
//! - `transform` is a codec. It may take a part of its input, such as whole frames, and return how
//!   much it has taken: the rest comes again with more behind it.
//! - `watm-guest/examples/framed.rs` has a handshake, frames, and an end that no cut looks like.
//!   `cargo doc --open -p watm-guest` describes everything.

use watm_guest::{Codec, Error, Output, Result, Stream, Transport};

/// The key, turned so that the next byte of the stream meets its first byte.
#[derive(Clone)]
struct Xor(Vec<u8>);

impl Transport for Xor {
    /// From the application to the network.
    type Encoder = Xor;
    /// From the network to the application.
    type Decoder = Xor;

    /// Called once. An error refuses the configuration.
    fn new(config: Option<&[u8]>) -> Result<Self> {
        let key = config.filter(|key| !key.is_empty()).ok_or_else(|| {
            watm_guest::log!("a key is needed: the configuration");
            Error::INVAL
        })?;
        Ok(Xor(key.to_vec()))
    }

    /// The handshake of the side that has dialled, such as:
    ///
    /// ```ignore
    /// stream.write_all(b"hello")?;
    /// let mut answer = [0; 5];
    /// stream.read_exact(&mut answer)?;
    /// ```
    fn dial(&mut self, _stream: &mut Stream) -> Result<(Xor, Xor)> {
        Ok((self.clone(), self.clone()))
    }

    /// The handshake of the side that has accepted. Here, neither side says anything.
    fn accept(&mut self, stream: &mut Stream) -> Result<(Xor, Xor)> {
        self.dial(stream)
    }
}

impl Codec for Xor {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<usize> {
        for (byte, key) in output.push(input).iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        let turn = input.len() % self.0.len();
        self.0.rotate_left(turn);
        Ok(input.len())
    }
}

watm_guest::export!(Xor);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use watm_guest::testing;

    use super::*;

    const KEY: Option<&[u8]> = Some(b"a key");

    /// What one end writes, the other one reads.
    fn passes(from: &mut testing::Conn, to: &mut testing::Conn) {
        let sent: Vec<u8> = (0..10_000).map(|number| number as u8).collect();
        let mut received = vec![0; sent.len()];
        for _ in 0..2 {
            from.write_all(&sent).expect("it is open");
            to.read_exact(&mut received).expect("it arrives");
            assert!(received == sent);
        }
    }

    #[test]
    fn what_is_sent_arrives_in_both_directions() {
        for (mut dialer, mut listener) in [
            testing::pair::<Xor>(KEY, KEY).expect("no handshake"),
            testing::pair_in_pieces::<Xor>(KEY, KEY, 1).expect("no handshake"),
        ] {
            passes(&mut dialer, &mut listener);
            passes(&mut listener, &mut dialer);
            dialer.shutdown_write();
            listener.shutdown_write();
            assert_eq!(listener.join(), Ok(()));
            assert_eq!(dialer.join(), Ok(()));
        }
    }

    #[test]
    fn the_wire_has_the_bytes_combined_with_the_key() {
        let (wire, mut peer) = testing::wire();
        let mut conn = testing::dial::<Xor>(Some(b"\x01\x02"), wire);
        conn.write_all(&[0, 0, 0]).expect("it is open");
        let mut bytes = [0; 3];
        peer.read_exact(&mut bytes).expect("three bytes");
        assert_eq!(bytes, [1, 2, 1]);
    }

    #[test]
    fn there_must_be_a_key() {
        let refused = testing::pair::<Xor>(None, None).err();
        assert_eq!(refused, Some(Error::INVAL));
    }
}
