//! Links between documents, to files and to headings, and the contents of the book.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{files, read, root};

/// The links of a document with the lines that they are in. Code has none.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        let line = without_code(line);
        let mut rest = &line[..];
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            found.push((i + 1, target.to_owned()));
            rest = after;
        }
    }
    found
}

/// A line without its spans of code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The anchors that a document's headings get where repositories are shown: in lower case, with
/// dashes for spaces, and without other signs.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        let Some((marks, title)) = line.split_once(' ').filter(|_| !in_block) else {
            continue;
        };
        if marks.is_empty() || marks.len() > 6 || marks.chars().any(|mark| mark != '#') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = shown(title).to_lowercase().chars().filter(kept).collect();
        let anchor = anchor.trim().replace(' ', "-");
        let count = seen.entry(anchor.clone()).or_insert(0);
        anchors.insert(if *count == 0 {
            anchor
        } else {
            format!("{anchor}-{count}")
        });
        *count += 1;
    }
    anchors
}

/// The text of a heading, of whose links only the words are shown.
fn shown(title: &str) -> String {
    let mut shown = String::new();
    let mut rest = title;
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    shown + rest
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let root = root();
    let mut broken = Vec::new();
    let mut checked = 0;
    for document in files(&root, "md") {
        for (line, target) in links(&read(&document)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            if let Some(problem) = problem(&document, &target) {
                let document = document.strip_prefix(&root).expect("a path below the root");
                broken.push(format!(
                    "{}:{line}: {target}: {problem}",
                    document.display()
                ));
            }
        }
    }
    assert_eq!(broken, [""; 0], "{}", broken.join("\n"));
    assert!(checked > 100, "only {checked} links were found");
}

fn problem(document: &Path, target: &str) -> Option<&'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => document.to_owned(),
        path => document.parent().expect("a folder").join(path),
    };
    if !file.exists() {
        return Some("there is no such file");
    }
    if anchor.is_empty() || file.extension() != Some("md".as_ref()) {
        return None;
    }
    (!anchors(&read(&file)).contains(anchor)).then_some("there is no such heading")
}

#[test]
fn the_book_has_every_document() {
    let root = root();
    let docs = root.join("docs");
    let chapters: Vec<PathBuf> = links(&read(&docs.join("SUMMARY.md")))
        .iter()
        .map(|(_, path)| docs.join(path).canonicalize().expect("a chapter"))
        .collect();
    let unique: BTreeSet<_> = chapters.iter().collect();
    assert_eq!(unique.len(), chapters.len(), "a chapter is there twice");
    let missing: Vec<PathBuf> = files(&docs, "md")
        .into_iter()
        .filter(|file| !file.ends_with("SUMMARY.md") && !unique.contains(file))
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md lacks {missing:?}");
    assert!(unique.contains(&root.join("README.md")));
}

#[test]
fn links_and_headings_are_found_as_they_are_shown() {
    let text = "# A `b` of [c](d.md)\n\n## Twice\n[x](y.md#z) `[no](link)`\n## Twice\n\
                ```sh\n# no heading\n[no](link)\n```\n";
    assert_eq!(
        links(text),
        [(1, "d.md".to_owned()), (4, "y.md#z".to_owned())]
    );
    let found = anchors(text);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["a-b-of-c", "twice", "twice-1"]);
}
