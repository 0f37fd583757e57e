//! A program of the suite: what it is run with, and the expected result.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::exceptions;

/// How much of a failed program's standard error is shown, in bytes.
const SHOWN: usize = 600;

/// A program of the suite.
pub(crate) struct Program {
    /// Its language and its name.
    pub(crate) name: String,
    path: PathBuf,
}

/// The manifest of a program: the file beside it with the extension `.json`.
#[derive(Default)]
struct Manifest {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    /// The directory to map to `/`.
    root: Option<String>,
    /// Directories to map to their own names, in earlier versions of the suite.
    dirs: Vec<String>,
    exit_code: i32,
    stdout: Option<String>,
}

/// The result of a program.
pub(crate) enum Verdict {
    Passed,
    Exception(&'static str),
    Failed(String),
}

impl Verdict {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Exception(_) => "exception",
            Self::Failed(_) => "FAILED",
        }
    }

    pub(crate) fn why(&self) -> String {
        match self {
            Self::Passed => String::new(),
            Self::Exception(reason) => format!(": {reason}"),
            Self::Failed(problem) => format!(": {problem}"),
        }
    }
}

impl Program {
    /// The programs for Preview 1 below a directory, sorted by name.
    pub(crate) fn all_below(dir: &Path) -> Result<Vec<Self>, String> {
        let mut programs = Vec::new();
        let mut left = vec![dir.to_owned()];
        while let Some(path) = left.pop() {
            let failed = |error| format!("{}: {error}", path.display());
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let (path, name) = (entry.path(), entry.file_name());
                let other = ["wasm32-wasip2", "wasm32-wasip3"].map(OsStr::new);
                if entry.file_type().map_err(failed)?.is_dir() && !other.contains(&&*name) {
                    left.push(path);
                } else if path.extension() == Some(OsStr::new("wasm")) {
                    let name = name_of(path.strip_prefix(dir).unwrap_or(&path));
                    programs.push(Self { name, path });
                }
            }
        }
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(programs)
    }

    /// Runs it and judges the result.
    pub(crate) fn judge(&self) -> Verdict {
        match (self.run(), exceptions::reason(&self.name)) {
            (Ok(()), None) => Verdict::Passed,
            (Ok(()), Some(_)) => Verdict::Failed("it is an exception, and passes".into()),
            (Err(_), Some(reason)) => Verdict::Exception(reason),
            (Err(problem), None) => Verdict::Failed(problem),
        }
    }

    fn run(&self) -> Result<(), String> {
        let manifest = Manifest::of(&self.path)?;
        // On a copy, so that each program finds the suite unchanged.
        let copies = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
        command.arg("--run").arg(&self.path);
        let dirs = manifest.dirs.iter().map(|dir| (dir, format!("/{dir}")));
        let root = manifest.root.iter().map(|root| (root, "/".to_owned()));
        for (dir, guest) in dirs.chain(root) {
            let copy = copies.path().join(dir);
            let from = self.path.with_file_name(dir);
            copy_all(&from, &copy).map_err(|error| format!("{}: {error}", from.display()))?;
            command.arg("--dir").arg(copy).arg(guest);
        }
        for (name, value) in &manifest.env {
            command.arg("--env").arg(name).arg(value);
        }
        for arg in &manifest.args {
            let absolute = if manifest.dirs.contains(arg) { "/" } else { "" };
            command.arg(format!("--arg={absolute}{arg}"));
        }
        let output = command.stdin(Stdio::null()).output();
        manifest.compare(&output.map_err(|error| error.to_string())?)
    }
}

/// The language and the name of a program, such as `rust/path_open_missing`.
fn name_of(path: &Path) -> String {
    let mut parts = path.iter().map(|part| part.to_string_lossy());
    let language = parts.find(|part| part != "tests").unwrap_or_default();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{language}/{name}")
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

impl Manifest {
    fn of(program: &Path) -> Result<Self, String> {
        let path = program.with_extension("json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Self::parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let read: serde_json::Value =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let fields = read.as_object().ok_or("it is no object")?;
        let mut manifest = Self::default();
        let texts = |value: &serde_json::Value| {
            let list = value.as_array().ok_or("a list is missing")?.iter();
            let texts = list.map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or("a text is missing")
        };
        for (name, value) in fields {
            let text = value.as_str().map(str::to_owned);
            match name.as_str() {
                "args" => manifest.args = texts(value)?,
                "dirs" => manifest.dirs = texts(value)?,
                "root" => manifest.root = text,
                "stdout" => manifest.stdout = text,
                "exit_code" => {
                    let code = value.as_i64().and_then(|code| i32::try_from(code).ok());
                    manifest.exit_code = code.ok_or("its exit code is no number")?;
                }
                "env" => {
                    for (name, value) in value.as_object().ok_or("`env` is no object")? {
                        let value = value.as_str().ok_or("a text is missing")?;
                        manifest.env.insert(name.clone(), value.to_owned());
                    }
                }
                other => return Err(format!("`{other}` is not known here")),
            }
        }
        Ok(manifest)
    }

    fn compare(&self, output: &Output) -> Result<(), String> {
        if output.status.code() != Some(self.exit_code) {
            let text = String::from_utf8_lossy(&output.stderr);
            let start = text.len().saturating_sub(SHOWN);
            let shown = text.get(start..).unwrap_or(&text).trim();
            return Err(format!(
                "expected exit code {}, found {}: {shown}",
                self.exit_code, output.status
            ));
        }
        match &self.stdout {
            Some(expected) if expected.as_bytes() != output.stdout => Err(format!(
                "expected the output {expected:?}, found {:?}",
                String::from_utf8_lossy(&output.stdout)
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_a_program_is_run_with() {
        let text = r#"{ "args": ["a", "b \"c\""], "env": { "k": "v\n" }, "root": "dir", "exit_code": 33 }"#;
        let manifest = Manifest::parse(text).expect("a manifest");
        assert_eq!(manifest.args, ["a", "b \"c\""]);
        assert_eq!(manifest.env["k"], "v\n");
        assert_eq!(manifest.root.as_deref(), Some("dir"));
        assert_eq!((manifest.exit_code, manifest.stdout), (33, None));
        assert_eq!(Manifest::parse("{}").expect("all by default").exit_code, 0);
        for bad in [
            "",
            "[]",
            r#"{ "args": 1 }"#,
            r#"{ "exit_code": "x" }"#,
            r#"{ "operations": [] }"#,
        ] {
            assert!(Manifest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_program_is_named_after_its_language() {
        let path = Path::new("tests/rust/testsuite/wasm32-wasip1/renumber.wasm");
        assert_eq!(name_of(path), "rust/renumber");
        assert_eq!(exceptions::reason("rust/renumber"), None);
        assert!(exceptions::reason("rust/path_link").is_some());
        assert!(exceptions::reason("c/path_link").is_none());
    }
}
