//! `watm inspect`: text, JSON, and modules with problems.

use serde_json::{Value, json};

use crate::peers::sha256;
use crate::process::{Watm, built, wat};

fn hash_of(path: &str) -> String {
    let bytes = std::fs::read(path).expect("a file");
    let digits = sha256(&bytes).map(|byte| format!("{byte:02x}"));
    digits.concat()
}

#[test]
fn the_text_shows_what_a_module_is() {
    let module = built("plain");
    let ended = Watm::run(&["inspect", &module]);
    ended.success();
    let line = |label: &str| {
        let line = ended.stdout.lines().find(|line| line.starts_with(label));
        line.unwrap_or_else(|| panic!("{label}: {ended:?}"))
            .to_owned()
    };
    assert!(line("sha256").ends_with(&hash_of(&module)));
    let size = std::fs::metadata(&module).expect("a file").len();
    assert!(line("size").contains(&format!("{size} bytes")));
    assert!(line("roles").ends_with("dialer, fixed-dialer, listener, relay"));
    assert!(line("memory").contains("2 pages (128 KiB)"));
    assert!(line("interface").ends_with("WATM v1"));
    assert!(line("problems").ends_with("none"));
    let item = |name: &str, signature: &str| {
        let found = ended.stdout.lines().any(|line| {
            line.split_once("  ").is_some_and(|(_, line)| {
                line.starts_with(name) && line.ends_with(&format!(" {signature}"))
            })
        });
        assert!(found, "{name}: {ended:?}");
    };
    item("env.water_dial", "(i32, i32, i32, i32) -> i32");
    item("watm_dial_v1", "(i32) -> i32");
    item("watm_start_v1", "() -> i32");
}

#[test]
fn the_json_is_one_object_with_stable_fields() {
    let module = built("fixed");
    let ended = Watm::run(&["inspect", &module, "--json"]);
    ended.success();
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let fields: Vec<&str> = report
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "format",
        "file",
        "name",
        "size",
        "sha256",
        "signature",
        "ok",
        "interface",
        "roles",
        "memory",
        "extensions",
        "producers",
        "imports",
        "exports",
        "problems",
    ];
    expected.sort_unstable();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(report["format"], 1);
    assert_eq!(report["file"], json!(module));
    assert_eq!(report["sha256"], json!(hash_of(&module)));
    assert_eq!(report["ok"], true);
    assert_eq!(report["interface"], "watm-v1");
    assert_eq!(report["roles"], json!(["fixed-dialer"]));
    assert_eq!(report["problems"], json!([]));
    assert_eq!(report["memory"]["min_pages"], 2);
    let water_dial = json!({
        "module": "env",
        "name": "water_dial",
        "kind": "function",
        "params": ["i32", "i32", "i32", "i32"],
        "results": ["i32"],
    });
    let imports = report["imports"].as_array().expect("an array");
    assert!(imports.contains(&water_dial), "{imports:?}");
    let exports = report["exports"].as_array().expect("an array");
    let memory = exports.iter().find(|export| export["name"] == "memory");
    let memory = memory.expect("a memory");
    assert_eq!(memory["kind"], "memory");
    assert_eq!(memory["shared"], false);
}

#[test]
fn the_toolchain_is_shown_when_the_module_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("made.wat");
    let plain = std::fs::read_to_string(wat("unreachable_start")).expect("a module");
    let producers = r#"(module $made (@producers (language "C" "11") (processed-by "clang" "18"))"#;
    std::fs::write(&path, plain.replacen("(module", producers, 1)).expect("written");
    let path = path.to_str().expect("UTF-8");

    let text = Watm::run(&["inspect", path]);
    text.success();
    assert!(
        text.stdout.contains("toolchain   processed-by clang 18\n"),
        "{text:?}"
    );
    let json = Watm::run(&["inspect", path, "--json"]);
    json.success();
    let report: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(report["name"], "made");
    let expected = json!([
        {"field": "language", "name": "C", "version": "11"},
        {"field": "processed-by", "name": "clang", "version": "18"},
    ]);
    assert_eq!(report["producers"], expected);
}

#[test]
fn an_extension_that_the_module_takes_is_shown_and_why_it_cannot_have_it() {
    let module = built("aead");
    let text = Watm::run(&["inspect", &module]);
    text.success();
    let line = "extension   watm_ext_aead_v1 (the host encrypts for the module)\n";
    assert!(text.stdout.contains(line), "{text:?}");
    let extensions = |file: &str| -> Value {
        let json = Watm::run(&["inspect", file, "--json"]);
        json.success();
        let report: Value = serde_json::from_str(&json.stdout).expect("JSON");
        report["extensions"].clone()
    };
    assert_eq!(
        extensions(&module),
        json!([{"name": "watm_ext_aead_v1", "hindrance": null}])
    );
    assert_eq!(extensions(&built("plain")), json!([]));

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("unlinked.wat");
    let plain = std::fs::read_to_string(wat("no_wasi")).expect("a module");
    let export = r#"(func (export "watm_ext_aead_v1") (param i32 i32) (result i32) (i32.const 0))"#;
    let end = plain.rfind(')').expect("its end");
    std::fs::write(&path, format!("{}{export})", &plain[..end])).expect("written");
    let path = path.to_str().expect("UTF-8");
    let text = Watm::run(&["inspect", path]);
    text.success();
    assert!(text.stdout.contains("--export-table"), "{text:?}");
    let hindrance = &extensions(path)[0]["hindrance"];
    assert!(
        hindrance.to_string().contains("--export-table"),
        "{hindrance}"
    );
}

#[test]
fn problems_are_listed_and_make_the_command_fail() {
    for (module, problem) in [
        ("v0", "WATM v0"),
        ("draft_v1", "draft"),
        ("no_role", "no role"),
        ("missing_export", "watm_ctrlpipe_v1"),
        ("wrong_signature", "() -> i64"),
        ("wrong_import", "water_dial"),
    ] {
        let text = Watm::run(&["inspect", &wat(module)]);
        text.silent_failure();
        assert!(text.stdout.contains(problem), "{module}: {text:?}");

        let ended = Watm::run(&["inspect", &wat(module), "--json"]);
        ended.silent_failure();
        let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert_eq!(report["ok"], false);
        assert_eq!(report["interface"], Value::Null);
        let problems = report["problems"].to_string();
        assert!(problems.contains(problem), "{module}: {problems}");
    }
}

#[test]
fn an_invalid_function_is_a_problem_though_all_declarations_are_right() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("invalid.wat");
    let valid = std::fs::read_to_string(wat("unreachable_start")).expect("a module");
    let invalid = valid.replace("(unreachable)", "(i64.const 1)");
    assert_ne!(valid, invalid);
    std::fs::write(&path, invalid).expect("written");
    let ended = Watm::run(&["inspect", path.to_str().expect("UTF-8")]);
    ended.silent_failure();
    assert!(ended.stdout.contains("problems    1"), "{ended:?}");
    assert!(ended.stdout.contains("interface   WATM v1"), "{ended:?}");
}

#[test]
fn another_hash_than_the_expected_is_a_problem() {
    let module = built("plain");
    let good = Watm::run(&["inspect", &module, "--sha256", &hash_of(&module)]);
    good.success();
    let bad = Watm::run(&["inspect", &module, "--sha256", &"0".repeat(64)]);
    bad.silent_failure();
    assert!(bad.stdout.contains(&"0".repeat(64)), "{bad:?}");
}

#[test]
fn what_is_no_module_is_an_error_without_output() {
    let ended = Watm::run(&["inspect", file!()]);
    let ended = if ended.stderr.contains("could not be read") {
        // The tests run in the directory of the crate, the path may be that of the workspace.
        Watm::run(&[
            "inspect",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
    } else {
        ended
    };
    ended.failure(&["this is not a WebAssembly module"]);
    assert_eq!(ended.stdout, "");
    let pointer = tempfile::NamedTempFile::new().expect("a file");
    let text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    std::fs::write(pointer.path(), text).expect("written");
    let ended = Watm::run(&["inspect", pointer.path().to_str().expect("UTF-8")]);
    ended.failure(&["this is not a WebAssembly module: it is a Git LFS pointer"]);
}
