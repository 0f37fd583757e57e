//! Configuration files that are damaged, or are none.

use std::collections::HashSet;

use arbitrary::Arbitrary;
use watm_abi::is_disruptive;
use watm_wasmer::{Config, ConfigFileError, Role};

use crate::load::{Mutation, change};

const TOML: &[u8] = include_bytes!("../../../docs/watm-config.toml");
const JSON: &[u8] = br#"{"transport_module":{"bin":"m.wasm","config":"m.json"},"network":{
"address_validator":{"catch_all":true,"allowlist":{"192.0.2.1:443":["tcp","udp"]},
"denylist":{"h.example:80":["tcp4"],"[fe80::1%lo]:1":null}},"listener":{"network":"tcp",
"address":"127.0.0.1:8080"}},"module":{"argv":["m","-v"],"env":{"A":"b"},"inherit_stdin":true,
"inherit_stdout":false,"inherit_stderr":true,"preopened_dirs":{"/srv":"data"}},"runtime":{
"force_interpreter":true,"do_not_close_on_context_done":false}}"#;

/// A configuration file.
#[derive(Debug, Arbitrary)]
pub struct ConfigCase {
    /// How it is written.
    pub format: Format,
    /// Changes to a real file. If there are none, the file consists of the bytes alone.
    pub mutations: Vec<Mutation>,
    /// The bytes that the changes use.
    pub bytes: Vec<u8>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Format {
    /// In TOML.
    Toml,
    /// In the JSON form of the Go runtime.
    Json,
}

/// What the file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigEnd {
    /// A configuration.
    Config,
    /// Not TOML or not JSON.
    Syntax,
    /// A key is not known.
    UnknownKey,
    /// A value cannot be used, or one is missing.
    Invalid,
}

/// Parses the file.
///
/// # Panics
///
/// Panics if a message or a warning could disturb a terminal or names a place that does not exist,
/// or if a configuration breaks a rule of the format.
pub fn config(case: &ConfigCase) -> ConfigEnd {
    let (original, parse): (_, fn(&[u8]) -> _) = match case.format {
        Format::Toml => (TOML, |bytes| Config::from_toml(bytes, "")),
        Format::Json => (JSON, |bytes| Config::from_json(bytes)),
    };
    let bytes = if case.mutations.is_empty() {
        case.bytes.clone()
    } else {
        change(original.to_vec(), &case.mutations, &case.bytes)
    };
    match parse(&bytes) {
        Ok(config) => {
            check(&config);
            ConfigEnd::Config
        }
        Err(error) => {
            check_error(&error, &bytes);
            match error.code() {
                "syntax" => ConfigEnd::Syntax,
                "unknown-key" => ConfigEnd::UnknownKey,
                "invalid" => ConfigEnd::Invalid,
                other => panic!("{other}: {error}"),
            }
        }
    }
}

fn check(config: &Config) {
    config.warnings().iter().for_each(|text| check_text(text));
    assert!(!config.tunnels().is_empty(), "there is no tunnel");
    let mut names = HashSet::new();
    for tunnel in config.tunnels() {
        assert!(names.insert(tunnel.name()), "a name twice: {tunnel:?}");
        let role = tunnel.role();
        let forwards = tunnel.forward().is_some();
        assert!(!forwards || role == Some(Role::Listener), "{tunnel:?}");
        let has_remote = tunnel.remote().is_some();
        let takes_remote = matches!(role, Some(Role::Dialer | Role::Relay));
        assert!(!has_remote || takes_remote, "{tunnel:?}");
        for (key, value) in tunnel.settings() {
            assert!(tunnel.sets(key), "{key}");
            check_line(&value);
        }
    }
}

fn check_error(error: &ConfigFileError, bytes: &[u8]) {
    check_text(&error.to_string());
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    let line = error.line().unwrap_or(1);
    assert!((1..=lines).contains(&line), "{error}");
    assert!(error.column() != Some(0), "{error}");
}

fn check_text(text: &str) {
    check_line(text);
    assert!(text.chars().count() < 4000, "{text}");
}

fn check_line(text: &str) {
    assert!(!text.contains(is_disruptive), "{text:?}");
}
