//! Values that are written as texts, and kept both as they are written and as what they mean.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use watm_abi::Excerpt;

use super::units::{Idle, MemorySize, PositiveTime, Size, Time};
use crate::error::KeyError;
use crate::module::hash::ModuleHash;
use crate::module::signature::TrustedKey;
use crate::net::address::{Address, ListenAddress};
use crate::net::nat64::Nat64Prefix;
use crate::net::policy::AddressEntry;
use crate::net::proxy::UpstreamProxy;
use crate::roles::front::proxy_header::ProxyProtocol;

/// What a text can be parsed as.
pub(super) trait Written: FromStr<Err: fmt::Display> {
    /// What is expected, after the word "expected".
    const WHAT: &'static str;
    /// Whether a whole number means the same as its digits in a text.
    const IS_NUMBER: bool = false;
    /// Whether messages of the parser quote the text.
    const QUOTES: bool = false;
}

impl Written for Time {
    const WHAT: &'static str = "a time in quotes, such as \"10s\"";
}

impl Written for PositiveTime {
    const WHAT: &'static str = Time::WHAT;
}

impl Written for Idle {
    const WHAT: &'static str = Time::WHAT;
}

impl Written for Size {
    const WHAT: &'static str = "a size in quotes, such as \"1.5MiB\", or a number of bytes";
    const IS_NUMBER: bool = true;
}

impl Written for MemorySize {
    const WHAT: &'static str = Size::WHAT;
    const IS_NUMBER: bool = true;
}

impl Written for Address {
    const WHAT: &'static str =
        "an address in quotes, as \"HOST:PORT\", \"[IPV6]:PORT\" or \"unix:/PATH\"";
}

impl Written for ProxyProtocol {
    const WHAT: &'static str = "\"v1\" or \"v2\"";
}

impl Written for ListenAddress {
    const WHAT: &'static str =
        "an address in quotes, as \"HOST:PORT\", \"[IPV6]:PORT\" or \":PORT\"";
}

impl Written for AddressEntry {
    const WHAT: &'static str = "an address entry in quotes, such as \"example.com:443\"";
    const QUOTES: bool = true;
}

impl Written for Nat64Prefix {
    const WHAT: &'static str = "a NAT64 prefix in quotes, such as \"64:ff9b:1::/48\"";
    const QUOTES: bool = true;
}

impl Written for ModuleHash {
    const WHAT: &'static str = "a SHA-256 in quotes, of 64 hexadecimal digits";
}

impl Written for IpAddr {
    const WHAT: &'static str = "an IP address in quotes";
}

impl Written for UpstreamProxy {
    const WHAT: &'static str =
        "a proxy in quotes, as \"socks5://HOST:PORT\" or \"http://HOST:PORT\"";
    // They do not, but a proxy may have a password.
    const QUOTES: bool = true;
}

/// A public key of minisign, or the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyOrFile {
    Key(TrustedKey),
    File(HostPath),
}

/// The number of characters of a public key, which begins with `RW`.
const KEY_LENGTH: usize = 56;

impl FromStr for KeyOrFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == KEY_LENGTH && text.starts_with("RW") {
            let key = text.parse().map_err(|error: KeyError| error.to_string());
            return key.map(Self::Key);
        }
        Ok(Self::File(text.parse()?))
    }
}

impl Written for KeyOrFile {
    const WHAT: &'static str =
        "a public key of minisign, which has 56 characters, or the path of its file, in quotes";
}

/// A path on the host. It may be anything but empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPath(pub(super) PathBuf);

impl FromStr for HostPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("the path is empty"),
            text if text.contains('\0') => Err("a path has no zero bytes"),
            text => Ok(Self(text.into())),
        }
    }
}

impl Written for HostPath {
    const WHAT: &'static str = "a path in quotes";
}

/// The name of a tunnel: 1 to 64 characters that can be displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name;

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().take(65).count();
        if length == 0 || length > 64 {
            return Err("a name has from 1 to 64 characters");
        }
        if text.chars().any(watm_abi::is_disruptive) {
            return Err("a name has no characters that cannot be displayed");
        }
        Ok(Self)
    }
}

impl Written for Name {
    const WHAT: &'static str = "a name in quotes";
}

/// A value together with the text that it was written as.
#[derive(Clone, Debug)]
pub(super) struct Parsed<T> {
    pub(super) text: String,
    pub(super) value: T,
}

impl<T> PartialEq for Parsed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<'de, T: Written> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor(PhantomData))
    }
}

impl<T: Written> FromStr for Parsed<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(value) => Ok(Self {
                text: text.to_owned(),
                value,
            }),
            Err(error) if T::QUOTES => Err(error.to_string()),
            Err(error) => Err(format!("\"{}\": {error}", Excerpt(text))),
        }
    }
}

struct ParsedVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for ParsedVisitor<T> {
    type Value = Parsed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Parsed<T>, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Parsed<T>, E> {
        if T::IS_NUMBER {
            return number.to_string().parse().map_err(E::custom);
        }
        Err(E::invalid_type(
            serde::de::Unexpected::Signed(number),
            &self,
        ))
    }
}

/// A whole number within bounds.
struct Whole {
    min: u64,
    max: u64,
}

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number)
            .ok()
            .filter(|number| (self.min..=self.max).contains(number))
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }
}

/// Reads a whole number from `MIN` to `MAX`.
pub(super) fn whole<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let visitor = Whole { min: MIN, max: MAX };
    deserializer.deserialize_any(visitor).map(Some)
}

/// Reads the version of the format, of which there is one.
pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let version = u64::deserialize(deserializer)?;
    if version == 1 {
        return Ok(Some(version));
    }
    let message = format!("this release reads version 1 of the format, not {version}");
    Err(D::Error::custom(message))
}

#[cfg(test)]
mod schema {
    //! Texts in the schema and in files that are written.

    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde::{Serialize, Serializer};

    use super::{Parsed, Written};

    impl<T> Serialize for Parsed<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.text)
        }
    }

    impl<T: Written> JsonSchema for Parsed<T> {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            T::WHAT.into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            if T::IS_NUMBER {
                json_schema!({ "type": ["string", "integer"], "minimum": 0 })
            } else {
                json_schema!({ "type": "string" })
            }
        }
    }
}
