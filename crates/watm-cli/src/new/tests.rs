use std::os::unix::fs::symlink;

use super::*;

fn name() -> ProjectName {
    "x".parse().expect("a name")
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

fn message(failure: &Failure) -> String {
    format!("{failure:?}")
}

#[test]
fn an_empty_directory_is_filled_and_stays_the_same() {
    use std::os::unix::fs::MetadataExt;

    let directory = tempfile::tempdir().expect("a directory");
    let before = fs::metadata(directory.path()).expect("metadata").ino();
    make(directory.path(), Language::C, &name()).expect("a project");
    let after = fs::metadata(directory.path()).expect("metadata").ino();
    assert_eq!(before, after);
    let mut found = names(directory.path());
    found.sort();
    assert!(found.contains(&"x.c".to_owned()), "{found:?}");
    assert!(
        found.iter().all(|name| !name.contains("watm-new")),
        "{found:?}"
    );
}

#[test]
fn what_exists_is_not_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("file"), "mine").expect("written");
    symlink("nothing", directory.path().join("link")).expect("a link");
    for (path, reason) in [
        ("", "is not empty"),
        ("file", "is not a directory"),
        ("link", "is a link to nothing"),
        ("missing/x", "make the directory"),
        ("file/x", "cannot make the project"),
    ] {
        let failure = make(&directory.path().join(path), Language::Go, &name()).expect_err(path);
        assert!(message(&failure).contains(reason), "{path}: {failure:?}");
        let mut found = names(directory.path());
        found.sort();
        assert_eq!(found, ["file", "link"], "{path}");
    }
    let file = fs::read_to_string(directory.path().join("file"));
    assert_eq!(file.expect("a file"), "mine");
}

#[test]
fn what_cannot_be_moved_whole_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let staging = tempfile::tempdir_in(directory.path()).expect("a directory");
    for name in ["a", "b", "c"] {
        fs::write(staging.path().join(name), name).expect("written");
    }
    // A file does not take the place of a directory, so one move of the three fails.
    fs::create_dir_all(directory.path().join("b/taken")).expect("a directory");
    move_into(&staging, directory.path()).expect_err("a place is taken");
    drop(staging);
    assert_eq!(names(directory.path()), ["b"]);
}
