//! Keys, from the bytes that a terminal sends for them.

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Ctrl(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Tab,
    Escape,
    Backspace,
}

/// What comes next in some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A key, unless it is one without a meaning, and how many bytes it took.
    Key(Option<Key>, usize),
    /// The beginning of a key. A moment later, it is the escape key.
    Incomplete,
}

/// Takes the first key out of bytes, of which there has to be one.
pub(super) fn next(bytes: &[u8]) -> Next {
    match bytes {
        [0x1b] | [0x1b, b'O'] => Next::Incomplete,
        [0x1b, b'[', rest @ ..] => {
            // Parameters, and then a byte that ends it.
            match rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
                Some(at) => Next::Key(sequence(&rest[..at], rest[at]), at + 3),
                // No terminal sends any that are so long.
                None if rest.len() > 32 => Next::Key(None, bytes.len()),
                None => Next::Incomplete,
            }
        }
        [0x1b, b'O', last, ..] => Next::Key(sequence(&[], *last), 3),
        // With the Alt key.
        [0x1b, ..] => Next::Key(Some(Key::Escape), 1),
        [b'\r' | b'\n', ..] => Next::Key(Some(Key::Enter), 1),
        [b'\t', ..] => Next::Key(Some(Key::Tab), 1),
        [0x7f | 0x08, ..] => Next::Key(Some(Key::Backspace), 1),
        [byte @ 0x01..=0x1a, ..] => Next::Key(Some(Key::Ctrl((byte - 1 + b'a').into())), 1),
        [byte, ..] if byte.is_ascii_graphic() || *byte == b' ' => {
            Next::Key(Some(Key::Char((*byte).into())), 1)
        }
        _ => Next::Key(None, 1.min(bytes.len())),
    }
}

fn sequence(parameters: &[u8], last: u8) -> Option<Key> {
    Some(match (parameters, last) {
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'H') | (b"1" | b"7", b'~') => Key::Home,
        (_, b'F') | (b"4" | b"8", b'~') => Key::End,
        (b"5", b'~') => Key::PageUp,
        (b"6", b'~') => Key::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(mut bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        while !bytes.is_empty() {
            match next(bytes) {
                Next::Key(key, len) => {
                    assert!(len > 0 && len <= bytes.len());
                    keys.extend(key);
                    bytes = &bytes[len..];
                }
                Next::Incomplete => break,
            }
        }
        keys
    }

    #[test]
    fn keys_are_told_apart_also_when_they_come_together() {
        assert_eq!(
            keys(b"q\x1b[A\x1b[5~\x1bOF\r\t\x03 \x7f"),
            [
                Key::Char('q'),
                Key::Up,
                Key::PageUp,
                Key::End,
                Key::Enter,
                Key::Tab,
                Key::Ctrl('c'),
                Key::Char(' '),
                Key::Backspace,
            ]
        );
        assert_eq!(keys(b"\x1b[1;5B"), [Key::Down], "with the control key");
        assert_eq!(keys("\u{e9}\x1b[M\0".as_bytes()), [], "without a meaning");
        for incomplete in [&b"\x1b"[..], b"\x1b[", b"\x1b[5", b"\x1bO"] {
            assert_eq!(next(incomplete), Next::Incomplete);
        }
    }

    #[test]
    fn no_bytes_are_taken_for_more_than_there_are() {
        let mut seed: u32 = 1;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..12)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let byte = (seed >> 24) as u8;
                    if byte < 80 {
                        b"\x1b[O;5~"[usize::from(byte % 6)]
                    } else {
                        byte
                    }
                })
                .collect();
            keys(&bytes);
        }
    }
}
