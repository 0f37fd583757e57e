//! How a manifest is written, and what it must not say.
//!
//! Looks at no file but the text of the manifest.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use watm_abi::{Excerpt, Role, Roles, is_disruptive};

use super::{ManifestModule, Named};
use crate::error::{ManifestError, ManifestProblem, Place};
use crate::module::signature::TrustedKey;
use crate::nearest::nearest;

/// Maximum length of a module's name in characters.
pub(super) const NAME_LIMIT: usize = 64;
const TOP_KEYS: &[&str] = &["module", "trusted_keys"];
const MODULE_KEYS: &[&str] = &[
    "name",
    "file",
    "sha256",
    "signature",
    "roles",
    "config",
    "config_sha256",
];

/// What a manifest says.
pub(super) struct Parsed {
    pub(super) keys: Vec<TrustedKey>,
    pub(super) modules: Vec<ManifestModule>,
}

/// Parses the bytes of a manifest. `path` is for messages.
pub(super) fn parse(manifest: &[u8], path: &Path) -> Result<Parsed, ManifestError> {
    let text = std::str::from_utf8(manifest).map_err(|error| {
        let line = 1 + lines_in(&manifest[..error.valid_up_to()]);
        let place = Place { line, key: None };
        let message = "a manifest is text in UTF-8, but this is not".to_owned();
        ManifestError::new(path, Some(place), ManifestProblem::Invalid(message))
    })?;
    let text = Text { text, path };
    let document = DeTable::parse(text.text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let message = format!("this is not TOML: {}", Excerpt(error.message()));
        text.invalid(start, None, message)
    })?;
    let top = Table {
        text: &text,
        entries: document.get_ref(),
        start: 0,
    };
    top.check_keys(TOP_KEYS)?;
    let keys = top.trusted_keys()?;
    let modules = top.modules(!keys.is_empty())?;
    Ok(Parsed { keys, modules })
}

fn lines_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The text of a manifest.
struct Text<'t> {
    text: &'t str,
    path: &'t Path,
}

impl Text<'_> {
    /// The line, from 1 on, of an offset in bytes.
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset);
        1 + lines_in(before.unwrap_or(self.text.as_bytes()))
    }

    fn invalid(
        &self,
        offset: usize,
        key: Option<&str>,
        message: impl Into<String>,
    ) -> ManifestError {
        let place = Place {
            line: self.line(offset),
            key: key.map(|key| key.chars().take(NAME_LIMIT).collect()),
        };
        ManifestError::new(
            self.path,
            Some(place),
            ManifestProblem::Invalid(message.into()),
        )
    }
}

type Value<'i> = Spanned<DeValue<'i>>;

/// A table of a manifest.
struct Table<'t, 'i> {
    text: &'t Text<'t>,
    entries: &'t DeTable<'i>,
    /// Where it begins.
    start: usize,
}

impl<'t, 'i> Table<'t, 'i> {
    /// Refuses keys that are not known, the first one first.
    fn check_keys(&self, known: &'static [&'static str]) -> Result<(), ManifestError> {
        let unknown = self.entries.keys().filter(|key| {
            let key: &str = key.get_ref();
            !known.contains(&key)
        });
        let Some(key) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let nearest = nearest(key.get_ref(), known.iter().copied()).unwrap_or_default();
        let message = format!("this key is unknown; the nearest that there is is `{nearest}`");
        Err(self
            .text
            .invalid(key.span().start, Some(key.get_ref()), message))
    }

    fn get(&self, key: &str) -> Option<&'t Value<'i>> {
        self.entries.get(key)
    }

    /// An error about the value of a key.
    fn invalid(&self, value: &Value<'_>, key: &str, message: impl Into<String>) -> ManifestError {
        self.text.invalid(value.span().start, Some(key), message)
    }

    fn missing(&self, key: &str, message: impl Into<String>) -> ManifestError {
        self.text.invalid(self.start, Some(key), message)
    }

    fn of_type(&self, value: &Value<'_>, key: &str, expected: &str) -> ManifestError {
        let message = format!(
            "expected {expected}, found a value of the type {}",
            value.get_ref().type_str()
        );
        self.invalid(value, key, message)
    }

    fn text_of<'v>(&self, value: &'v Value<'i>, key: &str) -> Result<&'v str, ManifestError> {
        let text = value.get_ref().as_str();
        text.ok_or_else(|| self.of_type(value, key, "a text in quotes"))
    }

    /// The values of an array of texts.
    fn texts(
        &self,
        array: &'t Value<'i>,
        key: &str,
    ) -> Result<Vec<(&'t Value<'i>, &'t str)>, ManifestError> {
        let Some(values) = array.get_ref().as_array() else {
            return Err(self.of_type(array, key, "an array of texts"));
        };
        if values.is_empty() {
            return Err(self.invalid(array, key, "this is empty; leave the key out instead"));
        }
        let texts = values.iter();
        texts
            .map(|value| Ok((value, self.text_of(value, key)?)))
            .collect()
    }

    fn trusted_keys(&self) -> Result<Vec<TrustedKey>, ManifestError> {
        const KEY: &str = "trusted_keys";
        let Some(array) = self.get(KEY) else {
            return Ok(Vec::new());
        };
        let texts = self.texts(array, KEY)?.into_iter();
        texts
            .map(|(value, text)| {
                let key = TrustedKey::from_str(text);
                key.map_err(|error| self.invalid(value, KEY, error.to_string()))
            })
            .collect()
    }

    fn modules(&self, signed: bool) -> Result<Vec<ManifestModule>, ManifestError> {
        const KEY: &str = "module";
        let advice = "each module begins with a line `[[module]]`";
        let Some(value) = self.get(KEY) else {
            return Err(self.missing(KEY, format!("no module is named; {advice}")));
        };
        let Some(values) = value.get_ref().as_array() else {
            return Err(self.invalid(value, KEY, format!("this is not a list; {advice}")));
        };
        if values.is_empty() {
            return Err(self.invalid(value, KEY, format!("no module is named; {advice}")));
        }
        let mut modules = Vec::new();
        let mut lines = HashMap::new();
        for value in values {
            let Some(entries) = value.get_ref().as_table() else {
                return Err(self.invalid(value, KEY, format!("this is not a table; {advice}")));
            };
            let table = Table {
                text: self.text,
                entries,
                start: value.span().start,
            };
            let name = table.name()?;
            let before = lines.insert(name.value.to_owned(), name.line);
            if let Some(line) = before {
                let message = format!("line {line} has a module with this name already");
                return Err(table.invalid(name.at, "name", message));
            }
            modules.push(table.module(name.value, signed)?);
        }
        Ok(modules)
    }

    fn module(&self, name: &str, signed: bool) -> Result<ManifestModule, ManifestError> {
        self.check_keys(MODULE_KEYS)?;
        let module = ManifestModule {
            name: name.to_owned(),
            file: self
                .path("file")?
                .ok_or_else(|| self.missing("file", "the file of the module is missing"))?,
            sha256: self.parsed("sha256")?,
            signature: self.path("signature")?,
            roles: self.roles()?,
            config: self.path("config")?,
            config_sha256: self.parsed("config_sha256")?,
        };
        if !signed && let Some(value) = self.get("signature") {
            let message = "there are no `trusted_keys` at the top, so no signature can hold";
            return Err(self.invalid(value, "signature", message));
        }
        if !signed && module.sha256.is_none() {
            let message = "nothing says which file this must be: give its SHA-256 (`sha256sum \
                FILE`), or name `trusted_keys` at the top and sign it (`minisign -Sm FILE`)";
            return Err(self.missing("sha256", message));
        }
        match self.get("config_sha256") {
            Some(value) if module.config.is_none() => Err(self.invalid(
                value,
                "config_sha256",
                "there is no `config` to have this hash",
            )),
            _ => Ok(module),
        }
    }

    fn name(&self) -> Result<Name<'t, 'i>, ManifestError> {
        const KEY: &str = "name";
        let Some(at) = self.get(KEY) else {
            // A misspelt name is told as such.
            self.check_keys(MODULE_KEYS)?;
            return Err(self.missing(KEY, "the name of the module is missing"));
        };
        let value = self.text_of(at, KEY)?;
        let length = value.chars().count();
        if length == 0 || length > NAME_LIMIT {
            let message = format!("a name has from 1 to {NAME_LIMIT} characters, not {length}");
            return Err(self.invalid(at, KEY, message));
        }
        if value.chars().any(is_disruptive) {
            let message = "a name has no characters that cannot be displayed";
            return Err(self.invalid(at, KEY, message));
        }
        let line = self.text.line(at.span().start);
        Ok(Name { value, line, at })
    }

    fn named<T>(&self, at: &Value<'_>, value: T) -> Named<T> {
        Named {
            value,
            line: self.text.line(at.span().start),
        }
    }

    /// A text that is parsed.
    fn parsed<T: FromStr<Err: ToString>>(
        &self,
        key: &str,
    ) -> Result<Option<Named<T>>, ManifestError> {
        let Some(at) = self.get(key) else {
            return Ok(None);
        };
        match self.text_of(at, key)?.parse() {
            Ok(value) => Ok(Some(self.named(at, value))),
            Err(error) => Err(self.invalid(at, key, error.to_string())),
        }
    }

    /// A path that is absolute or stays below the directory of the manifest. The system has the last
    /// word about links.
    fn path(&self, key: &str) -> Result<Option<Named<PathBuf>>, ManifestError> {
        let Some(at) = self.get(key) else {
            return Ok(None);
        };
        let text = self.text_of(at, key)?;
        let path = Path::new(text);
        let message = if path.file_name().is_none() || text.ends_with('/') {
            "this is not the path of a file"
        } else if text.chars().any(is_disruptive) {
            "a path has no characters that cannot be displayed"
        } else if path.is_relative() && path.components().any(|part| part == Component::ParentDir) {
            "a path does not lead out of the directory of the manifest; give an absolute one if \
             that is intended"
        } else {
            return Ok(Some(self.named(at, path.to_owned())));
        };
        Err(self.invalid(at, key, message))
    }

    fn roles(&self) -> Result<Option<Named<Roles>>, ManifestError> {
        const KEY: &str = "roles";
        let Some(array) = self.get(KEY) else {
            return Ok(None);
        };
        let mut roles = Roles::new();
        for (value, text) in self.texts(array, KEY)? {
            let Some(role) = role(text) else {
                let message = format!(
                    "there is no role `{}`; a role is dialer, fixed-dialer, listener or relay",
                    Excerpt(text)
                );
                return Err(self.invalid(value, KEY, message));
            };
            roles.insert(role);
        }
        Ok(Some(self.named(array, roles)))
    }
}

/// The name of a module, and where it stands.
struct Name<'t, 'i> {
    value: &'t str,
    line: usize,
    at: &'t Value<'i>,
}

/// A role by the name that the command uses as well.
fn role(text: &str) -> Option<Role> {
    match text {
        "dialer" => Some(Role::Dialer),
        "fixed-dialer" => Some(Role::FixedDialer),
        "listener" => Some(Role::Listener),
        "relay" => Some(Role::Relay),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
