//! Carries connections over transports: runs the servers of the library until the command is told
//! to stop, and copies standard input and output.
//!
//! Knows connections and time. Must never know the command line, nor how a module is loaded.

pub(crate) mod accept;
pub(crate) mod ending;
pub(crate) mod open_files;
pub(crate) mod poll;
pub(crate) mod serve;
pub(crate) mod signals;
pub(crate) mod stdio;
