//! What a message repeats of a text that comes from a module, a peer or a file.
//!
//! Knows what can disturb a terminal or a log. Must never know whose text it is.

use std::fmt::{self, Write as _};

/// The most characters that a message repeats of such a text.
pub const MAX_EXCERPT: usize = 200;

/// The beginning of a text that may hold anything, for a message.
///
/// [`Display`](fmt::Display) writes it in one line: characters that control a terminal, change the
/// direction of writing or cannot be seen are escaped. After [`MAX_EXCERPT`] characters, those of
/// the escapes counted, it ends with `..`.
///
/// ```
/// use watm_abi::Excerpt;
///
/// assert_eq!(Excerpt("a\nb").to_string(), "a\\nb");
/// let long = Excerpt(&"x".repeat(100_000)).to_string();
/// assert_eq!(long, "x".repeat(200) + "..");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_excerpt(f, self.0, None)
    }
}

/// Whether a character controls a terminal, begins a line, changes the direction of writing or
/// cannot be seen: what a text of any length must not bring into a log.
///
/// ```
/// use watm_abi::is_disruptive;
///
/// // A name that a peer has sent, for a log in which each line is an entry.
/// let name = "eve\nadmin logged in";
/// let shown: String = name.chars().filter(|c| !is_disruptive(*c)).collect();
/// assert_eq!(shown, "eveadmin logged in");
/// ```
pub fn is_disruptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A name in backticks, cut and escaped as an [`Excerpt`].
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        write_excerpt(f, self.0, Some('`'))?;
        f.write_str("`")
    }
}

fn write_excerpt(f: &mut fmt::Formatter<'_>, text: &str, quote: Option<char>) -> fmt::Result {
    let mut room = MAX_EXCERPT;
    for c in text.chars() {
        let is_quote = quote == Some(c);
        let len = match c {
            // `escape_debug` escapes these for the sake of a literal.
            '\'' | '"' => 1,
            // Only quotes make it matter what is an escape.
            '\\' if quote.is_none() => 1,
            _ if is_quote => 2,
            _ => c.escape_debug().count(),
        };
        let Some(left) = room.checked_sub(len) else {
            return f.write_str("..");
        };
        room = left;
        match len {
            1 => f.write_char(c)?,
            _ if is_quote => write!(f, "\\{c}")?,
            _ => write!(f, "{}", c.escape_debug())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_log_lines_or_grow_without_end() {
        let print = |name: &str| Quoted(name).to_string();
        assert_eq!(print("a\nb\x1b[1m\u{202e}"), "`a\\nb\\u{1b}[1m\\u{202e}`");
        assert_eq!(print("a`b\\c"), "`a\\`b\\\\c`");
        assert_eq!(print("it's \"\u{fc}\""), "`it's \"\u{fc}\"`");
        let whole = "\u{fc}".repeat(200);
        assert_eq!(print(&whole), format!("`{whole}`"));
        assert_eq!(print(&"\u{fc}".repeat(201)), format!("`{whole}..`"));
    }

    #[test]
    fn whatever_is_disruptive_is_escaped() {
        // Each takes Miri a while.
        let step = if cfg!(miri) { 8191 } else { 1 };
        for c in (0..=0xf_ffff).step_by(step).filter_map(char::from_u32) {
            let printed = Excerpt(c.encode_utf8(&mut [0; 4])).to_string();
            assert!(!printed.contains(is_disruptive), "{:x}", u32::from(c));
        }
        assert!(is_disruptive('\u{202e}') && is_disruptive('\n') && !is_disruptive('\u{fc}'));
    }

    #[test]
    fn escapes_count_as_what_is_written_of_them() {
        let printed = Excerpt(&"\u{10ffff}".repeat(1000)).to_string();
        assert_eq!(printed, "\\u{10ffff}".repeat(20) + "..");
        assert_eq!(Excerpt("`it's` \\ \r").to_string(), "`it's` \\ \\r");
        assert_eq!(Excerpt("").to_string(), "");
    }
}
