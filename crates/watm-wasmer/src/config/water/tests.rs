use crate::config::{Config, Tunnel};
use crate::error::ConfigFileError;

/// All keys of the Go runtime.
const WHOLE: &str = r#"{
  "transport_module": { "bin": "./dialer.wasm", "config": "./dialer.json" },
  "network": {
    "address_validator": {
      "catch_all": false,
      "allowlist": { "192.0.2.1:443": ["tcp", "udp"], "relay.example:443": ["tcp4", "tcp6"] },
      "denylist": { "192.0.2.9:80": ["tcp"] }
    },
    "listener": { "network": "tcp", "address": "127.0.0.1:8080" }
  },
  "module": {
    "argv": ["d", "--fast"],
    "env": { "MODE": "debug" },
    "inherit_stdin": false,
    "inherit_stdout": true,
    "inherit_stderr": true,
    "preopened_dirs": { "/srv/keys": "/keys" }
  },
  "runtime": { "force_interpreter": true, "do_not_close_on_context_done": true }
}"#;

fn parse(json: &str) -> Result<Config, ConfigFileError> {
    Config::from_json(json)
}

/// The value of a setting.
fn setting(config: &Config, key: &str) -> Option<String> {
    let settings = config.tunnels()[0].settings();
    let mut settings = settings.into_iter();
    settings.find_map(|(name, value)| (name == key).then_some(value))
}

fn with(part: &str) -> String {
    format!("{{\"transport_module\": {{\"bin\": \"m\"}}, {part}}}")
}

#[track_caller]
fn refused(json: &str, key: &str, part: &str) {
    let error = parse(json).expect_err(json);
    assert_eq!(error.key(), key, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

/// The policy and the warnings of an address validator.
#[track_caller]
fn policy(validator: &str) -> (Option<String>, Vec<String>) {
    let json = with(&format!(
        "\"network\": {{\"address_validator\": {validator}}}"
    ));
    let config = parse(&json).expect("a configuration");
    (setting(&config, "policy"), config.warnings().to_vec())
}

#[test]
fn a_whole_configuration_means_the_same() {
    let config = parse(WHOLE).expect("a configuration");
    let tunnel: &Tunnel = config.only().expect("one");
    assert_eq!((tunnel.name(), tunnel.role()), (None, None));
    assert_eq!(tunnel.module_file().to_str(), Some("./dialer.wasm"));
    let listen: Vec<_> = tunnel.listen().iter().map(|one| one.as_str()).collect();
    assert_eq!(listen, ["127.0.0.1:8080"]);
    let expected = [
        ("config", "./dialer.json"),
        ("args", "--fast"),
        ("env", "MODE"),
        ("dirs", "/srv/keys as /keys, writable"),
        ("stdio", "inherit stdout, stderr; log the others"),
        (
            "policy",
            "allow tcp://192.0.2.1:443, tcp4://relay.example:443, tcp6://relay.example:443",
        ),
    ];
    let expected: Vec<_> = expected.map(|(key, value)| (key, value.to_owned())).into();
    assert_eq!(tunnel.settings(), expected);
    let warnings = config.warnings();
    let parts = [
        (
            "`network.address_validator.denylist`",
            "without `catch_all`",
        ),
        (
            "`network.address_validator.allowlist.\"192.0.2.1:443\"`",
            "\"udp\"",
        ),
        ("`module.argv`", "argument 0"),
        ("`runtime.force_interpreter`", "no interpreter"),
        ("`runtime.do_not_close_on_context_done`", "no contexts"),
    ];
    assert_eq!(warnings.len(), parts.len(), "{warnings:#?}");
    for (warning, (key, part)) in warnings.iter().zip(parts) {
        assert!(
            warning.starts_with(key) && warning.contains(part),
            "{warning}"
        );
    }
}

#[test]
fn the_smallest_configuration_denies_everything_and_listens_nowhere() {
    let config = parse(r#"{"transport_module": {"bin": "m"}}"#).expect("a configuration");
    let tunnel = config.only().expect("one");
    assert_eq!(tunnel.settings(), []);
    assert!(tunnel.listen().is_empty() && config.warnings().is_empty());
}

#[test]
fn argument_0_is_the_name_of_the_module() {
    let argv = |argv: &str| {
        let json = with(&format!("\"module\": {{\"argv\": {argv}}}"));
        parse(&json).expect("a configuration")
    };
    let same = argv("[\"m\"]");
    assert_eq!(setting(&same, "args"), None);
    assert!(same.warnings().is_empty(), "{:?}", same.warnings());
    let other = argv("[\"x\", \"-v\", \"m\"]");
    assert_eq!(setting(&other, "args").as_deref(), Some("-v, m"));
    assert!(
        other.warnings()[0].contains("\"m\", not \"x\""),
        "{:?}",
        other.warnings()
    );
}

#[test]
fn go_takes_keys_in_either_case_and_leaves_out_null() {
    let json = r#"{"Transport_Module": {"BIN": "m", "config": null}, "network": null,
        "module": {"argv": null, "inherit_stdin": true}}"#;
    let config = parse(json).expect("a configuration");
    assert_eq!(
        setting(&config, "stdio").as_deref(),
        Some("inherit stdin; log the others")
    );
    assert!(config.tunnels()[0].uses_stdio());
    refused(
        r#"{"transport_module": {"bin": "m", "BIN": "n"}}"#,
        "transport_module.bin",
        "twice",
    );
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    let json = with("\"network\": {\"listner\": {}}");
    refused(
        &json,
        "network.listner",
        "nearest that there is is `listener`",
    );
    let error = parse(&json).expect_err("a misspelt key").to_string();
    assert!(error.starts_with("`network.listner`: "), "{error}");
    refused(&with("\"modules\": {}"), "modules", "`module`");
    refused(&with("\"module\": {\"args\": []}"), "module.args", "`argv`");
    refused(&with("\"module\": []"), "module", "found a list");
    refused(
        &with("\"runtime\": {\"force_interpreter\": 1}"),
        "runtime.force_interpreter",
        "true or false",
    );
    refused(
        &with("\"module\": {\"env\": {\"A\": 1}}"),
        "module.env.A",
        "a whole number",
    );
    refused("{}", "transport_module", "missing");
    refused(
        r#"{"transport_module": {"bin": ""}}"#,
        "transport_module.bin",
        "empty",
    );
    let error = parse("{\"a\": }").expect_err("no JSON");
    assert!(
        error
            .to_string()
            .starts_with("line 1, column 7: this is not JSON"),
        "{error}"
    );
}

#[test]
fn without_catch_all_the_allowlist_counts_alone() {
    assert_eq!(policy("{}"), (Some("allow nothing".into()), vec![]));
    let (found, warnings) = policy(r#"{"allowlist": {"a.example:1": null, "b.example:1": []}}"#);
    assert_eq!(found.as_deref(), Some("allow nothing"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let (found, _) = policy(r#"{"allowlist": {"[fe80::1%eth0]:9": ["tcp6"]}}"#);
    assert_eq!(found.as_deref(), Some("allow tcp6://[fe80::1]:9"));
}

#[test]
fn with_catch_all_the_denylist_counts_alone_and_must_be_there() {
    let (found, warnings) = policy(r#"{"catch_all": true}"#);
    assert_eq!(found.as_deref(), Some("allow nothing"));
    assert!(warnings[0].contains("\"denylist\": {}"), "{warnings:?}");
    assert_eq!(
        policy(r#"{"catch_all": true, "denylist": {}}"#),
        (Some("allow everything".into()), vec![])
    );
    let validator = r#"{"catch_all": true, "allowlist": {"h:1": ["tcp"]},
        "denylist": {"10.0.0.1:80": ["tcp4", "udp"], "h.example:2": null, "i.example:3": []}}"#;
    let (found, warnings) = policy(validator);
    let expected = "allow everything; deny tcp4://10.0.0.1:80, tcp://h.example:2";
    assert_eq!(found.as_deref(), Some(expected));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("allowlist`: with `catch_all`"),
        "{warnings:?}"
    );
}

/// They would mean more here than in the Go runtime, which compares addresses as they are written.
#[test]
fn no_entry_becomes_a_pattern_or_a_block() {
    for address in [
        "*:443",
        "10.0.0.0/8:443",
        "*.example.com:443",
        "10.0.0.1",
        "10.0.0.1:https",
    ] {
        let (found, warnings) = policy(&format!("{{\"allowlist\": {{\"{address}\": [\"tcp\"]}}}}"));
        assert_eq!(found.as_deref(), Some("allow nothing"), "{address}");
        assert!(warnings[0].contains("never applies"), "{warnings:?}");
    }
    let (found, warnings) = policy(r#"{"allowlist": {"127.1:80": ["tcp"]}}"#);
    assert_eq!(found.as_deref(), Some("allow nothing"));
    assert!(warnings[0].contains("allows nothing"), "{warnings:?}");
    // What cannot be denied must not be allowed in silence.
    let validator = r#"{"catch_all": true, "denylist": {"127.1:80": ["tcp"]}}"#;
    let json = with(&format!(
        "\"network\": {{\"address_validator\": {validator}}}"
    ));
    refused(
        &json,
        "network.address_validator.denylist.\"127.1:80\"",
        "ends in a number",
    );
}

#[test]
fn a_listener_is_one_address_of_tcp() {
    let listen = |network: &str, address: &str| {
        let listener = format!("{{\"network\": \"{network}\", \"address\": \"{address}\"}}");
        parse(&with(&format!("\"network\": {{\"listener\": {listener}}}")))
    };
    for (network, address, expected) in [
        ("tcp", "0.0.0.0:0", "0.0.0.0:0"),
        ("tcp", ":80", ":80"),
        ("tcp4", ":80", "0.0.0.0:80"),
        ("tcp6", ":80", "[::]:80"),
        ("tcp6", "[::1]:80", "[::1]:80"),
    ] {
        let config = listen(network, address).expect(address);
        let found: Vec<_> = config.tunnels()[0]
            .listen()
            .iter()
            .map(|a| a.as_str())
            .collect();
        assert_eq!(found, [expected], "{network} {address}");
    }
    for (network, address, key, part) in [
        (
            "unix",
            "/s",
            "network.listener.network",
            "expected tcp, tcp4 or tcp6",
        ),
        ("tcp", "80", "network.listener.address", "port is missing"),
        ("tcp4", "[::1]:80", "network.listener.address", "IPv6"),
        ("tcp6", "127.0.0.1:80", "network.listener.address", "IPv4"),
    ] {
        let error = listen(network, address).expect_err(address);
        assert_eq!(error.key(), key);
        assert!(error.to_string().contains(part), "{error}");
    }
    let config = listen("", ":80").expect("half a listener");
    assert!(config.tunnels()[0].listen().is_empty());
    assert!(
        config.warnings()[0].contains("means nothing"),
        "{:?}",
        config.warnings()
    );
}

#[test]
fn paths_of_the_guest_start_at_its_root() {
    for (guest, expected) in [
        ("", "/"),
        ("/", "/"),
        (".", "/"),
        ("./", "/"),
        ("keys", "/keys"),
        ("./keys/", "/keys"),
        ("/keys", "/keys"),
        ("../keys", "/../keys"),
    ] {
        assert_eq!(super::absolute(guest), expected, "{guest}");
    }
}
