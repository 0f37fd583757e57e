//! The configuration: JSON as in the files of shadowsocks-libev, and what only this module has.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::address::Target;
use crate::key::{KeyError, MasterKey};
use crate::method::{Edition, Method};
use crate::replay::Salts;

/// Where salts are remembered if the configuration does not say.
const REPLAY_DIRECTORY: &str = "/replay";

/// Keys of other programs' files that do not concern a transport module.
const IGNORED: [&str; 13] = [
    "fast_open",
    "internal_buffer_size",
    "ipv6_first",
    "local_address",
    "local_port",
    "mode",
    "nameserver",
    "no_delay",
    "nofile",
    "reuse_port",
    "timeout",
    "use_syslog",
    "user",
];

const KEYS: [&str; 14] = [
    "accept_targets",
    "client_first",
    "key",
    "method",
    "password",
    "plugin",
    "remote_addr",
    "remote_port",
    "replay_dir",
    "replay_protection",
    "server",
    "server_port",
    "target",
    "tunnel_address",
];

/// A configuration without mistakes.
pub(crate) struct Config {
    pub(crate) key: MasterKey,
    /// Where a fixed dialer connects to.
    pub(crate) server: Option<String>,
    /// The address that a dialer puts in front.
    pub(crate) target: Option<Target>,
    /// Whether that waits for the application's first bytes.
    pub(crate) client_first: bool,
    pub(crate) accepts: Acceptance,
    /// `None` if replays are not to be noticed.
    pub(crate) replay: Option<Salts>,
}

/// What a listener does with the address that a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// The application gets it, in front of the payload.
    Everything,
    /// It is taken off, whatever it is.
    Any,
    /// It is taken off, and must be one of these.
    Only(Vec<Target>),
}

impl Acceptance {
    pub(crate) fn allows(&self, target: &Target) -> bool {
        match self {
            Acceptance::Everything | Acceptance::Any => true,
            Acceptance::Only(targets) => targets.contains(target),
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong and what to do.
    pub(crate) fn parse(bytes: Option<&[u8]>) -> Result<Config, String> {
        let bytes = bytes.ok_or(
            "there is no configuration: give one in JSON with at least `method` and `password`",
        )?;
        let value = serde_json::from_slice(bytes)
            .map_err(|error| format!("the configuration is not valid JSON: {error}"))?;
        let Value::Object(map) = value else {
            return Err("the configuration is no JSON object: write it as {\"method\": ..}".into());
        };
        let fields = Fields(map);
        fields.check_keys()?;
        let key = fields.key(fields.method()?)?;
        let target = fields.target()?;
        Ok(Config {
            key,
            server: fields.server()?,
            accepts: fields.accepts(target.as_ref())?,
            target,
            client_first: fields.switch("client_first", false)?,
            replay: fields.replay()?,
        })
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn check_keys(&self) -> Result<(), String> {
        for (key, value) in &self.0 {
            match (key.as_str(), value) {
                ("mode", Value::String(mode)) if mode == "udp_only" => {
                    return Err(
                        "`mode` is udp_only, but a transport module carries TCP: set it to \
                                tcp_only or leave it out"
                            .into(),
                    );
                }
                ("plugin", Value::Null) => {}
                ("plugin", Value::String(plugin)) if plugin.is_empty() => {}
                ("plugin", _) => {
                    return Err("`plugin` is not supported: leave it out".into());
                }
                (key, _) if KEYS.contains(&key) || IGNORED.contains(&key) => {}
                (key, _) => return Err(unknown(key)),
            }
        }
        Ok(())
    }

    /// A text, if it is there.
    fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("`{key}` is {}, but must be a string", kind(other))),
        }
    }

    /// A port, as a number or as a string.
    fn port(&self, key: &str) -> Result<Option<u16>, String> {
        let number = match self.0.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        match number.and_then(|number| u16::try_from(number).ok()) {
            Some(port) if port != 0 => Ok(Some(port)),
            _ => Err(format!("`{key}` must be a number from 1 to 65535")),
        }
    }

    fn method(&self) -> Result<Method, String> {
        let name = self
            .text("method")?
            .ok_or_else(|| format!("`method` is missing: set it to one of {}", methods()))?;
        Method::find(name).ok_or_else(|| {
            format!(
                "`method` is \"{}\", but must be one of {}",
                name.escape_debug(),
                methods()
            )
        })
    }

    fn key(&self, method: Method) -> Result<MasterKey, String> {
        match (self.text("password")?, self.text("key")?, method.edition) {
            (Some(_), Some(_), _) => {
                Err("there are both `password` and `key`: leave out one of them".into())
            }
            (None, None, Edition::Aead) => {
                Err("`password` is missing, or a `key` in base64".into())
            }
            (None, None, Edition::Aead2022) => Err(format!(
                "`password` is missing: {} needs a key in base64, such as `openssl rand -base64 \
                 {}` prints",
                method.name,
                method.key_length()
            )),
            (Some(""), _, _) => Err("`password` is empty: choose one that is hard to guess".into()),
            (Some(password), None, Edition::Aead) => {
                Ok(MasterKey::from_password(method, password.as_bytes()))
            }
            (Some(text), None, Edition::Aead2022) => from_base64(method, "password", text),
            (None, Some(text), _) => from_base64(method, "key", text),
        }
    }

    fn server(&self) -> Result<Option<String>, String> {
        match (self.text("server")?, self.port("server_port")?) {
            (None, _) => Ok(None),
            (Some(_), None) => Err("`server` is there, but `server_port` is missing".into()),
            (Some(host), Some(port)) => {
                let server = Target::new(host, port)
                    .ok_or("`server` must be a name or an address, without a port")?;
                Ok(Some(server.to_string()))
            }
        }
    }

    /// `target`, or what other programs call it.
    fn target(&self) -> Result<Option<Target>, String> {
        let mut targets = Vec::new();
        for key in ["target", "tunnel_address"] {
            if let Some(text) = self.text(key)? {
                targets.push(target(key, text)?);
            }
        }
        match (self.text("remote_addr")?, self.port("remote_port")?) {
            (None, None) => {}
            (Some(host), Some(port)) => targets.push(
                Target::new(host, port)
                    .ok_or("`remote_addr` must be a name or an address, without a port")?,
            ),
            _ => return Err("`remote_addr` and `remote_port` go together: set both".into()),
        }
        match targets.len() {
            0 | 1 => Ok(targets.pop()),
            _ => Err("the target is there more than once: leave only `target`".into()),
        }
    }

    fn accepts(&self, own: Option<&Target>) -> Result<Acceptance, String> {
        const WRONG: &str = "`accept_targets` must be \"any\", or a list of strings `host:port`";
        match self.0.get("accept_targets") {
            None | Some(Value::Null) => Ok(match own {
                Some(target) => Acceptance::Only(vec![target.clone()]),
                None => Acceptance::Everything,
            }),
            Some(Value::String(text)) if text == "any" => Ok(Acceptance::Any),
            Some(Value::Array(values)) if !values.is_empty() => {
                let targets = values.iter().map(|value| match value {
                    Value::String(text) => target("accept_targets", text),
                    _ => Err(WRONG.into()),
                });
                Ok(Acceptance::Only(targets.collect::<Result<_, _>>()?))
            }
            Some(_) => Err(WRONG.into()),
        }
    }

    fn replay(&self) -> Result<Option<Salts>, String> {
        let directory = self.text("replay_dir")?.unwrap_or(REPLAY_DIRECTORY);
        if !directory.starts_with('/') {
            return Err("`replay_dir` must be an absolute path, as the module sees it".into());
        }
        let is_protected = self.switch("replay_protection", true)?;
        Ok(is_protected.then(|| Salts::new(directory)))
    }

    /// A yes or no, with what it is if it is not there.
    fn switch(&self, key: &str, default: bool) -> Result<bool, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(&Value::Bool(value)) => Ok(value),
            Some(_) => Err(format!("`{key}` must be true or false")),
        }
    }
}

fn target(key: &str, text: &str) -> Result<Target, String> {
    text.parse().map_err(|()| {
        format!(
            "`{key}` has \"{}\", which is no `host:port` or `[address]:port`",
            text.escape_debug()
        )
    })
}

fn from_base64(method: Method, key: &str, text: &str) -> Result<MasterKey, String> {
    MasterKey::from_base64(method, text).map_err(|error| {
        let mut message = format!("`{key}` ");
        // Writing to a string does not fail.
        let _ = match error {
            KeyError::NoBase64 if text.contains(':') => {
                write!(
                    message,
                    "has several keys, but identity headers (SIP023) are not supported"
                )
            }
            KeyError::NoBase64 => write!(message, "is not base64"),
            KeyError::Length(length) => write!(message, "has {length} bytes"),
        };
        let length = method.key_length();
        let _ = write!(
            message,
            ": {} needs {length} bytes in base64, such as `openssl rand -base64 {length}` prints",
            method.name
        );
        message
    })
}

fn methods() -> String {
    Method::ALL.map(|method| method.name).join(", ")
}

fn unknown(key: &str) -> String {
    let nearest = KEYS
        .iter()
        .chain(&IGNORED)
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)))
        .unwrap_or(&"method");
    format!(
        "`{}` is no known key: did you mean `{nearest}`?",
        key.escape_debug()
    )
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
