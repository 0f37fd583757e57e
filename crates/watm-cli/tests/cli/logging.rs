//! Log lines: their form, their levels, and how many there are.

use crate::peers::{Server, connect, round_trip};
use crate::process::{Watm, built};

/// Runs a command that fails, with these options, and returns standard error.
fn failing(options: &[&str]) -> String {
    let module = built("plain");
    let dial = ["dial", "--module", &module, "--remote", "127.0.0.1:1", "-v"];
    let ended = Watm::run(&[&dial[..], options].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.stderr
}

#[test]
fn json_is_all_that_is_written_with_json() {
    let stderr = failing(&["--log-format", "json"]);
    let lines: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}")))
        .collect();
    assert!(lines.len() >= 2, "{stderr}");
    for line in &lines {
        let object = line.as_object().expect("an object");
        let keys: Vec<_> = object.keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 4, "{line}");
        let time = line["timestamp"].as_str().expect("a text");
        assert!(
            time.len() == 24 && time.ends_with('Z') && time.contains('T'),
            "{time}"
        );
        let levels = ["error", "warn", "info", "debug", "trace"];
        assert!(
            levels.contains(&line["level"].as_str().expect("a text")),
            "{line}"
        );
        assert!(
            line["target"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    // The failure is the last but for the hint.
    let said = |level: &str, part: &str| {
        let mut lines = lines.iter();
        lines.any(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == level && message.contains(part)
        })
    };
    assert!(
        said("error", "error: no connection to 127.0.0.1:1"),
        "{stderr}"
    );
    assert!(
        said("error", "hint: nothing is listening there"),
        "{stderr}"
    );
}

#[test]
fn lines_for_the_journal_have_a_priority() {
    let stderr = failing(&["--log-format", "journald"]);
    assert!(stderr.lines().all(|line| line.starts_with('<')), "{stderr}");
    assert!(stderr.contains("<3>watm: error: no connection"), "{stderr}");
    // By itself, if standard error is the journal, and only then.
    let (watm, module) = (env!("CARGO_BIN_EXE_watm"), built("plain"));
    let dial = format!("exec {watm} dial --module {module} --remote 127.0.0.1:1");
    for (stream, is_journal) in [
        ("$(stat -L -c %d:%i /proc/self/fd/2)", true),
        ("1:2", false),
    ] {
        let script = format!("export JOURNAL_STREAM={stream}; {dial}");
        let mut watm = Watm::start_as("sh", &["-c", &script], std::process::Stdio::null());
        let stderr = watm.end().stderr;
        assert_eq!(stderr.starts_with("<3>"), is_journal, "{stderr}");
        assert!(stderr.contains("error: no connection"), "{stderr}");
    }
}

#[test]
fn levels_are_chosen_by_target_and_the_environment_wins() {
    let compiled = "loaded";
    assert!(!failing(&[]).contains(compiled));
    let stderr = failing(&["--log", "watm::setup=debug"]);
    assert!(stderr.contains(compiled), "{stderr}");
    let stderr = failing(&["--log", "off"]);
    assert_eq!(
        stderr.lines().count(),
        2,
        "the error and its hint: {stderr}"
    );
    let (watm, module) = (env!("CARGO_BIN_EXE_watm"), built("plain"));
    let script = format!(
        "RUST_LOG=watm=trace exec {watm} dial --module {module} --remote 127.0.0.1:1 --log off"
    );
    let mut watm = Watm::start_as("sh", &["-c", &script], std::process::Stdio::null());
    assert!(watm.end().stderr.contains(compiled));
    for (option, value, expected) in [
        ("--log", "watm=loud", "expected LEVEL or TARGET=LEVEL"),
        ("--log-format", "xml", "journald"),
    ] {
        let ended = Watm::run(&["cache", option, value]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for part in [option, value, expected] {
            assert!(ended.stderr.contains(part), "{part:?} in {ended:?}");
        }
    }
}

#[test]
fn what_happens_again_and_again_is_logged_a_few_times_and_then_counted() {
    let server = Server::echo();
    let more = ["--remote", &server.address, "-v", "--log-limit", "3"];
    let (mut watm, entrance) = Watm::serving("dial", &built("plain"), &more);
    for _ in 0..10 {
        round_trip(&connect(&entrance), b"hello");
    }
    watm.signal(libc::SIGTERM);
    let ended = watm.end();
    ended.success();
    assert_eq!(ended.stderr.matches("has ended").count(), 3, "{ended:?}");
    let counted = "7 more lines like these within 10 s were left out (of watm_wasmer::";
    assert!(ended.stderr.contains(counted), "{ended:?}");
}
