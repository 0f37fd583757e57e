//! Arguments of a transport, and the configuration of its module that they become.

use serde_json::{Map, Value};

use crate::plugin_options::{self, Pair, PluginOptionsError};

/// The arguments that a client of SOCKS has sent as its user name and password: one text, split over
/// both. A password of one zero is none.
pub(super) fn of_credentials(user: &[u8], password: &[u8]) -> Result<Vec<Pair>, String> {
    let password = if password == [0] { &[] } else { password };
    let text = String::from_utf8([user, password].concat());
    let text = text.map_err(|_| "the arguments are not UTF-8".to_owned())?;
    let pairs = plugin_options::parse(&text);
    let pairs = pairs.map_err(|error: PluginOptionsError| error.to_string())?;
    // Without the text, which may be a secret that was written in another form.
    if pairs.iter().any(|(_, value)| value.is_none()) {
        return Err("an argument has no value; expected NAME=VALUE".to_owned());
    }
    Ok(pairs)
}

/// The configuration of the module of one connection: that of the transport, with the arguments.
///
/// If it is a JSON object, or if there is none, the arguments are members of it, as texts; one that is
/// given several times is a list. Otherwise, they are lines `NAME=VALUE` at its end.
pub(super) fn configuration(base: Option<&[u8]>, arguments: &[Pair]) -> Vec<u8> {
    let object = match base {
        None => Some(Map::new()),
        Some(base) => serde_json::from_slice(base).ok(),
    };
    match object {
        Some(object) => Value::Object(with_members(object, arguments))
            .to_string()
            .into_bytes(),
        None => with_lines(base.unwrap_or_default(), arguments),
    }
}

fn with_members(mut object: Map<String, Value>, arguments: &[Pair]) -> Map<String, Value> {
    for (i, (name, value)) in arguments.iter().enumerate() {
        let value = Value::String(value.clone().unwrap_or_default());
        let is_again = arguments[..i].iter().any(|(before, _)| before == name);
        match object.get_mut(name) {
            Some(Value::Array(values)) if is_again => values.push(value),
            Some(before) if is_again => *before = Value::Array(vec![before.take(), value]),
            _ => {
                object.insert(name.clone(), value);
            }
        }
    }
    object
}

fn with_lines(base: &[u8], arguments: &[Pair]) -> Vec<u8> {
    let mut text = base.to_vec();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    for (name, value) in arguments {
        let value = value.as_deref().unwrap_or_default();
        text.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<Pair> {
        plugin_options::parse(text).expect("options")
    }

    #[test]
    fn arguments_are_split_over_user_name_and_password() {
        let long = format!("cert={};iat-mode=0", "x".repeat(300));
        let (user, password) = long.as_bytes().split_at(255);
        assert_eq!(of_credentials(user, password), Ok(pairs(&long)));
        assert_eq!(of_credentials(b"a=b", b"\0"), Ok(pairs("a=b")));
        assert_eq!(of_credentials(b"a=b\\", b";c"), Ok(pairs(r"a=b\;c")));
        for (user, password) in [(&b"a"[..], &b"\0"[..]), (b"\xff=", b"\0"), (b"=b", b"\0")] {
            assert!(of_credentials(user, password).is_err(), "{user:?}");
        }
        // Somebody's name and password are no arguments, and nothing for a log.
        let error = of_credentials(b"alice", b"secret").expect_err("no arguments");
        assert!(
            !error.contains("alice") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn arguments_become_members_or_lines_of_the_configuration() {
        let text = |base: Option<&str>, arguments: &str| {
            let bytes = configuration(base.map(str::as_bytes), &pairs(arguments));
            String::from_utf8(bytes).expect("text")
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(json(&text(None, "a=b")), json(r#"{"a":"b"}"#));
        let base = Some(r#"{"a": 1, "c": [2]}"#);
        assert_eq!(
            json(&text(base, "a=x;c=y;c=z")),
            json(r#"{"a":"x","c":["y","z"]}"#)
        );
        assert_eq!(text(Some("key 1"), "a=b;c=d"), "key 1\na=b\nc=d\n");
        assert_eq!(text(Some("[1]"), "a=b"), "[1]\na=b\n");
    }
}
