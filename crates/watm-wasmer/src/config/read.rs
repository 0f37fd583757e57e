//! Turns the tree of a file into the types that say which keys there are.
//!
//! Serde's derived code asks for one value after the other. This is what answers, and what knows
//! where in the file it went wrong. Keys that a type does not have are refused here.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use watm_abi::Excerpt;

use super::node::{Document, Entry, Node, Refused, Step, Value};
use crate::error::ConfigFileProblem;
use crate::nearest::nearest;

/// How keys are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// As they are written.
    Exact,
    /// As Go's JSON compares them: in either case.
    AnyCase,
}

/// Reads a whole document as a `T`.
pub(super) fn read<'de, T: Deserialize<'de>>(
    document: &'de Document,
    keys: Keys,
) -> Result<T, Refused> {
    let reader = Reader {
        node: &document.root,
        keys,
    };
    T::deserialize(reader).map_err(|mut problem| {
        problem.path.reverse();
        let at = problem.at.unwrap_or(document.root.at);
        (document.place(&problem.path, at), problem.what)
    })
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Problem {
    /// The steps from the inside to the outside.
    path: Vec<Step>,
    at: Option<usize>,
    what: Box<ConfigFileProblem>,
}

impl Problem {
    fn invalid(message: String) -> Self {
        Self {
            path: Vec::new(),
            at: None,
            what: Box::new(ConfigFileProblem::Invalid(message)),
        }
    }

    /// The same within the value at a step.
    fn within(mut self, step: impl Into<Step>, at: usize) -> Self {
        self.path.push(step.into());
        self.at.get_or_insert(at);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::invalid(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        // Serde's own words.
        let expected = match expected.as_str() {
            "a boolean" => "true or false",
            "a string" => "a text in quotes",
            "a sequence" => "a list in brackets",
            "a map" => "a table",
            other if other.starts_with("struct ") => "a table",
            other => other,
        };
        Self::invalid(format!("expected {expected}, found {}", kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            found => kind(&found).to_owned(),
        };
        Self::invalid(format!("expected {expected}, found {found}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let nearest = nearest(variant, expected.iter().copied()).unwrap_or_default();
        Self::invalid(format!(
            "there is no \"{}\"; expected {}; the nearest is \"{nearest}\"",
            Excerpt(variant),
            choices(expected)
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let nearest = nearest(field, expected.iter().copied()).unwrap_or_default();
        Self {
            what: Box::new(ConfigFileProblem::UnknownKey {
                nearest: nearest.to_owned(),
            }),
            ..Self::invalid(String::new())
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self {
            path: vec![field.into()],
            ..Self::invalid("this key stands here twice".to_owned())
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            path: vec![field.into()],
            ..Self::invalid("this key is missing".to_owned())
        }
    }
}

/// The texts that a value may be.
fn choices(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) => "a whole number",
        Unexpected::Float(_) => "a number with decimals, or a very large one",
        Unexpected::Str(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        Unexpected::Unit => "null",
        Unexpected::Other(_) => "a date or time",
        _ => "something else",
    }
}

/// A value of the tree.
#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node,
    keys: Keys,
}

impl<'de> Reader<'de> {
    fn table<V: Visitor<'de>>(
        self,
        entries: &'de [Entry],
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_map(Table {
            entries: entries.iter(),
            current: None,
            known,
            keys: self.keys,
        })
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Number => Err(Problem::invalid_type(Unexpected::Float(0.0), &visitor)),
            Value::Date => Err(Problem::invalid_type(Unexpected::Other("date"), &visitor)),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(nodes) => visitor.visit_seq(List {
                nodes: nodes.iter().enumerate(),
                keys: self.keys,
            }),
            Value::Table(entries) => self.table(entries, None, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Table(entries) => self.table(entries, Some(fields), visitor),
            // A structure of fields could be read from a list as well.
            Value::List(_) => Err(Problem::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let Value::Text(text) = &self.node.value else {
            return Err(Problem::invalid(format!("expected {}", choices(names))));
        };
        let text: StrDeserializer<'_, Problem> = text.as_str().into_deserializer();
        visitor.visit_enum(text)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct List<'de> {
    nodes: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
    keys: Keys,
}

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some((index, node)) = self.nodes.next() else {
            return Ok(None);
        };
        let keys = self.keys;
        let read = seed.deserialize(Reader { node, keys });
        read.map(Some).map_err(|error| error.within(index, node.at))
    }
}

struct Table<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
    /// The keys that there are, unless any may be there.
    known: Option<&'static [&'static str]>,
    keys: Keys,
}

impl Table<'_> {
    fn name<'a>(&self, key: &'a str) -> Result<&'a str, Problem>
    where
        Self: 'a,
    {
        let Some(known) = self.known else {
            return Ok(key);
        };
        if known.contains(&key) {
            return Ok(key);
        }
        let alike = |name: &&&str| self.keys == Keys::AnyCase && name.eq_ignore_ascii_case(key);
        match known.iter().find(alike) {
            Some(name) => Ok(name),
            None => Err(Problem::unknown_field(key, known)),
        }
    }
}

impl<'de> MapAccess<'de> for Table<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        while let Some(entry) = self.entries.next() {
            let here = |error: Problem| error.within(entry.key.as_str(), entry.at);
            let name = self.name(&entry.key).map_err(here)?;
            // In Go, null leaves a field as it is.
            if self.known.is_some() && matches!(entry.node.value, Value::Null) {
                continue;
            }
            self.current = Some(entry);
            let name: StrDeserializer<'_, Problem> = name.into_deserializer();
            return seed.deserialize(name).map(Some).map_err(here);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some(entry) = self.current.take() else {
            return Err(Problem::invalid("a value was read before its key".into()));
        };
        let reader = Reader {
            node: &entry.node,
            keys: self.keys,
        };
        let read = seed.deserialize(reader);
        read.map_err(|error| error.within(entry.key.as_str(), entry.node.at))
    }
}
