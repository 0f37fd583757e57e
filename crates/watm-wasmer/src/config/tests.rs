use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::file::{File, Settings};
use super::*;

const EXAMPLE: &str = include_str!("../../../../docs/watm-config.toml");
const SCHEMA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/watm-config.schema.json"
);

/// A file with one tunnel, which has these lines as well.
fn dialer(lines: &str) -> String {
    format!("[[tunnel]]\nname = 't'\nrole = 'dialer'\nmodule = 'm.wasm'\n{lines}")
}

fn parse(toml: &str) -> Result<Config, ConfigFileError> {
    Config::from_toml(toml, "/base")
}

/// Checks that a file is refused at a place, with a message that has these parts.
#[track_caller]
fn refused(toml: &str, place: (usize, usize), key: &str, parts: &[&str]) {
    let error = parse(toml).expect_err(toml);
    let message = error.to_string();
    assert_eq!(error.key(), key, "{message}");
    let found = (error.line(), error.column());
    assert_eq!(found, (Some(place.0), Some(place.1)), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
}

#[test]
fn the_example_has_every_key_and_loads() {
    let config = parse(EXAMPLE).expect("the example");
    let names: Vec<_> = config.tunnels().iter().filter_map(Tunnel::name).collect();
    let expected = [
        "client", "server", "browser", "exit", "chain", "relay", "chooser",
    ];
    assert_eq!(names, expected);
    let client = config.tunnel("client").expect("a tunnel");
    assert_eq!(client.role(), Some(Role::Dialer));
    assert_eq!(client.module_file(), Path::new("/base/plain.wasm"));
    assert!(client.sha256().is_some());
    assert_eq!(
        client.remote().map(|r| r.as_str()),
        Some("server.example:443")
    );
    assert_eq!(client.listen().len(), 2);
    let keys: Vec<_> = client.settings().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, Settings::KEYS);
    let chain = config.tunnel("chain").expect("a tunnel");
    let below: Vec<_> = chain.below().iter().map(Tunnel::module_file).collect();
    assert_eq!(below, [Path::new("/base/encryption.wasm")]);
    assert!(chain.below()[0].sets("config") && chain.below()[0].sets("memory_limit"));
    let server = config.tunnel("server").expect("a tunnel");
    assert_eq!(
        server.forward().map(|f| f.as_str()),
        Some("unix:/run/web.sock")
    );
    // Every key of the schema stands in the example.
    let schema = schema();
    let mut tables = vec![&schema["properties"]];
    let definitions = schema["$defs"].as_object().expect("definitions");
    tables.extend(definitions.values().map(|table| &table["properties"]));
    for key in tables
        .into_iter()
        .filter_map(|table| table.as_object())
        .flat_map(|t| t.keys())
    {
        assert!(EXAMPLE.contains(key.as_str()), "{key}");
    }
}

#[test]
fn the_example_says_the_same_after_it_was_written_again() {
    let read = |toml: &str| -> File {
        let document = Document::of_toml(toml.as_bytes()).expect("TOML");
        read::read(&document, read::Keys::Exact).expect("a file")
    };
    let example = read(EXAMPLE);
    let written = toml::to_string(&example).expect("TOML");
    assert_eq!(read(&written), example, "{written}");
}

fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(File);
    schema.insert("$id".into(), json!("watm-config.schema.json"));
    schema.to_value()
}

/// `WRITE_SCHEMA=1` writes it.
#[test]
fn the_schema_is_that_of_the_types() {
    let expected = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(SCHEMA, &expected).expect("the schema");
    }
    let found = fs::read_to_string(SCHEMA).expect("the schema");
    assert!(
        found == expected,
        "write it anew: WRITE_SCHEMA=1 cargo test the_schema_is_that_of_the_types"
    );
}

#[test]
fn the_settings_are_the_keys_of_the_schema() {
    let schema = schema();
    let settings = schema["$defs"]["Settings"]["properties"].as_object();
    let mut keys: Vec<_> = settings.expect("an object").keys().collect();
    let mut listed = Settings::KEYS.to_vec();
    keys.sort();
    listed.sort_unstable();
    assert_eq!(keys, listed);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    refused("verison = 1", (1, 1), "verison", &["unknown", "`version`"]);
    refused(
        &dialer("listne = ['h:1']"),
        (5, 1),
        "tunnel[0].listne",
        &[
            "line 5, column 1, `tunnel[0].listne`",
            "nearest",
            "`listen`",
        ],
    );
    refused(
        &dialer("[tunnel.settings]\nmemory-limit = '1MiB'"),
        (6, 1),
        "tunnel[0].settings.memory-limit",
        &["`memory_limit`"],
    );
    refused(
        "[defaults.policy]\nalow = []\n[[tunnel]]",
        (2, 1),
        "defaults.policy.alow",
        &["`allow`"],
    );
    refused(
        "[[tunnel]]\nname='t'\nrole='dialer'\nmodule = { flie = 'm' }",
        (4, 12),
        "tunnel[0].module.flie",
        &["`file`"],
    );
}

/// The same for a line of `[tunnel.settings]`.
#[track_caller]
fn setting_refused(line: &str, column: usize, key: &str, part: &str) {
    let toml = dialer(&format!("[tunnel.settings]\n{line}"));
    let key = format!("tunnel[0].settings.{key}");
    refused(&toml, (6, column), &key, &[part]);
}

#[test]
fn a_time_a_size_or_a_number_that_cannot_be_used_is_refused_with_what_can() {
    let time = "connect_timeout";
    setting_refused("connect_timeout = 5", 19, time, "expected a time in quotes");
    setting_refused(
        "connect_timeout = '5'",
        19,
        time,
        "\"5\": the unit is missing",
    );
    setting_refused("connect_timeout = '0s'", 19, time, "more than 0");
    setting_refused(
        "keepalive = '1ms'",
        13,
        "keepalive",
        "from \"1s\" to \"9h\"",
    );
    setting_refused("memory_limit = '1MB'", 16, "memory_limit", "\"1.5MiB\"");
    setting_refused("memory_limit = 1000", 16, "memory_limit", "65536");
    setting_refused(
        "memory_headroom = -1",
        19,
        "memory_headroom",
        "a number of bytes",
    );
    setting_refused(
        "descriptor_limit = 2",
        20,
        "descriptor_limit",
        "from 3 to 480, found 2",
    );
    setting_refused(
        "spare_instances = 1025",
        19,
        "spare_instances",
        "from 0 to 1024, found 1025",
    );
    setting_refused(
        "spare_instances = 1.5",
        19,
        "spare_instances",
        "found a number with decimals",
    );
    setting_refused(
        "timing = 'yes'",
        10,
        "timing",
        "expected true or false, found a text",
    );
    setting_refused("timing = 1979-05-27", 10, "timing", "a date or time");
}

#[test]
fn a_text_a_list_or_a_table_that_cannot_be_used_is_refused_with_what_can() {
    setting_refused("stdio = 'logg'", 9, "stdio", "nearest is \"log\"");
    setting_refused("stdio = ['stdrr']", 10, "stdio[0]", "nearest is \"stderr\"");
    setting_refused(
        "stdio = 1",
        9,
        "stdio",
        "expected \"log\", \"inherit\" or \"null\"",
    );
    setting_refused("env = { A = 1 }", 13, "env.A", "found a whole number");
    setting_refused("args = 'x'", 8, "args", "a list in brackets, found a text");
    setting_refused("config = { txt = 'x' }", 12, "config.txt", "`text`");
    setting_refused("config = ''", 10, "config", "the path is empty");
    setting_refused("dirs = [{ host = 'h' }]", 9, "dirs[0].guest", "missing");
    setting_refused(
        "policy = { allow = ['*:0'] }",
        21,
        "policy.allow[0]",
        "port 0",
    );
    let no_proxy = "written as socks5://HOST:PORT";
    setting_refused("proxy = 'ftp://h:1'", 9, "proxy", no_proxy);
    setting_refused("proxy = 1", 9, "proxy", "a proxy in quotes");
    let key = "policy.nat64_prefixes[0]";
    setting_refused("policy = { nat64_prefixes = ['::/1'] }", 30, key, "96");
}

#[test]
fn a_value_of_a_tunnel_that_cannot_be_used_is_refused_with_what_can() {
    refused("version = 2", (1, 11), "version", &["version 1", "not 2"]);
    refused(
        &dialer("remote = 'host'"),
        (5, 10),
        "tunnel[0].remote",
        &["port is missing"],
    );
    refused(
        &dialer("listen = 'h:1'"),
        (5, 10),
        "tunnel[0].listen",
        &["found a text"],
    );
    let toml = dialer("").replace("'t'", "''");
    refused(&toml, (2, 8), "tunnel[0].name", &["from 1 to 64"]);
    let toml = dialer("").replace("'dialer'", "'dailer'");
    refused(
        &toml,
        (3, 8),
        "tunnel[0].role",
        &["\"fixed-dialer\"", "nearest is \"dialer\""],
    );
    let toml = dialer("").replace("'dialer'", "5");
    refused(&toml, (3, 8), "tunnel[0].role", &["expected \"dialer\", "]);
    refused(
        &dialer("settings = 5"),
        (5, 12),
        "tunnel[0].settings",
        &["expected a table, found a whole number"],
    );
    let toml = dialer("").replace("'m.wasm'", "{ file = 'm', sha256 = 'ab' }");
    refused(
        &toml,
        (4, 33),
        "tunnel[0].module.sha256",
        &["64 hexadecimal digits"],
    );
}

#[test]
fn a_proxy_stands_where_it_is_used() {
    let settings = dialer("settings = { proxy = 'http://h:1' }").replace("dialer", "listener");
    let key = "tunnel[0].settings.proxy";
    refused(
        &settings,
        (5, 22),
        key,
        &["a listener connects to no remote"],
    );
    let below = "[[tunnel.below]]\nmodule = 'b'\nsettings = { proxy = 'http://h:1' }";
    let key = "tunnel[0].below[0].settings.proxy";
    refused(&dialer(below), (7, 22), key, &["in its own settings"]);
    // A default is for those that can use it.
    let listener = dialer("").replace("dialer", "listener");
    parse(&format!("[defaults]\nproxy = 'http://h:1'\n{listener}")).expect("a file");
}

#[test]
fn trusted_keys_are_keys_or_files_with_one() {
    let key = |text: &str| format!("trusted_keys = ['{text}']\n{}", dialer(""));
    let damaged = format!("RW{}", "a".repeat(54));
    let place = (1, 17);
    refused(&key(&damaged), place, "trusted_keys[0]", &["\"RWaaa"]);
    refused(&key(""), place, "trusted_keys[0]", &["empty"]);
    let config = parse(&key("none.pub")).expect("a file");
    let error = config.tunnels()[0].check().expect_err("no such file");
    assert_eq!(error.key(), "trusted_keys[0]");
    assert!(error.to_string().contains("/base/none.pub"), "{error}");
    let own = dialer("").replace("'m.wasm'", "{ file = 'm', trusted_keys = ['none.pub'] }");
    let error = parse(&own).expect("a file").dialer().expect_err("no file");
    assert_eq!(error.key(), "tunnel[0].module.trusted_keys[0]", "{error}");
}

#[test]
fn what_is_missing_or_stands_twice_is_named() {
    refused("", (1, 1), "tunnel", &["missing"]);
    refused("tunnel = []", (1, 10), "tunnel", &["[[tunnel]]"]);
    refused(
        "[[tunnel]]\nname = 't'",
        (1, 1),
        "tunnel[0].role",
        &["missing"],
    );
    refused("a = 1\na = 2", (2, 1), "", &["not TOML", "duplicate key"]);
    let two = dialer("") + &dialer("");
    refused(
        &two,
        (6, 8),
        "tunnel[1].name",
        &["`tunnel[0]` has this name"],
    );
}

#[test]
fn addresses_are_those_of_the_role() {
    let forward = dialer("forward = 'h:1'");
    refused(&forward, (5, 11), "tunnel[0].forward", &["only a listener"]);
    let remote = dialer("remote = 'h:1'").replace("dialer", "listener");
    refused(&remote, (5, 10), "tunnel[0].remote", &["`forward`"]);
    let remote = dialer("remote = 'h:1'").replace("dialer", "fixed-dialer");
    refused(&remote, (5, 10), "tunnel[0].remote", &["\"dialer\""]);
    for role in ["fixed-dialer", "relay"] {
        let nowhere = dialer("").replace("dialer", role);
        let key = "tunnel[0].settings.policy";
        refused(&nowhere, (1, 1), key, &["allow = [..]"]);
        let defaults = "[defaults]\npolicy = { allow = ['h:1'] }\n";
        parse(&format!("{defaults}{nowhere}")).expect("the policy of all tunnels");
        // A tunnel that has its own policy has nothing of that one.
        let own = format!("{defaults}{nowhere}settings = {{ policy = {{ deny = ['h:1'] }} }}");
        parse(&own).expect_err("nothing is allowed");
    }
}

#[test]
fn a_tunnel_replaces_defaults_as_a_whole() {
    let toml = format!(
        "[defaults]\nenv = {{ A = '1', B = '2' }}\nspare_instances = 3\n{}",
        dialer("settings = { env = { C = '3' } }")
    );
    let config = parse(&toml).expect("a file");
    let tunnel = config.only().expect("a tunnel");
    let expected = [("env", "C".to_owned()), ("spare_instances", "3".to_owned())];
    assert_eq!(tunnel.settings(), expected);
    let without = tunnel.clone().without("env").without("nothing");
    assert_eq!(without.settings(), [("spare_instances", "3".to_owned())]);
    assert!(without.sets("spare_instances") && !without.sets("env"));
}

#[test]
fn one_of_several_tunnels_has_to_be_named() {
    let config = parse(EXAMPLE).expect("the example");
    let error = config.only().expect_err("five");
    assert_eq!(error.code(), "no-such-tunnel");
    assert!(error.to_string().contains("`client`, `server`"), "{error}");
    let error = config.dialer().expect_err("five");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let error = config.tunnel("sevrer").expect_err("none");
    assert!(error.to_string().contains("nearest is `server`"), "{error}");
}

#[test]
fn what_is_shown_of_a_proxy_has_no_characters_that_disrupt() {
    let config = parse(&dialer("settings = { proxy = \"socks5://a\\tb:1\" }")).expect("a file");
    let shown = config.tunnels()[0].settings();
    let is_clean = |text: &String| !text.chars().any(watm_abi::is_disruptive);
    assert!(shown.iter().all(|(_, value)| is_clean(value)), "{shown:?}");
}

#[test]
fn secrets_are_not_printed() {
    let toml = dialer(
        "settings = { config = { text = 'SECRET' }, env = { A = 'SECRET' }, \
         proxy = 'socks5://user:SECRET@h:1' }",
    );
    let config = parse(&toml).expect("a file");
    let shown = format!("{config:?} {:?}", config.tunnels()[0].settings());
    assert!(!shown.contains("SECRET"), "{shown}");
    assert!(shown.contains("a text of 6 bytes"), "{shown}");
    assert!(shown.contains("socks5://h:1"), "{shown}");
    let wrong = toml.replace("socks5", "socks");
    let error = parse(&wrong).expect_err("no proxy").to_string();
    assert!(!error.contains("SECRET"), "{error}");
}

#[test]
fn what_a_file_names_is_checked_at_its_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built");
    let write = |lines: &str| {
        let path = directory.path().join("watm.toml");
        let toml = dialer(lines).replace("m.wasm", &format!("{guests}/plain.wasm"));
        fs::write(&path, toml).expect("a file");
        Config::from_file(&path).expect("a configuration")
    };
    let check = |lines: &str| {
        let config = write(lines);
        config.tunnels()[0].check().map(|_| ())
    };
    check("").expect("a tunnel");
    fs::write(directory.path().join("key"), "k").expect("a file");
    check("settings = { config = 'key', files = [{ host = 'key', guest = '/k' }] }")
        .expect("files beside the configuration file");
    for (lines, key, parts) in [
        (
            "settings = { config = 'none' }",
            "tunnel[0].settings.config",
            &["none", "line 5"][..],
        ),
        (
            "settings = { config = '.' }",
            "tunnel[0].settings.config",
            &["could not be read"],
        ),
        (
            "settings = { files = [{ host = 'none', guest = '/k' }] }",
            "tunnel[0].settings.files[0].host",
            &["column 32", "none"],
        ),
        (
            "settings = { dirs = [{ host = '.', guest = 'k' }] }",
            "tunnel[0].settings.dirs",
            &["`dir`"],
        ),
        (
            "settings = { env = { 'A=B' = '' } }",
            "tunnel[0].settings.env",
            &["`=`"],
        ),
        (
            "[[tunnel.below]]\nmodule = 'none.wasm'",
            "tunnel[0].below[0].module",
            &["line 6", "none.wasm"],
        ),
        (
            "[[tunnel.below]]\nmodule = 'm.wasm'\nsettings = { config = 'none' }",
            "tunnel[0].below[0].settings.config",
            &["line 7", "none"],
        ),
        (
            "settings = { args = [\"\\u0000\"] }",
            "tunnel[0].settings.args",
            &["zero byte"],
        ),
    ] {
        let error = check(lines).expect_err(lines);
        assert_eq!(error.key(), key, "{error}");
        parts
            .iter()
            .for_each(|part| assert!(error.to_string().contains(part), "{error}"));
    }
    let wrong = "module = { file = 'x', sha256 = 'y' }";
    let toml = dialer("")
        .replace("module = 'm.wasm'", wrong)
        .replace('x', &format!("{guests}/plain.wasm"))
        .replace('y', &"0".repeat(64));
    let config = parse(&toml).expect("a configuration");
    let error = config.tunnels()[0].check().expect_err("another hash");
    assert_eq!(
        (error.key(), error.code()),
        ("tunnel[0].module.sha256", "hash")
    );
    let toml = dialer("").replace("m.wasm", "none.wasm");
    let error = parse(&toml)
        .expect("a configuration")
        .dialer()
        .expect_err("no file");
    assert_eq!((error.key(), error.code()), ("tunnel[0].module", "read"));
    assert!(error.to_string().contains("/base/none.wasm"), "{error}");
}

#[test]
fn a_module_without_the_role_is_told_at_the_role() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/guests/built/fixed.wasm"
    );
    let toml = dialer("")
        .replace("m.wasm", file)
        .replace("'dialer'", "'listener'");
    let config = parse(&toml).expect("a configuration");
    let error = config.tunnels()[0].check().expect_err("no listener");
    assert_eq!((error.key(), error.code()), ("tunnel[0].role", "role"));
    let error = config.dialer().expect_err("another role");
    assert!(
        error.to_string().contains("is a listener, not a dialer"),
        "{error}"
    );
}

#[test]
fn the_format_of_a_file_is_told_by_its_name_or_its_beginning() {
    let directory = tempfile::tempdir().expect("a directory");
    let load = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file");
        Config::from_file(path)
    };
    let json = "\u{feff} {\"transport_module\": {\"bin\": \"m.wasm\"}}";
    assert_eq!(load("a", json).expect("JSON").tunnels()[0].role(), None);
    load("a.json", json).expect("JSON");
    load("a.toml", json).expect_err("no TOML");
    let toml = format!("\u{feff}{}", dialer(""));
    let config = load("a.conf", &toml).expect("TOML");
    let module = config.tunnels()[0].module_file();
    assert_eq!(module, directory.path().join("m.wasm"));
    load("a.json", &toml).expect_err("no JSON");
    let error = load("large", &"#".repeat(2 << 20)).expect_err("too large");
    assert_eq!(error.code(), "too-large");
    let error = Config::from_file(directory.path()).expect_err("a directory");
    assert_eq!(error.code(), "read");
    Config::from_toml("#".repeat(2 << 20), "").expect_err("too large");
}

/// Checks that parsing returns, and that a message disturbs no terminal.
fn total(result: Result<Config, ConfigFileError>) -> Result<(), TestCaseError> {
    if let Err(error) = result {
        let message = error.to_string();
        prop_assert!(!message.contains(watm_abi::is_disruptive), "{message:?}");
        prop_assert!(message.chars().count() < 4000, "{message}");
        prop_assert!(error.line() != Some(0) && error.column() != Some(0));
    }
    Ok(())
}

/// The example with a piece of it replaced by another text.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[".to_owned()),
        Just("= 5\n".to_owned()),
        Just("\"\n".to_owned()),
        Just("{ text = 1 }".to_owned()),
        "[a-z_.\"'\\[\\]{}=\\n0-9]{0,12}",
        any::<String>(),
    ];
    (0..EXAMPLE.len(), 0..40_usize, piece).prop_map(|(start, len, piece)| {
        let end = (start + len).min(EXAMPLE.len());
        let (before, after) = (&EXAMPLE.as_bytes()[..start], &EXAMPLE.as_bytes()[end..]);
        let bytes = [before, piece.as_bytes(), after].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_a_file_or_an_error(bytes: Vec<u8>) {
        total(Config::from_toml(&bytes, ""))?;
        total(Config::from_json(&bytes))?;
    }

    #[test]
    fn a_damaged_file_is_a_file_or_an_error(text in damaged()) {
        total(Config::from_toml(&text, ""))?;
        total(Config::from_json(&text))?;
    }
}

#[test]
fn a_tunnel_is_another_when_what_it_says_or_what_its_files_hold_has_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(directory.path().join(name), bytes).expect("a file");
    };
    let parsed = |lines: &str| {
        let config = Config::from_toml(lines, directory.path()).expect("a file");
        config.only().expect("a tunnel").clone()
    };
    let text = "trusted_keys = ['key.pub']\n".to_owned()
        + &dialer("[tunnel.settings]\nconfig = 'key'\nfiles = [{ host = 'ca', guest = '/ca' }]\n")
        + "[[tunnel.below]]\nmodule = 'below.wasm'\n";
    let files = [
        "m.wasm",
        "m.wasm.minisig",
        "key.pub",
        "key",
        "ca",
        "below.wasm",
    ];
    for name in files {
        write(name, b"before");
    }
    let tunnel = parsed(&text);
    assert!(tunnel.has_settings_of(&parsed(&text.replace("name = 't'", "name = 'u'"))));
    let elsewhere = text.replace("[tunnel.settings]", "remote = 'h:1'\n[tunnel.settings]");
    assert!(tunnel.has_settings_of(&parsed(&elsewhere)));
    for (from, to) in [
        ("'dialer'", "'relay'\nremote = 'h:1'"),
        ("'m.wasm'", "'n.wasm'"),
        ("'m.wasm'", "{ file = 'm.wasm', max_size = '1MiB' }"),
        ("'key'", "{ text = 'key' }"),
        ("'below.wasm'", "'other.wasm'"),
        (
            "'below.wasm'",
            "'below.wasm'\nsettings = { env = { A = 'secret' } }",
        ),
        ("['key.pub']", "['other.pub']"),
        ("[[tunnel]]", "[defaults]\ntiming = true\n[[tunnel]]"),
    ] {
        let other = parsed(&text.replacen(from, to, 1));
        assert!(!tunnel.has_settings_of(&other), "{from} {to}");
    }
    let base = directory.path();
    for name in files {
        let named = tunnel.files();
        assert!(named.contains(&base.join(name)), "{name}: {named:?}");
    }
    let before = tunnel.contents().expect("all files");
    assert_eq!(parsed(&elsewhere).contents().expect("all files"), before);
    for name in files {
        write(name, b"after");
        assert_ne!(tunnel.contents().expect("all files"), before, "{name}");
        write(name, b"before");
        assert_eq!(tunnel.contents().expect("all files"), before, "{name}");
    }
    fs::remove_file(directory.path().join("key")).expect("a file");
    let error = tunnel.contents().expect_err("a file is missing");
    assert_eq!(error.key(), "tunnel[0].settings.config", "{error}");
}
