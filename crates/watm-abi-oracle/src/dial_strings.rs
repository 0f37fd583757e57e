//! The oracle for the string arguments of `water_dial`.
//!
//! Knows `gather_string`, and a model of it that copies one byte at a time.

use arbitrary::Arbitrary;
use watm_abi::{Errno, Iovec, MAX_STRING, gather_string};

use crate::guest::{byte, put};
use crate::iovecs::model as decode_model;
use crate::{Guest, IovecCase, List};

/// A string in the memory of a guest.
#[derive(Clone, Debug, Arbitrary)]
pub enum DialStringCase {
    /// Text, laid out correctly, in pieces.
    Text {
        /// The text.
        text: String,
        /// Number of bytes in each piece. The last piece takes the rest.
        pieces: List<u8>,
    },
    /// The same, with some bytes changed.
    Spoilt {
        /// The text.
        text: String,
        /// The changes: a position, modulo the length, and the new byte.
        changes: Vec<(u8, u8)>,
        /// Number of bytes in each piece. The last piece takes the rest.
        pieces: List<u8>,
    },
    /// Text of about the maximum length.
    Long {
        /// Difference from the maximum length.
        offset: i8,
        /// Number of bytes in each piece. The last piece takes the rest.
        pieces: List<u8>,
    },
    /// Text whose address and length are passed directly instead of an array.
    Bare {
        /// The memory.
        guest: Guest,
        /// The text.
        text: String,
        /// Its address.
        at: u16,
    },
    /// Any array of buffers.
    Array(IovecCase),
}

impl DialStringCase {
    fn build(&self) -> (Vec<u8>, u32, u32) {
        match self {
            DialStringCase::Text { text, pieces } => lay_out(text.as_bytes(), pieces),
            DialStringCase::Spoilt {
                text,
                changes,
                pieces,
            } => {
                let mut bytes = text.clone().into_bytes();
                let len = bytes.len().max(1);
                for (at, byte) in changes {
                    if let Some(target) = bytes.get_mut(usize::from(*at) % len) {
                        *target = *byte;
                    }
                }
                lay_out(&bytes, pieces)
            }
            DialStringCase::Long { offset, pieces } => {
                let len = MAX_STRING.saturating_add_signed(i32::from(*offset));
                lay_out(&vec![b'a'; len as usize], pieces)
            }
            DialStringCase::Bare { guest, text, at } => {
                let mut memory = guest.memory(1);
                put(&mut memory, u64::from(*at), text.as_bytes());
                (
                    memory,
                    u32::from(*at),
                    u32::try_from(text.len()).unwrap_or(u32::MAX),
                )
            }
            DialStringCase::Array(case) => case.build(),
        }
    }
}

/// Gathers the string and compares it with the model. Every failure must be `Errno::Inval`.
pub fn dial_strings(case: &DialStringCase) -> Result<String, Errno> {
    let (memory, ptr, count) = case.build();
    let got = gather_string(&memory, ptr, count);
    assert_eq!(got, model(&memory, ptr, count).ok_or(Errno::Inval));
    if let Ok(string) = &got {
        assert!((1..=MAX_STRING as usize).contains(&string.len()));
    }
    if let DialStringCase::Text { text, pieces } = case
        && (1..=256).contains(&text.len())
        && pieces.len() < 1024
    {
        assert_eq!(got.as_ref(), Ok(text));
    }
    got
}

fn model(memory: &[u8], ptr: u32, count: u32) -> Option<String> {
    let mut bytes = Vec::new();
    for Iovec { buf, len } in decode_model(memory, ptr, count).ok()? {
        for at in 0..u64::from(len) {
            bytes.push(byte(memory, u64::from(buf) + at)?);
            if bytes.len() > 256 {
                return None;
            }
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|string| !string.is_empty())
}

/// Puts each piece into its own buffer, after the array at address 0 that lists the buffers.
fn lay_out(bytes: &[u8], pieces: &[u8]) -> (Vec<u8>, u32, u32) {
    let mut rest = bytes;
    let mut parts = Vec::new();
    for piece in pieces {
        let (part, after) = rest.split_at(rest.len().min(usize::from(*piece)));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);

    let mut array = Vec::new();
    let mut buf = u32::try_from(parts.len() * 8).expect("a case is small");
    for part in &parts {
        let len = u32::try_from(part.len()).expect("a case is small");
        array.extend(Iovec { buf, len }.encode());
        buf += len;
    }
    let count = u32::try_from(parts.len()).expect("a case is small");
    (
        array.into_iter().chain(bytes.iter().copied()).collect(),
        0,
        count,
    )
}
