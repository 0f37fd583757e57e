//! Compares the host's ciphers with the module's own, both as the module uses them: the same bytes
//! for the same key, nonce and message, and neither opens what was altered. `check` runs it.
//!
//! It is a transport that changes nothing. Its set-up fails if the ciphers differ, or if the host
//! offers none.

#![allow(dead_code, unreachable_pub, missing_docs)]

#[path = "../src/cipher.rs"]
mod cipher;
#[path = "../src/method.rs"]
mod method;

use watm_guest::{Error, Identity, Output, Result, Stream, Transport, log};

use crate::cipher::Cipher;
use crate::method::Algorithm;

const ALGORITHMS: [(Algorithm, usize); 3] = [
    (Algorithm::Aes128Gcm, 16),
    (Algorithm::Aes256Gcm, 32),
    (Algorithm::ChaCha20Poly1305, 32),
];

struct Comparison;

impl Transport for Comparison {
    type Encoder = Identity;
    type Decoder = Identity;

    fn new(_config: Option<&[u8]>) -> Result<Self> {
        for (algorithm, length) in ALGORITHMS {
            let key: Vec<u8> = (1..=length as u8).collect();
            compare(algorithm, &key).inspect_err(|_| log!("{algorithm:?}: failed"))?;
        }
        Ok(Comparison)
    }

    fn dial(&mut self, _stream: &mut Stream) -> Result<(Identity, Identity)> {
        Ok((Identity, Identity))
    }

    fn accept(&mut self, _stream: &mut Stream) -> Result<(Identity, Identity)> {
        Ok((Identity, Identity))
    }
}

/// A cipher to seal with, one to open with, and one for what was altered. Each counts its messages.
struct Ciphers([Cipher; 3]);

impl Ciphers {
    fn own(algorithm: Algorithm, key: &[u8]) -> Self {
        Ciphers([(); 3].map(|()| Cipher::own(algorithm, key)))
    }

    fn of_host(algorithm: Algorithm, key: &[u8]) -> Result<Self> {
        let cipher = || {
            Cipher::of_host(algorithm, key).ok_or_else(|| {
                log!("the host offers no cipher");
                Error::NOSYS
            })
        };
        Ok(Ciphers([cipher()?, cipher()?, cipher()?]))
    }
}

fn compare(algorithm: Algorithm, key: &[u8]) -> Result<()> {
    let mut both = [
        Ciphers::own(algorithm, key),
        Ciphers::of_host(algorithm, key)?,
    ];
    let large = [4095, 4096, 4097, 16383, 16384, 16385, 65535];
    for length in (0..=1100).chain(large) {
        let plain: Vec<u8> = (0..length).map(|at| (at * at % 253) as u8).collect();
        let mut sealed = [Output::new(), Output::new()];
        for (Ciphers([sealer, ..]), output) in both.iter_mut().zip(&mut sealed) {
            sealer.seal(&plain, output);
        }
        let [own, of_host] = &sealed;
        if own.as_slice() != of_host.as_slice() {
            log!("a message of {length} bytes differs");
            return Err(Error::IO);
        }
        let mut altered = own.as_slice().to_vec();
        let position = length * 7 % altered.len();
        altered[position] ^= 0x10;
        for Ciphers([_, opener, other]) in &mut both {
            if opener.open_vec(own.as_slice())? != plain {
                log!("a message of {length} bytes opens to another one");
                return Err(Error::IO);
            }
            if other.open_vec(&altered) != Err(Error::PROTO) {
                log!("a message of {length} bytes opens though byte {position} was altered");
                return Err(Error::IO);
            }
        }
    }
    Ok(())
}

watm_guest::export!(Comparison: dial, accept);
watm_guest::host_aead!();
