//! `watm check`: each rule has a module that breaks it, and good modules break none.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;

use crate::process::{Ended, Watm, built, key, transport, wat};

/// Checks a module as a dialer, with a small transfer as the largest.
fn check(module: &str, options: &[&str]) -> Ended {
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(config.path(), "127.0.0.1:9\n").expect("a configuration");
    let config = config.path().to_str().expect("a path in UTF-8");
    let all = ["check", module, "--json", "--config", config];
    Watm::run(&[&all[..], options].concat())
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// The rules with this status.
fn rules<'a>(report: &'a Value, status: &str) -> BTreeSet<&'a str> {
    let checks = report["checks"].as_array().expect("an array");
    checks
        .iter()
        .filter(|check| check["status"] == status)
        .map(|check| check["rule"].as_str().expect("a name"))
        .collect()
}

/// Runs the module that breaks this rule. The report must say so, in full, and the exit code must
/// follow from how bad it is.
#[track_caller]
fn is_found(rule: &str, options: &[&str]) {
    let faulty = ["--arg", rule, "--role", "dialer"];
    let ended = check(&built("faulty"), &[&faulty[..], options].concat());
    let report = json(&ended);
    let checks = report["checks"].as_array().expect("an array");
    let found = checks
        .iter()
        .find(|check| check["rule"] == rule && check["status"] == "broken")
        .unwrap_or_else(|| panic!("{rule} was not found: {ended:?}"));
    for field in ["seen", "asks", "remedy"] {
        assert!(
            found[field].as_str().is_some_and(|text| text.len() > 5),
            "{found}"
        );
    }
    let is_error = found["severity"] == "error";
    let fails = report["errors"].as_u64().is_some_and(|errors| errors > 0);
    assert!(fails || !is_error, "{report}");
    assert_eq!(ended.code, Some(i32::from(fails)), "{ended:?}");
}

/// Each rule that the module can break, with the size of the largest transfer. The peer is another
/// module, so that only one side has the fault, or else the same.
const FAULTS: &[(&str, &str, Option<&str>)] = &[
    ("init", "1M", OTHER),
    ("init-without-config", "1M", OTHER),
    ("init-bad-config", "1M", OTHER),
    ("role", "1M", OTHER),
    ("unsupported-role", "1M", OTHER),
    ("refused-dial", "1M", OTHER),
    ("closing-peer", "1M", OTHER),
    ("garbage-peer", "1M", None),
    ("silent-peer", "1M", OTHER),
    ("data", "1M", OTHER),
    ("one-direction", "1M", OTHER),
    ("both-directions", "1M", OTHER),
    ("slow-reader", "1M", OTHER),
    ("backlog-memory", "1M", OTHER),
    ("both-full", "16K", None),
    ("end-of-stream", "1M", OTHER),
    ("half-close", "1M", OTHER),
    ("reset", "1M", OTHER),
    ("control", "1M", OTHER),
    (CUT, "1M", OTHER),
    (ALTERED, "1M", OTHER),
    ("idle", "1M", OTHER),
    ("calls", "1M", OTHER),
    ("messages", "1M", OTHER),
    ("memory", "1M", OTHER),
    ("pauses", "1M", OTHER),
    ("descriptors", "1M", OTHER),
    ("short-writes", "1M", OTHER),
    ("refused-writes", "1M", OTHER),
    ("write-spin", "1M", OTHER),
    ("one-byte-reads", "1M", OTHER),
    ("refused-reads", "1M", OTHER),
];

/// The rules that only a module which encrypts can keep.
const CUT: &str = "cut-stream";
const ALTERED: &str = "altered-bytes";

/// A peer without a fault.
const OTHER: Option<&str> = Some("halfclose");

#[test]
fn each_fault_is_found() {
    // A check sleeps for most of its time.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((rule, size, peer)) = FAULTS.get(next.fetch_add(1, Relaxed)) {
                    let peer = peer.map(built);
                    let mut options = vec!["--size", size];
                    options.extend(peer.iter().flat_map(|peer| ["--peer", peer]));
                    is_found(rule, &options);
                }
            });
        }
    });
}

#[test]
fn a_wrong_interface() {
    let ended = check(&wat("missing_export"), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report = json(&ended);
    assert!(rules(&report, "broken").contains("interface"), "{report}");
}

#[test]
fn a_good_module_breaks_no_rule_and_every_rule_has_a_module_that_breaks_it() {
    let peer = built("halfclose");
    let ended = check(
        &built("faulty"),
        &[
            "--role", "dialer", "--size", "1M", "--peer", &peer, "--strict",
        ],
    );
    ended.success();
    let report = json(&ended);
    assert_eq!(report["ok"], true, "{report}");
    let needs_encryption = BTreeSet::from([CUT, ALTERED]);
    assert_eq!(rules(&report, "broken"), needs_encryption, "{report}");
    assert_eq!(rules(&report, "skipped"), BTreeSet::new(), "{report}");
    let mut checked = rules(&report, "passed");
    assert!(checked.remove("interface"));
    checked.extend(needs_encryption);
    checked.insert("unsupported-role");
    assert_eq!(checked, FAULTS.iter().map(|(rule, ..)| *rule).collect());
}

#[test]
fn the_documents_explain_every_rule() {
    let documents = include_str!("../../../../docs/authors.md");
    for rule in FAULTS.iter().map(|(rule, ..)| *rule).chain(["interface"]) {
        assert!(documents.contains(&format!("\n| `{rule}` | ")), "{rule}");
    }
}

#[test]
fn a_module_in_the_style_of_the_library_has_warnings_in_all_roles() {
    let ended = check(&built("plain16k"), &["--size", "1M"]);
    let report = json(&ended);
    assert_eq!(
        (ended.code, &report["errors"]),
        (Some(0), &Value::from(0)),
        "{report}"
    );
    let checks = report["checks"].as_array().expect("an array");
    for role in ["dialer", "fixed-dialer", "listener", "relay"] {
        let short = checks
            .iter()
            .find(|check| check["role"] == role && check["rule"] == "short-writes");
        assert_eq!(
            short.expect("a check")["status"],
            "broken",
            "{role}: {report}"
        );
    }
}

/// What the check of a rule has seen, as the first role that the report names.
#[track_caller]
fn seen<'a>(report: &'a Value, rule: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("an array");
    let found = checks.iter().find(|check| check["rule"] == rule);
    let found = found.unwrap_or_else(|| panic!("{rule} was not checked: {report}"));
    found["seen"].as_str().expect("a text")
}

/// Checks one of the transports of the repository as a dialer and as a listener.
fn check_transport(name: &str, config: &str) -> Value {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config).expect("a configuration");
    let config = file.path().to_str().expect("a path in UTF-8");
    let options = ["--json", "--strict", "--size", "64K", "--config", config];
    let roles = ["--role", "dialer", "--role", "listener"];
    let module = transport(name);
    let ended = Watm::run(&[&["check", &module], &options[..], &roles].concat());
    ended.success();
    json(&ended)
}

#[test]
fn a_module_that_marks_the_end_detects_cuts_and_alterations_in_both_roles() {
    let psk = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let config = format!(r#"{{"pattern": "NNpsk0", "psk": "{psk}", "replay": "off"}}"#);
    let report = check_transport("noise", &config);
    let broken = rules(&report, "broken");
    assert!(
        !broken.contains(CUT) && !broken.contains(ALTERED),
        "{report}"
    );
    let passed = rules(&report, "passed");
    assert!(passed.contains(CUT) && passed.contains(ALTERED), "{report}");
}

#[test]
fn a_module_that_encrypts_without_such_a_mark_detects_a_cut_in_a_message_alone() {
    let config = r#"{"method": "chacha20-ietf-poly1305", "password": "a password",
        "target": "127.0.0.1:80", "replay_protection": false}"#;
    let report = check_transport("shadowsocks", config);
    assert_eq!(
        seen(&report, CUT),
        "after a cut between two messages, the application got the end of stream; after a cut in a \
         message, a failure"
    );
    assert!(!rules(&report, "broken").contains(ALTERED), "{report}");
}

#[test]
fn a_relay_that_expects_a_handshake_of_its_clients_gets_clients_that_do_it() {
    let peer = built("handshake");
    for options in [&[][..], &["--peer", &peer]] {
        let roles = ["--role", "relay", "--size", "64K"];
        let ended = check(&peer, &[&roles[..], options].concat());
        ended.success();
        let report = json(&ended);
        let role = seen(&report, "role");
        assert!(role.starts_with("with dialers as its clients, "), "{role}");
        assert_eq!(report["skipped"], 0, "{report}");
        assert!(
            rules(&report, "passed").contains("both-directions"),
            "{report}"
        );
    }
}

#[test]
fn a_relay_with_plain_clients_and_one_that_passes_bytes_on_need_no_other() {
    for (module, config) in [("plain16k", None), ("xor", Some("xor.key"))] {
        let config = config.map(key);
        let mut options = vec!["--role", "relay", "--size", "64K"];
        options.extend(config.iter().flat_map(|config| ["--config", config]));
        let ended = Watm::run(&[&["check", "--json", &built(module)], &options[..]].concat());
        ended.success();
        let report = json(&ended);
        assert_eq!(seen(&report, "role"), "", "{module}: {report}");
        assert_eq!(report["skipped"], 0, "{module}: {report}");
    }
}

#[test]
fn of_several_connections_the_one_that_the_module_uses_is_checked() {
    for (module, peer, option, expected) in [
        (
            "dialmany",
            "halfclose",
            &[][..],
            "it made 62 connections; connection 1 is checked",
        ),
        (
            "faulty",
            "halfclose",
            &["--arg", "second-connection"],
            "it made 2 connections; connection 2 is checked",
        ),
    ] {
        let peer = built(peer);
        let options = ["--role", "dialer", "--size", "64K"];
        for peer in [&[][..], &["--peer", &peer]] {
            let ended = check(&built(module), &[&options[..], peer, option].concat());
            ended.success();
            let report = json(&ended);
            assert_eq!(seen(&report, "role"), expected, "{report}");
            assert_eq!(report["skipped"], 0, "{report}");
        }
    }
}

/// What the check for pauses has measured.
fn pauses(module: &str) -> Value {
    let ended = check(&built(module), &["--size", "1M", "--role", "dialer"]);
    let report = json(&ended);
    let checks = report["checks"].as_array().expect("an array");
    let found = checks.iter().find(|check| check["rule"] == "pauses");
    found.expect("a check")["pauses"].clone()
}

#[test]
fn the_time_that_a_collector_takes_is_reported() {
    let collecting = pauses("collecting");
    let number = |of: &Value, field: &str| of[field].as_f64().expect("a number");
    let of = |field| number(&collecting, field);
    assert!(of("pauses") >= 1.0 && of("total") > 0.0, "{collecting}");
    assert!(of("share_of_computed") > 0.0, "{collecting}");
    assert!(of("share_of_run") > 0.0, "{collecting}");
    assert!(of("median") < of("longest"), "{collecting}");
    assert!(of("longest") <= of("total"), "{collecting}");
    assert!(of("total") <= of("computed"), "{collecting}");
    assert!(of("computed") <= of("run"), "{collecting}");
    // A machine may interrupt a module that has no collector, but not for as much of its time.
    let plain = pauses("plain16k");
    assert!(
        number(&plain, "share_of_computed") < of("share_of_computed") / 2.0,
        "{plain}, {collecting}"
    );
}

#[test]
fn warnings_fail_a_strict_check() {
    let options = ["--size", "16K", "--role", "dialer", "--strict"];
    let ended = check(&built("plain16k"), &options);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(json(&ended)["ok"], false);
}

#[test]
fn a_module_that_needs_a_partner_is_not_blamed_for_having_none() {
    // It sends no byte that a plain socket would understand.
    let peer = built("fixed");
    let options = ["--role", "fixed-dialer", "--peer", &peer];
    let ended = check(&built("records"), &options);
    let report = json(&ended);
    let skipped = rules(&report, "skipped");
    assert!(
        skipped.contains("data") && skipped.contains("one-byte-reads"),
        "{report}"
    );
    assert_eq!(
        (&report["errors"], &report["ok"]),
        (&Value::from(0), &Value::from(true))
    );
    assert_eq!(report["skipped"], skipped.len(), "{report}");
    // It is no proof, though.
    let ended = check(&built("records"), &[&options[..], &["--strict"]].concat());
    assert_eq!(
        (ended.code, &json(&ended)["ok"]),
        (Some(1), &Value::from(false))
    );
}

#[test]
fn a_module_that_ends_early_is_reported_each_time() {
    // The peer may meet the reset at any moment.
    for name in ["unreachable_start", "exit_in_start", "recursion"] {
        for _ in 0..5 {
            let ended = check(&wat(name), &["--size", "16K"]);
            assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
            assert!(
                json(&ended)["errors"].as_u64() > Some(0),
                "{name}: {ended:?}"
            );
        }
    }
}

#[test]
fn the_failure_of_a_peer_is_told_from_that_of_the_module() {
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let empty = empty.path().to_str().expect("a path in UTF-8");
    for role in ["dialer", "listener"] {
        let ended = check(&built("xor"), &["--role", role, "--peer-config", empty]);
        assert_eq!(ended.code, Some(1), "{role}: {ended:?}");
        let report = json(&ended);
        let checks = report["checks"].as_array().expect("an array");
        let found = checks.iter().find(|check| check["rule"] == "role");
        let seen = found.expect("a check")["seen"].as_str().expect("a text");
        assert!(
            seen.starts_with("at its peer, ") && seen.contains("EINVAL"),
            "{seen}"
        );
    }
}

#[test]
fn the_text_says_what_was_seen_what_is_asked_and_how_to_mend_it() {
    let module = built("faulty");
    let ended = Watm::run(&["check", &module, "--arg", "init"]);
    assert_eq!(ended.code, Some(1));
    for part in [
        "module ",
        "interface            ok",
        "init                 ERROR    watm_init_v1 returned -28",
        "asked: ",
        "remedy: ",
        "result  FAILED: 1 error, 0 warnings, 0 notes",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_role_that_the_module_lacks_cannot_be_checked() {
    let ended = Watm::run(&["check", &built("fixed"), "--role", "relay"]);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("its roles: fixed-dialer"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("hint: "), "{ended:?}");
}

#[test]
fn what_cannot_be_checked_has_an_exit_code_of_its_own() {
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let empty = empty.path().to_str().expect("a path in UTF-8");
    let plain = built("plain16k");
    for options in [
        &["/nowhere.wasm"][..],
        &[empty],
        &[&plain, "--config", "/nowhere.txt"],
        &[&plain, "--peer", "/nowhere.wasm"],
    ] {
        let ended = Watm::run(&[&["check", "--json"], options].concat());
        assert_eq!(ended.code, Some(3), "{options:?}: {ended:?}");
        assert!(ended.stderr.contains("error: "), "{options:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{options:?}");
    }
    let ended = Watm::run(&["check", &plain, "--size", "1"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}
