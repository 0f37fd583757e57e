//! The types of functions, in the notation of WebAssembly.
//!
//! Knows value types and their order. Must never know which function has which type, or the types
//! of an engine.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The type of a value.
///
/// ```
/// use watm_abi::ValType;
///
/// let found = ValType::ALL.iter().find(|ty| ty.name() == "i64");
/// assert_eq!(found, Some(&ValType::I64));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit floating point number.
    F32,
    /// A 64-bit floating point number.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference to a function.
    FuncRef,
    /// A reference to an object of the host.
    ExternRef,
}

impl ValType {
    /// Every type.
    pub const ALL: &[ValType] = &[
        ValType::I32,
        ValType::I64,
        ValType::F32,
        ValType::F64,
        ValType::V128,
        ValType::FuncRef,
        ValType::ExternRef,
    ];

    /// The name in the text format.
    pub const fn name(self) -> &'static str {
        match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A list of value types.
///
/// Clones share the list, so a module can give one long type to any number of functions.
///
/// [`Display`](fmt::Display) writes `(i32, i64)`. If a list is longer than any in the interface, it
/// writes only the beginning and the number of remaining types. Such a list comes from a module,
/// and may have thousands of types.
///
/// ```
/// use watm_abi::{ValType, ValTypes};
///
/// let fixed = ValTypes::from(&[ValType::I32, ValType::I64]);
/// let read = ValTypes::from(vec![ValType::I32, ValType::I64]);
/// assert_eq!(fixed, read);
/// assert_eq!(fixed.len(), 2);
/// assert_eq!(fixed.to_string(), "(i32, i64)");
/// ```
#[derive(Clone)]
pub struct ValTypes(List);

#[derive(Clone)]
enum List {
    Static(&'static [ValType]),
    Shared(Arc<[ValType]>),
}

impl ValTypes {
    /// Length of the longest list in the interface, that of `path_open`.
    const LONGEST: usize = 9;
    /// Number of types that are written of a longer list.
    const WRITTEN: usize = 7;
}

impl Deref for ValTypes {
    type Target = [ValType];

    fn deref(&self) -> &[ValType] {
        match &self.0 {
            List::Static(types) => types,
            List::Shared(types) => types,
        }
    }
}

impl From<&'static [ValType]> for ValTypes {
    fn from(types: &'static [ValType]) -> Self {
        Self(List::Static(types))
    }
}

impl<const N: usize> From<&'static [ValType; N]> for ValTypes {
    fn from(types: &'static [ValType; N]) -> Self {
        Self(List::Static(types))
    }
}

impl From<Vec<ValType>> for ValTypes {
    fn from(types: Vec<ValType>) -> Self {
        Self(List::Shared(types.into()))
    }
}

impl PartialEq for ValTypes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ValTypes {}

impl Hash for ValTypes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for ValTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ValTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = if self.len() > Self::LONGEST {
            Self::WRITTEN
        } else {
            self.len()
        };
        f.write_str("(")?;
        for (index, ty) in self.iter().take(written).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{ty}")?;
        }
        match self.len() - written {
            0 => f.write_str(")"),
            more => write!(f, ", and {more} more)"),
        }
    }
}

/// The type of a function. Cheap to clone.
///
/// [`Display`](fmt::Display) writes `(i32, i64) -> i32`. It writes `()` for no parameters and for
/// no results, and puts several results in parentheses. If there are more types than in any
/// function of the interface, it does not write all of them. It never writes more than 200
/// characters.
///
/// ```
/// use watm_abi::{Signature, ValType};
///
/// const POLL: Signature = Signature::from_static(&[ValType::I32; 4], &[ValType::I32]);
/// assert_eq!(POLL.params.len(), 4);
/// assert_eq!(POLL.to_string(), "(i32, i32, i32, i32) -> i32");
/// assert_eq!(Signature::from_static(&[], &[]).to_string(), "() -> ()");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// The types of the parameters.
    pub params: ValTypes,
    /// The types of the results.
    pub results: ValTypes,
}

impl Signature {
    /// Creates a signature from slices or vectors.
    ///
    /// ```
    /// use watm_abi::{Signature, ValType};
    ///
    /// let signature = Signature::new(vec![ValType::I32, ValType::I64], &[ValType::I32]);
    /// assert_eq!(signature.to_string(), "(i32, i64) -> i32");
    /// ```
    pub fn new(params: impl Into<ValTypes>, results: impl Into<ValTypes>) -> Self {
        Signature {
            params: params.into(),
            results: results.into(),
        }
    }

    /// Creates a signature that is known at compile time.
    pub const fn from_static(params: &'static [ValType], results: &'static [ValType]) -> Self {
        Signature {
            params: ValTypes(List::Static(params)),
            results: ValTypes(List::Static(results)),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> ", self.params)?;
        match &*self.results {
            [one] => write!(f, "{one}"),
            _ => self.results.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_prints_as_parameters_and_results() {
        let print = |params: &'static [ValType], results: &'static [ValType]| {
            Signature::from_static(params, results).to_string()
        };
        use ValType::{F32, F64, I32, I64, V128};
        assert_eq!(print(&[I32, I32], &[I32]), "(i32, i32) -> i32");
        assert_eq!(print(&[], &[]), "() -> ()");
        assert_eq!(print(&[F32, F64], &[]), "(f32, f64) -> ()");
        assert_eq!(print(&[V128], &[I32, I64]), "(v128) -> (i32, i64)");
        assert_eq!(
            format!("{:>5}|{:<10}|", I32, ValType::FuncRef),
            "  i32|funcref   |"
        );
    }

    #[test]
    fn types_of_any_length_print_within_a_line() {
        let most = |count| Signature::new(vec![ValType::ExternRef; count], vec![ValType::I32]);
        let printed = most(9).to_string();
        assert_eq!(
            printed,
            format!("({}externref) -> i32", "externref, ".repeat(8))
        );
        assert_eq!(
            most(10).to_string(),
            format!("({}and 3 more) -> i32", "externref, ".repeat(7))
        );
        let both = Signature::new(vec![ValType::ExternRef; 1000], vec![ValType::FuncRef; 1000]);
        assert!(both.to_string().chars().count() <= crate::MAX_EXCERPT);
        for (_, _, signature) in crate::imports() {
            assert!(!signature.to_string().contains("more"), "{signature}");
        }
    }

    #[test]
    fn clones_share_their_types() {
        let one = Signature::new(vec![ValType::I32; 1000], vec![]);
        assert_eq!(one.params.as_ptr(), one.clone().params.as_ptr());
    }

    #[test]
    fn owned_and_borrowed_signatures_compare_equal() {
        let owned = Signature::new(vec![ValType::I32], vec![ValType::ExternRef]);
        let borrowed = Signature::from_static(&[ValType::I32], &[ValType::ExternRef]);
        assert_eq!(owned, borrowed);
        assert_ne!(owned, Signature::new(vec![], vec![ValType::ExternRef]));
    }

    #[test]
    fn the_names_of_the_types_are_unique() {
        for (index, ty) in ValType::ALL.iter().enumerate() {
            assert!(
                ValType::ALL[..index]
                    .iter()
                    .all(|other| other.name() != ty.name())
            );
        }
    }
}
