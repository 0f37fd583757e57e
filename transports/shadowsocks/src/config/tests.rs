//! The configuration: what is taken, and what is refused with which words.

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Some(text.as_bytes()))
}

#[track_caller]
fn assert_refused(text: &str, words: &str) {
    let message = parse(text).err().expect("refused");
    assert!(message.contains(words), "{message}");
}

/// With these fields after a method and a password.
fn with(fields: &str) -> String {
    format!(r#"{{"method": "aes-256-gcm", "password": "secret", {fields}}}"#)
}

fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

#[test]
fn a_file_of_shadowsocks_libev_is_taken() {
    let config = parse(
        r#"{"server": "192.0.2.1", "server_port": 8388, "local_address": "127.0.0.1",
            "local_port": 1080, "password": "secret", "timeout": 300, "mode": "tcp_and_udp",
            "method": "chacha20-ietf-poly1305", "fast_open": false, "nameserver": "192.0.2.2",
            "plugin": "", "tunnel_address": "example.com:80"}"#,
    )
    .expect("valid");
    assert_eq!(config.server.as_deref(), Some("192.0.2.1:8388"));
    assert_eq!(config.target, Some(target("example.com:80")));
    assert_eq!(config.key.method().name, "chacha20-ietf-poly1305");
    assert!(config.replay.is_some());
}

#[test]
fn a_file_of_the_tinygo_module_is_taken() {
    let config = parse(
        r#"{"remote_addr": "192.0.2.1", "remote_port": "80", "password": "8JCsPssfgS8tiRwiMlhARg==",
            "method": "chacha20-ietf-poly1305", "internal_buffer_size": 4096}"#,
    )
    .expect("valid");
    assert_eq!(config.target, Some(target("192.0.2.1:80")));
    assert_eq!(config.server, None);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    assert_refused(
        &with(r#""pasword": "x""#),
        "`pasword` is no known key: did you mean `password`?",
    );
    assert_refused(&with(r#""server-port": 1"#), "did you mean `server_port`?");
    assert_refused(&with(r#""targets": []"#), "did you mean `target`?");
}

#[test]
fn every_known_key_is_taken() {
    for key in IGNORED {
        assert!(parse(&with(&format!(r#""{key}": null"#))).is_ok(), "{key}");
    }
    for key in KEYS
        .into_iter()
        .filter(|key| !["method", "password"].contains(key))
    {
        assert!(parse(&with(&format!(r#""{key}": null"#))).is_ok(), "{key}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    assert!(
        Config::parse(None)
            .err()
            .expect("refused")
            .contains("there is no configuration")
    );
    assert_refused("[]", "no JSON object");
    assert_refused("{", "not valid JSON");
    assert_refused("{}", "`method` is missing: set it to one of aes-128-gcm");
    assert_refused(
        r#"{"method": "rc4-md5"}"#,
        "\"rc4-md5\", but must be one of",
    );
    assert_refused(
        r#"{"method": 5}"#,
        "`method` is a number, but must be a string",
    );
    assert_refused(r#"{"method": "aes-128-gcm"}"#, "`password` is missing");
    assert_refused(
        r#"{"method": "aes-128-gcm", "password": ""}"#,
        "`password` is empty",
    );
    assert_refused(&with(r#""key": "AAAA""#), "both `password` and `key`");
    assert_refused(&with(r#""server": "host""#), "`server_port` is missing");
    assert_refused(
        &with(r#""server": "host:1", "server_port": 1"#),
        "without a port",
    );
    assert_refused(
        &with(r#""server": ["a"], "server_port": 1"#),
        "`server` is a list",
    );
    assert_refused(
        &with(r#""server": "a", "server_port": 0"#),
        "`server_port` must be a number",
    );
    assert_refused(
        &with(r#""server": "a", "server_port": 65536"#),
        "`server_port` must be",
    );
    assert_refused(&with(r#""target": "host""#), "`target` has \"host\"");
    assert_refused(&with(r#""remote_addr": "host""#), "go together");
    assert_refused(
        &with(r#""target": "a:1", "tunnel_address": "a:1""#),
        "more than once",
    );
    assert_refused(&with(r#""accept_targets": []"#), "`accept_targets` must be");
    assert_refused(
        &with(r#""accept_targets": ["a"]"#),
        "`accept_targets` has \"a\"",
    );
    assert_refused(&with(r#""replay_dir": "replay""#), "absolute path");
    assert_refused(
        &with(r#""replay_protection": "no""#),
        "must be true or false",
    );
    assert_refused(&with(r#""mode": "udp_only""#), "`mode` is udp_only");
    assert_refused(&with(r#""plugin": "obfs""#), "`plugin` is not supported");
}

#[test]
fn keys_of_the_2022_edition_have_their_length() {
    let with = |password: &str| {
        format!(r#"{{"method": "2022-blake3-aes-128-gcm", "password": "{password}"}}"#)
    };
    assert!(parse(&with("AAAAAAAAAAAAAAAAAAAAAA==")).is_ok());
    let words =
        "2022-blake3-aes-128-gcm needs 16 bytes in base64, such as `openssl rand -base64 16`";
    assert_refused(&with("a password"), words);
    assert_refused(&with("AAAA"), "has 3 bytes");
    assert_refused(
        &with("AAAA:AAAA"),
        "identity headers (SIP023) are not supported",
    );
    assert_refused(
        r#"{"method": "2022-blake3-aes-128-gcm"}"#,
        "`openssl rand -base64 16`",
    );
}

#[test]
fn a_listener_takes_off_the_addresses_that_it_knows() {
    let accepts = |fields: &str| parse(&with(fields)).expect("valid").accepts;
    assert_eq!(accepts(r#""server": null"#), Acceptance::Everything);
    assert_eq!(
        accepts(r#""target": "a:1""#),
        Acceptance::Only(vec![target("a:1")])
    );
    assert_eq!(
        accepts(r#""accept_targets": "any", "target": "a:1""#),
        Acceptance::Any
    );
    let two = accepts(r#""accept_targets": ["a:1", "[::1]:2"]"#);
    assert!(two.allows(&target("[::1]:2")));
    assert!(!two.allows(&target("a:2")));
}

#[test]
fn replays_are_noticed_unless_that_is_switched_off() {
    let replay = |fields: &str| parse(&with(fields)).expect("valid").replay;
    assert!(replay(r#""replay_dir": "/salts""#).is_some());
    assert!(replay(r#""replay_protection": true"#).is_some());
    assert!(replay(r#""replay_protection": false"#).is_none());
}
