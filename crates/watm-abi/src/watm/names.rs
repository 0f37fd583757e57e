//! The names of the interface: the names under which a module exports and imports things.
//!
//! Knows their spelling, and must never know types (see `interface.rs`).

/// The exported memory.
pub const MEMORY: &str = "memory";

/// The export that initialises the transport module.
pub const INIT: &str = "watm_init_v1";
/// The export that takes the descriptor of the control pipe.
pub const CTRLPIPE: &str = "watm_ctrlpipe_v1";
/// The export that runs the worker and returns when the transport ends.
pub const START: &str = "watm_start_v1";

/// The export of a dialer: connects to a server that the host chose.
pub const DIAL: &str = "watm_dial_v1";
/// The export of a fixed dialer: connects to a server that the module chose.
pub const DIAL_FIXED: &str = "watm_dial_fixed_v1";
/// The export of a listener: accepts a connection.
pub const ACCEPT: &str = "watm_accept_v1";
/// The export of a relay: accepts a connection and associates it with an outgoing one.
pub const ASSOCIATE: &str = "watm_associate_v1";

/// The module that WATM's own imports come from.
pub const ENV_MODULE: &str = "env";
/// The import that dials the address that the module gives.
pub const WATER_DIAL: &str = "water_dial";
/// The import that dials the address that the host chose.
pub const WATER_DIAL_FIXED: &str = "water_dial_fixed";
/// The import that accepts a connection of the listener that the host runs.
pub const WATER_ACCEPT: &str = "water_accept";

/// The module that the functions of WASI Preview 1 come from.
pub const WASI_MODULE: &str = "wasi_snapshot_preview1";
/// The export of a command that runs once, right after instantiation.
pub const MAIN: &str = "_start";
/// The export of a reactor that runs once, right after instantiation.
pub const INITIALIZE: &str = "_initialize";

/// The export of a module that takes the functions of the host's AEAD: an extension beyond WATM v1.
pub const EXT_AEAD: &str = "watm_ext_aead_v1";
/// The exported table that the host puts the functions of an extension into. Toolchains give this
/// name to the table that pointers to functions lead to.
pub const TABLE: &str = "__indirect_function_table";

/// An export that only modules for an unreleased later draft have. That draft is also called v1.
pub const USERPIPE: &str = "watm_userpipe_v1";
/// An export that only modules for version 0 have.
pub const V0_MARK: &str = "_water_v0";
