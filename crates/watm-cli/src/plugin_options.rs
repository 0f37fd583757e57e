//! Options in one text, as pluggable transports of Tor and plugins of Shadowsocks get them:
//! `name=value;name=value`, where a backslash takes the meaning from the character behind it.

/// A name with its value. Plugins of Shadowsocks may leave the value out.
pub(crate) type Pair = (String, Option<String>);

/// Why a text is not a list of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PluginOptionsError {
    #[error("an option has no name")]
    NoName,
    #[error("a backslash stands at the end")]
    Backslash,
}

/// Splits a text into its options. Empty parts are left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Pair>, PluginOptionsError> {
    let mut pairs = Vec::new();
    let (mut name, mut value): (String, Option<String>) = Default::default();
    let mut chars = text.chars();
    loop {
        let (c, is_plain) = match chars.next() {
            Some('\\') => (chars.next().ok_or(PluginOptionsError::Backslash)?, true),
            Some(c) => (c, false),
            None => (';', false),
        };
        match c {
            ';' if !is_plain => {
                let pair = (std::mem::take(&mut name), value.take());
                match pair {
                    (name, None) if name.is_empty() => {}
                    (name, Some(_)) if name.is_empty() => return Err(PluginOptionsError::NoName),
                    pair => pairs.push(pair),
                }
                if chars.as_str().is_empty() {
                    return Ok(pairs);
                }
            }
            '=' if !is_plain && value.is_none() => value = Some(String::new()),
            c => value.as_mut().unwrap_or(&mut name).push(c),
        }
    }
}

/// Writes a text as a part of an option, with a backslash before each of `special`.
pub(crate) fn escaped(text: &str, special: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(&c) || c == '\\' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let pairs = parse(text).expect(text);
        let value = |value: Option<String>| value.unwrap_or_else(|| "(none)".into());
        pairs
            .into_iter()
            .map(|(name, of)| (name, value(of)))
            .collect()
    }

    #[test]
    fn options_are_names_with_values() {
        for (text, expected) in [
            ("", &[][..]),
            (";;", &[]),
            ("a=b", &[("a", "b")]),
            ("a=b;c=d=e;f", &[("a", "b"), ("c", "d=e"), ("f", "(none)")]),
            ("a=;b", &[("a", ""), ("b", "(none)")]),
            (r"a\=b=c\;d;e\\=\=", &[("a=b", "c;d"), (r"e\", "=")]),
            ("a=b;", &[("a", "b")]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect();
            assert_eq!(pairs(text), expected, "{text}");
        }
        assert_eq!(parse("=x"), Err(PluginOptionsError::NoName));
        assert_eq!(parse("a=b\\"), Err(PluginOptionsError::Backslash));
    }

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        for text in [r"a;b=c\d", ";", "=", r"\\", "plain"] {
            let option = format!(
                "{}={}",
                escaped(text, &[';', '=']),
                escaped(text, &[';', '='])
            );
            assert_eq!(pairs(&option), [(text.to_owned(), text.to_owned())]);
        }
    }
}
