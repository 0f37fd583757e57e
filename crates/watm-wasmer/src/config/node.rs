//! A configuration file as a tree, whose values know where they stand.
//!
//! Knows how TOML and JSON are written. Must never know which keys there are.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use toml::de::{DeTable, DeValue};
use watm_abi::Excerpt;

use crate::error::{ConfigFileProblem, KeyPlace};

/// A value. Its place is the number of bytes before it, or 0 in JSON, whose parser does not tell.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// An integer beyond those of 64 bits, or a number with decimals.
    Number,
    /// A date or a time of TOML.
    Date,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) node: Node,
}

/// A step from a table or a list to what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// What is wrong, and where.
pub(super) type Refused = (KeyPlace, Box<ConfigFileProblem>);

/// A file: its text, if positions in it are known, and what it says.
#[derive(Debug)]
pub(super) struct Document {
    text: Option<String>,
    pub(super) root: Node,
}

impl Document {
    /// Parses TOML.
    pub(super) fn of_toml(bytes: &[u8]) -> Result<Self, Refused> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let before = String::from_utf8_lossy(before);
            syntax(position(&before, before.len()), "this is not text in UTF-8")
        })?;
        let parsed = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let message = format!("this is not TOML: {}", Excerpt(error.message()));
            syntax(position(text, start), message)
        })?;
        Ok(Self {
            root: Node {
                value: table(parsed.get_ref()),
                at: 0,
            },
            text: Some(text.to_owned()),
        })
    }

    /// Parses JSON.
    pub(super) fn of_json(bytes: &[u8]) -> Result<Self, Refused> {
        let root = serde_json::from_slice(bytes).map_err(|error| {
            // The message ends with the position.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            let message = format!("this is not JSON: {}", Excerpt(message));
            syntax((error.line().max(1), error.column().max(1)), message)
        })?;
        Ok(Self { text: None, root })
    }

    /// The place of an offset, if the offsets of this file are known.
    pub(super) fn place(&self, path: &[Step], at: usize) -> KeyPlace {
        let text = self.text.as_deref();
        KeyPlace {
            position: text.map(|text| position(text, at)),
            key: written(path),
        }
    }

    /// The place of what is at a path, or of the innermost table on the way that there is.
    pub(super) fn find(&self, path: &[Step]) -> KeyPlace {
        let (at, _) = self.walk(path);
        self.place(path, at)
    }

    /// Whether there is something at a path.
    pub(super) fn has(&self, path: &[Step]) -> bool {
        self.walk(path).1 == path.len()
    }

    /// How far a path leads: the place, and the number of steps.
    fn walk(&self, path: &[Step]) -> (usize, usize) {
        let mut node = &self.root;
        for (steps, step) in path.iter().enumerate() {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Table(entries)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &entry.node),
                (Step::Index(index), Value::List(nodes)) => nodes.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node.at, steps),
            }
        }
        (node.at, path.len())
    }
}

fn syntax(position: (usize, usize), message: impl Into<String>) -> Refused {
    let place = KeyPlace {
        position: Some(position),
        key: String::new(),
    };
    (place, Box::new(ConfigFileProblem::Syntax(message.into())))
}

/// The line and the column of an offset in bytes.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    let start = start.map_or(0, |newline| newline + 1);
    // The first byte of each character.
    let is_first = |byte: &&u8| **byte & 0xc0 != 0x80;
    (line, 1 + before[start..].iter().filter(is_first).count())
}

/// How many steps of a path a message has room for.
const STEPS: usize = 12;

/// A path as messages write it: `tunnel[0].settings.env."A B"`.
fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path.iter().take(STEPS) {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if !key.is_empty() && key.chars().all(is_bare) {
                    text.push_str(&Excerpt(key).to_string());
                } else {
                    text.push_str(&format!("\"{}\"", Excerpt(key)));
                }
            }
        }
    }
    text
}

fn table(entries: &DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = entries
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            at: key.span().start,
            node: node(value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    Value::Table(entries)
}

fn node(value: &toml::Spanned<DeValue<'_>>) -> Node {
    let at = value.span().start;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Number,
        },
        DeValue::Float(_) => Value::Number,
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(values) => Value::List(values.iter().map(node).collect()),
        DeValue::Table(entries) => table(entries),
    };
    Node { value, at }
}

/// From JSON.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(Json)?;
        Ok(Self { value, at: 0 })
    }
}

struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Number, Value::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::<Entry>::new();
        let mut keys = std::collections::HashSet::new();
        while let Some((key, node)) = map.next_entry::<String, Node>()? {
            if !keys.insert(key.clone()) {
                let message = format!("the key `{}` stands twice in an object", Excerpt(&key));
                return Err(A::Error::custom(message));
            }
            entries.push(Entry { key, at: 0, node });
        }
        Ok(Value::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_characters_from_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("ab\ncd", 3), (2, 1));
        assert_eq!(position("ä=1\nöö = 2", 10), (2, 4));
        assert_eq!(position("a", 99), (1, 2));
    }

    #[test]
    fn a_path_is_written_with_its_odd_keys_in_quotes() {
        let path = ["a".into(), 3.into(), "b c".into(), "d\n".into()];
        assert_eq!(written(&path), "a[3].\"b c\".\"d\\n\"");
        let deep: Vec<Step> = (0..100_000).map(Step::Index).collect();
        assert!(written(&deep).len() < 100);
    }

    #[test]
    fn what_is_not_toml_or_json_is_told_with_its_position() {
        let (place, _) = Document::of_toml(b"a = 1\nb = ?").expect_err("no TOML");
        assert_eq!(place.position, Some((2, 5)));
        let (place, _) = Document::of_toml(b"a = 1\n\xff").expect_err("no text");
        assert_eq!(place.position, Some((2, 1)));
        let (place, problem) = Document::of_json(b"{\n \"a\": tru}").expect_err("no JSON");
        assert_eq!(place.position.map(|(line, _)| line), Some(2));
        assert!(!problem.to_string().contains("at line"), "{problem}");
        let (_, problem) = Document::of_json(b"{\"a\":1,\"a\":2}").expect_err("twice");
        assert!(
            problem.to_string().contains("`a` stands twice"),
            "{problem}"
        );
    }
}
