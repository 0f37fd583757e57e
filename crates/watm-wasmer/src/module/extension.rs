//! Whether a module can take what this runtime offers beyond WATM v1.
//!
//! Knows declarations. Must never know an instance: whether there is an offer is not decided here.

use wasmparser::{Export, ExternalKind, RefType, TableType};
use watm_abi::{aead_functions, names};

use crate::module::engine::TABLE_LIMIT;

/// Whether a module wants the host to encrypt for it: the extension `watm_ext_aead_v1` of this
/// runtime.
///
/// Such a module needs nothing of the host. Where the extension is not offered, it uses its own
/// cipher.
///
/// ```
/// use watm_wasmer::{HostAead, ModuleInfo};
///
/// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/built/aead.wasm");
/// let info = ModuleInfo::parse(&std::fs::read(file)?)?;
/// match info.host_aead() {
///     HostAead::Unwanted => println!("it has its own cipher, or none"),
///     HostAead::Wanted => println!("the host encrypts for it"),
///     HostAead::Hindered(reason) => println!("the host would encrypt for it, but {reason}"),
///     _ => {}
/// }
/// # assert_eq!(info.host_aead(), HostAead::Wanted);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostAead {
    /// It does not: it has no such export.
    Unwanted,
    /// It does, and its table can take the functions.
    Wanted,
    /// It does, but its table cannot take the functions. Says why, and what to do.
    Hindered(&'static str),
}

impl HostAead {
    pub(crate) fn of(exports: &[Export<'_>], tables: &[TableType]) -> Self {
        let find = |name| exports.iter().find(|export| export.name == name);
        if find(names::EXT_AEAD).is_none() {
            return Self::Unwanted;
        }
        let table = match find(names::TABLE) {
            Some(export) if export.kind == ExternalKind::Table => tables.get(export.index as usize),
            _ => None,
        };
        let Some(table) = table else {
            return Self::Hindered(
                "it does not export its table as `__indirect_function_table`: link it with \
                 --export-table",
            );
        };
        if table.element_type != RefType::FUNCREF {
            return Self::Hindered(
                "its `__indirect_function_table` is no table of functions (funcref): export the \
                 one that it calls through",
            );
        }
        let most = table.maximum.unwrap_or(u64::MAX).min(TABLE_LIMIT.into());
        if most.saturating_sub(table.initial) < aead_functions().len() as u64 {
            return Self::Hindered(
                "its `__indirect_function_table` has no room to grow: link it with \
                 --growable-table",
            );
        }
        Self::Wanted
    }
}
