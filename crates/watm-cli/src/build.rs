//! `watm build`: builds the module of a project and checks it as `watm inspect` does.
//!
//! Each language has a file here that knows its compiler. What a compiler says goes to the terminal.
//! The module takes its place only when it is complete.

mod c;
mod go;
mod output;
mod rust;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use watm_wasmer::ModuleInfo;

use self::tools::Tools;
use crate::args::{BuildArgs, Language, LoadArgs, of_options};
use crate::inspect;
use crate::setup;
use crate::terminal::bytes::count;
use crate::terminal::escape::printable;
use crate::terminal::failure::Failure;
use crate::terminal::output::print;

/// What a builder gets: the project, and how to build it.
struct Project {
    /// Absolute, and without links.
    directory: PathBuf,
    debug: bool,
    tools: Tools,
}

pub(crate) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let directory = directory(&args.directory)?;
    let language = match args.lang {
        Some(language) => language,
        None => recognise(&directory)?,
    };
    let project = Project {
        directory,
        debug: args.debug,
        tools: Tools::of_environment(),
    };
    log::info!("a project in {language}");
    let built = match language {
        Language::Rust => rust::build(&project),
        Language::C => c::build(&project),
        Language::Go => go::build(&project),
    }?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => {
            let file = format!("{}.wasm", built.name);
            match &args.directory {
                here if here == Path::new(".") => file.into(),
                directory => directory.join(file),
            }
        }
    };
    output::install(&built, &path)?;
    check(&path, args)
}

fn directory(given: &Path) -> Result<PathBuf, Failure> {
    let cannot = |error| {
        let message = format!("cannot read the project {}", given.display());
        Failure::because(message, error).hint("check the path of the project")
    };
    let directory = given.canonicalize().map_err(cannot)?;
    if directory.is_dir() {
        Ok(directory)
    } else {
        let message = format!("{} is not a directory", given.display());
        Err(Failure::new(message).hint("name the directory of the project"))
    }
}

/// The language that the files of a project tell.
fn recognise(directory: &Path) -> Result<Language, Failure> {
    let has = |file: &str| directory.join(file).is_file();
    match (has("Cargo.toml"), has("go.mod")) {
        (true, true) => Err(Failure::new(format!(
            "{} has a Cargo.toml and a go.mod",
            directory.display()
        ))
        .hint("choose the language with --lang")),
        (true, false) => Ok(Language::Rust),
        (false, true) => Ok(Language::Go),
        // A project of the others may have files in C, too.
        (false, false) if !c::sources(directory)?.is_empty() => Ok(Language::C),
        (false, false) => Err(Failure::new(format!(
            "{} has no Cargo.toml, no go.mod and no file *.c",
            directory.display()
        ))
        .hint("name the directory of a project, or make one with `watm new NAME`")),
    }
}

/// Checks the module, and says what it is.
fn check(path: &Path, args: &BuildArgs) -> Result<(), Failure> {
    let mut load: LoadArgs = of_options(Vec::new()).map_err(Failure::new)?;
    load.cache = args.cache.clone();
    load.no_cache = args.no_cache;
    let loader = setup::loader(path, &load)?;
    let bytes = loader.read_file(path)?;
    let info = ModuleInfo::parse(&bytes)?;
    let problems = inspect::problems(&loader, &info, &bytes, &load);
    let mut text = String::new();
    for (label, value) in [
        ("module", path.display().to_string()),
        ("size", count(info.size())),
        ("roles", info.roles().to_string()),
    ] {
        text.push_str(&format!("{label:<13} {}\n", printable(&value)));
    }
    print(&text)?;
    if problems.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the module is built, but hosts refuse it: {}",
        problems.join("; ")
    );
    Err(Failure::new(message).hint("`watm inspect` shows what the module offers and needs"))
}

/// The last part of a path, as the name of a module.
fn last_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || "module".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::because(format!("cannot read {}", path.display()), error))
}

#[cfg(test)]
mod tests;
