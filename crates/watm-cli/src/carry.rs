//! Plain connections, and standard input and output, beside the transports that they belong to:
//! accepting them, copying both ways, and ending them when the command is told to.
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
