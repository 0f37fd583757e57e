//! Transport modules: what a file contains, whether it follows the interface, and its compiled form.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmparser::{ElementItems, ExternalKind, Parser, Payload, TypeRef};
use watm_abi::{
    Entry, ExportDecl, ImportDecl, InterfaceError, ItemKind, ModuleKind, Role, Roles, Signature,
    ValType, check,
};

use crate::cache::ArtifactCache;
use crate::complexity;
use crate::engine::{self, Compiled};
use crate::error::LoadError;

/// Bytes of a module file at most, unless the loader says otherwise.
const DEFAULT_SIZE_LIMIT: u64 = 64 << 20;

/// Bytes of a module in the text format at most.
#[cfg(feature = "wat")]
const TEXT_SIZE_LIMIT: usize = 4 << 20;

/// Tables of a module at most; each is bounded by itself.
const TABLE_COUNT_LIMIT: usize = 8;
/// Functions of a module at most. Each takes a kilobyte and more while it is compiled.
const FUNCTION_COUNT_LIMIT: usize = 100_000;
/// Parameters and results of all functions together at most, and of all types, for each of which there
/// is code as well; local variables of all functions. They take time for each function also when
/// compiling is given up. A function with a thousand parameters takes 20 milliseconds for them.
const FUNCTION_VALUE_LIMIT: usize = 500_000;
const TYPE_VALUE_LIMIT: usize = 100_000;
const LOCAL_COUNT_LIMIT: usize = 5_000_000;
/// Of all else at most that takes memory for each instance, beside its linear memory.
const ITEM_COUNT_LIMIT: usize = 10_000;
/// Elements of all segments together at most, as many as a table may have.
const ELEMENT_COUNT_LIMIT: usize = engine::TABLE_LIMIT as usize;
/// Bytes of one function's code at most, however simple it is: at the worst, compiling as many takes
/// four seconds and a GiB.
const FUNCTION_SIZE_LIMIT: usize = 512 << 10;

/// The linear memory that a module declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Pages of 64 KiB at the start.
    pub min_pages: u64,
    /// Pages of 64 KiB at most, if the module sets a limit.
    pub max_pages: Option<u64>,
}

/// One entry of a module's `producers` section: what it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The field: `language`, `processed-by` or `sdk`.
    pub field: String,
    /// The name of the language or tool.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

/// What a module file contains, found without compiling or running anything of it.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    sha256: [u8; 32],
    size: u64,
    name: Option<String>,
    imports: Vec<ImportDecl>,
    exports: Vec<ExportDecl>,
    memory: Option<MemoryInfo>,
    counts: Counts,
    largest_function: usize,
    producers: Vec<Producer>,
    entry: Result<Entry, Vec<InterfaceError>>,
}

/// How many of each a module has.
#[derive(Clone, Debug, Default)]
struct Counts {
    types: usize,
    /// Parameters and results in all types.
    type_values: usize,
    tags: usize,
    tables: usize,
    functions: usize,
    /// Parameters and results of all functions that are not imported.
    function_values: usize,
    /// Local variables of all functions.
    locals: usize,
    imports: usize,
    exports: usize,
    globals: usize,
    data: usize,
    element_segments: usize,
    elements: usize,
}

impl ModuleInfo {
    /// Reads what the bytes of a module declare.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] if they are not a WebAssembly module. A module that does not
    /// follow the interface is no error here: see [`ModuleInfo::problems`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        Self::read(bytes, &to_binary(bytes)?)
    }

    /// Reads what a module declares, from its file and the binary form of that.
    fn read(file: &[u8], wasm: &[u8]) -> Result<Self, LoadError> {
        let mut info = Self {
            sha256: Sha256::digest(file).into(),
            size: file.len() as u64,
            name: None,
            imports: Vec::new(),
            exports: Vec::new(),
            memory: None,
            counts: Counts::default(),
            largest_function: 0,
            producers: Vec::new(),
            entry: Err(Vec::new()),
        };
        if Parser::is_component(wasm) {
            return Err(LoadError::Malformed(
                "it is a component; a transport module is a core module".into(),
            ));
        }
        info.read_sections(wasm)
            .map_err(|error| LoadError::Malformed(error.to_string()))?;
        info.entry = check(&info.imports, &info.exports);
        Ok(info)
    }

    /// The SHA-256 of the file.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The name that the module gives itself in its `name` section.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// All imports, in the module's order.
    pub fn imports(&self) -> &[ImportDecl] {
        &self.imports
    }

    /// All exports, in the module's order.
    pub fn exports(&self) -> &[ExportDecl] {
        &self.exports
    }

    /// The first linear memory, if there is one.
    pub fn memory(&self) -> Option<MemoryInfo> {
        self.memory
    }

    /// What the module was made with, as far as it says.
    pub fn producers(&self) -> &[Producer] {
        &self.producers
    }

    /// The roles that the module offers; none if it does not follow the interface.
    pub fn roles(&self) -> Roles {
        self.entry
            .as_ref()
            .map(|entry| entry.roles)
            .unwrap_or_default()
    }

    /// What keeps the module from being a WATM v1 module; empty if nothing does.
    pub fn problems(&self) -> &[InterfaceError] {
        self.entry.as_ref().err().map_or(&[], Vec::as_slice)
    }

    /// Whether compiling it and making an instance are bounded.
    fn check_complexity(&self) -> Result<(), LoadError> {
        let too_complex = |what: String| Err(LoadError::TooComplex(what));
        let counts = &self.counts;
        for (count, what, limit) in [
            (counts.types, "types", ITEM_COUNT_LIMIT),
            (
                counts.type_values,
                "parameters and results in its types",
                TYPE_VALUE_LIMIT,
            ),
            (counts.tags, "tags", ITEM_COUNT_LIMIT),
            (counts.tables, "tables", TABLE_COUNT_LIMIT),
            (counts.functions, "functions", FUNCTION_COUNT_LIMIT),
            (
                counts.function_values,
                "parameters and results of functions",
                FUNCTION_VALUE_LIMIT,
            ),
            (counts.locals, "local variables", LOCAL_COUNT_LIMIT),
            (counts.imports, "imports", ITEM_COUNT_LIMIT),
            (counts.exports, "exports", ITEM_COUNT_LIMIT),
            (counts.globals, "global variables", ITEM_COUNT_LIMIT),
            (counts.data, "data segments", ITEM_COUNT_LIMIT),
            (
                counts.element_segments,
                "element segments",
                ITEM_COUNT_LIMIT,
            ),
            (counts.elements, "elements", ELEMENT_COUNT_LIMIT),
        ] {
            if count > limit {
                return too_complex(format!("it has {count} {what}, more than {limit}"));
            }
        }
        if self.largest_function > FUNCTION_SIZE_LIMIT {
            return too_complex(format!(
                "one of its functions has {} bytes, more than {FUNCTION_SIZE_LIMIT}, and would take \
                 too long to compile; split it up, or build with less inlining",
                self.largest_function
            ));
        }
        Ok(())
    }

    fn read_sections(&mut self, wasm: &[u8]) -> wasmparser::Result<()> {
        let mut types: Vec<Option<Signature>> = Vec::new();
        // Parameters and results of each.
        let mut type_values: Vec<usize> = Vec::new();
        let mut functions: Vec<u32> = Vec::new();
        let mut memories: Vec<wasmparser::MemoryType> = Vec::new();
        let mut exports = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        for ty in group?.into_types() {
                            let (signature, values) = match &ty.composite_type.inner {
                                wasmparser::CompositeInnerType::Func(func) => {
                                    let values = func.params().len() + func.results().len();
                                    (signature(func), values)
                                }
                                _ => (None, 0),
                            };
                            types.push(signature);
                            type_values.push(values);
                        }
                    }
                    self.counts.types = types.len();
                    self.counts.type_values = type_values.iter().sum();
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        let import = import?;
                        let kind = match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                                functions.push(ty);
                                function(&types, ty)
                            }
                            TypeRef::Memory(ty) => {
                                memories.push(ty);
                                memory(ty)
                            }
                            TypeRef::Table(_) => ItemKind::Table,
                            TypeRef::Global(_) => ItemKind::Global,
                            TypeRef::Tag(_) => ItemKind::Tag,
                        };
                        let (module, name) = (import.module.to_owned(), import.name.to_owned());
                        self.imports.push(ImportDecl { module, name, kind });
                    }
                }
                Payload::FunctionSection(reader) => {
                    for ty in reader {
                        let ty = ty?;
                        self.counts.function_values +=
                            type_values.get(ty as usize).copied().unwrap_or(0);
                        functions.push(ty);
                    }
                }
                Payload::MemorySection(reader) => {
                    for ty in reader {
                        memories.push(ty?);
                    }
                }
                Payload::TagSection(reader) => self.counts.tags += reader.count() as usize,
                Payload::TableSection(reader) => self.counts.tables += reader.count() as usize,
                Payload::GlobalSection(reader) => self.counts.globals += reader.count() as usize,
                Payload::DataSection(reader) => self.counts.data += reader.count() as usize,
                Payload::ElementSection(reader) => {
                    self.counts.element_segments += reader.count() as usize;
                    for segment in reader {
                        self.counts.elements += match segment?.items {
                            ElementItems::Functions(items) => items.count() as usize,
                            ElementItems::Expressions(_, items) => items.count() as usize,
                        };
                    }
                }
                Payload::CodeSectionStart { count, .. } => self.counts.functions += count as usize,
                Payload::CodeSectionEntry(body) => {
                    self.largest_function = self.largest_function.max(body.as_bytes().len());
                    for locals in body.get_locals_reader()? {
                        self.counts.locals += locals?.0 as usize;
                    }
                }
                Payload::ExportSection(reader) => {
                    for export in reader {
                        let export = export?;
                        exports.push((export.name.to_owned(), export.kind, export.index as usize));
                    }
                }
                Payload::CustomSection(reader) => match reader.as_known() {
                    wasmparser::KnownCustom::Producers(section) => self.read_producers(section)?,
                    wasmparser::KnownCustom::Name(section) => {
                        for part in section {
                            // A damaged name is no reason to refuse a module.
                            if let Ok(wasmparser::Name::Module { name, .. }) = part {
                                self.name = Some(name.to_owned());
                            }
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        self.counts.imports = self.imports.len();
        self.counts.exports = exports.len();
        self.memory = memories.first().map(|ty| MemoryInfo {
            min_pages: ty.initial,
            max_pages: ty.maximum,
        });
        for (name, kind, index) in exports {
            let kind = match kind {
                ExternalKind::Func | ExternalKind::FuncExact => functions
                    .get(index)
                    .map_or(ItemKind::Function(Signature::from_static(&[], &[])), |ty| {
                        function(&types, *ty)
                    }),
                ExternalKind::Memory => match memories.get(index) {
                    Some(ty) => memory(*ty),
                    None => continue,
                },
                ExternalKind::Table => ItemKind::Table,
                ExternalKind::Global => ItemKind::Global,
                ExternalKind::Tag => ItemKind::Tag,
            };
            self.exports.push(ExportDecl { name, kind });
        }
        Ok(())
    }

    fn read_producers(
        &mut self,
        section: wasmparser::ProducersSectionReader<'_>,
    ) -> wasmparser::Result<()> {
        for field in section {
            let field = field?;
            for value in field.values {
                let value = value?;
                self.producers.push(Producer {
                    field: field.name.to_owned(),
                    name: value.name.to_owned(),
                    version: value.version.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn function(types: &[Option<Signature>], ty: u32) -> ItemKind {
    let signature = types.get(ty as usize).cloned().flatten();
    // A type that is missing or has no counterpart in the interface fits nothing, which the check
    // reports; an invalid module is refused by the engine.
    signature.map_or(
        ItemKind::Function(Signature::from_static(&[], &[])),
        ItemKind::Function,
    )
}

fn memory(ty: wasmparser::MemoryType) -> ItemKind {
    ItemKind::Memory {
        min_pages: ty.initial,
        max_pages: ty.maximum,
        shared: ty.shared,
        memory64: ty.memory64,
    }
}

fn signature(func: &wasmparser::FuncType) -> Option<Signature> {
    let convert = |types: &[wasmparser::ValType]| -> Option<Vec<ValType>> {
        types
            .iter()
            .map(|ty| match *ty {
                wasmparser::ValType::I32 => Some(ValType::I32),
                wasmparser::ValType::I64 => Some(ValType::I64),
                wasmparser::ValType::F32 => Some(ValType::F32),
                wasmparser::ValType::F64 => Some(ValType::F64),
                wasmparser::ValType::V128 => Some(ValType::V128),
                wasmparser::ValType::FUNCREF => Some(ValType::FuncRef),
                wasmparser::ValType::EXTERNREF => Some(ValType::ExternRef),
                wasmparser::ValType::Ref(_) => None,
            })
            .collect()
    };
    Some(Signature::new(
        convert(func.params())?,
        convert(func.results())?,
    ))
}

/// Whether the bytes are meant as a module in the text format.
#[cfg(feature = "wat")]
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.trim_start().starts_with(['(', ';']))
}

/// The binary form of a module that may be in the text format.
fn to_binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Malformed("it is empty".into()));
    }
    #[cfg(feature = "wat")]
    if !bytes.starts_with(b"\0asm") {
        let no_module = || LoadError::Malformed("it does not begin with `\\0asm`".into());
        if bytes.len() > TEXT_SIZE_LIMIT {
            return Err(if is_text(bytes) {
                LoadError::TooComplex(format!(
                    "its text has {} bytes, more than {TEXT_SIZE_LIMIT}, and would take a hundred times \
                     as much memory to read; assemble it to the binary format",
                    bytes.len()
                ))
            } else {
                no_module()
            });
        }
        return match wat::parse_bytes(bytes) {
            Ok(binary) => Ok(binary),
            Err(error) if is_text(bytes) => Err(LoadError::Malformed(error.to_string())),
            Err(_) => Err(no_module()),
        };
    }
    Ok(bytes.into())
}

struct Inner {
    info: ModuleInfo,
    kind: ModuleKind,
    name: String,
    compiled: Compiled,
}

/// A transport module, checked and compiled. Cheap to clone and to share between threads.
///
/// ```no_run
/// use watm_wasmer::{Dialer, TransportModule};
///
/// let module = TransportModule::from_file("plain.wasm")?;
/// println!("roles: {}", module.info().roles());
/// let dialer = Dialer::builder(&module).build()?;
/// let conn = dialer.dial("example.com:443")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TransportModule {
    inner: Arc<Inner>,
}

impl TransportModule {
    /// Loads a module from its bytes, in the binary or (with the feature `wat`, up to 4 MiB) the text
    /// format.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the module is too large, malformed, not a WATM v1 module or cannot be
    /// compiled.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, LoadError> {
        ModuleLoader::new().load_bytes(bytes)
    }

    /// Loads a module from a file.
    ///
    /// # Errors
    ///
    /// As [`TransportModule::from_bytes`], and [`LoadError::Read`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        ModuleLoader::new().load_file(path)
    }

    /// What the module declares.
    pub fn info(&self) -> &ModuleInfo {
        &self.inner.info
    }

    /// The roles that the module offers.
    pub fn roles(&self) -> Roles {
        self.inner.info.roles()
    }

    /// Whether the module offers `role`.
    pub fn has_role(&self, role: Role) -> bool {
        self.roles().contains(role)
    }

    /// The SHA-256 of the module.
    pub fn sha256(&self) -> &[u8; 32] {
        self.inner.info.sha256()
    }

    /// The name used in logs: the file's, else the module's own, else the start of its hash.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.inner.compiled
    }

    pub(crate) fn kind(&self) -> ModuleKind {
        self.inner.kind
    }
}

impl fmt::Debug for TransportModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportModule")
            .field("name", &self.inner.name)
            .field("sha256", &hex(self.sha256()))
            .field("roles", &self.roles())
            .finish_non_exhaustive()
    }
}

/// Loads transport modules under conditions: an expected hash, a size limit; and, with a cache,
/// without compiling them each time.
///
/// ```no_run
/// use watm_wasmer::ModuleLoader;
///
/// let module = ModuleLoader::new().max_size(4 << 20).load_file("plain.wasm")?;
/// # Ok::<(), watm_wasmer::LoadError>(())
/// ```
#[derive(Clone)]
pub struct ModuleLoader {
    sha256: Option<[u8; 32]>,
    max_size: u64,
    compile_timeout: Duration,
    cache: Option<ArtifactCache>,
    before_compiling: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl fmt::Debug for ModuleLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleLoader")
            .field("sha256", &self.sha256)
            .field("max_size", &self.max_size)
            .field("compile_timeout", &self.compile_timeout)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Default for ModuleLoader {
    fn default() -> Self {
        Self {
            sha256: None,
            max_size: DEFAULT_SIZE_LIMIT,
            compile_timeout: engine::COMPILE_TIMEOUT,
            cache: None,
            before_compiling: None,
        }
    }
}

impl ModuleLoader {
    /// A loader without an expected hash or a cache, and with limits of 64 MiB and of 60 seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses a module with another SHA-256, before anything of it is compiled.
    pub fn sha256(mut self, expected: [u8; 32]) -> Self {
        self.sha256 = Some(expected);
        self
    }

    /// Refuses a module of more than this many bytes, before it is read whole.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Gives up compiling a module after this long; 60 seconds by default. A function that is being
    /// compiled then is finished first, which takes up to ten seconds on a fast machine.
    pub fn compile_timeout(mut self, limit: Duration) -> Self {
        self.compile_timeout = limit;
        self
    }

    /// Takes the compiled form of a module from `cache` if it is there, and keeps it there if not.
    /// Whether the module follows the interface is checked each time.
    pub fn cache(mut self, cache: &ArtifactCache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Calls `tell` with the size of a module in bytes right before it is compiled, on the same
    /// thread: a large one takes seconds. It is not called for what the cache has.
    pub fn before_compiling(mut self, tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.before_compiling = Some(Arc::new(tell));
        self
    }

    /// Loads a module from its bytes.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the module is too large or complex, has another hash, is malformed, is not a
    /// WATM v1 module or cannot be compiled in time.
    pub fn load_bytes(&self, bytes: impl AsRef<[u8]>) -> Result<TransportModule, LoadError> {
        self.load(bytes.as_ref(), None)
    }

    /// Loads a module from a file.
    ///
    /// # Errors
    ///
    /// As [`ModuleLoader::load_bytes`], and [`LoadError::Read`].
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<TransportModule, LoadError> {
        let path = path.as_ref();
        let bytes = self.read_file(path)?;
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        self.load(&bytes, name)
    }

    /// Reads a module file within the size limit, without loading it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Read`] and [`LoadError::TooLarge`].
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, LoadError> {
        let path = path.as_ref();
        let failed = |source| LoadError::Read {
            path: path.to_owned(),
            source,
        };
        // Opening a pipe that nobody writes to would wait for ever.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            let kind = if found.is_dir() {
                io::ErrorKind::IsADirectory
            } else {
                io::ErrorKind::InvalidInput
            };
            let message = "it is not a regular file; copy what is to be loaded to one";
            return Err(failed(io::Error::new(kind, message)));
        }
        let size = found.len();
        if size > self.max_size {
            return Err(LoadError::TooLarge {
                size,
                limit: self.max_size,
            });
        }
        let mut bytes = Vec::new();
        // One more than allowed, since a file may grow or not know its size.
        file.take(self.max_size.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(bytes)
    }

    fn load(&self, bytes: &[u8], name: Option<String>) -> Result<TransportModule, LoadError> {
        let size = bytes.len() as u64;
        if size > self.max_size {
            return Err(LoadError::TooLarge {
                size,
                limit: self.max_size,
            });
        }
        if let Some(expected) = self.sha256 {
            let found: [u8; 32] = Sha256::digest(bytes).into();
            if found != expected {
                return Err(LoadError::Hash {
                    expected: hex(&expected),
                    found: hex(&found),
                });
            }
        }
        let wasm = to_binary(bytes)?;
        let info = ModuleInfo::read(bytes, &wasm)?;
        let entry = info
            .entry
            .as_ref()
            .map_err(|problems| LoadError::Interface(problems.clone()))?;
        let kind = entry.kind;
        info.check_complexity()?;
        let compile = || {
            complexity::check(&wasm)?;
            if let Some(tell) = &self.before_compiling {
                tell(size);
            }
            compile(&wasm, self.compile_timeout)
        };
        let compiled = match &self.cache {
            Some(cache) => cache.load_or(&info.sha256, compile)?,
            None => load_compiled(compile()?)?,
        };
        let name = name
            .or_else(|| info.name.clone())
            .map(|name| {
                name.chars()
                    .filter(|c| !c.is_control())
                    .take(64)
                    .collect::<String>()
            })
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| hex(&info.sha256[..6]));
        Ok(TransportModule {
            inner: Arc::new(Inner {
                info,
                kind,
                name,
                compiled,
            }),
        })
    }
}

fn compile(wasm: &[u8], timeout: Duration) -> Result<Vec<u8>, LoadError> {
    let started = Instant::now();
    let artifact = engine::compile(wasm, timeout)?;
    log::info!(
        "compiled a module of {} bytes in {:.0?}",
        wasm.len(),
        started.elapsed()
    );
    Ok(artifact)
}

/// The module that was just compiled to `artifact`.
pub(crate) fn load_compiled(artifact: Vec<u8>) -> Result<Compiled, LoadError> {
    // SAFETY: it comes from `compile` and was in nobody else's hands.
    unsafe { Compiled::load(artifact) }.map_err(|error| LoadError::Compile(error.to_string()))
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
