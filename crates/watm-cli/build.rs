//! Makes tables of the files in `projects`, which `watm new` writes. The libraries in there are links
//! to the folder `guest` of the repository; a package has the files themselves.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A file of each library: without it, the links were not followed.
const LIBRARIES: [(&str, &str); 3] = [
    ("rust", "watm-guest/src/lib.rs"),
    ("c", "watm/watm.c"),
    ("go", "watm/watm.go"),
];
/// Files of the libraries that are of use in their repository only.
const LEFT_OUT: [&str; 1] = ["check"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=projects");
    let variable = |name| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let projects = variable("CARGO_MANIFEST_DIR").join("projects");
    let mut tables = String::new();
    for (language, library) in LIBRARIES {
        let root = projects.join(language);
        if !root.join(library).is_file() {
            let message = format!("projects/{language}/{library} is missing");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let mut files = Vec::new();
        collect(&root, &mut files)?;
        files.sort();
        let name = language.to_uppercase();
        let _ = writeln!(tables, "pub(super) static {name}: &[File] = &[");
        for file in files {
            let path = file.strip_prefix(&root).map_err(io::Error::other)?;
            let executable = fs::metadata(&file)?.permissions().mode() & 0o111 != 0;
            let _ = writeln!(
                tables,
                "    File {{ path: {path:?}, contents: include_str!({file:?}), executable: {executable} }},"
            );
        }
        tables.push_str("];\n");
    }
    fs::write(variable("OUT_DIR").join("projects.rs"), tables)
}

/// Collects the files of a directory and of those below it. Links are followed.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            files.push(path);
        }
    }
    Ok(())
}
