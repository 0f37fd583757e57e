//! `watm demo`: what a newcomer runs first.

use crate::peers::{pattern, sha256};
use crate::process::{Ended, Watm, built};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn line<'a>(ended: &'a Ended, label: &str) -> &'a str {
    let mut lines = ended.stdout.lines();
    let line = lines.find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("{label}: {ended:?}")).trim()
}

#[test]
fn a_file_travels_both_ways_and_comes_out_whole() {
    let ended = Watm::run(&["demo", &built("plain"), "--size", "8M"]);
    ended.success();
    assert_eq!(line(&ended, "result"), "equal");
    let hash = line(&ended, "SHA-256");
    assert_eq!(line(&ended, "at the sink"), hash);
    assert_eq!(line(&ended, "and back"), hash);
    assert_eq!(
        line(&ended, "on the wire"),
        "8388608 bytes there, 8388608 bytes back"
    );
    assert_eq!(line(&ended, "  file begins"), line(&ended, "  wire begins"));
    assert!(ended.stdout.contains("passes bytes through"));
    assert!(ended.stdout.lines().count() <= 16, "{ended:?}");
}

#[test]
fn the_wire_does_not_carry_what_the_module_transforms() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        directory
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let (key, data) = (b"key", pattern(1_000_001, 9));
    std::fs::write(path("key"), key).expect("written");
    std::fs::write(path("file"), &data).expect("written");
    let ended = Watm::run(&[
        "demo",
        &built("xor"),
        "--config",
        &path("key"),
        "--send",
        &path("file"),
    ]);
    ended.success();
    assert_eq!(line(&ended, "result"), "equal");
    assert_eq!(line(&ended, "SHA-256"), hex(&sha256(&data)));
    assert_eq!(line(&ended, "  file begins"), hex(&data[..32]));
    let wire: Vec<u8> = data
        .iter()
        .zip(key.iter().cycle())
        .map(|(a, b)| a ^ b)
        .collect();
    assert_eq!(line(&ended, "  wire begins"), hex(&wire[..32]));
    assert!(ended.stdout.contains("the module transforms them"));
}

#[test]
fn a_handshake_is_seen_on_the_wire() {
    let ended = Watm::run(&["demo", &built("handshake"), "--size", "1M"]);
    ended.success();
    assert_eq!(
        line(&ended, "on the wire"),
        "1048592 bytes there, 1048592 bytes back"
    );
    assert!(line(&ended, "  wire begins").starts_with(&hex(b"WATM-HELLO")));
}

#[test]
fn an_empty_file_travels_too() {
    let ended = Watm::run(&["demo", &built("halfclose"), "--size", "0"]);
    ended.success();
    assert_eq!(line(&ended, "result"), "equal");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let args = ["demo", &built("plain"), "--send", "no/such/file"];
    Watm::run(&args).failure(&["no/such/file", "No such file"]);
}
