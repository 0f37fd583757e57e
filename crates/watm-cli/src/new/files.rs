//! The files of a project: those of its language in `projects`, with the library for authors. The
//! build script puts them into the program.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use crate::args::{Language, ProjectName};

/// What a file with placeholders is called, in addition to its name. Names that cargo or Git would
/// understand are hidden from them by it, too.
const TEMPLATE: &str = ".in";
/// Stands for the name of the project in the names of files.
const NAME: &str = "NAME";

/// A file that is written into a project.
pub(super) struct File {
    path: &'static str,
    contents: &'static str,
    executable: bool,
}

include!(concat!(env!("OUT_DIR"), "/projects.rs"));

/// Writes all files of a project into a directory.
pub(super) fn write(directory: &Path, language: Language, name: &ProjectName) -> io::Result<()> {
    for file in of(language) {
        let path = directory.join(file.path(name));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if file.executable { 0o777 } else { 0o666 };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        options.open(path)?.write_all(file.text(name).as_bytes())?;
    }
    Ok(())
}

fn of(language: Language) -> &'static [File] {
    match language {
        Language::Rust => RUST,
        Language::C => C,
        Language::Go => GO,
    }
}

impl File {
    fn path(&self, name: &ProjectName) -> PathBuf {
        let path = self.path.strip_suffix(TEMPLATE).unwrap_or(self.path);
        let components = Path::new(path).components().map(|component| {
            let text = component.as_os_str().to_string_lossy();
            match (component, text.strip_prefix(NAME)) {
                (Component::Normal(_), Some(rest)) if rest.is_empty() || rest.starts_with('.') => {
                    PathBuf::from(format!("{name}{rest}"))
                }
                _ => PathBuf::from(component.as_os_str()),
            }
        });
        components.collect()
    }

    fn text(&self, name: &ProjectName) -> String {
        if !self.path.ends_with(TEMPLATE) {
            return self.contents.to_owned();
        }
        self.contents
            .replace("{{name}}", name.as_str())
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LANGUAGES: [Language; 3] = [Language::Rust, Language::C, Language::Go];

    #[test]
    fn every_project_has_what_an_author_needs() {
        let name: ProjectName = "my-transport".parse().expect("a name");
        for (language, own) in [
            (
                Language::Rust,
                ["Cargo.toml", "src/lib.rs", "watm-guest/LICENSE-MIT"],
            ),
            (Language::C, ["my-transport.c", "test", "watm/LICENSE-MIT"]),
            (Language::Go, ["go.mod", "main_test.go", "watm/LICENSE-MIT"]),
        ] {
            let files = of(language).iter();
            let paths: BTreeSet<PathBuf> = files.map(|file| file.path(&name)).collect();
            assert_eq!(paths.len(), of(language).len(), "no file is written twice");
            for path in own.iter().chain(&[".gitignore", "README.md", "key.txt"]) {
                assert!(paths.contains(Path::new(path)), "{path} of {language}");
            }
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        let name: ProjectName = "my-transport".parse().expect("a name");
        for file in LANGUAGES.into_iter().flat_map(of) {
            let text = file.text(&name);
            let is_left = text.contains("{{name}}") || text.contains("{{version}}");
            assert!(!is_left, "{}", file.path);
            assert!(!file.path(&name).to_string_lossy().contains(NAME));
        }
    }

    #[test]
    fn only_scripts_can_be_executed() {
        for file in LANGUAGES.into_iter().flat_map(of) {
            assert_eq!(
                file.executable,
                file.contents.starts_with("#!"),
                "{}",
                file.path
            );
        }
    }
}
