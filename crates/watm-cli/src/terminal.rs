//! What a person reads on standard output and standard error: results, numbers, log lines and
//! failures.
//!
//! Knows how to write text that cannot disturb a terminal. Must never know how a connection is
//! carried, nor which command is running.

pub(crate) mod announce;
pub(crate) mod bytes;
pub(crate) mod escape;
pub(crate) mod failure;
pub(crate) mod hex;
pub(crate) mod logging;
pub(crate) mod output;
