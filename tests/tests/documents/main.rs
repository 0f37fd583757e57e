//! The documents say what is there: links lead somewhere, the book has every chapter, and each
//! error of the runtime and of the command is explained.
//!
//! These tests read files, and run nothing.

mod links;
mod messages;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository")
}

/// The text of a file of the repository.
#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files with this extension below a directory, in order. What builds leave is left out, and
/// links are not followed.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("a type");
            let name = entry.file_name();
            if kind.is_dir() && name != "target" && name != ".git" && name != "node_modules" {
                left.push(entry.path());
            } else if kind.is_file() && entry.path().extension() == Some(extension.as_ref()) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
