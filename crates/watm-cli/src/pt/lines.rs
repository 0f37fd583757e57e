//! The lines that tor reads on standard output, in their form and at once (pt-spec, section 3.3).

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints one line. Whoever started the program has gone if that fails, which it finds elsewhere.
pub(super) fn say(line: impl Display) {
    // One call, so that lines of several threads stay whole.
    let line = format!("{line}\n");
    let mut out = io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// A text as the rest of a line: nothing that begins another.
pub(super) fn rest(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A text in quotes, as a controller of Tor reads them.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || !c.is_ascii() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    quoted.push_str(&format!("\\{byte:03o}"));
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_has_no_end_of_line_and_no_other_quote() {
        assert_eq!(quoted("a \"b\" \\ c\n"), r#""a \"b\" \\ c\n""#);
        assert_eq!(quoted("\u{e9}\u{1b}"), r#""\303\251\033""#);
        assert_eq!(rest("two\nlines"), "two lines");
    }
}
