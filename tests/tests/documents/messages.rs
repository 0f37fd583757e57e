//! `docs/troubleshooting.md` explains each error: a section for each code, and each message as it
//! stands in the sources, where `..` stands for what is filled in.
//!
//! The sources are read as text. A message is a literal that is written, formatted or returned as
//! an error; one of one or two words is a part of another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{files, read, root};

/// The folders and files in which each literal that is formatted is a message.
const ERRORS: [&str; 3] = [
    "crates/watm-wasmer/src/error",
    "crates/watm-wasmer/src/error.rs",
    "crates/watm-abi/src/watm/interface_error.rs",
];
/// What a message stands behind in those.
const WRITTEN: [&str; 4] = ["write!(", "f.write_str(", "format!(", "#[error("];
/// What a message stands behind elsewhere.
const REPORTED: [&str; 6] = [
    "#[error(",
    "Failure::new(",
    "Failure::because(",
    "Self::because(",
    "log::warn!(",
    "log::error!(",
];
/// The sources of messages.
const SOURCES: [&str; 3] = [
    "crates/watm-abi/src",
    "crates/watm-wasmer/src",
    "crates/watm-cli/src",
];
/// Messages with fewer words are parts of others.
const WORDS: usize = 3;

/// The code of a source file, without comments and tests.
fn code(path: &Path) -> String {
    let text = read(path);
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
    let lines = code.lines();
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| format!("{line}\n")).collect()
}

/// The literal that a text begins with, as it is in the source.
fn literal(text: &str) -> Option<&str> {
    let text = text.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some(&text[..end])
}

/// A literal as it is shown, with `..` for what is filled in.
fn shown(literal: &str) -> String {
    let mut shown = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // The line goes on where the next one begins.
            '\\' if chars.peek() == Some(&'\n') => {
                while chars.peek().is_some_and(|c| c.is_whitespace()) {
                    chars.next();
                }
            }
            '\\' => shown.extend(chars.next()),
            '{' | '}' if chars.peek() == Some(&c) => shown.extend(chars.next()),
            '{' => {
                for c in chars.by_ref() {
                    if c == '}' {
                        break;
                    }
                }
                shown.push_str("..");
            }
            c => shown.push(c),
        }
    }
    shown.trim_end().to_owned()
}

/// The messages of a source file.
fn messages(path: &Path, root: &Path) -> Vec<String> {
    let is_of_errors = ERRORS
        .iter()
        .any(|errors| path.starts_with(root.join(errors)));
    let before: &[&str] = if is_of_errors { &WRITTEN } else { &REPORTED };
    let code = code(path);
    let mut found = Vec::new();
    for before in before {
        for (at, _) in code.match_indices(before) {
            let rest = code[at + before.len()..].trim_start();
            let rest = rest.strip_prefix("f,").unwrap_or(rest).trim_start();
            let rest = rest.strip_prefix("format!(").unwrap_or(rest);
            let message = literal(rest).map(shown).unwrap_or_default();
            // What begins with a blank or a comma goes on with what was written before.
            let is_whole = !message.starts_with([' ', ',', ';']);
            if is_whole && message.split_whitespace().count() >= WORDS {
                found.push(message);
            }
        }
    }
    found
}

/// The codes that a source file of errors has: the words of its `code` functions.
fn codes(path: &Path) -> BTreeSet<String> {
    let code = code(path);
    let words = code.split("=> ").skip(1).filter_map(literal);
    let is_code = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    words.filter(is_code).map(str::to_owned).collect()
}

fn document() -> String {
    read(&root().join("docs/troubleshooting.md"))
}

/// The messages that the document explains: the blocks of text, where a line that is indented goes
/// on with the one before.
fn explained(document: &str) -> BTreeSet<String> {
    let mut explained = Vec::<String>::new();
    let mut in_block = false;
    for line in document.lines() {
        match line {
            "```text" => in_block = true,
            "```" => in_block = false,
            line if in_block && line.starts_with(' ') => {
                let message = explained.last_mut().expect("a line before");
                message.push(' ');
                message.push_str(line.trim_start());
            }
            line if in_block => explained.push(line.to_owned()),
            _ => {}
        }
    }
    explained.into_iter().collect()
}

#[test]
fn every_message_is_explained_and_no_other() {
    let root = root();
    let mut told = BTreeMap::new();
    for source in SOURCES {
        for file in files(&root.join(source), "rs") {
            let name = file.strip_prefix(&root).expect("a path below the root");
            if name.file_name() == Some("tests.rs".as_ref()) {
                continue;
            }
            for message in messages(&file, &root) {
                told.entry(message).or_insert(name.to_owned());
            }
        }
    }
    assert!(told.len() > 100, "only {} messages were found", told.len());
    let explained = explained(&document());
    let missing: Vec<String> = told
        .iter()
        .filter(|(message, _)| !explained.contains(*message))
        .map(|(message, source)| format!("not explained ({}): {message}", source.display()))
        .collect();
    let gone = explained.iter().filter(|text| !told.contains_key(*text));
    let gone: Vec<String> = gone
        .map(|text| format!("no such message: {text}"))
        .collect();
    let problems = [missing, gone].concat().join("\n");
    assert_eq!(problems, "", "docs/troubleshooting.md:\n{problems}");
}

#[test]
fn every_code_has_a_section_and_no_other() {
    let directory = root().join("crates/watm-wasmer/src/error");
    let mut told = BTreeSet::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        told.extend(codes(&entry.expect("an entry").path()));
    }
    assert!(told.len() > 30, "only {told:?} were found");
    let document = document();
    let headings = document.lines().filter_map(|line| {
        let code = line.strip_prefix("### `")?.strip_suffix('`')?;
        code.chars()
            .all(|c| c.is_ascii_lowercase() || c == '-')
            .then(|| code.to_owned())
    });
    let explained: BTreeSet<String> = headings.collect();
    let missing: Vec<_> = told.difference(&explained).collect();
    let gone: Vec<_> = explained.difference(&told).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/troubleshooting.md lacks the codes {missing:?}, and has {gone:?}, which there are not"
    );
}

#[test]
fn a_message_is_read_as_it_is_shown() {
    let source = "\"the file {} is {{odd}}: {error:?}, \\\n     and \\\"quoted\\\"\", x)";
    let message = literal(source).map(shown);
    assert_eq!(
        message.as_deref(),
        Some("the file .. is {odd}: .., and \"quoted\"")
    );
}
