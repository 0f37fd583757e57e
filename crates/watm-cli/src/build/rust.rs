//! Projects in Rust, built by cargo for `wasm32-wasip1`.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::output::Built;
use super::tools::{Tool, essence};
use super::{Project, last_name};
use crate::terminal::failure::Failure;

const TARGET: &str = "wasm32-wasip1";
const INSTALL_RUST: &str =
    "install Rust as https://rustup.rs says, then run: rustup target add wasm32-wasip1";

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
}

/// One line of what `cargo build` says. Of its messages, only artifacts have files.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let tools = &project.tools;
    let cargo = match tools.chosen("CARGO")? {
        Some(cargo) => cargo,
        None => tools
            .find("cargo")
            .ok_or_else(|| Failure::new("cargo is missing").hint(INSTALL_RUST))?,
    };
    let package = package(project, &cargo)?;
    let rustc = match tools.chosen("RUSTC")? {
        Some(rustc) => rustc,
        None => tools
            .find("rustc")
            .ok_or_else(|| Failure::new("rustc is missing").hint(INSTALL_RUST))?,
    };
    has_target(project, &rustc)?;
    let modules = compile(project, &cargo, &package)?;
    match &modules[..] {
        [file] => Ok(Built {
            name: package.name,
            file: file.clone(),
            _scratch: None,
        }),
        [] => Err(
            Failure::new(format!("the package {} makes no module", package.name))
                .hint("add to Cargo.toml: [lib] crate-type = [\"cdylib\"]"),
        ),
        several => {
            let names: Vec<String> = several.iter().map(|file| last_name(file)).collect();
            let message = format!("the package {} makes {}", package.name, names.join(", "));
            Err(Failure::new(message).hint("watm build takes packages that make one module"))
        }
    }
}

/// The package of the directory.
fn package(project: &Project, cargo: &Tool) -> Result<Package, Failure> {
    let manifest = project.directory.join("Cargo.toml");
    let mut command = cargo.command();
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(&project.directory);
    let output = cargo.ask(&mut command)?;
    if !output.status.success() {
        // Its warnings come again with the build.
        let _ = io::stderr().write_all(&output.stderr);
        return Err(cargo.has_failed(output.status));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::because("cannot understand what cargo metadata says", error))?;
    let mut packages = metadata.packages.into_iter();
    packages
        .find(|package| package.manifest_path == manifest)
        .ok_or_else(|| {
            Failure::new(format!("{} is not that of a package", manifest.display()))
                .hint("name the directory of one package of the workspace")
        })
}

/// Checks that the compiler has the standard library of the target.
fn has_target(project: &Project, rustc: &Tool) -> Result<(), Failure> {
    let mut command = rustc.command();
    command
        .args(["--print", "target-libdir", "--target", TARGET])
        // The directory may choose a toolchain.
        .current_dir(&project.directory);
    let output = rustc.ask(&mut command)?;
    if !output.status.success() {
        let message = format!(
            "{} does not know {TARGET}: {}",
            rustc.name(),
            essence(&output.stderr)
        );
        return Err(
            Failure::new(message).hint(format!("Rust 1.78 or later is needed: {INSTALL_RUST}"))
        );
    }
    let directory = String::from_utf8_lossy(&output.stdout);
    if Path::new(directory.trim()).is_dir() {
        return Ok(());
    }
    let failure = Failure::new(format!("{} lacks the target {TARGET}", rustc.name()));
    let has_rustup = project.tools.find("rustup").is_some();
    Err(failure.hint(if has_rustup {
        "run: rustup target add wasm32-wasip1"
    } else {
        "run: apt-get install libstd-rust-dev-wasm32 (Debian 13 and later), or use rustup and run: \
         rustup target add wasm32-wasip1"
    }))
}

/// Runs cargo, and returns the modules of the package that it has made.
fn compile(project: &Project, cargo: &Tool, package: &Package) -> Result<Vec<PathBuf>, Failure> {
    let mut command = cargo.command();
    command
        .args(["build", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .args((!project.debug).then_some("--release"))
        .current_dir(&project.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    log::info!("running {command:?}");
    let mut child = command.spawn().map_err(|error| cargo.cannot_run(error))?;
    let mut modules = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // Cargo writes one object in each line. What a wrapper of it may write in between is no
        // concern of this command.
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let Ok(message) = serde_json::from_slice::<Message>(&line) else {
                continue;
            };
            if message.package_id == package.id {
                let files = message.filenames.into_iter();
                modules.extend(files.filter(|file| file.extension().is_some_and(|e| e == "wasm")));
            }
        }
    }
    let status = child.wait().map_err(|error| cargo.cannot_run(error))?;
    if status.success() {
        Ok(modules)
    } else {
        Err(cargo.has_failed(status))
    }
}
