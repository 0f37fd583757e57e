//! Projects in C, built by clang with wasi-libc, or by Zig.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::output::{Built, scratch};
use super::tools::{Tool, Tools, essence};
use super::{Project, last_name};
use crate::terminal::failure::Failure;

/// Without it, the linker makes a command, which wants a `main`.
const REACTOR: &str = "-mexec-model=reactor";
/// Needs the headers, the C library, the linker and the helpers of the compiler: what a module may
/// need.
const PROBE: &str = "#include <stdlib.h>\n\
    __attribute__((export_name(\"probe\"))) void *probe(void) { return malloc(1); }\n";

/// A compiler that builds modules.
enum Compiler {
    Clang(Tool),
    Zig(Tool),
}

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let directory = &project.directory;
    let mut sources = sources(directory)?;
    let name = match &sources[..] {
        [] => {
            let message = format!("{} has no file *.c", directory.display());
            return Err(Failure::new(message).hint("name the directory of a project in C"));
        }
        [one] => one.file_stem().map_or_else(
            || last_name(directory),
            |stem| stem.to_string_lossy().into_owned(),
        ),
        _ => last_name(directory),
    };
    let library = directory.join("watm/watm.c");
    if library.is_file() {
        sources.push(library);
    }
    let scratch = scratch()?;
    let compiler = compiler(&project.tools, &scratch)?;
    let file = scratch.path().join("module.wasm");
    match &compiler {
        Compiler::Clang(clang) => with_clang(project, clang, &sources, &scratch, &file),
        Compiler::Zig(zig) => with_zig(project, zig, &sources, &file),
    }?;
    Ok(Built {
        name,
        file,
        _scratch: Some(scratch),
    })
}

/// The files `*.c` of a directory, in order.
pub(super) fn sources(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries
        .map_err(|error| Failure::because(format!("cannot read {}", directory.display()), error))?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let is_source = |path: &PathBuf| path.extension() == Some(OsStr::new("c")) && path.is_file();
    let mut sources: Vec<PathBuf> = paths.filter(is_source).collect();
    sources.sort();
    Ok(sources)
}

/// Compiles and links in two steps: clang runs the `wasm-opt` that it finds after a step that both
/// optimises and links, and a module should not depend on which one that is.
fn with_clang(
    project: &Project,
    clang: &Tool,
    sources: &[PathBuf],
    scratch: &TempDir,
    file: &Path,
) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let object = scratch.path().join(format!("{number}.o"));
        let mut command = clang.command();
        command
            .arg("--target=wasm32-wasi")
            .args(flags(project))
            .arg("-c")
            .arg(relative(project, source))
            .arg("-o")
            .arg(&object)
            .current_dir(&project.directory);
        clang.compile(&mut command)?;
        objects.push(object);
    }
    let mut command = clang.command();
    command
        // A stack that overflows then traps, instead of overwriting data.
        .args(["--target=wasm32-wasi", REACTOR, "-Wl,--stack-first"])
        .args((!project.debug).then_some("-Wl,--strip-all"))
        .args(&objects)
        .arg("-o")
        .arg(file)
        .current_dir(&project.directory);
    clang.compile(&mut command)
}

fn with_zig(
    project: &Project,
    zig: &Tool,
    sources: &[PathBuf],
    file: &Path,
) -> Result<(), Failure> {
    let mut command = zig.command();
    command
        .args(["-target", "wasm32-wasi", REACTOR])
        .args(flags(project))
        .args((!project.debug).then_some("-s"))
        .args(sources.iter().map(|source| relative(project, source)))
        .arg("-o")
        .arg(file)
        .current_dir(&project.directory);
    zig.compile(&mut command)
}

fn flags(project: &Project) -> [&'static str; 5] {
    let level = if project.debug { "-O0" } else { "-O2" };
    let symbols = if project.debug { "-g" } else { "-g0" };
    ["-std=gnu11", "-Wall", "-Iwatm", level, symbols]
}

/// A file of the project, as its messages name it.
fn relative<'a>(project: &Project, file: &'a Path) -> &'a Path {
    file.strip_prefix(&project.directory).unwrap_or(file)
}

/// The compiler that the user has chosen, or the first that can build a module.
fn compiler(tools: &Tools, scratch: &TempDir) -> Result<Compiler, Failure> {
    if let Some(chosen) = tools.chosen("CC")? {
        if ["zig", "ziglang", "python-zig"]
            .iter()
            .any(|name| chosen.is_called(name))
        {
            return Ok(Compiler::Zig(chosen));
        }
        return match probe(&chosen, scratch)? {
            None => Ok(Compiler::Clang(chosen)),
            Some(reason) => Err(Failure::new(format!(
                "{}, which CC names, cannot build for wasm32-wasi: {reason}",
                chosen.name()
            ))
            .hint("set CC to clang with wasi-libc or to `zig cc`, or unset it")),
        };
    }
    let mut unfit = None;
    let newest = tools.find("clang").map(|clang| (None, clang));
    let numbered = tools.numbered("clang-").into_iter();
    for (version, clang) in newest
        .into_iter()
        .chain(numbered.map(|(n, tool)| (Some(n), tool)))
    {
        let Some(reason) = probe(&clang, scratch)? else {
            return Ok(Compiler::Clang(clang));
        };
        log::info!("{} cannot build for wasm32-wasi: {reason}", clang.name());
        unfit.get_or_insert((version, clang.name(), reason));
    }
    if let Some(zig) = tools.find("zig") {
        return Ok(Compiler::Zig(zig.with(["cc"])));
    }
    if let Some(zig) = of_python(tools) {
        return Ok(Compiler::Zig(zig));
    }
    Err(match unfit {
        Some((version, name, reason)) => {
            let message = format!("{name} cannot build for wasm32-wasi: {reason}");
            Failure::new(message).hint(install(version))
        }
        None => {
            Failure::new("there is no compiler for C that builds modules: neither clang nor zig")
                .hint(install(None))
        }
    })
}

/// Why a compiler cannot build modules, if it cannot.
fn probe(clang: &Tool, scratch: &TempDir) -> Result<Option<String>, Failure> {
    let source = scratch.path().join("probe.c");
    fs::write(&source, PROBE)
        .map_err(|error| Failure::because("cannot write a temporary file", error))?;
    let mut command = clang.command();
    command
        .args(["--target=wasm32-wasi", REACTOR])
        .arg(&source)
        .arg("-o")
        .arg(scratch.path().join("probe.wasm"));
    let output = clang.ask(&mut command)?;
    Ok((!output.status.success()).then(|| essence(&output.stderr)))
}

/// Zig as the Python package `ziglang`.
fn of_python(tools: &Tools) -> Option<Tool> {
    let python = tools.find("python3")?;
    let output = python
        .ask(python.command().args(["-c", "import ziglang"]))
        .ok()?;
    let zig = python.with(["-m", "ziglang", "cc"]);
    output.status.success().then_some(zig)
}

/// How to install what is missing, for a clang of this version.
fn install(version: Option<u32>) -> String {
    let number = version.map_or_else(String::new, |version| format!("-{version}"));
    format!(
        "run: apt-get install clang{number} lld{number} wasi-libc libclang-rt{number}-dev-wasm32; \
         or, for Zig in a virtual environment of Python, run: pip install ziglang"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_to_install_are_those_of_the_version() {
        let any = install(None);
        let line = "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32;";
        assert!(any.contains(line), "{any}");
        let line = "apt-get install clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32;";
        let this = install(Some(14));
        assert!(this.contains(line), "{this}");
    }
}
