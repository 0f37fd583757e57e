//! The configuration: JSON, read into what the transport needs, or a sentence that says what is
//! wrong with it and what to do.

use serde::Deserialize;

use crate::padding::{FIRST, Lengths, Padding};

type Result<T> = std::result::Result<T, String>;

/// The greatest length of an address that hosts take.
const ADDRESS: usize = 256;

/// What a transport is told.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) padding: Padding,
    /// Where a fixed dialer connects to.
    pub(crate) server: Option<String>,
}

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    padding: Distribution,
    first: Option<First>,
    opening: Option<Distribution>,
    server: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    records: u32,
    padding: Distribution,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Distribution {
    None,
    Bytes((usize, usize)),
    Sizes(Vec<(usize, u32)>),
}

impl Config {
    /// # Errors
    ///
    /// A sentence for the one who wrote the file.
    pub(crate) fn parse(json: Option<&[u8]>) -> Result<Config> {
        let json = json.ok_or(
            "there is no configuration: give a JSON file with --config, such as \
             {\"padding\": {\"bytes\": [0, 255]}}",
        )?;
        let mut text = serde_json::Deserializer::from_slice(json);
        let file: File = serde_path_to_error::deserialize(&mut text).map_err(problem)?;
        text.end()
            .map_err(|error| format!("the configuration goes on after its object: {error}"))?;
        let rest = lengths("padding", &file.padding)?;
        let first = match &file.first {
            None => (0, Lengths::None),
            Some(first) => (
                count(first.records)?,
                lengths("first.padding", &first.padding)?,
            ),
        };
        let opening = match &file.opening {
            Some(opening) => lengths("opening", opening)?,
            None if first.0 > 0 => first.1.clone(),
            None => rest.clone(),
        };
        Ok(Config {
            padding: Padding::new(opening, first, rest),
            server: file.server.map(address).transpose()?,
        })
    }
}

/// What the parser found, with the place where it found it.
fn problem(error: serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let error = error.into_inner();
    match path.as_str() {
        "." => format!("the configuration is wrong: {error}"),
        path => format!("the configuration is wrong at \"{path}\": {error}"),
    }
}

fn lengths(key: &str, distribution: &Distribution) -> Result<Lengths> {
    match distribution {
        Distribution::None => Ok(Lengths::None),
        &Distribution::Bytes((min, max)) => {
            Lengths::bytes(min, max).map_err(|problem| format!("\"{key}.bytes\": {problem}"))
        }
        Distribution::Sizes(pairs) => {
            Lengths::sizes(pairs).map_err(|problem| format!("\"{key}.sizes\": {problem}"))
        }
    }
}

fn count(records: u32) -> Result<u32> {
    if (1..=FIRST).contains(&records) {
        Ok(records)
    } else {
        Err(format!(
            "\"first.records\" must be 1 to {FIRST}, not {records}"
        ))
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
            "\"server\" must be HOST:PORT or [IPV6]:PORT of at most {ADDRESS} bytes, not \"{}\"",
            text.escape_debug()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problem(json: &str) -> String {
        let parsed = Config::parse(Some(json.as_bytes()));
        parsed.err().expect("it is refused")
    }

    fn paddings(json: &str, records: usize) -> Vec<usize> {
        let config = Config::parse(Some(json.as_bytes())).expect("a configuration");
        let mut padding = config.padding;
        let opening = padding.opening();
        let rest = (0..records).map(|_| padding.next(1));
        [opening]
            .into_iter()
            .chain(rest)
            .map(|plan| plan.expect("a plan").padding)
            .collect()
    }

    #[test]
    fn all_that_can_be_said_is_read() {
        let json = r#"{"padding": {"bytes": [3, 3]},
            "first": {"records": 2, "padding": {"sizes": [[100, 7]]}},
            "opening": {"bytes": [900, 900]}, "server": "[2001:db8::1]:443"}"#;
        assert_eq!(paddings(json, 3), [900, 95, 95, 3]);
        let config = Config::parse(Some(json.as_bytes())).expect("a configuration");
        assert_eq!(config.server.as_deref(), Some("[2001:db8::1]:443"));
        assert_eq!(paddings(r#"{"padding": "none"}"#, 1), [0, 0]);
    }

    #[test]
    fn the_opening_is_padded_like_what_follows_unless_it_has_its_own() {
        assert_eq!(paddings(r#"{"padding": {"bytes": [4, 4]}}"#, 1), [4, 4]);
        let first = r#"{"padding": "none", "first": {"records": 1, "padding": {"bytes": [5, 5]}}}"#;
        assert_eq!(paddings(first, 2), [5, 5, 0]);
        let opening = r#"{"padding": {"bytes": [4, 4]}, "opening": "none"}"#;
        assert_eq!(paddings(opening, 1), [0, 4]);
    }

    #[test]
    fn what_is_wrong_gets_a_sentence_that_says_where_and_what_to_do() {
        for (json, expected) in [
            ("", "the configuration is wrong: EOF"),
            ("[1]", "the configuration is wrong"),
            ("{}", "missing field `padding`"),
            (
                r#"{"padding": "none", "servers": 1}"#,
                "unknown field `servers`, expected one of `padding`, `first`, `opening`, `server`",
            ),
            (
                r#"{"padding": "none", "padding": "none"}"#,
                "duplicate field `padding`",
            ),
            (
                r#"{"padding": "some"}"#,
                "at \"padding\": unknown variant `some`, expected one of `none`, `bytes`, `sizes`",
            ),
            (
                r#"{"padding": {"byte": [0, 1]}}"#,
                "unknown variant `byte`, expected",
            ),
            (r#"{"padding": {"bytes": 7}}"#, "at \"padding.bytes\""),
            (
                r#"{"padding": {"bytes": [-1, 7]}}"#,
                "at \"padding.bytes[0]\"",
            ),
            (
                r#"{"padding": {"bytes": [9, 7]}}"#,
                "\"padding.bytes\": [9, 7] is not possible: write [MIN, MAX]",
            ),
            (
                r#"{"padding": {"sizes": []}}"#,
                "\"padding.sizes\": there are 0 sizes",
            ),
            (
                r#"{"padding": {"sizes": [[300, 1], [300]]}}"#,
                "at \"padding.sizes[1]\"",
            ),
            (
                r#"{"padding": {"sizes": [[3, 1]]}}"#,
                "a record of 3 bytes is not possible: use 16 to 16388",
            ),
            (
                r#"{"padding": "none", "first": {"padding": "none"}}"#,
                "at \"first\": missing field `records`",
            ),
            (
                r#"{"padding": "none", "first": {"records": 0, "padding": "none"}}"#,
                "\"first.records\" must be 1 to 10000, not 0",
            ),
            (
                r#"{"padding": "none", "first": {"records": 1, "padding": {"bytes": [0, 70000]}}}"#,
                "\"first.padding.bytes\": [0, 70000]",
            ),
            (
                r#"{"padding": "none", "opening": {"bytes": [0, 20000]}}"#,
                "\"opening.bytes\": [0, 20000]",
            ),
            (
                r#"{"padding": "none", "server": "host"}"#,
                "\"server\" must be HOST:PORT",
            ),
            (
                r#"{"padding": "none", "server": "host:0"}"#,
                "\"server\" must be HOST:PORT",
            ),
            (r#"{"padding": "none"} x"#, "goes on after its object"),
        ] {
            let found = problem(json);
            assert!(found.contains(expected), "{json}: {found}");
        }
        let found = Config::parse(None).err().expect("it is refused");
        assert!(found.contains("give a JSON file with --config"), "{found}");
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Config::parse(Some(&bytes));
        }

        #[test]
        fn no_json_makes_it_panic(
            key in "(padding|first|opening|server)",
            value in r#"[\[\]{}",:0-9a-z-]{0,40}"#,
        ) {
            let _ = Config::parse(Some(format!(r#"{{"{key}": {value}}}"#).as_bytes()));
        }
    }
}
