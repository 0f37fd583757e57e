//! Carries plain connections, and standard input and output, over transports: accepts them, copies
//! both ways, and ends them when the command is told to stop.
//!
//! Knows connections and time. Must never know the command line, nor how a module is loaded.

pub(crate) mod accept;
pub(crate) mod clients;
pub(crate) mod copy;
pub(crate) mod ending;
pub(crate) mod forward;
pub(crate) mod open_files;
pub(crate) mod plain;
pub(crate) mod poll;
pub(crate) mod serve;
pub(crate) mod signals;
pub(crate) mod stdio;
