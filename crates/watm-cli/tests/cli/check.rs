//! `watm check`: each rule has a module that breaks it, and good modules break none.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::process::{Ended, Watm, built, wat};

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

macro_rules! faults {
    ($($name:ident $rule:literal $size:literal $peer:expr;)*) => {
        $(#[test]
        fn $name() {
            let peer: Option<&str> = $peer;
            let peer = peer.map(built);
            let mut options = vec!["--size", $size];
            options.extend(peer.iter().flat_map(|peer| ["--peer", peer]));
            is_found($rule, &options);
        })*

        const FAULTS: &[&str] = &[$($rule),*];
    };
}

/// A peer that is no module of the kind, so that only one side has the fault.
const OTHER: Option<&str> = Some("halfclose");

faults! {
    an_init_that_fails "init" "1M" OTHER;
    a_trap_without_a_configuration "init-without-config" "1M" OTHER;
    a_trap_at_a_bad_configuration "init-bad-config" "1M" OTHER;
    a_role_that_fails "role" "1M" OTHER;
    a_role_that_is_not_supported "unsupported-role" "1M" OTHER;
    a_trap_at_a_refused_connection "refused-dial" "1M" OTHER;
    a_trap_at_an_early_end "closing-peer" "1M" OTHER;
    a_trap_at_garbage "garbage-peer" "1M" None;
    altered_bytes "data" "1M" OTHER;
    a_direction_that_waits_for_the_other "one-direction" "1M" OTHER;
    directions_that_disturb_each_other "both-directions" "1M" OTHER;
    bytes_lost_to_a_slow_reader "slow-reader" "1M" OTHER;
    an_unbounded_backlog "backlog-memory" "1M" OTHER;
    giving_up_when_both_sides_are_full "both-full" "16K" None;
    a_missing_end "end-of-stream" "1M" OTHER;
    no_half_close "half-close" "1M" OTHER;
    a_trap_at_a_reset "reset" "1M" OTHER;
    ignored_control "control" "1M" OTHER;
    busy_waiting "idle" "1M" OTHER;
    many_calls "calls" "1M" OTHER;
    a_leak "memory" "1M" OTHER;
    long_pauses "pauses" "1M" OTHER;
    descriptors_left_open "descriptors" "1M" OTHER;
    a_short_write_taken_for_all "short-writes" "1M" OTHER;
    a_refused_write_taken_for_a_failure "refused-writes" "1M" OTHER;
    a_write_repeated_at_once "write-spin" "1M" OTHER;
    single_bytes_taken_for_a_failure "one-byte-reads" "1M" OTHER;
    a_refused_read_taken_for_a_failure "refused-reads" "1M" OTHER;
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
    assert_eq!(rules(&report, "broken"), BTreeSet::new(), "{report}");
    assert_eq!(rules(&report, "skipped"), BTreeSet::new(), "{report}");
    let mut checked = rules(&report, "passed");
    assert!(checked.remove("interface"));
    checked.insert("unsupported-role");
    assert_eq!(checked, FAULTS.iter().copied().collect());
}

#[test]
fn the_documents_explain_every_rule() {
    let documents = include_str!("../../../../docs/authors.md");
    for rule in FAULTS.iter().chain(&["interface"]) {
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
    let ended = check(
        &built("records"),
        &["--role", "fixed-dialer", "--peer", &built("fixed")],
    );
    let report = json(&ended);
    assert!(rules(&report, "skipped").contains("data"), "{report}");
    assert_eq!(report["errors"], 0, "{report}");
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
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("its roles: fixed-dialer"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("hint: "), "{ended:?}");
}
