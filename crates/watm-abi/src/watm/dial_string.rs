//! The string arguments of `water_dial`: the network and the address. Each is gathered from an
//! array of buffers.
//!
//! Knows the maximum length and the encoding of these strings. Must never know networks, addresses
//! or policies.

use crate::{Errno, GuestMemory, IovecArray};

/// Maximum length of a string that `water_dial` takes, in bytes.
pub const MAX_STRING: u32 = 256;

/// Gathers a string argument of `water_dial` from `count` records at `ptr`.
///
/// This does not look at what the string says.
///
/// # Errors
///
/// Returns [`Errno::Inval`] for every failure, which is what guests expect. The failures are: more
/// than [`MAX_IOVECS`](crate::MAX_IOVECS) records, an array or a buffer outside of the memory, no
/// bytes at all, more than [`MAX_STRING`] bytes, or bytes that are not UTF-8.
///
/// Some guests pass the address and the length of the text instead of the array. The letters of the
/// text, read as records, cause this error too.
///
/// ```
/// use watm_abi::{Errno, GuestMemory, Iovec, gather_string};
///
/// // `water_dial(64, 1, ..)`: the network, in a single buffer.
/// let mut memory = vec![0u8; 65536];
/// memory.write_bytes(1024, b"tcp4")?;
/// memory.write_bytes(64, &Iovec { buf: 1024, len: 4 }.encode())?;
/// assert_eq!(gather_string(&memory, 64, 1)?, "tcp4");
/// // No buffer is no text.
/// assert_eq!(gather_string(&memory, 64, 0), Err(Errno::Inval));
/// # Ok::<(), Errno>(())
/// ```
pub fn gather_string<M: GuestMemory + ?Sized>(
    memory: &M,
    ptr: u32,
    count: u32,
) -> Result<String, Errno> {
    let iovecs = IovecArray::decode(memory, ptr, count).map_err(|_| Errno::Inval)?;
    if !(1..=MAX_STRING).contains(&iovecs.total_len()) {
        return Err(Errno::Inval);
    }
    let bytes: Vec<u8> = iovecs.slices(memory).flatten().copied().collect();
    String::from_utf8(bytes).map_err(|_| Errno::Inval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Iovec, MAX_IOVECS};

    /// Gathers `parts` from a page of memory, each in its own buffer.
    fn gather(parts: &[&[u8]]) -> Result<String, Errno> {
        let mut memory = vec![0u8; 65536];
        let mut buf = 32768;
        for (index, part) in parts.iter().enumerate() {
            let iovec = Iovec {
                buf,
                len: part.len() as u32,
            };
            memory.write_bytes(buf, part).unwrap();
            memory
                .write_bytes(64 + 8 * index as u32, &iovec.encode())
                .unwrap();
            buf += part.len() as u32;
        }
        gather_string(&memory, 64, parts.len() as u32)
    }

    #[test]
    fn a_string_may_lie_in_one_buffer_or_in_several() {
        assert_eq!(gather(&[b"tcp"]).unwrap(), "tcp");
        assert_eq!(
            gather(&[b"[2001:db8::1]", b"", b":", b"443"]).unwrap(),
            "[2001:db8::1]:443"
        );
    }

    #[test]
    fn a_letter_may_be_split_between_buffers() {
        assert_eq!(
            gather(&[b"b\xC3", b"\xBCcher.example:1"]).unwrap(),
            "bücher.example:1"
        );
    }

    #[test]
    fn the_longest_string_has_256_bytes() {
        assert_eq!(gather(&[&[b'a'; 256]]).unwrap().len(), 256);
        assert_eq!(gather(&[&[b'a'; 257]]), Err(Errno::Inval));
        assert_eq!(gather(&[&[b'a'; 200], &[b'a'; 57]]), Err(Errno::Inval));
    }

    #[test]
    fn an_empty_string_is_invalid() {
        assert_eq!(gather(&[]), Err(Errno::Inval));
        assert_eq!(gather(&[b""]), Err(Errno::Inval));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_invalid() {
        assert_eq!(gather(&[b"\xFF\xFE"]), Err(Errno::Inval));
        assert_eq!(gather(&[b"b\xC3"]), Err(Errno::Inval));
    }

    #[test]
    fn every_bad_array_is_invalid_and_never_a_fault() {
        let mut memory = vec![0u8; 65536];
        assert_eq!(gather_string(&memory, 65536, 1), Err(Errno::Inval));
        assert_eq!(
            gather_string(&memory, u32::MAX, u32::MAX),
            Err(Errno::Inval)
        );
        assert_eq!(gather_string(&memory, 0, MAX_IOVECS + 1), Err(Errno::Inval));
        memory
            .write_bytes(0, &Iovec { buf: 65535, len: 2 }.encode())
            .unwrap();
        assert_eq!(gather_string(&memory, 0, 1), Err(Errno::Inval));
    }

    #[test]
    fn text_passed_where_the_array_is_due_is_invalid() {
        let mut memory = vec![0u8; 65536];
        let address = b"203.0.113.7:443";
        memory.write_bytes(1024, address).unwrap();
        assert_eq!(
            gather_string(&memory, 1024, address.len() as u32),
            Err(Errno::Inval)
        );
        memory.write_bytes(2048, b"tcp").unwrap();
        assert_eq!(gather_string(&memory, 2048, 3), Err(Errno::Inval));
    }
}
