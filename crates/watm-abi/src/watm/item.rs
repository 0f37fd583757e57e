//! What a module declares: its imports and exports, without the types of an engine.
//!
//! Knows what can be declared. Must never know what the interface requires.

use std::fmt;

use crate::Signature;

/// What is imported or exported.
///
/// [`Display`](fmt::Display) describes it as in error messages: `(i32) -> i32` for a function, or a
/// phrase such as `a memory`.
///
/// ```
/// use watm_abi::{ItemKind, Signature, ValType};
///
/// let function = ItemKind::Function(Signature::from_static(&[ValType::I32], &[ValType::I32]));
/// assert_eq!(function.to_string(), "(i32) -> i32");
/// assert_eq!(ItemKind::Table.to_string(), "a table");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A function.
    Function(Signature),
    /// A linear memory.
    Memory {
        /// Initial size, in pages of 64 KiB.
        min_pages: u64,
        /// Maximum size, in pages of 64 KiB. `None` if the memory has no limit of its own.
        max_pages: Option<u64>,
        /// Whether multiple threads share it.
        shared: bool,
        /// Whether it has 64-bit addresses.
        memory64: bool,
    },
    /// A table.
    Table,
    /// A global variable.
    Global,
    /// The tag of an exception.
    Tag,
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ItemKind::Function(signature) => signature.fmt(f),
            ItemKind::Memory { .. } => f.write_str("a memory"),
            ItemKind::Table => f.write_str("a table"),
            ItemKind::Global => f.write_str("a global"),
            ItemKind::Tag => f.write_str("a tag"),
        }
    }
}

/// Something that a module asks the host for.
///
/// ```
/// use watm_abi::{ImportDecl, ItemKind, import_signature, names};
///
/// let signature = import_signature(names::ENV_MODULE, names::WATER_DIAL).expect("it is known");
/// let import = ImportDecl {
///     module: names::ENV_MODULE.to_owned(),
///     name: names::WATER_DIAL.to_owned(),
///     kind: ItemKind::Function(signature),
/// };
/// assert_eq!(import.kind.to_string(), "(i32, i32, i32, i32) -> i32");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportDecl {
    /// The module that it is imported from, such as `env`.
    pub module: String,
    /// Its name in that module.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}

/// Something that a module offers.
///
/// ```
/// use watm_abi::{ExportDecl, ItemKind, names};
///
/// let memory = ExportDecl {
///     name: names::MEMORY.to_owned(),
///     kind: ItemKind::Memory { min_pages: 17, max_pages: None, shared: false, memory64: false },
/// };
/// assert_eq!(memory.kind.to_string(), "a memory");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportDecl {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}
