//! The oracle for the check of imports and exports.
//!
//! Knows a model of the check that asks one question at a time, and the rules for every message.

use arbitrary::Arbitrary;
use watm_abi::{
    Entry, ExportDecl, ImportDecl, InterfaceError, ItemKind, ModuleKind, Role, Roles, Signature,
    ValType, check, export_signature, exports, extension_signature, import_signature, imports,
    names,
};

use crate::List;

/// The declarations of a module: those of a valid module, with changes.
#[derive(Clone, Debug, Arbitrary)]
pub struct InterfaceCase {
    /// The exported functions, by their position in `exports()`, besides those that every module
    /// needs.
    pub exported: u16,
    /// The imported functions, by their position in `imports()`.
    pub imported: u64,
    /// Exports to leave out.
    pub missing_exports: Vec<ExportName>,
    /// Exports to put first, so that they hide exports of the same name.
    pub hiding_exports: Vec<(ExportName, KindChoice)>,
    /// Additional exports.
    pub more_exports: Vec<(ExportName, KindChoice)>,
    /// Additional imports.
    pub more_imports: Vec<(ImportName, KindChoice)>,
}

/// The name of an export.
#[derive(Clone, Debug, Arbitrary)]
pub enum ExportName {
    /// A function that a host calls, by its position in `exports()`.
    Known(u8),
    /// The memory.
    Memory,
    /// A name beside the interface: an extension's, or one that only modules of other versions
    /// export. The latter is rare, because it hides all other mistakes.
    Version(u8),
    /// Any name.
    Other(String),
}

/// The name of an import.
#[derive(Clone, Debug, Arbitrary)]
pub enum ImportName {
    /// A function of the interface, by its position in `imports()`.
    Known(u8),
    /// The same, from a module of another name.
    Elsewhere(u8, String),
    /// A name of the module `env`.
    Env(String),
    /// A name in WASI's module.
    Wasi(String),
    /// Any name in any module.
    Other(String, String),
}

/// What is imported or exported under a name.
#[derive(Clone, Debug, Arbitrary)]
pub enum KindChoice {
    /// A function with the type that the interface gives it, or a changed type.
    Function(TypeChoice),
    /// A memory.
    Memory {
        /// Whether it is shared.
        shared: bool,
        /// Whether it has 64-bit addresses.
        memory64: bool,
        /// Its limits, in pages.
        pages: (u64, Option<u64>),
    },
    /// A table.
    Table,
    /// A global.
    Global,
    /// A tag.
    Tag,
}

/// The type of a function.
#[derive(Clone, Debug, Arbitrary)]
pub enum TypeChoice {
    /// The type that the interface gives it, or `() -> ()` for an unknown name.
    Right,
    /// The right type with one more parameter.
    MoreParams(u8),
    /// The right type with one parameter fewer.
    LessParams,
    /// The right type with one more result.
    MoreResults(u8),
    /// The right type with one result fewer.
    LessResults,
    /// The right type with one parameter of another type.
    OtherParam(u8, u8),
    /// Any type.
    Any(List<u8>, List<u8>),
}

/// Runs the check, compares its answer with the model's, and inspects each message.
pub fn interface_check(case: &InterfaceCase) -> Result<Entry, Vec<InterfaceError>> {
    let imports = case.imports();
    let exports = case.exports();
    let got = check(&imports, &exports);
    let found = got.clone().map(|entry| (entry.roles, entry.kind));
    assert_eq!(found, model(&imports, &exports), "{imports:?} {exports:?}");
    match &got {
        Ok(entry) => {
            assert!(!entry.roles.is_empty());
            for role in Role::ALL {
                assert_eq!(entry.require(*role).is_ok(), entry.roles.contains(*role));
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                check_message(problem);
            }
        }
    }
    got
}

fn check_message(problem: &InterfaceError) {
    let message = problem.to_string();
    assert!(message.starts_with("the module "), "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
    if let InterfaceError::ExportSignature {
        name,
        expected,
        found,
    }
    | InterfaceError::ExtensionSignature {
        name,
        expected,
        found,
    }
    | InterfaceError::ImportSignature {
        name,
        expected,
        found,
        ..
    } = problem
    {
        for part in [format!("`{name}`"), expected.to_string(), found.clone()] {
            assert!(message.contains(&part), "{message}");
        }
    }
}

/// The expected answer, found one question at a time: the parts of an [`Entry`].
fn model(
    imports: &[ImportDecl],
    exports: &[ExportDecl],
) -> Result<(Roles, ModuleKind), Vec<InterfaceError>> {
    let is_exported = |name: &str| exported(exports, name).is_some();
    if is_exported("_water_v0") {
        return Err(vec![InterfaceError::Version0]);
    }
    if is_exported("watm_userpipe_v1") {
        return Err(vec![InterfaceError::DraftV1]);
    }

    let mut problems = problems_of_memory(exports);
    problems.extend(problems_of_functions(exports));
    problems.extend(problem_of_extension(exports));
    problems.extend(problems_of_imports(imports));
    if !problems.is_empty() {
        return Err(problems);
    }

    let roles = Role::ALL
        .iter()
        .copied()
        .filter(|role| is_exported(role.export()));
    let kind = if is_exported("_initialize") {
        ModuleKind::Reactor
    } else if is_exported("_start") {
        ModuleKind::Command
    } else {
        ModuleKind::Plain
    };
    Ok((roles.collect(), kind))
}

/// The first export of this name.
fn exported<'e>(exports: &'e [ExportDecl], name: &str) -> Option<&'e ItemKind> {
    let export = exports.iter().find(|export| export.name == name)?;
    Some(&export.kind)
}

fn problems_of_memory(exports: &[ExportDecl]) -> Vec<InterfaceError> {
    let name = "memory".to_owned();
    match exported(exports, "memory") {
        Some(ItemKind::Memory {
            shared, memory64, ..
        }) => {
            let problems = [
                memory64.then_some(InterfaceError::Memory64),
                shared.then_some(InterfaceError::SharedMemory),
            ];
            problems.into_iter().flatten().collect()
        }
        Some(kind) => vec![InterfaceError::ExportKind {
            name,
            expected: "a memory",
            found: kind.to_string(),
        }],
        None => vec![InterfaceError::MissingExport {
            name,
            expected: None,
        }],
    }
}

/// Problems of the functions that the host calls: those that every module needs, those of the
/// roles, and those of WASI.
fn problems_of_functions(exports: &[ExportDecl]) -> Vec<InterfaceError> {
    let wrong_type = |name: &str| {
        let kind = exported(exports, name)?;
        let expected = export_signature(name)?;
        let wrong = *kind != ItemKind::Function(expected.clone());
        wrong.then(|| InterfaceError::ExportSignature {
            name: name.to_owned(),
            expected,
            found: kind.to_string(),
        })
    };
    let mut problems = Vec::new();
    for name in ["watm_init_v1", "watm_ctrlpipe_v1", "watm_start_v1"] {
        problems.extend(wrong_type(name));
        if exported(exports, name).is_none() {
            let expected = export_signature(name);
            problems.push(InterfaceError::MissingExport {
                name: name.to_owned(),
                expected,
            });
        }
    }
    let role_names = vec![
        "watm_dial_v1",
        "watm_dial_fixed_v1",
        "watm_accept_v1",
        "watm_associate_v1",
    ];
    problems.extend(role_names.iter().filter_map(|name| wrong_type(name)));
    let is_missing = |name: &&str| exported(exports, name).is_none();
    if role_names.iter().all(is_missing) {
        problems.push(InterfaceError::NoRole { names: role_names });
    }
    problems.extend(["_initialize", "_start"].into_iter().filter_map(wrong_type));
    problems
}

fn problem_of_extension(exports: &[ExportDecl]) -> Option<InterfaceError> {
    let name = "watm_ext_aead_v1";
    let kind = exported(exports, name)?;
    let expected = extension_signature(name)?;
    let wrong = *kind != ItemKind::Function(expected.clone());
    wrong.then(|| InterfaceError::ExtensionSignature {
        name: name.to_owned(),
        expected,
        found: kind.to_string(),
    })
}

/// Problems of the imports: the first 20, and the number of the others.
fn problems_of_imports(imports: &[ImportDecl]) -> Vec<InterfaceError> {
    let mut problems: Vec<_> = imports.iter().filter_map(problem_of_import).collect();
    let count = problems.len().saturating_sub(20);
    problems.truncate(20);
    problems.extend((count > 0).then_some(InterfaceError::MoreImports { count }));
    problems
}

fn problem_of_import(import: &ImportDecl) -> Option<InterfaceError> {
    let ImportDecl { module, name, kind } = import;
    let provided = import_signature(module, name);
    let cut = |name: &str| name.chars().take(201).collect::<String>();
    let (found, module, name) = (kind.to_string(), cut(module), cut(name));
    match (provided, kind) {
        (None, _) => Some(InterfaceError::ImportUnknown {
            module,
            name,
            found,
        }),
        (Some(right), ItemKind::Function(signature)) if right == *signature => None,
        (Some(expected), ItemKind::Function(_)) => Some(InterfaceError::ImportSignature {
            module,
            name,
            expected,
            found,
        }),
        (Some(_), _) => Some(InterfaceError::ImportKind {
            module,
            name,
            found,
        }),
    }
}

impl InterfaceCase {
    fn imports(&self) -> Vec<ImportDecl> {
        let decl = |module: &str, name: &str, kind| ImportDecl {
            module: module.to_owned(),
            name: name.to_owned(),
            kind,
        };
        let mut list = Vec::new();
        for (index, (module, name, signature)) in imports().enumerate() {
            if self.imported >> index & 1 == 1 {
                list.push(decl(module, name, ItemKind::Function(signature)));
            }
        }
        for (name, kind) in &*self.more_imports {
            let (module, name) = name.resolve();
            let right = import_signature(&module, &name);
            list.push(decl(&module, &name, kind.resolve(right)));
        }
        list
    }

    fn exports(&self) -> Vec<ExportDecl> {
        let resolve = |(name, kind): &(ExportName, KindChoice)| {
            let name = name.resolve();
            let kind = kind.resolve(export_signature(&name).or_else(|| extension_signature(&name)));
            ExportDecl { name, kind }
        };
        let mut list = Vec::new();
        let pages = (2, None);
        let memory = KindChoice::Memory {
            shared: false,
            memory64: false,
            pages,
        };
        list.push(resolve(&(ExportName::Memory, memory)));
        let needed = [names::INIT, names::CTRLPIPE, names::START];
        for (index, (name, signature)) in exports().enumerate() {
            if needed.contains(&name) || self.exported >> index & 1 == 1 {
                let kind = ItemKind::Function(signature);
                list.push(ExportDecl {
                    name: name.to_owned(),
                    kind,
                });
            }
        }
        let missing: Vec<String> = self
            .missing_exports
            .iter()
            .map(ExportName::resolve)
            .collect();
        list.retain(|export| !missing.contains(&export.name));
        list.splice(0..0, self.hiding_exports.iter().map(resolve));
        list.extend(self.more_exports.iter().map(resolve));
        list
    }
}

impl ExportName {
    fn resolve(&self) -> String {
        match self {
            ExportName::Known(index) => {
                let known: Vec<&str> = exports().map(|(name, _)| name).collect();
                known[usize::from(*index) % known.len()].to_owned()
            }
            ExportName::Memory => names::MEMORY.to_owned(),
            ExportName::Version(dice) => match dice % 16 {
                0 => names::USERPIPE.to_owned(),
                1 => names::V0_MARK.to_owned(),
                2..=5 => names::EXT_AEAD.to_owned(),
                _ => "malloc".to_owned(),
            },
            ExportName::Other(name) => name.clone(),
        }
    }
}

impl ImportName {
    fn resolve(&self) -> (String, String) {
        let known = |index: u8| {
            let known: Vec<(&str, &str)> =
                imports().map(|(module, name, _)| (module, name)).collect();
            known[usize::from(index) % known.len()]
        };
        match self {
            ImportName::Known(index) => {
                let (module, name) = known(*index);
                (module.to_owned(), name.to_owned())
            }
            ImportName::Elsewhere(index, module) => (module.clone(), known(*index).1.to_owned()),
            ImportName::Env(name) => (names::ENV_MODULE.to_owned(), name.clone()),
            ImportName::Wasi(name) => (names::WASI_MODULE.to_owned(), name.clone()),
            ImportName::Other(module, name) => (module.clone(), name.clone()),
        }
    }
}

impl KindChoice {
    fn resolve(&self, right: Option<Signature>) -> ItemKind {
        match self {
            KindChoice::Function(ty) => ItemKind::Function(ty.resolve(right)),
            KindChoice::Memory {
                shared,
                memory64,
                pages: (min_pages, max_pages),
            } => ItemKind::Memory {
                min_pages: *min_pages,
                max_pages: *max_pages,
                shared: *shared,
                memory64: *memory64,
            },
            KindChoice::Table => ItemKind::Table,
            KindChoice::Global => ItemKind::Global,
            KindChoice::Tag => ItemKind::Tag,
        }
    }
}

impl TypeChoice {
    fn resolve(&self, right: Option<Signature>) -> Signature {
        let value_type = |index: u8| ValType::ALL[usize::from(index) % ValType::ALL.len()];
        let (mut params, mut results) = match right {
            Some(Signature { params, results }) => (params.to_vec(), results.to_vec()),
            None => (Vec::new(), Vec::new()),
        };
        match self {
            TypeChoice::Right => {}
            TypeChoice::MoreParams(ty) => params.push(value_type(*ty)),
            TypeChoice::LessParams => drop(params.pop()),
            TypeChoice::MoreResults(ty) => results.push(value_type(*ty)),
            TypeChoice::LessResults => drop(results.pop()),
            TypeChoice::OtherParam(at, ty) => {
                let len = params.len().max(1);
                if let Some(param) = params.get_mut(usize::from(*at) % len) {
                    *param = value_type(*ty);
                }
            }
            TypeChoice::Any(param_types, result_types) => {
                params = param_types.iter().copied().map(value_type).collect();
                results = result_types.iter().copied().map(value_type).collect();
            }
        }
        Signature::new(params, results)
    }
}
