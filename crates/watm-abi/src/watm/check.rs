//! Decides whether a module fits WATM v1, based on what it declares.
//!
//! Knows the rules. Must never know an engine or run anything, because the check comes first.

use std::collections::HashMap;

use super::names::{CTRLPIPE, EXT_AEAD, INIT, INITIALIZE, MAIN, MEMORY, START, USERPIPE, V0_MARK};
use crate::{
    ExportDecl, ImportDecl, InterfaceError, ItemKind, MAX_EXCERPT, Role, Roles, export_signature,
    extension_signature, import_signature,
};

/// What a valid module offers.
///
/// ```
/// use watm_abi::{Entry, InterfaceError, ModuleKind, Role};
///
/// /// What a host runs once before it dials, if anything.
/// fn first_call(entry: Entry) -> Result<Option<&'static str>, InterfaceError> {
///     entry.require(Role::Dialer)?;
///     Ok(match entry.kind {
///         ModuleKind::Plain => None,
///         kind => kind.export(),
///     })
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What it can do for a connection. Never empty.
    pub roles: Roles,
    /// What has to run right after instantiation.
    pub kind: ModuleKind,
}

impl Entry {
    /// Checks that the module has the requested role.
    ///
    /// # Errors
    ///
    /// Returns [`InterfaceError::MissingRole`], which lists the roles that the module has.
    pub fn require(&self, role: Role) -> Result<(), InterfaceError> {
        if self.roles.contains(role) {
            Ok(())
        } else {
            Err(InterfaceError::MissingRole {
                role,
                available: self.roles,
            })
        }
    }
}

/// Maximum number of unsuitable imports that are named. A module can have any number of them.
const IMPORTS_NAMED: usize = 20;

/// What has to run once, right after a module is instantiated.
///
/// ```
/// use watm_abi::ModuleKind;
///
/// assert_eq!(ModuleKind::Command.export(), Some("_start"));
/// assert_eq!(ModuleKind::Reactor.export(), Some("_initialize"));
/// assert_eq!(ModuleKind::Plain.export(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModuleKind {
    /// `_start`: the module is built as a program. Its instance must stay usable when that program
    /// ends.
    Command,
    /// `_initialize`: the module is built as a library. This also applies to a module that exports
    /// both. WASI gives a command no `_initialize`, so `_start` is a left-over in such a module.
    Reactor,
    /// Nothing.
    Plain,
}

impl ModuleKind {
    /// The name of the export that has to run, if there is one.
    pub const fn export(self) -> Option<&'static str> {
        match self {
            ModuleKind::Command => Some(MAIN),
            ModuleKind::Reactor => Some(INITIALIZE),
            ModuleKind::Plain => None,
        }
    }
}

/// Checks that a module fits WATM v1, based on its imports and exports.
///
/// A module imports the parts of the interface that it wants, and may export anything else. Its
/// imports must be functions of `env` and `wasi_snapshot_preview1` with the right types.
///
/// # Errors
///
/// Returns everything that is wrong, starting with the most important. The order is: the memory,
/// the exports that every module has, the roles, what runs first, the extension, and then the
/// imports in the order of the module. The list names the first 20 imports that do not fit, and
/// [`InterfaceError::MoreImports`] stands for all others. A module for another version is
/// recognised before all that. It is reported as such, with no other error. The list is never
/// empty.
///
/// ```
/// use watm_abi::{ExportDecl, InterfaceError, ItemKind, Role, check, exports, names};
///
/// // A module with a memory, and with all functions that a host calls.
/// let mut declared: Vec<ExportDecl> = exports()
///     .filter(|(name, _)| ![names::MAIN, names::INITIALIZE].contains(name))
///     .map(|(name, signature)| ExportDecl {
///         name: name.to_owned(),
///         kind: ItemKind::Function(signature),
///     })
///     .collect();
/// declared.push(ExportDecl {
///     name: names::MEMORY.to_owned(),
///     kind: ItemKind::Memory { min_pages: 1, max_pages: None, shared: false, memory64: false },
/// });
/// let entry = check(&[], &declared).expect("it follows the interface");
/// assert!(entry.roles.contains(Role::Dialer));
///
/// declared.retain(|export| export.name != names::START);
/// let problems = check(&[], &declared).expect_err("it cannot start");
/// let [InterfaceError::MissingExport { name, .. }] = &problems[..] else {
///     panic!("{problems:?}");
/// };
/// assert_eq!(name, names::START);
/// ```
pub fn check(imports: &[ImportDecl], exports: &[ExportDecl]) -> Result<Entry, Vec<InterfaceError>> {
    // Valid modules have no duplicate names. In an invalid module, the first one counts.
    let mut by_name = HashMap::with_capacity(exports.len());
    for export in exports {
        by_name.entry(export.name.as_str()).or_insert(&export.kind);
    }
    if by_name.contains_key(V0_MARK) {
        return Err(vec![InterfaceError::Version0]);
    }
    if by_name.contains_key(USERPIPE) {
        return Err(vec![InterfaceError::DraftV1]);
    }

    let mut problems = Vec::new();
    check_memory(by_name.get(MEMORY).copied(), &mut problems);
    for name in [INIT, CTRLPIPE, START] {
        if !check_function(&by_name, name, &mut problems) {
            problems.push(InterfaceError::MissingExport {
                name: name.to_owned(),
                expected: export_signature(name),
            });
        }
    }
    // A role with a wrong type is reported as that, not as missing.
    let roles: Roles = Role::ALL
        .iter()
        .copied()
        .filter(|role| check_function(&by_name, role.export(), &mut problems))
        .collect();
    if roles.is_empty() {
        problems.push(InterfaceError::NoRole {
            names: Role::ALL.iter().map(|role| role.export()).collect(),
        });
    }
    let reactor = check_function(&by_name, INITIALIZE, &mut problems);
    let command = check_function(&by_name, MAIN, &mut problems);
    check_extension(&by_name, EXT_AEAD, &mut problems);
    check_imports(imports, &mut problems);

    if !problems.is_empty() {
        return Err(problems);
    }
    let kind = match (reactor, command) {
        (true, _) => ModuleKind::Reactor,
        (false, true) => ModuleKind::Command,
        (false, false) => ModuleKind::Plain,
    };
    Ok(Entry { roles, kind })
}

fn check_memory(found: Option<&ItemKind>, problems: &mut Vec<InterfaceError>) {
    match found {
        None => problems.push(InterfaceError::MissingExport {
            name: MEMORY.to_owned(),
            expected: None,
        }),
        Some(ItemKind::Memory {
            shared, memory64, ..
        }) => {
            if *memory64 {
                problems.push(InterfaceError::Memory64);
            }
            if *shared {
                problems.push(InterfaceError::SharedMemory);
            }
        }
        Some(other) => problems.push(InterfaceError::ExportKind {
            name: MEMORY.to_owned(),
            expected: "a memory",
            found: other.to_string(),
        }),
    }
}

/// Whether there is an export with this name that is a function of the interface. Reports a wrong
/// type.
fn check_function(
    exports: &HashMap<&str, &ItemKind>,
    name: &str,
    problems: &mut Vec<InterfaceError>,
) -> bool {
    let (Some(found), Some(expected)) = (exports.get(name), export_signature(name)) else {
        return false;
    };
    if !matches!(found, ItemKind::Function(signature) if *signature == expected) {
        problems.push(InterfaceError::ExportSignature {
            name: name.to_owned(),
            expected,
            found: found.to_string(),
        });
    }
    true
}

/// Reports a wrong type of the function that takes an extension.
fn check_extension(
    exports: &HashMap<&str, &ItemKind>,
    name: &str,
    problems: &mut Vec<InterfaceError>,
) {
    if let (Some(found), Some(expected)) = (exports.get(name), extension_signature(name))
        && !matches!(found, ItemKind::Function(signature) if *signature == expected)
    {
        problems.push(InterfaceError::ExtensionSignature {
            name: name.to_owned(),
            expected,
            found: found.to_string(),
        });
    }
}

fn check_imports(imports: &[ImportDecl], problems: &mut Vec<InterfaceError>) {
    let mut unfit = imports.iter().filter(|import| !fits(import));
    problems.extend(unfit.by_ref().take(IMPORTS_NAMED).map(import_problem));
    let count = unfit.count();
    if count > 0 {
        problems.push(InterfaceError::MoreImports { count });
    }
}

fn fits(import: &ImportDecl) -> bool {
    let provided = import_signature(&import.module, &import.name);
    provided.is_some_and(
        |expected| matches!(&import.kind, ItemKind::Function(found) if *found == expected),
    )
}

/// As much of a name as a message repeats, plus one character to show where it was cut.
fn beginning(name: &str) -> String {
    name.chars().take(MAX_EXCERPT + 1).collect()
}

/// What is wrong with an import that does not fit.
fn import_problem(import: &ImportDecl) -> InterfaceError {
    let ImportDecl { module, name, kind } = import;
    let provided = import_signature(module, name);
    let (module, name, found) = (beginning(module), beginning(name), kind.to_string());
    match (provided, kind) {
        (None, _) => InterfaceError::ImportUnknown {
            module,
            name,
            found,
        },
        (Some(expected), ItemKind::Function(_)) => InterfaceError::ImportSignature {
            module,
            name,
            expected,
            found,
        },
        (Some(_), _) => InterfaceError::ImportKind {
            module,
            name,
            found,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Signature, ValType, exports, imports, names};

    const I32: ValType = ValType::I32;

    /// What a module declares. Each test breaks it in one way.
    struct Module {
        imports: Vec<ImportDecl>,
        exports: Vec<ExportDecl>,
    }

    impl Module {
        /// A dialer as TinyGo builds it.
        fn dialer() -> Self {
            let mut module = Module {
                imports: Vec::new(),
                exports: Vec::new(),
            };
            module.export(MEMORY, memory(false, false));
            for name in [MAIN, INIT, CTRLPIPE, START, names::DIAL] {
                module.export(name, function(export_signature(name).unwrap()));
            }
            module.export("malloc", function(Signature::from_static(&[I32], &[I32])));
            for (from, name) in [("env", "water_dial_fixed"), (names::WASI_MODULE, "fd_read")] {
                module.import(from, name, function(import_signature(from, name).unwrap()));
            }
            module
        }

        fn export(&mut self, name: &str, kind: ItemKind) {
            self.exports.push(ExportDecl {
                name: name.to_owned(),
                kind,
            });
        }

        fn import(&mut self, module: &str, name: &str, kind: ItemKind) {
            let (module, name) = (module.to_owned(), name.to_owned());
            self.imports.push(ImportDecl { module, name, kind });
        }

        fn without(mut self, name: &str) -> Self {
            self.exports.retain(|export| export.name != name);
            self
        }

        fn with(mut self, name: &str, kind: ItemKind) -> Self {
            self = self.without(name);
            self.export(name, kind);
            self
        }

        fn importing(mut self, module: &str, name: &str, kind: ItemKind) -> Self {
            self.import(module, name, kind);
            self
        }

        fn check(&self) -> Result<Entry, Vec<InterfaceError>> {
            check(&self.imports, &self.exports)
        }

        #[track_caller]
        fn assert_problems(&self, expected: &[&str]) {
            let problems = self.check().unwrap_err();
            let problems: Vec<String> =
                problems.iter().map(|problem| problem.to_string()).collect();
            assert_eq!(problems, expected);
        }
    }

    fn memory(shared: bool, memory64: bool) -> ItemKind {
        ItemKind::Memory {
            min_pages: 2,
            max_pages: None,
            shared,
            memory64,
        }
    }

    fn function(signature: Signature) -> ItemKind {
        ItemKind::Function(signature)
    }

    fn no_op() -> ItemKind {
        function(Signature::from_static(&[], &[]))
    }

    #[test]
    fn a_dialer_loads_as_a_command() {
        let entry = Module::dialer().check().unwrap();
        assert_eq!(entry.roles.iter().collect::<Vec<_>>(), [Role::Dialer]);
        assert_eq!(entry.kind, ModuleKind::Command);
        assert_eq!(entry.kind.export(), Some("_start"));
    }

    #[test]
    fn what_runs_first_follows_from_the_exports() {
        let plain = Module::dialer().without(MAIN);
        assert_eq!(plain.check().unwrap().kind, ModuleKind::Plain);
        assert_eq!(ModuleKind::Plain.export(), None);
        let reactor = plain.with(INITIALIZE, no_op());
        assert_eq!(reactor.check().unwrap().kind, ModuleKind::Reactor);
        let both = reactor.with(MAIN, no_op());
        assert_eq!(both.check().unwrap().kind, ModuleKind::Reactor);
        assert_eq!(ModuleKind::Reactor.export(), Some("_initialize"));
    }

    #[test]
    fn a_module_may_use_all_of_the_interface() {
        let mut module = Module::dialer();
        for (name, signature) in exports() {
            module = module.with(name, function(signature));
        }
        for (from, name, signature) in imports() {
            module.import(from, name, function(signature));
        }
        let entry = module.check().unwrap();
        assert_eq!(entry.roles.len(), 4);
    }

    #[test]
    fn a_module_may_import_nothing() {
        let mut module = Module::dialer();
        module.imports.clear();
        assert!(module.check().is_ok());
    }

    #[test]
    fn each_missing_export_is_named_with_its_type() {
        Module::dialer()
            .without(MEMORY)
            .assert_problems(&["the module does not export `memory`, which WATM v1 requires"]);
        Module::dialer()
            .without(CTRLPIPE)
            .assert_problems(&["the module does not export `watm_ctrlpipe_v1`, \
             which WATM v1 requires as (i32) -> i32"]);
    }

    #[test]
    fn each_wrong_type_is_named_with_both_types() {
        let wrong = function(Signature::from_static(&[I32, I32], &[I32]));
        Module::dialer().with(START, wrong).assert_problems(&[
            "the module exports `watm_start_v1` as (i32, i32) -> i32, \
             but WATM v1 requires () -> i32",
        ]);
        Module::dialer()
            .with(INIT, ItemKind::Global)
            .assert_problems(&[
                "the module exports `watm_init_v1` as a global, but WATM v1 requires () -> i32",
            ]);
        Module::dialer()
            .with(MEMORY, ItemKind::Table)
            .assert_problems(&[
                "the module exports `memory` as a table, but WATM v1 requires a memory",
            ]);
        Module::dialer()
            .with(MAIN, function(Signature::from_static(&[], &[I32])))
            .assert_problems(&[
                "the module exports `_start` as () -> i32, but WATM v1 requires () -> ()",
            ]);
    }

    #[test]
    fn a_module_may_take_the_extension_with_its_type_alone() {
        let right = function(extension_signature(EXT_AEAD).unwrap());
        Module::dialer().with(EXT_AEAD, right).check().unwrap();
        Module::dialer().with(EXT_AEAD, no_op()).assert_problems(&[
            "the module exports `watm_ext_aead_v1` as () -> (), but that extension of WATM v1 \
             requires (i32, i32) -> i32: give the function that type, or another name",
        ]);
        Module::dialer()
            .with(EXT_AEAD, ItemKind::Global)
            .assert_problems(&[
                "the module exports `watm_ext_aead_v1` as a global, but that extension of WATM v1 \
                 requires (i32, i32) -> i32: give the function that type, or another name",
            ]);
    }

    #[test]
    fn a_role_with_a_wrong_type_is_not_reported_as_missing() {
        Module::dialer()
            .with(names::DIAL, no_op())
            .assert_problems(&[
                "the module exports `watm_dial_v1` as () -> (), but WATM v1 requires (i32) -> i32",
            ]);
    }

    #[test]
    fn a_second_role_with_a_wrong_type_spoils_the_module() {
        let problems = Module::dialer()
            .with(names::ACCEPT, no_op())
            .check()
            .unwrap_err();
        assert!(matches!(
            &problems[..],
            [InterfaceError::ExportSignature { .. }]
        ));
    }

    #[test]
    fn a_module_without_a_role_is_told_which_there_are() {
        let problems = Module::dialer().without(names::DIAL).check().unwrap_err();
        let names = vec![
            "watm_dial_v1",
            "watm_dial_fixed_v1",
            "watm_accept_v1",
            "watm_associate_v1",
        ];
        assert_eq!(problems, [InterfaceError::NoRole { names }]);
    }

    #[test]
    fn a_role_that_the_module_lacks_is_refused_with_those_it_has() {
        let entry = Module::dialer().check().unwrap();
        assert_eq!(entry.require(Role::Dialer), Ok(()));
        let missing = InterfaceError::MissingRole {
            role: Role::Relay,
            available: entry.roles,
        };
        assert_eq!(entry.require(Role::Relay), Err(missing));
    }

    #[test]
    fn shared_and_64_bit_memories_are_refused() {
        let problems = |kind| Module::dialer().with(MEMORY, kind).check().unwrap_err();
        assert_eq!(
            problems(memory(true, false)),
            [InterfaceError::SharedMemory]
        );
        assert_eq!(problems(memory(false, true)), [InterfaceError::Memory64]);
        let both = [InterfaceError::Memory64, InterfaceError::SharedMemory];
        assert_eq!(problems(memory(true, true)), both);
    }

    #[test]
    fn imports_that_nobody_provides_are_named() {
        Module::dialer()
            .importing("wasi_unstable", "fd_read", no_op())
            .importing("env", "water_listen", no_op())
            .importing("env", "memory", memory(false, false))
            .assert_problems(&[
                "the module imports `fd_read` from `wasi_unstable` as () -> (), \
                 which WATM v1 does not provide",
                "the module imports `water_listen` from `env` as () -> (), \
                 which WATM v1 does not provide",
                "the module imports `memory` from `env` as a memory, \
                 which WATM v1 does not provide",
            ]);
    }

    #[test]
    fn imports_of_a_wrong_type_or_kind_are_named() {
        Module::dialer()
            .importing("env", "water_dial", no_op())
            .importing(names::WASI_MODULE, "fd_write", ItemKind::Global)
            .assert_problems(&[
                "the module imports `water_dial` from `env` as () -> (), \
                 but WATM v1 provides (i32, i32, i32, i32) -> i32",
                "the module imports `fd_write` from `wasi_snapshot_preview1` as a global, \
                 but WATM v1 provides a function",
            ]);
    }

    #[test]
    fn of_many_imports_that_do_not_fit_the_first_are_named_and_the_others_counted() {
        let with = |count: usize| {
            (0..count).fold(Module::dialer(), |module, number| {
                module.importing("env", &number.to_string(), ItemKind::Table)
            })
        };
        assert_eq!(with(20).check().unwrap_err().len(), 20);
        let problems = with(1020).check().unwrap_err();
        assert_eq!(problems.len(), 21);
        assert!(
            matches!(&problems[19], InterfaceError::ImportUnknown { name, .. } if name == "19")
        );
        assert_eq!(problems[20], InterfaceError::MoreImports { count: 1000 });
    }

    #[test]
    fn all_problems_are_reported_the_important_ones_first() {
        let module = Module {
            imports: Vec::new(),
            exports: Vec::new(),
        }
        .with(MAIN, ItemKind::Tag)
        .importing("env", "no_such", ItemKind::Table);
        let problems = module.check().unwrap_err();
        let [memory, init, ctrlpipe, start, role, main, import] = &problems[..] else {
            panic!("{problems:?}");
        };
        let missing = |name: &str| InterfaceError::MissingExport {
            name: name.to_owned(),
            expected: export_signature(name),
        };
        assert_eq!(*memory, missing(MEMORY));
        assert_eq!(*init, missing(INIT));
        assert_eq!(*ctrlpipe, missing(CTRLPIPE));
        assert_eq!(*start, missing(START));
        assert!(matches!(role, InterfaceError::NoRole { .. }));
        assert!(matches!(main, InterfaceError::ExportSignature { .. }));
        assert!(matches!(import, InterfaceError::ImportUnknown { .. }));
    }

    #[test]
    fn a_module_for_the_later_draft_is_reported_as_only_that() {
        let module = Module::dialer()
            .with(names::DIAL, no_op())
            .without(START)
            .with(USERPIPE, function(Signature::from_static(&[I32], &[I32])));
        assert_eq!(module.check(), Err(vec![InterfaceError::DraftV1]));
    }

    #[test]
    fn a_module_for_version_0_is_reported_as_only_that() {
        let module = Module {
            imports: Vec::new(),
            exports: Vec::new(),
        }
        .with(V0_MARK, ItemKind::Global);
        assert_eq!(module.check(), Err(vec![InterfaceError::Version0]));
    }

    #[test]
    fn of_a_name_that_is_exported_twice_the_first_counts() {
        let mut module = Module::dialer();
        module.export(START, ItemKind::Global);
        assert!(module.check().is_ok());
    }
}
