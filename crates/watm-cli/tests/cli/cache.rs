//! `watm cache`, and the commands that keep compiled modules.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::process::{Ended, Watm, built};

/// Sends a file through `module` and back, with the compiled module cached in `directory`.
fn demo(module: &str, directory: &Path, options: &[&str]) -> Ended {
    let directory = directory.to_str().expect("text");
    let mut args = vec!["demo", module, "--size", "100K", "--cache-dir", directory];
    args.extend(options);
    Watm::run(&args)
}

fn cache(directory: &Path, options: &[&str]) -> Ended {
    let mut args = vec!["cache", "--cache-dir", directory.to_str().expect("text")];
    args.extend(options);
    let ended = Watm::run(&args);
    ended.success();
    ended
}

/// A module that is so large that the command announces its compilation.
fn large(directory: &Path) -> String {
    let mut wasm = fs::read(built("plain")).expect("a module");
    // A custom section without a name: 0, its length in LEB128, the length of its name, bytes.
    wasm.extend([0, 0x81, 0x80, 0x20, 0]);
    wasm.extend(vec![0; 0x20 << 14]);
    let path = directory.join("large.wasm");
    fs::write(&path, wasm).expect("a file");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_module_is_compiled_at_its_first_use_and_kept_until_the_cache_is_cleared() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = directory.path().join("cache");
    let module = built("plain");
    for compiled in [true, false] {
        let ended = demo(&module, &kept, &["-v"]);
        ended.success();
        assert_eq!(ended.stderr.contains("compiled a module"), compiled);
    }
    let shown = cache(&kept, &[]).stdout;
    assert!(shown.contains("1 compiled module\n"), "{shown}");
    assert!(shown.contains(kept.to_str().expect("text")), "{shown}");
    let cleared = cache(&kept, &["--clear"]).stdout;
    assert!(
        cleared.starts_with("removed       1 compiled module, "),
        "{cleared}"
    );
    assert!(cache(&kept, &[]).stdout.contains("0 compiled modules"));
    assert!(
        demo(&module, &kept, &["-v"])
            .stderr
            .contains("compiled a module")
    );
}

#[test]
fn a_damaged_artifact_is_reported_and_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let module = built("plain");
    demo(&module, directory.path(), &[]).success();
    let artifact = fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "artifact")
        })
        .expect("an artifact");
    let mut bytes = fs::read(&artifact).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&artifact, bytes).expect("it is written");

    let ended = demo(&module, directory.path(), &[]);
    ended.success();
    assert!(ended.stderr.contains("it is damaged"), "{ended:?}");
    let ended = demo(&module, directory.path(), &[]);
    ended.success();
    assert_eq!(ended.stderr, "");
}

#[test]
fn compiling_a_large_module_is_announced_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let module = large(directory.path());
    let kept = directory.path().join("cache");
    let first = demo(&module, &kept, &[]);
    first.success();
    assert!(first.stderr.starts_with("watm: compiling "), "{first:?}");
    assert!(
        first.stderr.contains("later starts find it compiled"),
        "{first:?}"
    );
    let second = demo(&module, &kept, &[]);
    second.success();
    assert_eq!(second.stderr, "");
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let module = built("plain");
    for _ in 0..2 {
        let ended = Watm::run(&["demo", &module, "--size", "100K", "--no-cache", "-v"]);
        ended.success();
        assert!(ended.stderr.contains("compiled a module"), "{ended:?}");
    }
    let both = demo(&module, directory.path(), &["--no-cache"]);
    assert_eq!(both.code, Some(2), "one or the other: {both:?}");
}

#[test]
fn a_directory_that_others_can_write_is_refused_with_advice() {
    let directory = tempfile::tempdir().expect("a directory");
    let open_to_all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), open_to_all).expect("a mode");
    let ended = demo(&built("plain"), directory.path(), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("others can write to it"), "{ended:?}");
    assert!(ended.stderr.contains("--cache-dir"), "{ended:?}");
}
