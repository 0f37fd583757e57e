//! `watm inspect`: shows what a module is, what it can do and what is wrong with it, as text for
//! people or as JSON for programs.

use std::io::{self, Write};
use std::path::Path;

use serde::{Serialize, Serializer};
use watm_abi::{Excerpt, ItemKind, Role, ValTypes, names};
use watm_wasmer::{HostAead, ModuleInfo, ModuleLoader, SignatureInfo};

use crate::args::{InspectArgs, LoadArgs};
use crate::setup;
use crate::terminal::bytes::count;
use crate::terminal::escape::printable;
use crate::terminal::failure::{Failure, chain};
use crate::terminal::output;

/// The version of the JSON format. It changes only if programs that read the old one would be
/// misled.
const FORMAT: u32 = 1;
const PAGE_KIB: u64 = 64;

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let loader = setup::loader(&args.module, &args.load)?;
    let bytes = loader.read_file(&args.module)?;
    let signature = setup::verify(&loader, &bytes)?;
    let info = ModuleInfo::parse(&bytes)?;
    let problems = problems(&loader, &info, &bytes, &args.load);
    let ok = problems.is_empty();

    let report = Report::new(&args.module, &info, signature.as_ref(), problems);
    if args.json {
        output::json(&report)?;
    } else {
        output::write(|out| report.write(out))?;
    }
    if ok { Ok(()) } else { Err(Failure::silent()) }
}

/// What is wrong with a module, as far as it shows without running it.
pub(crate) fn problems(
    loader: &ModuleLoader,
    info: &ModuleInfo,
    bytes: &[u8],
    args: &LoadArgs,
) -> Vec<String> {
    let mut problems: Vec<String> = info.problems().iter().map(|p| chain(p)).collect();
    if problems.is_empty()
        && let Err(error) = loader.load_bytes(bytes)
    {
        problems.push(chain(&error));
    } else if let Some(hash) = args.sha256
        && hash != info.sha256()
    {
        problems.push(format!("its SHA-256 is not the expected {hash}"));
    }
    problems
}

/// Everything that is shown. The JSON format has these fields; `watm inspect --help` documents
/// them.
#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    file: String,
    name: Option<&'a str>,
    size: u64,
    sha256: String,
    signature: Option<Signature>,
    ok: bool,
    interface: Option<&'static str>,
    roles: Vec<&'static str>,
    memory: Option<Memory>,
    extensions: Vec<Extension>,
    producers: Vec<Producer<'a>>,
    imports: Vec<Import<'a>>,
    exports: Vec<Export<'a>>,
    problems: Vec<String>,
}

/// A signature that holds.
#[derive(Serialize)]
pub(crate) struct Signature {
    pub(crate) key: String,
    pub(crate) trusted_comment: String,
}

impl From<&SignatureInfo> for Signature {
    fn from(info: &SignatureInfo) -> Self {
        Self {
            key: info.key_id().to_string(),
            trusted_comment: info.trusted_comment().to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Memory {
    min_pages: u64,
    max_pages: Option<u64>,
}

/// What the module takes of this runtime beyond WATM v1.
#[derive(Serialize)]
struct Extension {
    name: &'static str,
    /// Why it cannot have it.
    hindrance: Option<&'static str>,
}

#[derive(Serialize)]
struct Producer<'a> {
    field: &'a str,
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct Import<'a> {
    module: &'a str,
    name: &'a str,
    #[serde(flatten)]
    kind: Kind<'a>,
}

#[derive(Serialize)]
struct Export<'a> {
    name: &'a str,
    #[serde(flatten)]
    kind: Kind<'a>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind<'a> {
    Function {
        #[serde(serialize_with = "type_names")]
        params: &'a ValTypes,
        #[serde(serialize_with = "type_names")]
        results: &'a ValTypes,
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

#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "serde passes a field by reference"
)]
fn type_names<S: Serializer>(types: &&ValTypes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(types.iter().map(|ty| ty.name()))
}

fn extensions(info: &ModuleInfo) -> Vec<Extension> {
    let hindrance = match info.host_aead() {
        HostAead::Wanted => None,
        HostAead::Hindered(why) => Some(why),
        _ => return Vec::new(),
    };
    vec![Extension {
        name: names::EXT_AEAD,
        hindrance,
    }]
}

impl<'a> Report<'a> {
    fn new(
        file: &Path,
        info: &'a ModuleInfo,
        signature: Option<&SignatureInfo>,
        problems: Vec<String>,
    ) -> Self {
        let follows = info.problems().is_empty();
        let producers = info.producers().iter().map(|producer| Producer {
            field: &producer.field,
            name: &producer.name,
            version: &producer.version,
        });
        let imports = info.imports().iter().map(|import| Import {
            module: &import.module,
            name: &import.name,
            kind: Kind::from(&import.kind),
        });
        let exports = info.exports().iter().map(|export| Export {
            name: &export.name,
            kind: Kind::from(&export.kind),
        });
        Self {
            format: FORMAT,
            file: file.display().to_string(),
            name: info.name(),
            size: info.size(),
            sha256: info.sha256().to_string(),
            signature: signature.map(Signature::from),
            ok: problems.is_empty(),
            interface: follows.then_some("watm-v1"),
            roles: info.roles().iter().map(role_name).collect(),
            memory: info.memory().map(|memory| Memory {
                min_pages: memory.min_pages,
                max_pages: memory.max_pages,
            }),
            extensions: extensions(info),
            producers: producers.collect(),
            imports: imports.collect(),
            exports: exports.collect(),
            problems,
        }
    }

    /// Writes the text for people. Names from a module may contain any character.
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |label: &str, value: &str| writeln!(out, "{label:<11} {}", printable(value));
        line("file", &self.file)?;
        if let Some(name) = &self.name {
            line("name", &Excerpt(name).to_string())?;
        }
        line("size", &count(self.size))?;
        line("sha256", &self.sha256)?;
        if let Some(signature) = &self.signature {
            line("signed by", &signature.key)?;
            line("comment", &Excerpt(&signature.trusted_comment).to_string())?;
        }
        let interface = self.interface.map_or("not WATM v1", |_| "WATM v1");
        line("interface", interface)?;
        line("roles", &or_none(self.roles.join(", ")))?;
        line("memory", &self.memory_text())?;
        for Extension { name, hindrance } in &self.extensions {
            let state = match hindrance {
                None => "the host encrypts for the module".to_owned(),
                Some(why) => format!("not possible, since {why}"),
            };
            line("extension", &format!("{name} ({state})"))?;
        }
        for Producer {
            field,
            name,
            version,
        } in &self.producers
        {
            let value = [field, name, version].map(|text| Excerpt(text).to_string());
            line("toolchain", value.join(" ").trim_end())?;
        }
        let imports = self.imports.iter().map(|import| {
            let (module, name) = (Excerpt(import.module), Excerpt(import.name));
            (format!("{module}.{name}"), &import.kind)
        });
        list(out, "imports", imports)?;
        let exports = self
            .exports
            .iter()
            .map(|export| (Excerpt(export.name).to_string(), &export.kind));
        list(out, "exports", exports)?;
        if self.problems.is_empty() {
            return writeln!(out, "problems    none");
        }
        writeln!(out, "problems    {}", self.problems.len())?;
        for problem in &self.problems {
            writeln!(out, "  {problem}")?;
        }
        Ok(())
    }

    fn memory_text(&self) -> String {
        let Some(memory) = &self.memory else {
            return "none".to_owned();
        };
        let pages = |pages: u64| format!("{pages} pages ({} KiB)", pages.saturating_mul(PAGE_KIB));
        let max = memory.max_pages.map_or("no limit".to_owned(), |max| {
            format!("at most {}", pages(max))
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
fn list<'a>(
    out: &mut dyn Write,
    title: &str,
    items: impl ExactSizeIterator<Item = (String, &'a Kind<'a>)> + Clone,
) -> io::Result<()> {
    writeln!(out, "{title:<11} {}", items.len())?;
    let width = items.clone().map(|(name, _)| name.chars().count()).max();
    // A very long name must not push the others out of sight.
    let width = width.unwrap_or(0).min(48);
    for (name, kind) in items {
        writeln!(out, "  {name:<width$}  {}", kind.text())?;
    }
    Ok(())
}

/// The name of a role in commands and in JSON.
/// The name of a role in JSON and on the command line.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Dialer => "dialer",
        Role::FixedDialer => "fixed-dialer",
        Role::Listener => "listener",
        Role::Relay => "relay",
    }
}

impl Kind<'_> {
    fn text(&self) -> String {
        match self {
            Kind::Function { params, results } => match &***results {
                [one] => format!("{params} -> {one}"),
                _ => format!("{params} -> {results}"),
            },
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

impl<'a> From<&'a ItemKind> for Kind<'a> {
    fn from(kind: &'a ItemKind) -> Self {
        match kind {
            ItemKind::Function(signature) => Kind::Function {
                params: &signature.params,
                results: &signature.results,
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
