//! The name of a project, which is also that of its crate, of its Go module or of its C file.

use std::fmt;
use std::str::FromStr;

/// The maximum length, in bytes.
const MAX: usize = 64;

/// Words that no crate can be named after: those of all editions.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else \
    enum extern false final fn for gen if impl in let loop macro match mod move mut override priv \
    pub ref return self static struct super trait true try type typeof unsafe unsized use virtual \
    where while yield";
/// Crates that come with the compiler, and the library of the project itself.
const CRATES: &str = "alloc core proc_macro std test watm_guest";
/// Elements that a path of Go cannot have, or that have a meaning in it.
const GO_PATHS: &str = "aux con internal nul prn testdata vendor";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProjectName(String);

impl ProjectName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(first) = text.chars().next() else {
            return Err("the name is empty".into());
        };
        if !first.is_ascii_alphabetic() {
            return Err("a name begins with a letter from a to z or from A to Z".into());
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if let Some(other) = text.chars().find(|c| !is_allowed(*c)) {
            return Err(format!(
                "a name has only letters from a to z, digits, `-` and `_`, but this one has {other:?}"
            ));
        }
        if text.len() > MAX {
            return Err(format!("a name has at most {MAX} characters"));
        }
        // In the form that crates and, on some systems, files are compared in.
        let folded = text.to_ascii_lowercase().replace('-', "_");
        let is_one_of = |words: &str| words.split_whitespace().any(|word| word == folded);
        if is_one_of(KEYWORDS) {
            return Err("this word is a keyword of Rust".into());
        }
        if is_one_of(CRATES) {
            return Err("a library that every project in Rust can use has this name".into());
        }
        if is_one_of(GO_PATHS) || is_port(&folded) {
            return Err("this word has a meaning of its own in paths, of Go or of Windows".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// `com1` to `com9` and `lpt1` to `lpt9`: devices of Windows, which Go refuses everywhere.
fn is_port(name: &str) -> bool {
    let number = name.strip_prefix("com").or(name.strip_prefix("lpt"));
    number.is_some_and(|number| number.len() == 1 && ('1'..='9').any(|n| number.starts_with(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_for_every_language() {
        let longest = "x".repeat(MAX);
        for name in [
            "x",
            "my-transport",
            "My_transport2",
            "com10",
            "lpt",
            &longest,
        ] {
            assert_eq!(name.parse::<ProjectName>().expect(name).as_str(), name);
        }
    }

    #[test]
    fn a_name_that_some_language_cannot_have_is_refused_with_the_reason() {
        let too_long = "x".repeat(MAX + 1);
        for (name, reason) in [
            ("", "empty"),
            ("9p", "begins with a letter"),
            ("_x", "begins with a letter"),
            ("-x", "begins with a letter"),
            ("..", "begins with a letter"),
            ("größe", "'ö'"),
            ("a/b", "'/'"),
            ("a.b", "'.'"),
            ("a b", "' '"),
            ("a\u{1b}b", "'\\u{1b}'"),
            (&too_long, "at most 64"),
            ("match", "keyword"),
            ("Self", "keyword"),
            ("std", "library"),
            ("proc-macro", "library"),
            ("watm-guest", "library"),
            ("vendor", "paths"),
            ("CON", "paths"),
            ("lpt1", "paths"),
        ] {
            let error = name.parse::<ProjectName>().expect_err(name);
            assert!(error.contains(reason), "{name}: {error}");
        }
    }
}
