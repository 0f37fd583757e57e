//! The values of options, one file for each kind.
//!
//! Knows how a value is written. Must never know which command an option belongs to.

mod directory;
pub(super) mod duration;
mod file;
mod key;
mod language;
pub(super) mod monitored;
mod project_name;
pub(super) mod size;
mod variable;

use clap::builder::RangedI64ValueParser;

pub(crate) use directory::Directory;
pub(crate) use file::GivenFile;
pub(crate) use key::KeyOrFile;
pub(crate) use language::Language;
pub(crate) use project_name::ProjectName;
pub(crate) use variable::Variable;

/// A number of connections.
pub(super) fn count() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}
