//! `watm new`: makes a project for an author of a module, with all that it needs.
//!
//! The project appears as a whole or not at all: it is written aside, and then moved.

mod files;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::args::{Language, NewArgs, ProjectName};
use crate::terminal::escape::printable;
use crate::terminal::failure::Failure;
use crate::terminal::output::print;

pub(crate) fn run(args: &NewArgs) -> Result<(), Failure> {
    let directory = args
        .path
        .clone()
        .unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    make(&directory, args.lang, &args.name)?;
    let shown = printable(&directory.display().to_string());
    print(&format!(
        "{:<13} {shown}, a transport in {}\n{:<13} in this directory: {}, then watm build\n{:<13} \
         README.md has all steps\n",
        "made",
        args.lang,
        "next",
        test_command(args.lang),
        ""
    ))
}

/// How an author runs the test of a project.
fn test_command(language: Language) -> &'static str {
    match language {
        Language::Rust => "cargo test",
        Language::C => "./test",
        Language::Go => "go test",
    }
}

/// Makes the directory with the project in it. If the directory exists, it must be empty.
fn make(directory: &Path, language: Language, name: &ProjectName) -> Result<(), Failure> {
    let exists = is_empty_directory(directory)?;
    // In the same file system as the result, so that moving cannot fail for its size.
    let aside = if exists {
        directory
    } else {
        match directory.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    };
    let staging = tempfile::Builder::new()
        .prefix(".watm-new-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(aside)
        .map_err(|error| {
            let failure = cannot_make(directory, error);
            if aside.is_dir() {
                failure
            } else {
                let aside = printable(&aside.display().to_string());
                failure.hint(format!("make the directory {aside} first"))
            }
        })?;
    files::write(staging.path(), language, name)
        .and_then(|()| {
            if exists {
                move_into(&staging, directory)
            } else {
                // An empty directory that has just come into being would be replaced, and any other
                // is an error.
                fs::rename(staging.path(), directory)
            }
        })
        .map_err(|error| cannot_make(directory, error))
}

/// Whether there is a directory already, which must be empty.
fn is_empty_directory(directory: &Path) -> Result<bool, Failure> {
    let refused = |what: &str| {
        let failure = Failure::new(format!("{} {what}", directory.display()));
        Err(failure.hint("choose another NAME, or another directory with --path"))
    };
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(true),
            Some(_) => refused("exists and is not empty"),
        },
        // This is also what a dangling link is said to be.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match fs::symlink_metadata(directory) {
                Ok(_) => refused("is a link to nothing"),
                Err(_) => Ok(false),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && directory.exists() => {
            refused("exists and is not a directory")
        }
        Err(error) => Err(cannot_make(directory, error)),
    }
}

/// Moves all that was written into a directory that exists. What was moved is taken back if the rest
/// cannot be.
fn move_into(staging: &TempDir, directory: &Path) -> io::Result<()> {
    let mut moved = Vec::new();
    for entry in fs::read_dir(staging.path())? {
        let entry = entry?;
        let target = directory.join(entry.file_name());
        if let Err(error) = fs::rename(entry.path(), &target) {
            for (from, to) in moved {
                // They leave with the directory that they came from.
                let _ = fs::rename(to, from);
            }
            return Err(error);
        }
        moved.push((entry.path(), target));
    }
    Ok(())
}

fn cannot_make(directory: &Path, error: io::Error) -> Failure {
    let message = format!("cannot make the project {}", directory.display());
    Failure::because(message, error)
}

#[cfg(test)]
mod tests;
