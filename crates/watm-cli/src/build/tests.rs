use super::*;

#[track_caller]
fn language_of(files: &[&str]) -> Result<Language, String> {
    let directory = tempfile::tempdir().expect("a directory");
    for file in files {
        fs::write(directory.path().join(file), "").expect("written");
    }
    recognise(directory.path()).map_err(|failure| format!("{failure:?}"))
}

#[test]
fn the_files_of_a_project_tell_its_language() {
    assert_eq!(language_of(&["Cargo.toml"]), Ok(Language::Rust));
    assert_eq!(language_of(&["go.mod"]), Ok(Language::Go));
    assert_eq!(language_of(&["x.c"]), Ok(Language::C));
    assert_eq!(language_of(&["Cargo.toml", "x.c"]), Ok(Language::Rust));
    assert_eq!(language_of(&["go.mod", "x.c"]), Ok(Language::Go));
}

#[test]
fn a_project_that_tells_no_language_or_two_is_refused() {
    let none = language_of(&["x.h", "c"]).expect_err("no language");
    assert!(none.contains("watm new NAME"), "{none}");
    let two = language_of(&["Cargo.toml", "go.mod"]).expect_err("two languages");
    assert!(two.contains("--lang"), "{two}");
}
