//! What a module file declares, found without compiling or running anything of it.
//!
//! A file may come from anywhere. So everything is counted while it is read. A module that exceeds
//! a limit is refused at once, before the rest takes time or memory: what is kept takes at most a
//! few MiB and ten times the size of the file. Function types are shared, since thousands of
//! functions can have the same type with a thousand parameters.

use std::collections::BTreeSet;
use std::ops::Range;

use wasmparser::{
    BinaryReader, ConstExpr, DataKind, DataSectionReader, ElementItems, ElementKind,
    ElementSectionReader, ExportSectionReader, ExternalKind, FuncType, FunctionBody,
    FunctionSectionReader, GlobalSectionReader, ImportSectionReader, Imports, NameSectionReader,
    Parser, Payload, ProducersSectionReader, TableSectionReader, TypeRef,
};
use watm_abi::{
    Entry, ExportDecl, ImportDecl, InterfaceError, ItemKind, MAX_EXCERPT, Roles, Signature,
    ValType, ValTypes, check,
};

use crate::error::LoadError;
use crate::module::engine;
use crate::module::extension::HostAead;
use crate::module::hash::ModuleHash;

/// Maximum number of tables. Each has its own limit, and their initial sizes a common one.
const TABLE_COUNT_LIMIT: usize = 8;
/// Maximum number of functions. Each takes a kilobyte or more while it is compiled.
const FUNCTION_COUNT_LIMIT: usize = 100_000;
/// Maximum number of parameters and results of all functions together, and of all types, which are
/// compiled to code as well; and of local variables of all functions. They take time for each
/// function even when compiling is given up: a thousand parameters take 20 milliseconds.
const FUNCTION_VALUE_LIMIT: usize = 500_000;
const TYPE_VALUE_LIMIT: usize = 100_000;
const LOCAL_COUNT_LIMIT: usize = 5_000_000;
/// Maximum number of parameters and results of all imports and exports together, which are listed.
const DECLARED_VALUE_LIMIT: usize = 100_000;
/// Maximum length of the names of all imports and exports together, in bytes. Each instance keeps
/// the names of exports.
const NAME_SIZE_LIMIT: usize = 1 << 20;
/// Maximum number of instructions in a constant expression, which each instance evaluates.
/// Toolchains write up to three.
const CONSTANT_LIMIT: usize = 16;
/// Maximum number of data segments. Each takes some bytes while the module is loaded. Go's linker
/// makes up to 100,000, which are joined before the module is compiled.
const DATA_COUNT_LIMIT: usize = 250_000;
/// Maximum number of items of any other kind that takes memory in each instance.
const ITEM_COUNT_LIMIT: usize = 10_000;
/// Maximum number of elements of all segments together: as many as a table may have.
const ELEMENT_COUNT_LIMIT: usize = engine::TABLE_LIMIT as usize;
/// Maximum initial number of elements of all tables together.
const TABLE_SIZE_LIMIT: usize = engine::TABLE_LIMIT as usize;
/// Maximum size of the code of one function in bytes, however simple it is. In the worst case it
/// takes four seconds and a GiB to compile.
const FUNCTION_SIZE_LIMIT: usize = 512 << 10;
/// Entries of the `producers` section that are kept. Toolchains write up to five.
const PRODUCERS_KEPT: usize = 100;

/// A function that the interface provides: the module that it is imported from, and its name.
pub(crate) type ImportedFunction = (&'static str, &'static str);

/// The linear memory that a module declares.
///
/// ```
/// use watm_wasmer::ModuleInfo;
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let info = ModuleInfo::parse(&std::fs::read(file)?)?;
/// let memory = info.memory().expect("each module has one");
/// println!("{} KiB at the start", memory.min_pages * 64);
/// if let Some(pages) = memory.max_pages {
///     println!("{} KiB at most", pages * 64);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryInfo {
    /// Pages of 64 KiB at the start.
    pub min_pages: u64,
    /// The maximum number of pages of 64 KiB, if the module sets one.
    pub max_pages: Option<u64>,
}

/// One entry of a module's `producers` section: what it was made with. Each text is cut after 200
/// characters.
///
/// ```
/// use watm_wasmer::ModuleInfo;
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let info = ModuleInfo::parse(&std::fs::read(file)?)?;
/// for producer in info.producers() {
///     println!("{}: {} {}", producer.field, producer.name, producer.version);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Producer {
    /// The field: `language`, `processed-by` or `sdk`.
    pub field: String,
    /// The name of the language or tool.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
}

/// What a module file contains. It is found without compiling or running the module.
///
/// ```
/// use watm_wasmer::{ModuleInfo, Role};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/plain.wasm");
/// let info = ModuleInfo::parse(&std::fs::read(file)?)?;
/// println!("{}, {} bytes; roles: {}", info.sha256(), info.size(), info.roles());
/// assert!(info.roles().contains(Role::Dialer));
/// for import in info.imports() {
///     println!("it calls {} of {}: {}", import.name, import.module, import.kind);
/// }
///
/// // A module for something else is read, too. It says what it lacks.
/// let empty = ModuleInfo::parse(b"\0asm\x01\0\0\0")?;
/// assert!(empty.roles().is_empty());
/// for problem in empty.problems() {
///     println!("{problem}");
/// }
/// # assert!(!empty.problems().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    sha256: ModuleHash,
    size: u64,
    name: Option<String>,
    imports: Vec<ImportDecl>,
    exports: Vec<ExportDecl>,
    memory: Option<MemoryInfo>,
    producers: Vec<Producer>,
    host_aead: HostAead,
    entry: Result<Entry, Vec<InterfaceError>>,
}

impl ModuleInfo {
    /// Reads what the bytes of a module declare, in the binary or (with the feature `wat`) the text
    /// format.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] if they are not a WebAssembly module, and [`LoadError::TooComplex`]
    /// if it has more of something than the runtime takes. A module that does not follow the
    /// interface is no error here: see [`ModuleInfo::problems`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let wasm = crate::module::text::to_binary(bytes)?;
        Self::read(bytes, &wasm, None)
    }

    /// Reads what a module declares, from its file and the binary form of that. The file is hashed
    /// unless its hash is known.
    pub(crate) fn read(
        file: &[u8],
        wasm: &[u8],
        hash: Option<ModuleHash>,
    ) -> Result<Self, LoadError> {
        let mut reading = Reading::new(wasm);
        for payload in Parser::new(0).parse_all(wasm) {
            reading.take_in(payload.map_err(LoadError::malformed)?)?;
        }
        let host_aead = HostAead::of(&reading.exports, &reading.tables);
        let exports = reading.resolve_exports()?;
        let entry = check(&reading.imports, &exports);
        Ok(Self {
            sha256: hash.unwrap_or_else(|| ModuleHash::of(file)),
            size: file.len() as u64,
            name: reading.name,
            imports: reading.imports,
            exports,
            memory: reading.memories.first().map(|ty| MemoryInfo {
                min_pages: ty.initial,
                max_pages: ty.maximum,
            }),
            producers: reading.producers,
            host_aead,
            entry,
        })
    }

    /// The SHA-256 of the file.
    pub fn sha256(&self) -> ModuleHash {
        self.sha256
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The name that the module gives itself in its `name` section, cut after 200 characters.
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

    /// What the module was made with, as far as it says: the first 100 entries.
    pub fn producers(&self) -> &[Producer] {
        &self.producers
    }

    /// Whether the module wants the host to encrypt for it (`watm_ext_aead_v1`), an extension of
    /// this runtime beyond WATM v1.
    pub fn host_aead(&self) -> HostAead {
        self.host_aead
    }

    /// The roles that the module offers; none if it does not follow the interface.
    pub fn roles(&self) -> Roles {
        self.entry
            .as_ref()
            .map(|entry| entry.roles)
            .unwrap_or_default()
    }

    /// What keeps the module from being a WATM v1 module; empty if nothing does. The first 20
    /// imports that do not fit are named, the others counted.
    pub fn problems(&self) -> &[InterfaceError] {
        self.entry.as_ref().err().map_or(&[], Vec::as_slice)
    }

    /// What the module has to offer, or why it does not follow the interface.
    pub(crate) fn entry(&self) -> Result<Entry, LoadError> {
        self.entry
            .as_ref()
            .copied()
            .map_err(|problems| LoadError::Interface(problems.clone()))
    }

    /// The functions of the interface that the module imports, each once, however often it does.
    pub(crate) fn imported_functions(&self) -> Box<[ImportedFunction]> {
        let imported: BTreeSet<(&str, &str)> = self
            .imports
            .iter()
            .map(|import| (import.module.as_str(), import.name.as_str()))
            .collect();
        watm_abi::imports()
            .map(|(module, name, _)| (module, name))
            .filter(|function| imported.contains(function))
            .collect()
    }
}

/// Counts more of something, and refuses the module if that is too much.
fn count(counted: &mut usize, more: usize, what: &str, limit: usize) -> Result<(), LoadError> {
    *counted = counted.saturating_add(more);
    if *counted > limit {
        return Err(LoadError::TooComplex(format!(
            "it has at least {counted} {what}, more than {limit}"
        )));
    }
    Ok(())
}

/// Refuses a constant expression that computes for long.
fn check_constant(expression: &ConstExpr<'_>) -> Result<(), LoadError> {
    let mut operators = 0;
    for operator in expression.get_operators_reader() {
        operator.map_err(LoadError::malformed)?;
        let what = "instructions in a constant expression";
        count(&mut operators, 1, what, CONSTANT_LIMIT)?;
    }
    Ok(())
}

/// How many of each a module has, as far as it was read.
#[derive(Default)]
struct Counts {
    types: usize,
    type_values: usize,
    imports: usize,
    exports: usize,
    declared_values: usize,
    declared_functions: usize,
    functions: usize,
    function_values: usize,
    locals: usize,
    memories: usize,
    tables: usize,
    table_elements: usize,
    name_bytes: usize,
    tags: usize,
    globals: usize,
    data: usize,
    element_segments: usize,
    elements: usize,
}

/// What is known of a module while it is read.
struct Reading<'a> {
    wasm: &'a [u8],
    counts: Counts,
    /// `None` for a type with a value that the interface does not know.
    types: Vec<Option<Signature>>,
    /// The type of each function.
    functions: Vec<u32>,
    memories: Vec<wasmparser::MemoryType>,
    tables: Vec<wasmparser::TableType>,
    imports: Vec<ImportDecl>,
    exports: Vec<wasmparser::Export<'a>>,
    name: Option<String>,
    producers: Vec<Producer>,
}

impl<'a> Reading<'a> {
    fn new(wasm: &'a [u8]) -> Self {
        Self {
            wasm,
            counts: Counts::default(),
            types: Vec::new(),
            functions: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            name: None,
            producers: Vec::new(),
        }
    }

    /// Takes in a part of the file, as the parser finds it.
    fn take_in(&mut self, payload: Payload<'a>) -> Result<(), LoadError> {
        let counts = &mut self.counts;
        match payload {
            Payload::TypeSection(section) => self.read_types(&section.range()),
            Payload::ImportSection(section) => self.read_imports(section),
            Payload::FunctionSection(section) => self.read_functions(section),
            Payload::MemorySection(section) => {
                let more = section.count() as usize;
                count(&mut counts.memories, more, "memories", ITEM_COUNT_LIMIT)?;
                for ty in section {
                    self.memories.push(ty.map_err(LoadError::malformed)?);
                }
                Ok(())
            }
            Payload::TagSection(section) => {
                let more = section.count() as usize;
                count(&mut counts.tags, more, "tags", ITEM_COUNT_LIMIT)
            }
            Payload::TableSection(section) => self.read_tables(section),
            Payload::GlobalSection(section) => self.read_globals(section),
            Payload::DataSection(section) => self.read_data(section),
            Payload::ElementSection(section) => self.read_elements(section),
            Payload::CodeSectionStart { count: more, .. } => {
                let functions = &mut counts.functions;
                count(functions, more as usize, "functions", FUNCTION_COUNT_LIMIT)
            }
            Payload::CodeSectionEntry(body) => self.read_body(&body),
            Payload::ExportSection(section) => self.read_exports(section),
            Payload::CustomSection(section) => {
                match section.as_known() {
                    wasmparser::KnownCustom::Name(section) => self.read_name(section),
                    wasmparser::KnownCustom::Producers(section) => self.read_producers(section),
                    _ => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Only types of functions, and no groups of types: one group may hold a million.
    fn read_types(&mut self, range: &Range<u64>) -> Result<(), LoadError> {
        const FUNCTION: u8 = 0x60;
        // It is a part of the file, so it cannot be elsewhere.
        let part = range.start as usize..range.end as usize;
        let section = self.wasm.get(part).unwrap_or_default();
        let mut reader = BinaryReader::new(section, range.start);
        let more = reader.read_var_u32().map_err(LoadError::malformed)?;
        count(
            &mut self.counts.types,
            more as usize,
            "types",
            ITEM_COUNT_LIMIT,
        )?;
        for _ in 0..more {
            let at = reader.original_position();
            match reader.read_u8().map_err(LoadError::malformed)? {
                FUNCTION => {}
                // Groups, subtypes, structures and arrays.
                0x4e..=0x50 | 0x5e | 0x5f => {
                    return Err(LoadError::Unsupported("garbage collection"));
                }
                form => {
                    return Err(LoadError::Malformed(format!(
                        "the type at offset {at:#x} is of no form that there is: {form:#x}"
                    )));
                }
            }
            let ty: FuncType = reader.read().map_err(LoadError::malformed)?;
            let values = ty.params().len() + ty.results().len();
            let what = "parameters and results in its types";
            count(&mut self.counts.type_values, values, what, TYPE_VALUE_LIMIT)?;
            self.types.push(signature(&ty));
        }
        Ok(())
    }

    fn read_imports(&mut self, section: ImportSectionReader<'a>) -> Result<(), LoadError> {
        let more = section.count() as usize;
        count(&mut self.counts.imports, more, "imports", ITEM_COUNT_LIMIT)?;
        for group in section {
            // A group would repeat the name of its module for each of any number of items.
            let Imports::Single(_, import) = group.map_err(LoadError::malformed)? else {
                return Err(LoadError::Malformed(
                    "it has groups of imports, which are not supported".into(),
                ));
            };
            let kind = match import.ty {
                TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                    self.functions.push(ty);
                    self.declared_function(ty)?
                }
                TypeRef::Memory(ty) => {
                    self.memories.push(ty);
                    memory(ty)
                }
                TypeRef::Table(ty) => {
                    self.tables.push(ty);
                    ItemKind::Table
                }
                TypeRef::Global(_) => ItemKind::Global,
                TypeRef::Tag(_) => ItemKind::Tag,
            };
            self.count_name(import.module.len() + import.name.len())?;
            let (module, name) = (import.module.to_owned(), import.name.to_owned());
            self.imports.push(ImportDecl { module, name, kind });
        }
        Ok(())
    }

    fn read_functions(&mut self, section: FunctionSectionReader<'a>) -> Result<(), LoadError> {
        // That they are as many as the bodies is checked when the module is loaded.
        let (declared, more) = (&mut self.counts.declared_functions, section.count());
        count(declared, more as usize, "functions", FUNCTION_COUNT_LIMIT)?;
        for ty in section {
            let ty = ty.map_err(LoadError::malformed)?;
            let known = self.types.get(ty as usize).and_then(Option::as_ref);
            let values = known.map_or(0, values);
            let what = "parameters and results of functions";
            count(
                &mut self.counts.function_values,
                values,
                what,
                FUNCTION_VALUE_LIMIT,
            )?;
            self.functions.push(ty);
        }
        Ok(())
    }

    fn read_tables(&mut self, section: TableSectionReader<'a>) -> Result<(), LoadError> {
        let counts = &mut self.counts;
        let more = section.count() as usize;
        count(&mut counts.tables, more, "tables", TABLE_COUNT_LIMIT)?;
        for table in section {
            let ty = table.map_err(LoadError::malformed)?.ty;
            self.tables.push(ty);
            let initial = usize::try_from(ty.initial).unwrap_or(usize::MAX);
            let what = "elements in its tables";
            count(&mut counts.table_elements, initial, what, TABLE_SIZE_LIMIT)?;
        }
        Ok(())
    }

    fn read_globals(&mut self, section: GlobalSectionReader<'a>) -> Result<(), LoadError> {
        let more = section.count() as usize;
        let what = "global variables";
        count(&mut self.counts.globals, more, what, ITEM_COUNT_LIMIT)?;
        for global in section {
            check_constant(&global.map_err(LoadError::malformed)?.init_expr)?;
        }
        Ok(())
    }

    fn read_data(&mut self, section: DataSectionReader<'a>) -> Result<(), LoadError> {
        let more = section.count() as usize;
        let what = "data segments";
        count(&mut self.counts.data, more, what, DATA_COUNT_LIMIT)?;
        for data in section {
            if let DataKind::Active { offset_expr, .. } = data.map_err(LoadError::malformed)?.kind {
                check_constant(&offset_expr)?;
            }
        }
        Ok(())
    }

    fn read_elements(&mut self, section: ElementSectionReader<'a>) -> Result<(), LoadError> {
        let counts = &mut self.counts;
        let more = section.count() as usize;
        count(
            &mut counts.element_segments,
            more,
            "element segments",
            ITEM_COUNT_LIMIT,
        )?;
        for segment in section {
            let segment = segment.map_err(LoadError::malformed)?;
            if let ElementKind::Active { offset_expr, .. } = segment.kind {
                check_constant(&offset_expr)?;
            }
            let (more, expressions) = match segment.items {
                ElementItems::Functions(items) => (items.count(), None),
                ElementItems::Expressions(_, items) => (items.count(), Some(items)),
            };
            let (elements, more) = (&mut counts.elements, more as usize);
            count(elements, more, "elements", ELEMENT_COUNT_LIMIT)?;
            for expression in expressions.into_iter().flatten() {
                check_constant(&expression.map_err(LoadError::malformed)?)?;
            }
        }
        Ok(())
    }

    fn read_body(&mut self, body: &FunctionBody<'a>) -> Result<(), LoadError> {
        let size = body.as_bytes().len();
        if size > FUNCTION_SIZE_LIMIT {
            return Err(LoadError::TooComplex(format!(
                "one of its functions has {size} bytes, more than {FUNCTION_SIZE_LIMIT}, and would take \
                 too long to compile; split it up, or build with less inlining"
            )));
        }
        for locals in body.get_locals_reader().map_err(LoadError::malformed)? {
            let (more, _) = locals.map_err(LoadError::malformed)?;
            let locals = &mut self.counts.locals;
            count(locals, more as usize, "local variables", LOCAL_COUNT_LIMIT)?;
        }
        Ok(())
    }

    /// What they are is known once all is read: a module that is not valid may have them first.
    fn read_exports(&mut self, section: ExportSectionReader<'a>) -> Result<(), LoadError> {
        let more = section.count() as usize;
        count(&mut self.counts.exports, more, "exports", ITEM_COUNT_LIMIT)?;
        for export in section {
            let export = export.map_err(LoadError::malformed)?;
            self.count_name(export.name.len())?;
            self.exports.push(export);
        }
        Ok(())
    }

    fn count_name(&mut self, bytes: usize) -> Result<(), LoadError> {
        let what = "bytes in the names of its imports and exports";
        count(&mut self.counts.name_bytes, bytes, what, NAME_SIZE_LIMIT)
    }

    fn resolve_exports(&mut self) -> Result<Vec<ExportDecl>, LoadError> {
        let mut resolved = Vec::with_capacity(self.exports.len());
        for export in std::mem::take(&mut self.exports) {
            let index = export.index as usize;
            let kind = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => match self.functions.get(index) {
                    Some(&ty) => self.declared_function(ty)?,
                    None => no_function(),
                },
                ExternalKind::Memory => match self.memories.get(index) {
                    Some(&ty) => memory(ty),
                    None => continue,
                },
                ExternalKind::Table => ItemKind::Table,
                ExternalKind::Global => ItemKind::Global,
                ExternalKind::Tag => ItemKind::Tag,
            };
            let name = export.name.to_owned();
            resolved.push(ExportDecl { name, kind });
        }
        Ok(resolved)
    }

    /// A function that is imported or exported, with its type.
    fn declared_function(&mut self, ty: u32) -> Result<ItemKind, LoadError> {
        let Some(Some(signature)) = self.types.get(ty as usize) else {
            return Ok(no_function());
        };
        let what = "parameters and results of imports and exports";
        let declared = &mut self.counts.declared_values;
        count(declared, values(signature), what, DECLARED_VALUE_LIMIT)?;
        Ok(ItemKind::Function(signature.clone()))
    }

    /// A damaged name is no reason to refuse a module.
    fn read_name(&mut self, section: NameSectionReader<'a>) {
        for part in section {
            if let Ok(wasmparser::Name::Module { name, .. }) = part {
                self.name = Some(beginning(name));
            }
        }
    }

    /// Damaged ones are none either; what stands before the damage is kept.
    fn read_producers(&mut self, section: ProducersSectionReader<'a>) {
        for field in section.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                if self.producers.len() == PRODUCERS_KEPT {
                    return;
                }
                self.producers.push(Producer {
                    field: beginning(field.name),
                    name: beginning(value.name),
                    version: beginning(value.version),
                });
            }
        }
    }
}

/// As much of a text as is kept of what a module says of itself.
fn beginning(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).collect()
}

fn values(signature: &Signature) -> usize {
    signature.params.len() + signature.results.len()
}

/// A function whose type is missing or has no counterpart in the interface fits nothing, which the
/// check reports; an invalid module is refused by the engine.
fn no_function() -> ItemKind {
    ItemKind::Function(Signature::from_static(&[], &[]))
}

fn memory(ty: wasmparser::MemoryType) -> ItemKind {
    ItemKind::Memory {
        min_pages: ty.initial,
        max_pages: ty.maximum,
        shared: ty.shared,
        memory64: ty.memory64,
    }
}

fn signature(ty: &FuncType) -> Option<Signature> {
    let convert = |types: &[wasmparser::ValType]| -> Option<ValTypes> {
        if types.is_empty() {
            return Some(ValTypes::from(&[]));
        }
        let types = types.iter().map(|ty| match *ty {
            wasmparser::ValType::I32 => Some(ValType::I32),
            wasmparser::ValType::I64 => Some(ValType::I64),
            wasmparser::ValType::F32 => Some(ValType::F32),
            wasmparser::ValType::F64 => Some(ValType::F64),
            wasmparser::ValType::V128 => Some(ValType::V128),
            wasmparser::ValType::FUNCREF => Some(ValType::FuncRef),
            wasmparser::ValType::EXTERNREF => Some(ValType::ExternRef),
            wasmparser::ValType::Ref(_) => None,
        });
        Some(types.collect::<Option<Vec<_>>>()?.into())
    };
    Some(Signature::new(
        convert(ty.params())?,
        convert(ty.results())?,
    ))
}
