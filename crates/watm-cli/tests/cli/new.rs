//! `watm new`: what a project consists of, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::{Ended, Watm};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Runs `watm new` with these arguments in a directory.
#[track_caller]
fn new(directory: &Path, args: &[&str]) -> Ended {
    let directory = format!("--chdir={}", directory.display());
    let program = [&directory, env!("CARGO_BIN_EXE_watm"), "new"];
    let mut watm = Watm::start_as(
        "env",
        &[&program, args].concat(),
        std::process::Stdio::null(),
    );
    watm.end()
}

/// All files below a directory, by their relative paths.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let relative = path.strip_prefix(directory).expect("a path below it");
                let contents = fs::read(&path).expect("a file");
                found.insert(relative.to_owned(), contents);
            }
        }
    }
    found
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

#[test]
fn a_project_holds_the_whole_library_as_it_is_in_the_repository() {
    for (language, copy) in [("rust", "watm-guest"), ("c", "watm"), ("go", "watm")] {
        let directory = directory();
        let ended = new(directory.path(), &["mine", "--lang", language]);
        ended.success();
        assert!(ended.stdout.contains("mine"), "{ended:?}");
        assert!(ended.stdout.contains("watm build"), "{ended:?}");
        let mut copied = files(&directory.path().join("mine").join(copy));
        let mut original = files(&repository("guest").join(language));
        // Both check the library within the repository.
        for file in ["check", "public-api.txt"] {
            original.remove(Path::new(file));
        }
        if language == "rust" {
            let of = |files: &mut BTreeMap<PathBuf, Vec<u8>>| {
                let manifest = files.remove(Path::new("Cargo.toml")).expect("a manifest");
                String::from_utf8(manifest).expect("UTF-8")
            };
            same_manifest(&of(&mut original), &of(&mut copied));
        }
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| Vec::from_iter(files.keys().cloned());
        assert_eq!(names(&copied), names(&original));
        for (path, contents) in original {
            assert!(copied[&path] == contents, "{} differs", path.display());
        }
    }
}

/// A crate outside of a workspace says itself what its workspace said.
#[track_caller]
fn same_manifest(original: &str, copied: &str) {
    for line in original.lines() {
        let differs = line.contains("workspace") || line.starts_with('#') || line == "[lints]";
        let is_there = copied.lines().any(|other| other == line);
        assert!(differs || is_there, "{line:?} is missing in the copy");
    }
    let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(copied.lines().any(|line| line == version), "{copied}");
}

#[test]
fn a_project_bears_its_name() {
    let directory = directory();
    for (language, file, text) in [
        ("rust", "Cargo.toml", "name = \"my-own\""),
        ("c", "README.md", "(my-own.c)"),
        ("go", "go.mod", "module example.org/my-own"),
    ] {
        let path = directory.path().join(language);
        let path = path.to_str().expect("UTF-8");
        new(
            directory.path(),
            &["my-own", "--lang", language, "--path", path],
        )
        .success();
        let files = files(Path::new(path));
        let contents = String::from_utf8_lossy(&files[Path::new(file)]);
        assert!(contents.contains(text), "{contents}");
        let readme = String::from_utf8_lossy(&files[Path::new("README.md")]);
        assert!(
            readme.contains("watm check my-own.wasm --config key.txt"),
            "{readme}"
        );
    }
}

#[test]
fn the_default_is_rust_in_a_directory_of_the_name() {
    let directory = directory();
    new(directory.path(), &["mine"]).success();
    assert!(directory.path().join("mine/src/lib.rs").exists());
}

#[test]
fn a_directory_that_is_in_use_is_refused_and_left_as_it_is() {
    let directory = directory();
    fs::create_dir(directory.path().join("mine")).expect("a directory");
    fs::write(directory.path().join("mine/file"), "mine").expect("written");
    let ended = new(directory.path(), &["mine"]);
    ended.failure(&["mine exists and is not empty", "watm: hint: ", "--path"]);
    let ended = new(directory.path(), &["mine", "--path", "missing/mine"]);
    ended.failure(&["missing/mine", "make the directory missing first"]);
    let left = files(directory.path());
    assert_eq!(Vec::from_iter(left.keys()), [Path::new("mine/file")]);
    let entries = fs::read_dir(directory.path()).expect("a directory");
    assert_eq!(entries.count(), 1, "nothing is left behind");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let directory = directory();
    // Not even root can write there.
    let ended = new(directory.path(), &["mine", "--path", "/proc/self/mine"]);
    ended.failure(&["cannot make the project /proc/self/mine"]);
}
