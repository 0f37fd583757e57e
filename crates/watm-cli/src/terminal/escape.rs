//! Escapes text from a module, a peer or a file, for a terminal, JSON or XML.
//!
//! [`is_disruptive`] defines which characters are harmful. Each format has its own escape sequence.

use std::io::{self, Write};

use watm_abi::is_disruptive;

/// Escapes text for a terminal or a log.
pub(crate) fn printable(text: &str) -> String {
    replaced(text, |c| is_disruptive(c).then(|| escape(c)))
}

/// Escapes text for an XML document.
pub(crate) fn xml(text: &str) -> String {
    replaced(text, |c| {
        let reference = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            '\u{fffe}' | '\u{ffff}' => "\u{fffd}",
            c => return is_disruptive(c).then(|| escape(c)),
        };
        Some(reference.to_owned())
    })
}

/// Escapes JSON while writing it. Harmful characters occur only in its strings, and JSON itself
/// requires escapes for only a few of them.
pub(crate) struct Json<W>(pub(crate) W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // The serializer writes whole characters.
        let Ok(text) = std::str::from_utf8(buf) else {
            return self.0.write(buf);
        };
        let text = replaced(text, |c| (c > '~' && is_disruptive(c)).then(|| utf16(c)));
        self.0.write_all(text.as_bytes())?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `\u{1b}`, or shorter where Rust has a shorter form.
fn escape(c: char) -> String {
    c.escape_default().to_string()
}

/// `\ud83d\ude00`: JSON escapes units of UTF-16.
fn utf16(c: char) -> String {
    let mut units = [0; 2];
    let units = c.encode_utf16(&mut units).iter();
    units.map(|unit| format!("\\u{unit:04x}")).collect()
}

fn replaced(text: &str, replacement: impl Fn(char) -> Option<String>) -> String {
    let mut replaced = String::with_capacity(text.len());
    for c in text.chars() {
        match replacement(c) {
            Some(replacement) => replaced.push_str(&replacement),
            None => replaced.push(c),
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_says_cannot_move_the_cursor() {
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{202e}d"),
            "a\\u{1b}[2Jb\\nc\\u{202e}d"
        );
        assert_eq!(printable("größe `x`"), "größe `x`");
    }

    #[test]
    fn xml_has_no_markup_of_the_text() {
        assert_eq!(
            xml("<a href=\"x\">'&\u{1}\u{ffff}]]>"),
            "&lt;a href=&quot;x&quot;&gt;&apos;&amp;\\u{1}\u{fffd}]]&gt;"
        );
    }

    #[test]
    fn json_escapes_what_drives_a_terminal_and_stays_the_same_value() {
        let value = "a\u{9b}31m\u{7f}\u{85}\u{202e}\u{2028}\n\u{fc}\u{e0041}";
        let mut written = Vec::new();
        serde_json::to_writer_pretty(Json(&mut written), &[value]).expect("JSON");
        let text = String::from_utf8(written).expect("text");
        assert!(
            text.contains("\\u009b31m\\u007f\\u0085\\u202e\\u2028\\n\u{fc}"),
            "{text}"
        );
        let read: Vec<String> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, [value]);
    }
}
