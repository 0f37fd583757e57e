//! What is compiled into modules, so that a guest can be stopped and bounded without a signal.
//!
//! Each file is a middleware of the engine's compiler. None knows of a connection: whoever stops a
//! guest sets a flag.

pub(crate) mod deadline;
pub(crate) mod placement;
pub(crate) mod stop_points;
pub(crate) mod traps;
