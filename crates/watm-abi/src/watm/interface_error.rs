//! The reasons why a module does not fit the interface.
//!
//! Knows how to describe a reason: what was expected, what was found, and that the module is at
//! fault. Must never decide whether there is one (see `check.rs`).

use std::fmt;

use crate::excerpt::Quoted;
use crate::{Role, Roles, Signature};

/// A reason why a module does not fit WATM v1.
///
/// The module is always at fault. It was built for something else, or built incorrectly.
///
/// Names that come from the module are cut after 201 characters. They are escaped when they are
/// printed, so that they cannot disturb a log. See [`Excerpt`](crate::Excerpt).
///
/// ```
/// use watm_abi::{InterfaceError, Role, Roles};
///
/// let error = InterfaceError::MissingRole {
///     role: Role::Relay,
///     available: Roles::from_iter([Role::Dialer, Role::Listener]),
/// };
/// assert_eq!(
///     error.to_string(),
///     "the module is not a relay: it does not export `watm_associate_v1` \
///      (its roles: dialer, listener)",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceError {
    /// The module was built for WATM v0: it exports `_water_v0`.
    Version0,
    /// The module was built for an unreleased later draft, which is also called v1: it exports
    /// `watm_userpipe_v1`.
    DraftV1,
    /// The module lacks an export that every module must have.
    MissingExport {
        /// The name of the export.
        name: String,
        /// The type that the export must have. `None` for the memory.
        expected: Option<Signature>,
    },
    /// An export that the host would call has another type, or is not a function.
    ExportSignature {
        /// The name of the export.
        name: String,
        /// The type that the export must have.
        expected: Signature,
        /// What the export is: a type such as `(i32, i32) -> i32`, or a description such as `a
        /// global`.
        found: String,
    },
    /// The export that takes the functions of an extension has another type, or is not a function.
    ExtensionSignature {
        /// The name of the export.
        name: String,
        /// The type that the export must have.
        expected: Signature,
        /// What the export is: a type such as `(i32) -> i32`, or a description such as `a global`.
        found: String,
    },
    /// The export with the name of the memory is not a memory.
    ExportKind {
        /// The name of the export.
        name: String,
        /// What the export must be, such as `a memory`.
        expected: &'static str,
        /// What the export is: a type such as `(i32, i32) -> i32`, or a description such as `a
        /// global`.
        found: String,
    },
    /// The memory is shared between threads. The host copies data in and out, and nothing else may
    /// touch the memory meanwhile.
    SharedMemory,
    /// The memory has 64-bit addresses. All functions of the interface take 32-bit addresses.
    Memory64,
    /// The module can neither dial nor listen nor relay.
    NoRole {
        /// The names of the exports that the check looked for.
        names: Vec<&'static str>,
    },
    /// The module imports something that no host of WATM v1 provides.
    ImportUnknown {
        /// The module that the import names.
        module: String,
        /// The name of the import in that module.
        name: String,
        /// What the import is: a type such as `(i32, i32) -> i32`, or a description such as `a
        /// global`.
        found: String,
    },
    /// The module imports something other than a function under the name of a function.
    ImportKind {
        /// The module that the import names.
        module: String,
        /// The name of the import in that module.
        name: String,
        /// What the import is, such as `a global`.
        found: String,
    },
    /// The module imports a function with the wrong type.
    ImportSignature {
        /// The module that the import names.
        module: String,
        /// The name of the import in that module.
        name: String,
        /// The type that the function has.
        expected: Signature,
        /// The type that the module asks for.
        found: String,
    },
    /// Further imports do not fit either. This comes last, in place of their own errors.
    MoreImports {
        /// Number of these imports.
        count: usize,
    },
    /// The module is fine, but cannot do what it was asked to do.
    MissingRole {
        /// The requested role.
        role: Role,
        /// The roles that the module has.
        available: Roles,
    },
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version0 => f.write_str(
                "the module was built for WATM v0 (it exports `_water_v0`), \
                 but only WATM v1 is supported",
            ),
            Self::DraftV1 => f.write_str(
                "the module was built for an unreleased later draft of v1 \
                 (it exports `watm_userpipe_v1`), but only the published WATM v1 is supported",
            ),
            Self::MissingExport { name, expected } => write_missing(f, name, expected.as_ref()),
            Self::ExportSignature {
                name,
                expected,
                found,
            } => write_export(f, name, found, expected),
            Self::ExtensionSignature {
                name,
                expected,
                found,
            } => write!(
                f,
                "the module exports {} as {found}, but that extension of WATM v1 requires \
                 {expected}: give the function that type, or another name",
                Quoted(name)
            ),
            Self::ExportKind {
                name,
                expected,
                found,
            } => write_export(f, name, found, expected),
            Self::SharedMemory => f.write_str(
                "the module exports a shared memory, but WATM v1 requires one that is not shared",
            ),
            Self::Memory64 => {
                f.write_str("the module exports a 64-bit memory, but WATM v1 requires a 32-bit one")
            }
            Self::NoRole { names } => write_no_role(f, names),
            Self::ImportUnknown {
                module,
                name,
                found,
            } => {
                write_import(f, module, name, found)?;
                f.write_str(", which WATM v1 does not provide")
            }
            Self::ImportKind {
                module,
                name,
                found,
            } => {
                write_import(f, module, name, found)?;
                f.write_str(", but WATM v1 provides a function")
            }
            Self::ImportSignature {
                module,
                name,
                expected,
                found,
            } => {
                write_import(f, module, name, found)?;
                write!(f, ", but WATM v1 provides {expected}")
            }
            Self::MoreImports { count: 1 } => {
                f.write_str("the module has one more import that does not fit WATM v1")
            }
            Self::MoreImports { count } => write!(
                f,
                "the module has {count} more imports that do not fit WATM v1"
            ),
            Self::MissingRole { role, available } => {
                let export = Quoted(role.export());
                write!(f, "the module is not a {role}: it does not export {export}")?;
                write!(f, " (its roles: {available})")
            }
        }
    }
}

impl std::error::Error for InterfaceError {}

fn write_missing(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    expected: Option<&Signature>,
) -> fmt::Result {
    let name = Quoted(name);
    write!(
        f,
        "the module does not export {name}, which WATM v1 requires"
    )?;
    match expected {
        Some(expected) => write!(f, " as {expected}"),
        None => Ok(()),
    }
}

fn write_export(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    found: &str,
    expected: &dyn fmt::Display,
) -> fmt::Result {
    let name = Quoted(name);
    write!(
        f,
        "the module exports {name} as {found}, but WATM v1 requires {expected}"
    )
}

fn write_no_role(f: &mut fmt::Formatter<'_>, names: &[&str]) -> fmt::Result {
    f.write_str("the module has no role: WATM v1 requires one of the exports ")?;
    for (index, name) in names.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{}", Quoted(name))?;
    }
    Ok(())
}

fn write_import(f: &mut fmt::Formatter<'_>, module: &str, name: &str, found: &str) -> fmt::Result {
    let (module, name) = (Quoted(module), Quoted(name));
    write!(f, "the module imports {name} from {module} as {found}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ValType::I32;

    #[test]
    fn messages_name_the_function_and_both_types() {
        let error = InterfaceError::ExportSignature {
            name: "watm_dial_v1".into(),
            expected: Signature::from_static(&[I32], &[I32]),
            found: "(i32, i32) -> i32".into(),
        };
        let expected = "the module exports `watm_dial_v1` as (i32, i32) -> i32, \
                        but WATM v1 requires (i32) -> i32";
        assert_eq!(error.to_string(), expected);

        let error = InterfaceError::MissingExport {
            name: "watm_init_v1".into(),
            expected: Some(Signature::from_static(&[], &[I32])),
        };
        let expected =
            "the module does not export `watm_init_v1`, which WATM v1 requires as () -> i32";
        assert_eq!(error.to_string(), expected);

        let error = InterfaceError::MissingExport {
            name: "memory".into(),
            expected: None,
        };
        let expected = "the module does not export `memory`, which WATM v1 requires";
        assert_eq!(error.to_string(), expected);

        let error = InterfaceError::ImportUnknown {
            module: "wasi_unstable".into(),
            name: "fd_read".into(),
            found: "(i32) -> i32".into(),
        };
        let expected = "the module imports `fd_read` from `wasi_unstable` as (i32) -> i32, \
                        which WATM v1 does not provide";
        assert_eq!(error.to_string(), expected);

        let error = InterfaceError::ImportSignature {
            module: "env".into(),
            name: "water_accept".into(),
            expected: Signature::from_static(&[], &[I32]),
            found: "() -> ()".into(),
        };
        let expected = "the module imports `water_accept` from `env` as () -> (), \
                        but WATM v1 provides () -> i32";
        assert_eq!(error.to_string(), expected);

        let error = InterfaceError::ImportKind {
            module: "env".into(),
            name: "water_dial".into(),
            found: "a global".into(),
        };
        let expected = "the module imports `water_dial` from `env` as a global, \
                        but WATM v1 provides a function";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_missing_role_is_told_with_the_roles_that_are_there() {
        let available = [Role::Dialer, Role::Listener].into_iter().collect();
        let error = InterfaceError::MissingRole {
            role: Role::Relay,
            available,
        };
        let expected = "the module is not a relay: it does not export `watm_associate_v1` \
                        (its roles: dialer, listener)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_module_without_a_role_is_told_what_was_looked_for() {
        let error = InterfaceError::NoRole {
            names: vec!["watm_dial_v1", "watm_accept_v1"],
        };
        let expected = "the module has no role: WATM v1 requires one of the exports \
                        `watm_dial_v1`, `watm_accept_v1`";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn imports_that_are_not_named_are_counted() {
        let message = |count| InterfaceError::MoreImports { count }.to_string();
        assert_eq!(
            message(1),
            "the module has one more import that does not fit WATM v1"
        );
        assert_eq!(
            message(7),
            "the module has 7 more imports that do not fit WATM v1"
        );
    }

    #[test]
    fn other_versions_are_called_by_their_name() {
        assert!(InterfaceError::Version0.to_string().contains("WATM v0"));
        let draft = InterfaceError::DraftV1.to_string();
        assert!(draft.contains("an unreleased later draft of v1"), "{draft}");
    }
}
