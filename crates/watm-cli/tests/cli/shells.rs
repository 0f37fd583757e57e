//! `watm completions` and `watm man`: the scripts complete, and the pages are well-formed.
//!
//! Shells and formatters that a machine lacks are left out, except bash, which every one has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{Ended, Watm};

/// The commands that the help lists.
fn commands() -> BTreeSet<String> {
    let help = Watm::run(&["--help"]);
    help.success();
    let list = help.stdout.split("\nCommands:\n").nth(1).expect("a list");
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn script(shell: &str) -> Ended {
    let ended = Watm::run(&["completions", shell]);
    ended.success();
    assert_eq!(ended.stderr, "");
    ended
}

/// Runs a program, unless the machine lacks it, and returns what it prints.
#[track_caller]
fn output(program: &str, args: &[&str]) -> Option<String> {
    let run = Command::new(program)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(run) => {
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            let complaints = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{program}: {text}{complaints}");
            assert_eq!(complaints, "", "{program}");
            Some(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

/// What bash proposes for the last of these words.
#[track_caller]
fn proposed_by_bash(script: &Path, words: &[&str]) -> String {
    let last = words.len() - 1;
    let line = words.join("' '");
    let before = words[last - 1];
    let code = format!(
        "source '{}'; COMP_WORDS=('{line}'); COMP_CWORD={last}; \
         _watm watm '{}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words[last]
    );
    output("bash", &["--norc", "-c", &code]).expect("bash")
}

#[test]
fn bash_completes_commands_options_and_values() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("watm");
    fs::write(&file, script("bash").stdout).expect("a file");

    let proposed = proposed_by_bash(&file, &["watm", ""]);
    for command in commands() {
        assert!(proposed.lines().any(|line| line == command), "{proposed}");
    }
    assert_eq!(
        proposed_by_bash(&file, &["watm", "ins"]).trim(),
        "inspect",
        "a beginning"
    );
    let options = proposed_by_bash(&file, &["watm", "dial", "--re"]);
    assert_eq!(options.trim(), "--remote");
    let values = proposed_by_bash(&file, &["watm", "completions", ""]);
    for shell in ["bash", "fish", "zsh"] {
        assert!(values.contains(shell), "{values}");
    }
}

#[test]
fn options_that_the_help_does_not_show_are_not_proposed() {
    for shell in ["bash", "fish", "zsh"] {
        let script = script(shell).stdout;
        assert!(script.contains("quick"), "{shell}");
        assert!(!script.contains("glance"), "{shell}");
    }
}

#[test]
fn fish_completes_commands_and_options() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("watm.fish");
    fs::write(&file, script("fish").stdout).expect("a file");
    for (line, expected) in [
        ("watm ins", "inspect"),
        ("watm dial --remo", "--remote"),
        ("watm config ch", "check"),
        ("watm bench --only rel", "relay"),
    ] {
        let code = format!("source '{}'; complete -C '{line}'", file.display());
        let Some(text) = output("fish", &["--no-config", "-c", &code]) else {
            return;
        };
        assert!(
            text.lines().any(|line| line.starts_with(expected)),
            "{text}"
        );
    }
}

#[test]
fn zsh_takes_the_script() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("_watm"), script("zsh").stdout).expect("a file");
    let code = format!(
        "fpath=('{0}' $fpath); autoload -Uz compinit; compinit -u -d '{0}/dump'; \
         print -r -- $_comps[watm]; autoload +X _watm; print loaded",
        directory.path().display()
    );
    if let Some(text) = output("zsh", &["-f", "-c", &code]) {
        assert_eq!(text, "_watm\nloaded\n");
    }
}

#[test]
fn a_manual_has_a_page_for_each_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man/man1");
    let ended = Watm::run(&["man", pages.to_str().expect("a path in UTF-8")]);
    ended.success();

    let found: BTreeSet<String> = fs::read_dir(&pages)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a name in UTF-8"))
        .collect();
    assert!(ended.stdout.contains(&format!("{} pages", found.len())));
    assert!(found.contains("watm.1"));
    assert!(found.contains("watm-config-check.1"));
    for command in commands() {
        assert!(found.contains(&format!("watm-{command}.1")), "{command}");
    }
    for name in found {
        let path = pages.join(&name);
        let page = fs::read_to_string(&path).expect("a page");
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "\"EXIT STATUS\"",
        ] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{name}");
        }
        let path = path.to_str().expect("a path in UTF-8");
        // Fails on none of its warnings, but prints them.
        output("groff", &["-man", "-Tutf8", "-ww", "-z", path]);
        let lint = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning", path])
            .output();
        if let Ok(lint) = lint {
            let text = String::from_utf8_lossy(&lint.stderr).into_owned()
                + &String::from_utf8_lossy(&lint.stdout);
            // Pages are the same whenever they are made, so they have no date.
            let complaints = text.lines().filter(|line| !line.contains("missing date"));
            assert_eq!(complaints.collect::<Vec<_>>(), [""; 0], "{name}");
        }
    }
}

#[test]
fn pages_that_cannot_be_written_are_a_failure() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let ended = Watm::run(&["man", file.path().to_str().expect("a path in UTF-8")]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot write manual pages to"));
}

#[test]
fn an_unknown_shell_is_refused() {
    let ended = Watm::run(&["completions", "tcsh"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("possible values: bash, fish, zsh"));
}
