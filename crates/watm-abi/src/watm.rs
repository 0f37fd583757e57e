//! WATM v1: the names and types of the interface, whether a module follows it, and the values that
//! its own functions take and return.
//!
//! Knows what the interface asks of a module. Must never know an engine, nor how a role is carried
//! out.

mod check;
pub use check::{Entry, ModuleKind, check};

mod dial_string;
pub use dial_string::{MAX_STRING, gather_string};

mod guest_result;
pub use guest_result::{GuestError, decode_errno, decode_value, encode_result};

mod interface;
pub use interface::{
    aead_functions, export_signature, exports, extension_signature, import_signature, imports,
};

mod interface_error;
pub use interface_error::InterfaceError;

mod item;
pub use item::{ExportDecl, ImportDecl, ItemKind};

pub mod names;

mod role;
pub use role::{Role, Roles};

mod signature;
pub use signature::{Signature, ValType, ValTypes};
