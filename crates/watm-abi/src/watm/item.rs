//! What a module declares: its imports and exports, without an engine's types.
//!
//! Knows what can be declared. Must never know what the interface asks for.

use std::fmt;

use crate::Signature;

/// What is imported or exported.
///
/// [`Display`](fmt::Display) says it as error messages do: `(i32) -> i32` for a function, else `a
/// memory` and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A function.
    Function(Signature),
    /// A linear memory.
    Memory {
        /// The size it starts with, in pages of 64 KiB.
        min_pages: u64,
        /// The size it may grow to, in pages of 64 KiB; `None` for no limit of its own.
        max_pages: Option<u64>,
        /// Whether several threads share it.
        shared: bool,
        /// Whether its addresses have 64 bits.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportDecl {
    /// The module that it is asked from, such as `env`.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}

/// Something that a module offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportDecl {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}
