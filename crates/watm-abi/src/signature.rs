//! The types of functions, as WebAssembly writes them.
//!
//! Knows value types and their order. Must never know which function has which type, nor an
//! engine's own types.

use std::borrow::Cow;
use std::fmt;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// A reference to something of the host's.
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

    /// How the text format writes it.
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

/// The type of a function.
///
/// [`Display`](fmt::Display) writes `(i32, i64) -> i32`, with `()` for no parameter and for no
/// result, and several results in parentheses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// The types of the parameters.
    pub params: Cow<'static, [ValType]>,
    /// The types of the results.
    pub results: Cow<'static, [ValType]>,
}

impl Signature {
    /// A signature of slices or vectors.
    ///
    /// ```
    /// use watm_abi::{Signature, ValType};
    ///
    /// let signature = Signature::new(vec![ValType::I32, ValType::I64], &[ValType::I32]);
    /// assert_eq!(signature.to_string(), "(i32, i64) -> i32");
    /// ```
    pub fn new(
        params: impl Into<Cow<'static, [ValType]>>,
        results: impl Into<Cow<'static, [ValType]>>,
    ) -> Self {
        Signature {
            params: params.into(),
            results: results.into(),
        }
    }

    /// A signature that is known when the program is compiled.
    pub const fn from_static(params: &'static [ValType], results: &'static [ValType]) -> Self {
        Signature {
            params: Cow::Borrowed(params),
            results: Cow::Borrowed(results),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.params)?;
        f.write_str(" -> ")?;
        match &*self.results {
            [one] => write!(f, "{one}"),
            results => write_list(f, results),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, types: &[ValType]) -> fmt::Result {
    f.write_str("(")?;
    for (index, ty) in types.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{ty}")?;
    }
    f.write_str(")")
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
