//! What a command prints on standard output: whole, or its failure is the command's.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use watm_abi::is_disruptive;

use super::failure::Failure;

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(|out| out.write_all(text.as_bytes()))
}

/// Prints one JSON object and the end of its line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    write(|out| {
        serde_json::to_writer_pretty(Escaping(&mut *out), value)?;
        out.write_all(b"\n")
    })
}

/// Prints what `produce` writes, part by part, so that it need not be in memory as a whole.
pub(crate) fn write(produce: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    produce(&mut out)
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

/// Writes JSON with all that could drive a terminal escaped: such characters stand in strings alone. JSON
/// itself asks for no more than the first of them.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // It comes in whole characters.
        let Ok(text) = std::str::from_utf8(buf) else {
            return self.0.write(buf);
        };
        let is_escaped = |c: char| c > '~' && is_disruptive(c);
        let mut rest = text;
        while let Some(at) = rest.find(is_escaped) {
            let (before, from) = rest.split_at(at);
            self.0.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            for unit in chars.next().into_iter().flat_map(|c| {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).to_vec()
            }) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        self.0.write_all(rest.as_bytes())?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_what_drives_a_terminal_and_stays_the_same_value() {
        let value = "a\u{9b}31m\u{7f}\u{85}\u{202e}\u{2028}\n\u{fc}\u{e0041}";
        let mut written = Vec::new();
        serde_json::to_writer_pretty(Escaping(&mut written), &[value]).expect("JSON");
        let text = String::from_utf8(written).expect("text");
        assert!(
            text.contains("\\u009b31m\\u007f\\u0085\\u202e\\u2028\\n\u{fc}"),
            "{text}"
        );
        let read: Vec<String> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, [value]);
    }
}
