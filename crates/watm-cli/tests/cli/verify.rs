//! `watm verify`, and the options for trusted keys of the commands that load modules.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::process::{Ended, Watm};

/// A file of `tests/signed`.
fn signed(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/signed");
    root.join(name).to_str().expect("UTF-8").to_owned()
}

/// A directory with copies of the signed files.
struct Copies(tempfile::TempDir);

impl Copies {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in [
            "module.wat",
            "module.wat.minisig",
            "modules.toml",
            "modules.toml.minisig",
        ] {
            std::fs::copy(signed(name), directory.path().join(name)).expect("a copy");
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn append(&self, name: &str, text: &str) {
        let mut bytes = std::fs::read(self.path(name)).expect("a file");
        bytes.extend(text.bytes());
        std::fs::write(self.path(name), bytes).expect("written");
    }
}

fn verify(file: &str, more: &[&str]) -> Ended {
    Watm::run(&[&["verify", file], more].concat())
}

fn report(file: &str, more: &[&str]) -> (Value, Option<i32>) {
    let ended = verify(file, &[&["--json"], more].concat());
    assert_eq!(ended.stderr, "", "{ended:?}");
    let report = serde_json::from_str(&ended.stdout).expect("JSON");
    (report, ended.code)
}

#[track_caller]
fn fails(file: &str, more: &[&str], parts: &[&str]) {
    let ended = verify(file, more);
    ended.silent_failure();
    for part in [&["DOES NOT HOLD", "problem"], parts].concat() {
        assert!(ended.stdout.contains(part), "{part:?} in {ended:?}");
    }
}

#[test]
fn a_signed_module_holds_and_its_signer_is_shown() {
    let key = std::fs::read_to_string(signed("first.pub")).expect("text");
    let key = key.lines().nth(1).expect("a key");
    for key in [key, &signed("first.pub")] {
        let ended = verify(&signed("module.wat"), &["--trusted-key", key]);
        ended.success();
        for part in [
            "module.wat: holds",
            "signed by  F849DFD969032ECE",
            "comment    version 2",
            "roles      dialer",
        ] {
            assert!(ended.stdout.contains(part), "{part:?} in {ended:?}");
        }
    }
}

#[test]
fn the_json_is_one_object_with_stable_fields() {
    let module = signed("module.wat");
    let (report, code) = report(&module, &["--trusted-key", &signed("first.pub")]);
    assert_eq!(code, Some(0));
    let size = std::fs::metadata(&module).expect("a file").len();
    let hash = report["files"][0]["sha256"].clone();
    let expected = json!({
        "format": 1,
        "ok": true,
        "files": [{
            "file": module,
            "kind": "module",
            "ok": true,
            "size": size,
            "sha256": hash,
            "pinned": false,
            "signature": {"key": "F849DFD969032ECE", "trusted_comment": "version 2"},
            "roles": ["dialer"],
            "modules": [],
            "problems": [],
        }],
    });
    assert_eq!(report, expected);
    let hash = hash.as_str().expect("a hash");
    let (report, code) = self::report(&module, &["--sha256", hash]);
    assert_eq!(
        (code, &report["files"][0]["pinned"]),
        (Some(0), &json!(true))
    );
}

#[test]
fn what_nothing_vouches_for_does_not_hold() {
    let advice = ["nothing vouches", "--trusted-key", "minisign -Sm FILE"];
    fails(&signed("module.wat"), &[], &advice);
    fails(&signed("modules.toml"), &[], &advice);
    fails(&signed("modules.toml"), &[], &["--trust-manifest"]);
    // That a manifest is trusted says nothing of a module.
    fails(&signed("module.wat"), &["--trust-manifest"], &advice);
}

#[test]
fn what_was_altered_or_signed_by_another_does_not_hold_and_is_not_parsed() {
    let copies = Copies::new();
    let (first, second) = (signed("first.pub"), signed("second.pub"));
    let trusted = ["--trusted-key", &first];
    fails(
        &copies.text("module.wat"),
        &["--trusted-key", &second],
        &["F849DFD969032ECE, which is not trusted", "A2AC51B499385D23"],
    );
    fails(
        &copies.text("module.wat"),
        &["--sha256", &"0".repeat(64)],
        &["not the expected 0000"],
    );
    copies.append("module.wat", " ");
    fails(
        &copies.text("module.wat"),
        &trusted,
        &["is not what the key F849DFD969032ECE has signed"],
    );
    let (report, code) = report(&copies.text("module.wat"), &trusted);
    assert_eq!(code, Some(1));
    assert_eq!(report["files"][0]["kind"], Value::Null);
    assert_eq!(report["files"][0]["roles"], json!([]));
    fails(
        &signed("module.wat"),
        &[
            "--trusted-key",
            &first,
            "--signature",
            &signed("legacy.minisig"),
        ],
        &["without -l"],
    );
    std::fs::remove_file(copies.path("module.wat.minisig")).expect("removed");
    fails(
        &copies.text("module.wat"),
        &trusted,
        &["there is no signature", "module.wat.minisig"],
    );
    fails(
        &copies.text("absent.wasm"),
        &trusted,
        &["could not be read"],
    );
}

#[test]
fn a_manifest_holds_if_it_and_all_that_it_names_does() {
    let copies = Copies::new();
    let manifest = copies.text("modules.toml");
    let first = signed("first.pub");
    for vouching in [&["--trusted-key", &first][..], &["--trust-manifest"]] {
        let (report, code) = report(&manifest, vouching);
        assert_eq!(code, Some(0), "{report}");
        let file = &report["files"][0];
        assert_eq!(file["kind"], "manifest");
        let signature = &file["signature"]["trusted_comment"];
        let is_signed = vouching.len() == 2;
        assert_eq!(
            *signature,
            if is_signed {
                json!("modules, version 1")
            } else {
                Value::Null
            }
        );
        let module = &file["modules"][0];
        assert_eq!(module["name"], "example");
        assert_eq!(module["pinned"], true);
        assert_eq!(module["signature"]["trusted_comment"], "version 2");
        assert_eq!(module["roles"], json!(["dialer"]));
        assert_eq!(module["config"], Value::Null);
    }
    let ended = verify(&manifest, &["--trust-manifest"]);
    ended.success();
    assert!(
        ended.stdout.contains("  module example: holds"),
        "{ended:?}"
    );
    copies.append("module.wat", " ");
    fails(
        &manifest,
        &["--trust-manifest"],
        &["module example: DOES NOT HOLD", "line 6, `file`"],
    );
    copies.append("modules.toml", "colour = 1\n");
    fails(
        &manifest,
        &["--trusted-key", &first],
        &["is not what the key"],
    );
    fails(
        &manifest,
        &["--trust-manifest"],
        &["line 9, `colour`", "the nearest"],
    );
}

#[test]
fn a_configuration_without_a_hash_is_said_not_to_be_verified() {
    let copies = Copies::new();
    std::fs::write(copies.path("a.cfg"), "key").expect("written");
    copies.append("modules.toml", "config = \"a.cfg\"\n");
    let ended = verify(&copies.text("modules.toml"), &["--trust-manifest"]);
    ended.success();
    assert!(ended.stdout.contains("a.cfg (not verified"), "{ended:?}");
}

#[test]
fn one_file_that_does_not_hold_is_a_failure_and_the_others_are_still_shown() {
    let copies = Copies::new();
    copies.append("module.wat", " ");
    let (first, bad) = (signed("first.pub"), copies.text("module.wat"));
    let ended = verify(&bad, &[&signed("module.wat"), "--trusted-key", &first]);
    ended.silent_failure();
    assert!(ended.stdout.contains("module.wat: holds"), "{ended:?}");
    assert!(
        ended.stdout.contains("module.wat: DOES NOT HOLD"),
        "{ended:?}"
    );
}

#[test]
fn a_trusted_comment_cannot_move_the_cursor() {
    let (first, escape) = (signed("first.pub"), signed("escape.minisig"));
    let more = ["--trusted-key", &first, "--signature", &escape];
    for command in ["verify", "inspect"] {
        for json in [&[][..], &["--json"]] {
            let ended = Watm::run(&[&[command, &signed("module.wat")], &more[..], json].concat());
            ended.success();
            assert!(!ended.stdout.contains(['\u{1b}', '\u{202e}']), "{ended:?}");
            assert!(ended.stdout.contains("[31mb"), "{ended:?}");
        }
    }
}

#[test]
fn every_command_that_loads_a_module_demands_the_signature() {
    let copies = Copies::new();
    let (module, first) = (copies.text("module.wat"), signed("first.pub"));
    copies.append("module.wat", " ");
    let trusted = ["--trusted-key", &first, "--no-cache"];
    for line in [
        "inspect MODULE",
        "check MODULE",
        "demo MODULE",
        "bench MODULE --quick",
        "dial --module MODULE --remote 127.0.0.1:1",
        "dial-fixed --module MODULE --allow-all",
        "listen --module MODULE --listen 127.0.0.1:0",
        "relay --module MODULE --listen 127.0.0.1:0 --remote 127.0.0.1:1",
    ] {
        let line = line.split(' ');
        let args = line.map(|word| if word == "MODULE" { &module } else { word });
        let args: Vec<&str> = args.chain(trusted).collect();
        let ended = Watm::run(&args);
        ended.failure(&[
            "because of its signature",
            "module.wat.minisig",
            "has signed",
        ]);
        assert_eq!(ended.stdout, "", "{ended:?}");
    }
}

/// The signature that is named is that of the module, and the peer's is beside it.
#[test]
fn the_peer_of_a_check_needs_a_signature_of_its_own() {
    let copies = Copies::new();
    copies.append("module.wat", " ");
    let (first, older) = (signed("first.pub"), signed("older.minisig"));
    let ended = Watm::run(&[
        "check",
        &signed("module.wat"),
        "--trusted-key",
        &first,
        "--signature",
        &older,
        "--peer",
        &copies.text("module.wat"),
    ]);
    ended.failure(&[&copies.text("module.wat.minisig"), "has signed"]);
}

#[test]
fn a_key_that_is_none_is_refused_with_what_a_key_is() {
    let module = signed("module.wat");
    verify(&module, &["--trusted-key", "RWQ"])
        .failure(&["cannot use the trusted key RWQ", "56 characters"]);
    let signature = signed("module.wat.minisig");
    verify(&module, &["--trusted-key", &signature]).failure(&["it is a signature"]);
}
