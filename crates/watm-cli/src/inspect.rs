//! `watm inspect`: what a module is, what it can do, and what is wrong with it; as text for
//! people or as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use watm_abi::{ItemKind, Role, Signature};
use watm_wasmer::ModuleInfo;

use crate::args::InspectArgs;
use crate::bytes::count;
use crate::failure::{Failure, chain, printable};
use crate::hex::hex;
use crate::{output, setup};

/// The version of the JSON form: a new one only if a program that reads the old would be misled.
const FORMAT: u32 = 1;
const PAGE_KIB: u64 = 64;

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let loader = setup::loader(&args.module, &args.load)?;
    let bytes = loader.read_file(&args.module)?;
    let info = ModuleInfo::parse(&bytes)?;
    let mut problems: Vec<String> = info.problems().iter().map(|p| chain(p)).collect();
    if problems.is_empty()
        && let Err(error) = loader.load_bytes(&bytes)
    {
        problems.push(chain(&error));
    } else if let Some(hash) = args.load.sha256
        && hash.0 != *info.sha256()
    {
        problems.push(format!("its SHA-256 is not the expected {}", hex(&hash.0)));
    }
    let ok = problems.is_empty();

    let report = Report::new(&args.module, &info, problems);
    let text = if args.json {
        output::json(&report)?
    } else {
        report.text()
    };
    output::print(&text)?;
    if ok { Ok(()) } else { Err(Failure::silent()) }
}

/// All that is shown. The JSON form is this, field by field; `watm inspect --help` documents it.
#[derive(Serialize)]
struct Report {
    format: u32,
    file: String,
    name: Option<String>,
    size: u64,
    sha256: String,
    ok: bool,
    interface: Option<&'static str>,
    roles: Vec<&'static str>,
    memory: Option<Memory>,
    producers: Vec<Producer>,
    imports: Vec<Import>,
    exports: Vec<Export>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Memory {
    min_pages: u64,
    max_pages: Option<u64>,
}

#[derive(Serialize)]
struct Producer {
    field: String,
    name: String,
    version: String,
}

#[derive(Serialize)]
struct Import {
    module: String,
    name: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Serialize)]
struct Export {
    name: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind {
    Function {
        params: Vec<&'static str>,
        results: Vec<&'static str>,
    },
    Memory {
        min_pages: u64,
        max_pages: Option<u64>,
        shared: bool,
        memory64: bool,
    },
    Table,
    Global,
    Tag,
}

impl Report {
    fn new(file: &Path, info: &ModuleInfo, problems: Vec<String>) -> Self {
        let follows = info.problems().is_empty();
        Self {
            format: FORMAT,
            file: file.display().to_string(),
            name: info.name().map(str::to_owned),
            size: info.size(),
            sha256: hex(info.sha256()),
            ok: problems.is_empty(),
            interface: follows.then_some("watm-v1"),
            roles: info.roles().iter().map(role).collect(),
            memory: info.memory().map(|memory| Memory {
                min_pages: memory.min_pages,
                max_pages: memory.max_pages,
            }),
            producers: info
                .producers()
                .iter()
                .map(|producer| Producer {
                    field: producer.field.clone(),
                    name: producer.name.clone(),
                    version: producer.version.clone(),
                })
                .collect(),
            imports: info
                .imports()
                .iter()
                .map(|import| Import {
                    module: import.module.clone(),
                    name: import.name.clone(),
                    kind: Kind::from(&import.kind),
                })
                .collect(),
            exports: info
                .exports()
                .iter()
                .map(|export| Export {
                    name: export.name.clone(),
                    kind: Kind::from(&export.kind),
                })
                .collect(),
            problems,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: &str| {
            // Writing to a string cannot fail. What modules call things may hold anything.
            let _ = writeln!(text, "{label:<11} {}", printable(value));
        };
        line("file", &self.file);
        if let Some(name) = &self.name {
            line("name", name);
        }
        line("size", &count(self.size));
        line("sha256", &self.sha256);
        line(
            "interface",
            self.interface.map_or("not WATM v1", |_| "WATM v1"),
        );
        line("roles", &or_none(self.roles.join(", ")));
        line("memory", &self.memory_text());
        for producer in &self.producers {
            let Producer {
                field,
                name,
                version,
            } = producer;
            let value = format!("{field} {name} {version}");
            line("toolchain", value.trim_end());
        }

        let imports: Vec<_> = self
            .imports
            .iter()
            .map(|import| {
                let name = format!("{}.{}", import.module, import.name);
                (printable(&name), import.kind.text())
            })
            .collect();
        let exports: Vec<_> = self
            .exports
            .iter()
            .map(|export| (printable(&export.name), export.kind.text()))
            .collect();
        list(&mut text, "imports", &imports);
        list(&mut text, "exports", &exports);
        if self.problems.is_empty() {
            text.push_str("problems    none\n");
        } else {
            let _ = writeln!(text, "problems    {}", self.problems.len());
            for problem in &self.problems {
                let _ = writeln!(text, "  {problem}");
            }
        }
        text
    }

    fn memory_text(&self) -> String {
        let Some(memory) = &self.memory else {
            return "none".to_owned();
        };
        let pages = |pages: u64| format!("{pages} pages ({} KiB)", pages.saturating_mul(PAGE_KIB));
        let max = memory.max_pages.map_or("no limit".to_owned(), |max| {
            format!("{} at most", pages(max))
        });
        format!("{} at the start, {max}", pages(memory.min_pages))
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

/// A titled list in two columns.
fn list(text: &mut String, title: &str, items: &[(String, String)]) {
    let _ = writeln!(text, "{title:<11} {}", items.len());
    let width = items.iter().map(|(name, _)| name.chars().count()).max();
    // One very long name does not push the others out of sight.
    let width = width.unwrap_or(0).min(48);
    for (name, kind) in items {
        let _ = writeln!(text, "  {name:<width$}  {kind}");
    }
}

/// The name of a role in commands and in JSON.
fn role(role: Role) -> &'static str {
    match role {
        Role::Dialer => "dialer",
        Role::FixedDialer => "fixed-dialer",
        Role::Listener => "listener",
        Role::Relay => "relay",
    }
}

impl Kind {
    fn text(&self) -> String {
        match self {
            Kind::Function { params, results } => {
                let results = match results.as_slice() {
                    [one] => (*one).to_owned(),
                    several => format!("({})", several.join(", ")),
                };
                format!("({}) -> {results}", params.join(", "))
            }
            Kind::Memory {
                shared, memory64, ..
            } => {
                let shared = if *shared { "shared " } else { "" };
                let wide = if *memory64 { "64-bit " } else { "" };
                format!("{shared}{wide}memory")
            }
            Kind::Table => "table".to_owned(),
            Kind::Global => "global".to_owned(),
            Kind::Tag => "tag".to_owned(),
        }
    }
}

impl From<&ItemKind> for Kind {
    fn from(kind: &ItemKind) -> Self {
        match kind {
            ItemKind::Function(Signature { params, results }) => Kind::Function {
                params: params.iter().map(|ty| ty.name()).collect(),
                results: results.iter().map(|ty| ty.name()).collect(),
            },
            ItemKind::Memory {
                min_pages,
                max_pages,
                shared,
                memory64,
            } => Kind::Memory {
                min_pages: *min_pages,
                max_pages: *max_pages,
                shared: *shared,
                memory64: *memory64,
            },
            ItemKind::Table => Kind::Table,
            ItemKind::Global => Kind::Global,
            ItemKind::Tag => Kind::Tag,
        }
    }
}
