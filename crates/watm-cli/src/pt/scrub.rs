//! Takes addresses out of what is logged, since a log of a bridge should not say who its users are.

use std::net::{IpAddr, SocketAddr};

use watm_wasmer::Address;

const SCRUBBED: &str = "[scrubbed]";

/// The text without addresses.
pub(super) fn scrubbed(text: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".:[]%-_".contains(c);
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        scrubbed.push_str(&one(word));
        let mut chars = after.chars();
        scrubbed.extend(chars.next());
        rest = chars.as_str();
    }
    scrubbed
}

/// A word without the address that it may be.
fn one(word: &str) -> String {
    let bare = word.trim_end_matches([':', '.']);
    if is_address(bare) {
        format!("{SCRUBBED}{}", &word[bare.len()..])
    } else {
        word.to_owned()
    }
}

fn is_address(word: &str) -> bool {
    let bare = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'));
    word.parse::<SocketAddr>().is_ok()
        || bare.unwrap_or(word).parse::<IpAddr>().is_ok()
        // A name and a port. Names of Rust have two colons.
        || word.parse::<Address>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_out_and_nothing_else() {
        for (text, expected) in [
            (
                "client 192.0.2.1:5000: it has gone",
                "client [scrubbed]: it has gone",
            ),
            (
                "no connection to [2001:db8::1]:443.",
                "no connection to [scrubbed].",
            ),
            (
                "to 2001:db8::1 (via 10.0.0.1)",
                "to [scrubbed] (via [scrubbed])",
            ),
            (
                "no connection to bridge.example:443: refused",
                "no connection to [scrubbed]: refused",
            ),
            (
                "watm_wasmer::roles: 3 of 4 at 12.5%",
                "watm_wasmer::roles: 3 of 4 at 12.5%",
            ),
            ("", ""),
        ] {
            assert_eq!(scrubbed(text), expected);
        }
    }
}
