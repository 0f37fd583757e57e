//! The configuration: JSON, read into what the transport needs, or a sentence that says what is
//! wrong with it and what to do.

use std::fmt;
use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::curve::{self, KEY};
use crate::handshake::{Keys, Pattern};
use crate::padding::Padding;
use crate::replay::Replay;

type Result<T> = std::result::Result<T, String>;

const KEYS: [&str; 7] = [
    "pattern",
    "psk",
    "server_public_key",
    "server_private_key",
    "server",
    "padding",
    "replay",
];

/// The greatest length of an address that hosts take.
const ADDRESS: usize = 256;

/// What a transport is told. The keys are complete for what its pattern needs of one side at least.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) keys: Keys,
    /// Where a fixed dialer connects to.
    pub(crate) server: Option<String>,
    pub(crate) padding: Padding,
    /// What a listener does about repeated first messages. `None` if nothing is said.
    pub(crate) replay: Option<Replay>,
}

impl Config {
    /// # Errors
    ///
    /// A sentence for the one who wrote the file.
    pub(crate) fn parse(json: &[u8]) -> Result<Config> {
        let object: Object = serde_json::from_slice(json).map_err(|error| {
            format!("the configuration is not the JSON object that it should be: {error}")
        })?;
        object.only("the configuration", &KEYS)?;
        let pattern: String = object
            .get("pattern")?
            .ok_or_else(|| format!("\"pattern\" is missing: use {}", Pattern::choices()))?;
        let keys = Keys {
            pattern: Pattern::named(&pattern).ok_or_else(|| {
                format!(
                    "the pattern \"{pattern}\" is unknown: use {}",
                    Pattern::choices()
                )
            })?,
            psk: object.key("psk")?,
            server_public: object.key("server_public_key")?,
            server_private: object.key("server_private_key")?,
        };
        Ok(Config {
            keys: complete(keys)?,
            server: object.get("server")?.map(address).transpose()?,
            padding: object
                .raw("padding")
                .map_or_else(|| Ok(Padding::none()), padding)?,
            replay: object.raw("replay").map(replay).transpose()?,
        })
    }
}

/// The keys, if they are those that the pattern needs, and no others.
fn complete(mut keys: Keys) -> Result<Keys> {
    let name = keys.pattern.name();
    match (keys.pattern.has_psk(), keys.psk) {
        (true, None) => return Err(format!("{name} needs \"psk\", a key of 32 bytes")),
        (false, Some(_)) => return Err(format!("{name} has no \"psk\": remove it, or use NKpsk0")),
        _ => {}
    }
    if !keys.pattern.has_server_key() {
        if keys.server_public.is_some() || keys.server_private.is_some() {
            return Err(format!(
                "{name} has no key of the server: remove it, or use NKpsk0"
            ));
        }
        return Ok(keys);
    }
    let derived = keys.server_private.as_ref().and_then(curve::public_key);
    match (derived, keys.server_public) {
        (None, None) => Err(format!(
            "{name} needs \"server_public_key\" to dial, or \"server_private_key\" to listen"
        )),
        (Some(derived), Some(given)) if derived != given => Err(
            "\"server_public_key\" is not the one of \"server_private_key\": remove one of them"
                .to_owned(),
        ),
        (derived, given) => {
            keys.server_public = given.or(derived);
            Ok(keys)
        }
    }
}

fn address(text: String) -> Result<String> {
    let is_valid = match text.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0),
        None => false,
    };
    if is_valid && text.len() <= ADDRESS {
        Ok(text)
    } else {
        Err(format!(
            "\"server\" must be HOST:PORT or [IPV6]:PORT of at most {ADDRESS} bytes, not \"{text}\""
        ))
    }
}

fn padding(value: &RawValue) -> Result<Padding> {
    if word(value).as_deref() == Some("none") {
        return Ok(Padding::none());
    }
    let object: Object = typed(value).map_err(|_| {
        "\"padding\" must be \"none\" or an object such as {\"lengths\": [[512, 3], [1400, 1]]}"
            .to_owned()
    })?;
    object.only("\"padding\"", &["lengths"])?;
    let pairs: Vec<(usize, u32)> = object
        .get("lengths")
        .map_err(|problem| format!("{problem}; write pairs of a length and a weight"))?
        .ok_or("\"padding\" needs \"lengths\", or must be \"none\"")?;
    Padding::of(&pairs).map_err(|problem| format!("\"padding\": {problem}"))
}

fn replay(value: &RawValue) -> Result<Replay> {
    if word(value).as_deref() == Some("off") {
        return Ok(Replay::Off);
    }
    let object: Object = typed(value).map_err(|_| {
        "\"replay\" must be \"off\" or an object such as {\"directory\": \"/seen\"}".to_owned()
    })?;
    object.only("\"replay\"", &["directory", "window"])?;
    let directory: String = object
        .get("directory")?
        .ok_or("\"replay\" needs \"directory\", such as \"/seen\", or must be \"off\"")?;
    if !directory.starts_with('/') {
        return Err(format!(
            "\"directory\" must be a path of the module that begins with /, not \"{directory}\""
        ));
    }
    let window = object.get("window")?.unwrap_or(Replay::WINDOW);
    if !Replay::WINDOWS.contains(&window) {
        return Err(format!(
            "\"window\" must be {} to {} seconds, not {window}",
            Replay::WINDOWS.start(),
            Replay::WINDOWS.end(),
        ));
    }
    Ok(Replay::store(PathBuf::from(directory), window))
}

/// A JSON object whose values are not yet looked at. A key that appears twice is an error.
struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Refuses keys that are not in the list.
    fn only(&self, place: &str, known: &[&str]) -> Result<()> {
        let Some((unknown, _)) = self.0.iter().find(|(key, _)| !known.contains(&&**key)) else {
            return Ok(());
        };
        let nearest = known
            .iter()
            .min_by_key(|key| strsim::damerau_levenshtein(key, unknown))
            .unwrap_or(&"");
        Err(format!(
            "{place} has an unknown key \"{unknown}\": did you mean \"{nearest}\"?"
        ))
    }

    fn raw(&self, key: &str) -> Option<&RawValue> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| &**value)
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.raw(key).map(typed).transpose();
        value.map_err(|error| format!("\"{key}\" has a wrong value: {error}"))
    }

    /// A key of 32 bytes, in base64 or hexadecimal. What is wrong with it is said without it.
    fn key(&self, name: &str) -> Result<Option<[u8; KEY]>> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        let decoded = word(value).and_then(|text| {
            let text = text.trim();
            let decoded = match text.len() {
                64 => HEXLOWER_PERMISSIVE.decode(text.as_bytes()),
                _ => BASE64.decode(text.as_bytes()),
            };
            <[u8; KEY]>::try_from(decoded.ok()?).ok()
        });
        match decoded {
            Some(key) if key == [0; KEY] => Err(format!(
                "\"{name}\" is all zeros: make one with `openssl rand -base64 32`"
            )),
            Some(key) => Ok(Some(key)),
            None => Err(format!(
                "\"{name}\" must be 32 bytes, as 44 characters of base64 or 64 hexadecimal digits"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Object, A::Error> {
                let mut pairs: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, _>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        let text = format!("the key \"{key}\" appears twice");
                        return Err(serde::de::Error::custom(text));
                    }
                    pairs.push((key, value));
                }
                Ok(Object(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

fn typed<T: DeserializeOwned>(value: &RawValue) -> serde_json::Result<T> {
    serde_json::from_str(value.get())
}

fn word(value: &RawValue) -> Option<String> {
    typed(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PSK: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn problem(json: &str) -> String {
        Config::parse(json.as_bytes()).err().expect("it is refused")
    }

    #[test]
    fn all_that_can_be_said_is_read() {
        let json = format!(
            r#"{{"pattern": "NNpsk0", "psk": "{PSK}", "server": "[2001:db8::1]:443",
                "padding": {{"lengths": [[256, 5], [1400, 3]]}},
                "replay": {{"directory": "/seen", "window": 60}}}}"#
        );
        let config = Config::parse(json.as_bytes()).expect("a configuration");
        assert_eq!(config.keys.psk, Some([1; KEY]));
        assert_eq!(config.server.as_deref(), Some("[2001:db8::1]:443"));
        assert!(config.replay.is_some());
        let hex = "01".repeat(KEY);
        let json = format!(r#"{{"pattern": "NNpsk0", "psk": " {hex}\n", "padding": "none"}}"#);
        let config = Config::parse(json.as_bytes()).expect("a configuration");
        assert_eq!(config.keys.psk, Some([1; KEY]));
    }

    #[test]
    fn a_listener_knows_its_public_key() {
        let json = format!(r#"{{"pattern": "NK", "server_private_key": "{PSK}"}}"#);
        let config = Config::parse(json.as_bytes()).expect("a configuration");
        assert_eq!(config.keys.server_public, curve::public_key(&[1; KEY]));
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        for (json, expected) in [
            (
                r#"{"patern": "NK"}"#,
                "\"patern\": did you mean \"pattern\"?",
            ),
            (
                r#"{"server_pubic_key": "NK"}"#,
                "did you mean \"server_public_key\"?",
            ),
            (
                r#"{"pattern": "NK", "server_public_key":
                    "0101010101010101010101010101010101010101010101010101010101010101",
                    "replay": {"windows": 1}}"#,
                "\"replay\" has an unknown key \"windows\": did you mean \"window\"?",
            ),
        ] {
            assert!(problem(json).contains(expected), "{}", problem(json));
        }
    }

    #[test]
    fn a_wrong_value_gets_a_sentence_that_says_what_to_do() {
        let with = |more: &str| format!(r#"{{"pattern": "NNpsk0", "psk": "{PSK}", {more}}}"#);
        let nk = |more: &str| format!(r#"{{"pattern": "NK", {more}}}"#);
        for (json, expected) in [
            (String::new(), "not the JSON object"),
            ("[1]".into(), "not the JSON object"),
            (
                r#"{"psk": "a", "psk": "b"}"#.into(),
                "the key \"psk\" appears twice",
            ),
            (
                "{}".into(),
                "\"pattern\" is missing: use NNpsk0, NK or NKpsk0",
            ),
            (
                r#"{"pattern": "XX"}"#.into(),
                "\"XX\" is unknown: use NNpsk0, NK or NKpsk0",
            ),
            (r#"{"pattern": 1}"#.into(), "\"pattern\" has a wrong value"),
            (r#"{"pattern": "NNpsk0"}"#.into(), "NNpsk0 needs \"psk\""),
            (
                r#"{"pattern": "NNpsk0", "psk": "c2hvcnQ="}"#.into(),
                "\"psk\" must be 32 bytes",
            ),
            (
                format!(r#"{{"pattern": "NNpsk0", "psk": "{}"}}"#, "0".repeat(64)),
                "all zeros",
            ),
            (
                with(&format!(r#""server_public_key": "{PSK}""#)),
                "no key of the server",
            ),
            (nk(&format!(r#""psk": "{PSK}""#)), "NK has no \"psk\""),
            (
                r#"{"pattern": "NK"}"#.into(),
                "needs \"server_public_key\" to dial",
            ),
            (
                nk(&format!(
                    r#""server_public_key": "{PSK}", "server_private_key": "{PSK}""#
                )),
                "remove one of them",
            ),
            (with(r#""server": "host""#), "\"server\" must be HOST:PORT"),
            (
                with(r#""server": "host:0""#),
                "\"server\" must be HOST:PORT",
            ),
            (
                with(r#""padding": 7"#),
                "\"padding\" must be \"none\" or an object",
            ),
            (with(r#""padding": {}"#), "\"padding\" needs \"lengths\""),
            (
                with(r#""padding": {"lengths": [7]}"#),
                "pairs of a length and a weight",
            ),
            (
                with(r#""padding": {"lengths": [[7, 1]]}"#),
                "a length of 7 bytes",
            ),
            (
                with(r#""replay": "on""#),
                "\"replay\" must be \"off\" or an object",
            ),
            (with(r#""replay": {}"#), "\"replay\" needs \"directory\""),
            (with(r#""replay": {"directory": "seen"}"#), "begins with /"),
            (
                with(r#""replay": {"directory": "/s", "window": 1}"#),
                "10 to 3600 seconds, not 1",
            ),
        ] {
            let found = problem(&json);
            assert!(found.contains(expected), "{json}: {found}");
        }
    }

    #[test]
    fn no_message_repeats_a_key() {
        let secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IQ==";
        let found = problem(&format!(r#"{{"pattern": "NNpsk0", "psk": "{secret}"}}"#));
        assert!(!found.contains(&secret[..8]), "{found}");
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Config::parse(&bytes);
        }

        #[test]
        fn no_json_makes_it_panic(key in "[a-z_]{0,20}", value in r#"[\[\]{}",:0-9a-z-]{0,40}"#) {
            let _ = Config::parse(format!(r#"{{"{key}": {value}}}"#).as_bytes());
            for key in KEYS {
                let json = format!(r#"{{"pattern": "NK", "{key}": {value}}}"#);
                let _ = Config::parse(json.as_bytes());
            }
        }
    }
}
