//! The examples of the library, each as a separate program, and the program in the README.
//!
//! `cargo test --workspace` builds them. `cargo test --test examples` alone runs the last build.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use watm_tests::{LONG, built, path_of, within};
use watm_wasmer::Listener;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<PathBuf> {
    // Those that need other crates have a package of their own.
    let directories = ["crates/watm-wasmer/examples", "examples"];
    let mut files: Vec<PathBuf> = directories
        .iter()
        .flat_map(|directory| fs::read_dir(root().join(directory)).expect("the examples"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// Runs an example, which must succeed without output on standard error. Returns its output.
#[track_caller]
fn run(name: &str, arguments: &[&str]) -> String {
    // The examples of all packages are in a directory beside that of the tests.
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("the directory of the build");
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "`cargo test --workspace` builds {}",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = within(LONG, move || command.output().expect("a process"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{errors}",
        output.status
    );
    assert_eq!(errors, "", "{name}");
    String::from_utf8(output.stdout).expect("text")
}

/// The output that an example's first lines promise.
fn promised(source: &str) -> Vec<&str> {
    source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .skip_while(|line| line.trim() != "```text")
        .skip(1)
        .take_while(|line| line.trim() != "```")
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect()
}

/// Whether a line is as promised. `[..]` stands for anything.
fn fits(promised: &str, line: &str) -> bool {
    let mut parts = promised.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[test]
fn every_example_prints_what_its_first_lines_promise() {
    let sources = sources();
    assert!(!sources.is_empty());
    for path in sources {
        let name = path.file_stem().expect("a name").to_str().expect("text");
        let source = read(&path);
        let promised = promised(&source);
        assert!(!promised.is_empty(), "{name} does not say what it prints");
        let output = run(name, &[]);
        let lines: Vec<&str> = output.lines().collect();
        let fits = lines.len() == promised.len()
            && promised
                .iter()
                .zip(&lines)
                .all(|(promised, line)| fits(promised, line));
        assert!(
            fits,
            "{name} prints\n{output}in place of\n{}",
            promised.join("\n")
        );
    }
}

#[test]
fn the_program_of_the_readme_delivers_everything_whenever_it_is_run() {
    let listener = Listener::builder(&built("xor"))
        .config(*b"a key that both ends have")
        .bind("127.0.0.1:0")
        .expect("a listener");
    let address = listener.local_addr().to_string();
    let module = path_of("xor");
    let module = module.to_str().expect("text");
    for round in 0..20 {
        // The test is slow to receive, and the program must wait for that.
        assert_eq!(run("readme", &[&address, module]), "");
        let mut conn = listener.accept().expect("a connection");
        let received = within(LONG, move || {
            let mut text = String::new();
            conn.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(received.expect("an end in order"), "hello", "round {round}");
    }
}

#[test]
fn the_program_of_the_readme_is_an_example() {
    let readme = read(&root().join("README.md"));
    let example = read(&root().join("crates/watm-wasmer/examples/readme.rs"));
    let example: Vec<&str> = example.lines().map(str::trim).collect();
    // The example takes the file and the address from its command line.
    let readme = readme
        .replace("\"transport.wasm\"", "file")
        .replace("\"192.0.2.1:443\"", "&address");
    let mut programs = 0;
    let mut lines = readme.lines();
    while lines.by_ref().any(|line| line == "```rust") {
        let program: Vec<&str> = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(str::trim)
            .collect();
        assert!(
            example
                .windows(program.len())
                .any(|window| window == program),
            "examples/readme.rs lacks this program of the README:\n{}",
            program.join("\n")
        );
        programs += 1;
    }
    assert!(programs > 0, "the README has no program");
}
