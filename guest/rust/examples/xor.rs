//! A module that combines each direction with a repeating key, which is its configuration. It hides
//! bytes from those who do not look closely, and from nobody else.
//!
//! ```sh
//! cargo build --release --target wasm32-wasip1 --example xor
//! ```

use watm_guest::{Codec, Error, Output, Result, Stream, Transport};

/// The key, turned so that the next byte of the stream meets its first byte.
#[derive(Clone)]
struct Xor(Vec<u8>);

impl Transport for Xor {
    type Encoder = Xor;
    type Decoder = Xor;

    fn new(config: Option<&[u8]>) -> Result<Self> {
        let key = config.filter(|key| !key.is_empty()).ok_or(Error::INVAL)?;
        Ok(Xor(key.to_vec()))
    }

    fn dial(&mut self, _stream: &mut Stream) -> Result<(Xor, Xor)> {
        Ok((self.clone(), self.clone()))
    }

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
    use super::*;
    use std::io::{Read, Write};
    use watm_guest::testing;

    #[test]
    fn what_is_sent_arrives_over_any_network() {
        let key: Option<&[u8]> = Some(b"a key");
        for (mut dialer, mut listener) in [
            testing::pair::<Xor>(key, key).expect("no handshake"),
            testing::pair_in_pieces::<Xor>(key, key, 1).expect("no handshake"),
            testing::over_tcp::<Xor>(key, key).expect("no handshake"),
        ] {
            let sent: Vec<u8> = (0..100_000).map(|number| number as u8).collect();
            dialer.write_all(&sent).expect("it is open");
            dialer.shutdown_write();
            let mut received = Vec::new();
            listener.read_to_end(&mut received).expect("the end");
            assert!(received == sent);
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
        for config in [None, Some(&b""[..])] {
            assert_eq!(
                testing::pair::<Xor>(config, config).err(),
                Some(Error::INVAL)
            );
        }
    }
}
