//! `watm verify`: what vouches for modules and manifests, as text for people or as JSON for
//! programs. Nothing is parsed before it was verified, and nothing is run.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use watm_abi::Excerpt;
use watm_wasmer::{
    LoadError, Manifest, ManifestModule, ModuleHash, ModuleInfo, ModuleLoader, TrustedKey,
};

use crate::args::VerifyArgs;
use crate::inspect::{Signature, role_name};
use crate::setup;
use crate::terminal::bytes::count;
use crate::terminal::escape::printable;
use crate::terminal::failure::{Failure, chain};
use crate::terminal::output;

/// The version of the JSON format. It changes only if programs that read the old one would be
/// misled.
const FORMAT: u32 = 1;

const UNVERIFIED: &str = "nothing vouches for this file: give the key of whoever made it with \
    --trusted-key, or its hash with --sha256; to sign a file, run `minisign -Sm FILE`";
const UNVERIFIED_MANIFEST: &str = "nothing vouches for this manifest: give the key of whoever made \
    it with --trusted-key, or its hash with --sha256, or take it at its word with \
    --trust-manifest; to sign it, run `minisign -Sm FILE`";

pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let keys = setup::trusted_keys(&args.trust)?;
    let verify = |path| FileReport::of(path, args, &keys);
    let files: Vec<FileReport> = args.files.iter().map(|path| verify(path)).collect();
    let report = Report {
        format: FORMAT,
        ok: files.iter().all(|file| file.ok),
        files,
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::write(|out| report.files.iter().try_for_each(|file| file.write(out)))?;
    }
    if report.ok {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// Everything that is shown. The JSON format has these fields; `watm verify --help` documents them.
#[derive(Serialize)]
struct Report {
    format: u32,
    ok: bool,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    kind: Option<&'static str>,
    ok: bool,
    #[serde(flatten)]
    facts: Facts,
    modules: Vec<ModuleReport>,
    problems: Vec<String>,
}

/// A module that a manifest names.
#[derive(Serialize)]
struct ModuleReport {
    name: String,
    file: String,
    ok: bool,
    #[serde(flatten)]
    facts: Facts,
    config: Option<Config>,
    problems: Vec<String>,
}

/// What was found of a file.
#[derive(Default, Serialize)]
struct Facts {
    size: Option<u64>,
    sha256: Option<String>,
    pinned: bool,
    signature: Option<Signature>,
    roles: Vec<&'static str>,
}

#[derive(Serialize)]
struct Config {
    file: String,
    pinned: bool,
}

impl FileReport {
    fn of(path: &Path, args: &VerifyArgs, keys: &[TrustedKey]) -> Self {
        let mut report = Self {
            file: path.display().to_string(),
            kind: None,
            ok: false,
            facts: Facts::default(),
            modules: Vec::new(),
            problems: Vec::new(),
        };
        let loader = ModuleLoader::new().max_size(args.max_module_size);
        match loader.read_file(path) {
            Ok(bytes) => report.examine(path, &bytes, args, keys, loader),
            Err(error) => report.problems.push(chain(&error)),
        }
        report.ok = report.problems.is_empty() && report.modules.iter().all(|module| module.ok);
        report
    }

    fn examine(
        &mut self,
        path: &Path,
        bytes: &[u8],
        args: &VerifyArgs,
        keys: &[TrustedKey],
        loader: ModuleLoader,
    ) {
        let hash = ModuleHash::of(bytes);
        self.facts.size = Some(bytes.len() as u64);
        self.facts.sha256 = Some(hash.to_string());
        let is_manifest = is_manifest(path, bytes);
        if !keys.is_empty() {
            match setup::demanding(loader.clone(), path, &args.trust, keys).verify(bytes) {
                Ok(info) => self.facts.signature = info.as_ref().map(Signature::from),
                Err(error) => self.problems.push(problem_of(&error)),
            }
        }
        match args.sha256 {
            Some(expected) if expected != hash => {
                self.problems
                    .push(format!("its SHA-256 is not the expected {expected}"));
            }
            Some(_) => self.facts.pinned = true,
            None if !keys.is_empty() || is_manifest && args.trust_manifest => {}
            None if is_manifest => self.problems.push(UNVERIFIED_MANIFEST.to_owned()),
            None => self.problems.push(UNVERIFIED.to_owned()),
        }
        if !self.problems.is_empty() {
            return;
        }
        if is_manifest {
            self.kind = Some("manifest");
            match Manifest::parse(bytes, path) {
                Ok(manifest) => self.add_modules(&manifest.loader(loader)),
                Err(error) => self.problems.push(chain(&error)),
            }
            return;
        }
        self.kind = Some("module");
        match ModuleInfo::parse(bytes) {
            Ok(info) => {
                self.facts.roles = info.roles().iter().map(role_name).collect();
                let problems = info.problems().iter();
                self.problems.extend(problems.map(|problem| chain(problem)));
            }
            Err(error) => self.problems.push(chain(&error)),
        }
    }

    fn add_modules(&mut self, manifest: &Manifest) {
        let modules = manifest.modules().iter();
        self.modules = modules
            .map(|module| ModuleReport::of(manifest, module))
            .collect();
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {}", printable(&self.file), verdict(self.ok))?;
        self.facts.write(out, "  ")?;
        write_problems(out, "  ", &self.problems)?;
        self.modules.iter().try_for_each(|module| module.write(out))
    }
}

impl ModuleReport {
    fn of(manifest: &Manifest, module: &ManifestModule) -> Self {
        let mut report = Self {
            name: module.name().to_owned(),
            file: module.file().display().to_string(),
            ok: false,
            facts: Facts::default(),
            config: module.config().map(|file| Config {
                file: file.display().to_string(),
                pinned: module.config_sha256().is_some(),
            }),
            problems: Vec::new(),
        };
        match manifest.verify(module.name()) {
            Ok(verified) => {
                let problems = verified.info.problems().iter();
                report
                    .problems
                    .extend(problems.map(|problem| chain(problem)));
                report.facts = Facts {
                    size: Some(verified.info.size()),
                    sha256: Some(verified.info.sha256().to_string()),
                    pinned: module.sha256().is_some(),
                    signature: verified.signature.as_ref().map(Signature::from),
                    roles: verified.info.roles().iter().map(role_name).collect(),
                };
            }
            Err(error) => report.problems.push(chain(&error)),
        }
        report.ok = report.problems.is_empty();
        report
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (name, file) = (printable(&self.name), printable(&self.file));
        writeln!(out, "  module {name}: {}", verdict(self.ok))?;
        line(out, "    ", "file", &file)?;
        self.facts.write(out, "    ")?;
        if let Some(config) = &self.config {
            let pinned = if config.pinned {
                "with the hash of the manifest"
            } else {
                "not verified, since the manifest has no hash of it"
            };
            line(
                out,
                "    ",
                "config",
                &format!("{} ({pinned})", config.file),
            )?;
        }
        write_problems(out, "    ", &self.problems)
    }
}

impl Facts {
    fn write(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        if let Some(size) = self.size {
            line(out, indent, "size", &count(size))?;
        }
        if let Some(hash) = &self.sha256 {
            let pinned = if self.pinned { " (as expected)" } else { "" };
            line(out, indent, "sha256", &format!("{hash}{pinned}"))?;
        }
        if let Some(signature) = &self.signature {
            line(out, indent, "signed by", &signature.key)?;
            let comment = Excerpt(&signature.trusted_comment).to_string();
            line(out, indent, "comment", &comment)?;
        }
        if !self.roles.is_empty() {
            line(out, indent, "roles", &self.roles.join(", "))?;
        }
        Ok(())
    }
}

fn verdict(ok: bool) -> &'static str {
    if ok { "holds" } else { "DOES NOT HOLD" }
}

fn line(out: &mut dyn Write, indent: &str, label: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{indent}{label:<10} {}", printable(value))
}

fn write_problems(out: &mut dyn Write, indent: &str, problems: &[String]) -> io::Result<()> {
    problems
        .iter()
        .try_for_each(|problem| line(out, indent, "problem", problem))
}

/// What is wrong with a signature. Nothing was to be loaded, so only the cause counts.
fn problem_of(error: &LoadError) -> String {
    match error {
        LoadError::Signature {
            path: Some(path),
            source,
        } => printable(&format!("{} ({})", chain(source), path.display())),
        error => chain(error),
    }
}

/// Whether a file is meant as a manifest: by its name, or by a line that manifests begin with.
fn is_manifest(path: &Path, bytes: &[u8]) -> bool {
    match path.extension().and_then(OsStr::to_str) {
        Some("toml") => true,
        Some("wasm" | "wat") => false,
        _ => std::str::from_utf8(bytes).is_ok_and(|text| {
            let mut lines = text.lines().map(str::trim_start);
            lines.any(|line| line.starts_with("[[module]]") || line.starts_with("trusted_keys"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_known_by_its_name_or_by_what_it_says() {
        let manifest = b"# mine\n [[module]]\nname = 'a'\n";
        for (name, bytes, expected) in [
            ("a.toml", &b""[..], true),
            ("a.wasm", manifest, false),
            ("modules", manifest, true),
            ("modules.old", b"trusted_keys = []", true),
            ("module", b"\0asm\x01\0\0\0", false),
            ("module", b"(module)", false),
            ("module", b"\xff\n[[module]]\n", false),
        ] {
            assert_eq!(is_manifest(Path::new(name), bytes), expected, "{name}");
        }
    }
}
